"""Trades by REST, a page of rows at a time, by id: what each exchange serves, and how far back."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from collector.sources.budget import weight_of

PAGE = 1000
"""Rows in one answer, at most."""

REACH_S = 48 * 3600
"""How far back futures' aggTrades go; the exchange answers with `TOO_OLD` beyond."""

TOO_OLD = -4166
_MARGIN_S = 120.0  # the limit moves on while we ask


class Pages(NamedTuple):
    """How trades of one channel are asked for. `by_id` False: the newest ones are all that can be had without a key."""

    path: str
    ident: str
    weight: int
    by_id: bool
    reach_s: float | None


def pages_of(exchange: str, channel: str) -> Pages:
    """The endpoint that has the rows of `trades` (aggTrades) or `raw_trades`."""
    futures = exchange != "binance"
    if channel == "trades":
        return Pages("aggTrades", "a", weight_of(exchange, "aggTrades"), True, REACH_S if futures else None)
    if futures:  # historicalTrades wants a key there
        return Pages("trades", "id", weight_of(exchange, "trades"), False, None)
    return Pages("historicalTrades", "id", weight_of(exchange, "historicalTrades"), True, None)


class _Head(msgspec.Struct):
    """What paging needs of a row."""

    a: int | None = None
    id: int | None = None
    T: int | None = None
    time: int | None = None


class PageEnds(NamedTuple):
    """Rows in a page, and the ids and times (ms, as the exchange writes them) of its first and last one."""

    rows: int
    first_id: int
    last_id: int
    first_ms: int
    last_ms: int


_HEADS = msgspec.json.Decoder(list[_Head])


def ends_of(body: bytes) -> PageEnds | None:
    """What a page holds; None when it is empty.

    Raises:
        ValueError: it is not a list of trades.
    """
    try:
        rows = _HEADS.decode(body)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not a list of trades: {error}") from error
    if not rows:
        return None
    first, last = rows[0], rows[-1]
    first_id, last_id = (one.a if one.a is not None else one.id for one in (first, last))
    first_ms, last_ms = (one.T if one.T is not None else one.time for one in (first, last))
    if first_id is None or last_id is None or first_ms is None or last_ms is None:
        raise ValueError("trades without id or time")
    return PageEnds(len(rows), first_id, last_id, first_ms, last_ms)


def oldest_ms(now_ns: int) -> int:
    """The time, in ms, from which on futures' aggTrades can surely be had."""
    return now_ns // 1_000_000 - round((REACH_S - _MARGIN_S) * 1000)
