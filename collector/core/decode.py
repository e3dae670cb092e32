"""Frames to typed messages. Only ids, times and names are read here; prices and quantities stay text until `decimals`.

Payloads: Binance "Web Socket Streams" (spot) and "Websocket Market Streams" (USDⓈ-M), July 2026. Unknown extra keys
(`st`, `ps`, …) are tolerated, since the exchange adds some every year.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, TypeAlias

import msgspec

_LAST_MS = 253_402_300_799_999  # the year 9999 ends

Id: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
"""Room above, so that arithmetic on ids stays within 64 bits."""

Stamp: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=_LAST_MS * 1000 + 999)]
"""Milli- or microseconds since the Unix epoch, see `event_time_ms`."""


class Undecodable(ValueError):
    """A frame that no table can hold as it is; the message says why. It belongs into quarantine."""


class DepthUpdate(msgspec.Struct, gc=False):
    """Absolute quantities of the levels that changed in (link, u]. `b` and `a` are the level lists as received."""

    channel: ClassVar[str] = "depth"

    E: Stamp
    s: str
    U: Id
    u: Id
    b: msgspec.Raw
    a: msgspec.Raw
    pu: Id | None = None
    T: Stamp | None = None


class AggTrade(msgspec.Struct, gc=False):
    """Fills of one taker order at one price. `nq` leaves retail price improvement orders out (futures)."""

    channel: ClassVar[str] = "trades"

    E: Stamp
    s: str
    a: Id
    p: str
    q: str
    f: Id
    l: Id  # noqa: E741  the exchange's name
    T: Stamp
    m: bool
    nq: str | None = None


class Trade(msgspec.Struct, gc=False):
    """One fill. `X` tells market fills from insurance-fund and liquidation fills (futures)."""

    channel: ClassVar[str] = "raw_trades"

    E: Stamp
    s: str
    t: Id
    p: str
    q: str
    T: Stamp
    m: bool
    X: str | None = None


class BookTicker(msgspec.Struct, gc=False):
    """Best quotes after update `u`. Spot sends neither event type nor times."""

    channel: ClassVar[str] = "book_ticker"

    u: Id
    s: str
    b: str
    B: str
    a: str
    A: str
    E: Stamp | None = None
    T: Stamp | None = None


Message: TypeAlias = DepthUpdate | AggTrade | Trade | BookTicker


class RestBook(msgspec.Struct, gc=False):
    """Body of a REST depth request; the level lists as received."""

    lastUpdateId: Id  # noqa: N815  the exchange's name
    bids: msgspec.Raw
    asks: msgspec.Raw
    E: Stamp | None = None
    T: Stamp | None = None


class _RestAggTrade(msgspec.Struct, gc=False):
    """A row of REST aggTrades."""

    a: Id
    p: str
    q: str
    f: Id
    l: Id  # noqa: E741  the exchange's name
    T: Stamp
    m: bool
    nq: str | None = None


class _RestTrade(msgspec.Struct, gc=False, rename="camel"):
    """A row of REST trades or historicalTrades."""

    id: Id
    price: str
    qty: str
    time: Stamp
    is_buyer_maker: bool


class _EventType(msgspec.Struct):
    e: str | None = None


_BY_EVENT_TYPE: dict[str, msgspec.json.Decoder[Message]] = {
    "depthUpdate": msgspec.json.Decoder(DepthUpdate),
    "aggTrade": msgspec.json.Decoder(AggTrade),
    "trade": msgspec.json.Decoder(Trade),
    "bookTicker": msgspec.json.Decoder(BookTicker),
}
_BOOK_TICKER = _BY_EVENT_TYPE["bookTicker"]
_EVENT_TYPE = msgspec.json.Decoder(_EventType)
_REST_BOOK = msgspec.json.Decoder(RestBook)
_ROWS = msgspec.json.Decoder(list[msgspec.Raw])
_REST_AGG_TRADE = msgspec.json.Decoder(_RestAggTrade)
_REST_TRADE = msgspec.json.Decoder(_RestTrade)
_DEPTH_HEAD = '{"e":"depthUpdate"'
_DEPTH_HEAD_BYTES = _DEPTH_HEAD.encode()


def decode(text: str | bytes) -> Message:
    """The typed message in a frame's payload (without a combined stream's wrapper).

    Raises:
        Undecodable: not JSON, an event type that is not collected, or a field missing or of the wrong type.
    """
    head = _DEPTH_HEAD if isinstance(text, str) else _DEPTH_HEAD_BYTES
    try:
        if text.startswith(head):  # type: ignore[arg-type]  # str with str, bytes with bytes
            message: Message = _BY_EVENT_TYPE["depthUpdate"].decode(text)
        else:
            event_type = _EVENT_TYPE.decode(text).e
            decoder = _BOOK_TICKER if event_type is None else _BY_EVENT_TYPE.get(event_type)
            if decoder is None:
                raise Undecodable(f"unknown event type {event_type[:40]!r}" if event_type else "no event type")
            message = decoder.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Undecodable(str(error)) from error
    if isinstance(message, DepthUpdate) and message.U > message.u:
        raise Undecodable(f"first id {message.U} above last id {message.u}")
    return message


def decode_rest_book(text: bytes) -> RestBook:
    """The snapshot in a REST depth response.

    Raises:
        Undecodable: not JSON, or without `lastUpdateId`, `bids` or `asks`.
    """
    try:
        return _REST_BOOK.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Undecodable(str(error)) from error


def rest_rows(body: bytes | msgspec.Raw) -> list[msgspec.Raw]:
    """The rows of a REST answer, each as received.

    Raises:
        Undecodable: it is no JSON list.
    """
    try:
        return _ROWS.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Undecodable(str(error)) from error


def decode_rest_trade(channel: str, symbol: str, row: bytes | msgspec.Raw) -> AggTrade | Trade:
    """A row of REST aggTrades (channel `trades`) or historicalTrades (`raw_trades`) as the message of a stream.

    REST does not say when it sent a trade; that is then the trade's own time.

    Raises:
        Undecodable: a field is missing or of the wrong type.
    """
    try:
        if channel == "trades":
            agg = _REST_AGG_TRADE.decode(row)
            return AggTrade(agg.T, symbol, agg.a, agg.p, agg.q, agg.f, agg.l, agg.T, agg.m, agg.nq)
        one = _REST_TRADE.decode(row)
        return Trade(one.time, symbol, one.id, one.price, one.qty, one.time, one.is_buyer_maker)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Undecodable(str(error)) from error


def event_time_ms(stamp: int) -> int:
    """A time of the exchange in milliseconds, before the year 10000.

    Streams opened with `timeUnit=MICROSECOND` send 16 digits; no time in milliseconds has as many.
    """
    return stamp // 1000 if stamp > _LAST_MS else stamp
