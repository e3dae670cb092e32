"""What ccxt makes of frames: the sink that takes it, and how it becomes inputs of a market."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

from collector.core.inputs import UnifiedBook, UnifiedTrade
from collector.sources.feed import FeedSink

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class UnifiedSink(FeedSink, Protocol):
    """Takes what ccxt makes of frames as well. Books and trades come between `opened` and `closed`."""

    def settle(self, now_ns: int) -> None:
        """A frame received at `now_ns` is about to change books: the last moment to read them as they were."""
        ...

    def book_changed(self, now_ns: int, symbol: str, read: Callable[[], UnifiedBook]) -> None:
        """The book of `symbol` changed; `read` gives it as it stands when called."""
        ...

    def trades(self, recv_ns: int, symbol: str, trades: list[UnifiedTrade]) -> None:
        """New trades of one frame, in ccxt's order; some may have come before."""
        ...

    def raw(self, recv_ns: int, connection: int, symbols: Sequence[str], text: str | bytes) -> None:
        """A frame that ccxt has handled, and the markets that it told of."""
        ...

    def unhandled(self, recv_ns: int, connection: int, text: str | bytes) -> None:
        """A frame on which ccxt failed."""
        ...


def unified_channels(streams: Sequence[str]) -> tuple[str, ...]:
    """The channels of such exchanges that serve what was asked for; their trades are single ones."""
    asked = {"depth": "depth", "aggTrade": "trade", "trade": "trade"}
    return tuple(dict.fromkeys(asked[stream] for stream in streams if stream in asked))


def unified_trades(trades: Sequence[Mapping[str, Any]]) -> list[UnifiedTrade]:
    """ccxt's trades. One without an id is named by its content, and by how many like it came before in this frame."""
    made: list[UnifiedTrade] = []
    alike: dict[str, int] = {}
    for trade in trades:
        price, quantity = plain(trade["price"]), plain(trade["amount"])
        ident = trade.get("id")
        if ident is None:
            content = f"{trade['timestamp']} {trade['side']} {price} {quantity}"
            alike[content] = alike.get(content, 0) + 1
            ident = f"{content} {alike[content]}"
        made.append(UnifiedTrade(str(ident), trade["timestamp"], price, quantity, trade["side"]))
    return made


def plain(number: float | str | None) -> str:
    """A number's shortest decimal without an exponent; what is none becomes a text that no parser takes."""
    text = str(number)
    return format(Decimal(text), "f") if isinstance(number, float) and "e" in text else text


def read_book(book: Any, changed_ns: int) -> UnifiedBook:
    book.limit()  # as ccxt does before it hands a book out
    nonce = book["nonce"]
    return UnifiedBook(
        changed_ns,
        book["timestamp"],
        nonce if isinstance(nonce, int) else None,
        [(level[0], level[1]) for level in book["bids"]],
        [(level[0], level[1]) for level in book["asks"]],
    )
