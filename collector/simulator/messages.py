"""What a source hands to the hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class Message(NamedTuple):
    """One payload of one stream.

    `speed_ms` None serves every speed of the channel, as a capture does. `id` tells the payload
    from others of its stream: the last update id, the trade's id, or the event time where a stream has no id.
    """

    exchange: str
    symbol: str
    channel: str
    speed_ms: int | None
    id: int
    payload: bytes


class Source(Protocol):
    """One exchange's market data, behind REST and websocket."""

    def symbols(self) -> frozenset[str]:
        """Symbols with data."""
        ...

    def depth(self, symbol: str, limit: int, now_ms: int) -> bytes:
        """The body of a REST snapshot of at most `limit` levels a side."""
        ...

    def stale_depth(self, symbol: str, limit: int, now_ms: int) -> bytes:
        """A snapshot from when the source began."""
        ...

    def agg_trades(self, symbol: str) -> Sequence[dict[str, Any]]:
        """Rows of REST aggTrades known so far, in the order of their ids."""
        ...

    def trades(self, symbol: str) -> Sequence[dict[str, Any]]:
        """Rows of REST trades and historicalTrades known so far, in the order of their ids."""
        ...

    def klines(self, symbol: str, interval: str) -> list[list[Any]]:
        """Rows of REST klines known so far, oldest first; the last one is open."""
        ...
