"""Frames to typed messages. Only ids, times and names are read here; prices and quantities stay text until `decimals`.

Payloads: Binance "Web Socket Streams" (spot) and "Websocket Market Streams" (USDⓈ-M), July 2026. Unknown extra keys
(`st`, `ps`, …) are tolerated, since the exchange adds some every year.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

import msgspec

from collector.core.channels import is_kline, is_partial

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


class MarkPriceUpdate(msgspec.Struct, gc=False):
    """Mark price `p` and its average `ap`, index `i`, estimated settlement `P`, funding rate `r`, next funding `T`.

    Contracts that end by a date send empty texts, and 0, for what they do not have.
    """

    channel: ClassVar[str] = "mark_price"

    E: Stamp
    s: str
    p: str
    i: str = ""
    P: str = ""
    r: str = ""
    T: Stamp | str | None = None
    ap: str = ""


class ForcedOrder(msgspec.Struct, gc=False):
    """The order inside a liquidation message."""

    s: str
    S: Literal["BUY", "SELL"]
    o: str
    f: str
    q: str
    p: str
    ap: str
    X: str
    l: str  # noqa: E741  the exchange's name
    z: str
    T: Stamp


class ForceOrder(msgspec.Struct, gc=False):
    """A liquidation; the exchange shows the latest one of each second."""

    channel: ClassVar[str] = "liquidations"

    E: Stamp
    o: ForcedOrder

    @property
    def s(self) -> str:
        """The market."""
        return self.o.s


class Candle(msgspec.Struct, gc=False):
    """What a kline message holds. Trade ids are -1 where there was no trade."""

    t: Stamp
    T: Stamp
    i: str
    f: Annotated[int, msgspec.Meta(ge=-1, le=2**62)]
    L: Annotated[int, msgspec.Meta(ge=-1, le=2**62)]
    o: str
    c: str
    h: str
    l: str  # noqa: E741  the exchange's name
    v: str
    n: Annotated[int, msgspec.Meta(ge=0, le=2**62)]
    x: bool
    q: str
    V: str
    Q: str


class Kline(msgspec.Struct, gc=False):
    """The state of one kline."""

    E: Stamp
    s: str
    k: Candle

    @property
    def channel(self) -> str:
        """By its interval: each has a stream of its own."""
        return f"kline_{self.k.i}"


class PartialDepth(msgspec.Struct, gc=False):
    """The best `levels` levels after update `u`. Spot sends no times.

    Only the exchange's wrapper tells what it is: spot's names no market, and that of futures looks like a diff.
    `payload` is the frame without the wrapper.
    """

    s: str
    levels: int
    u: Id
    b: msgspec.Raw
    a: msgspec.Raw
    E: Stamp | None
    T: Stamp | None
    payload: bytes

    @property
    def channel(self) -> str:
        """By its depth: each has a stream of its own."""
        return f"depth{self.levels}"


Message: TypeAlias = DepthUpdate | AggTrade | Trade | BookTicker | MarkPriceUpdate | ForceOrder | Kline | PartialDepth


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


class _Wrapped(msgspec.Struct):
    stream: str
    data: msgspec.Raw


_BY_EVENT_TYPE: dict[str, msgspec.json.Decoder[Message]] = {
    "depthUpdate": msgspec.json.Decoder(DepthUpdate),
    "aggTrade": msgspec.json.Decoder(AggTrade),
    "trade": msgspec.json.Decoder(Trade),
    "bookTicker": msgspec.json.Decoder(BookTicker),
    "markPriceUpdate": msgspec.json.Decoder(MarkPriceUpdate),
    "forceOrder": msgspec.json.Decoder(ForceOrder),
    "kline": msgspec.json.Decoder(Kline),
}
_BOOK_TICKER = _BY_EVENT_TYPE["bookTicker"]
_EVENT_TYPE = msgspec.json.Decoder(_EventType)
_REST_BOOK = msgspec.json.Decoder(RestBook)
_ROWS = msgspec.json.Decoder(list[msgspec.Raw])
_REST_AGG_TRADE = msgspec.json.Decoder(_RestAggTrade)
_REST_TRADE = msgspec.json.Decoder(_RestTrade)
_DEPTH_UPDATE = msgspec.json.Decoder(DepthUpdate)
_WRAPPED = msgspec.json.Decoder(_Wrapped)
_WRAPPED_HEAD = '{"stream":'
_WRAPPED_HEAD_BYTES = _WRAPPED_HEAD.encode()
_DEPTH_HEAD = '{"e":"depthUpdate"'
_DEPTH_HEAD_BYTES = _DEPTH_HEAD.encode()


def decode(text: str | bytes) -> Message:
    """The typed message in a frame, which stands in the exchange's wrapper (`{"stream":…,"data":…}`) or does not.

    Raises:
        Undecodable: not JSON, an event type that is not collected, or a field missing or of the wrong type.
    """
    head = _DEPTH_HEAD if isinstance(text, str) else _DEPTH_HEAD_BYTES
    try:
        if text.startswith(head):  # type: ignore[arg-type]  # str with str, bytes with bytes
            message: Message = _DEPTH_UPDATE.decode(text)
        elif text.startswith(_WRAPPED_HEAD if isinstance(text, str) else _WRAPPED_HEAD_BYTES):  # type: ignore[arg-type]
            wrapped = _WRAPPED.decode(text)
            return decode_named(wrapped.stream, bytes(wrapped.data))
        else:
            event_type = _EVENT_TYPE.decode(text).e
            decoder = _BOOK_TICKER if event_type is None else _BY_EVENT_TYPE.get(event_type)
            if decoder is None:
                raise Undecodable(f"unknown event type {event_type[:40]!r}" if event_type else "no event type")
            message = decoder.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Undecodable(str(error)) from error
    if isinstance(message, DepthUpdate):
        if message.U > message.u:
            raise Undecodable(f"first id {message.U} above last id {message.u}")
    elif isinstance(message, Kline) and not is_kline(message.channel):
        raise Undecodable(f"a kline of interval {message.k.i[:10]!r}")
    return message


def decode_named(stream: str, data: bytes) -> Message:
    """The typed message in `data`, which came under the exchange's name `stream`, as in `btcusdt@depth20@100ms`.

    Raises:
        Undecodable: as `decode`; or it is of another market or channel than its name says.
    """
    symbol, _, rest = stream.partition("@")
    symbol, channel = symbol.upper(), rest.partition("@")[0]
    if not is_partial(channel):
        if data.startswith(_WRAPPED_HEAD_BYTES):
            raise Undecodable("a wrapper in a wrapper")
        message = decode(data)
        if message.s != symbol:
            raise Undecodable(f"of {message.s[:40]!r}, under the name {stream[:60]!r}")
        return message
    levels = int(channel.removeprefix("depth"))
    try:
        if _EVENT_TYPE.decode(data).e is None:
            book = _REST_BOOK.decode(data)
            return PartialDepth(symbol, levels, book.lastUpdateId, book.bids, book.asks, book.E, book.T, data)
        update = _DEPTH_UPDATE.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Undecodable(str(error)) from error
    if update.s != symbol:
        raise Undecodable(f"of {update.s[:40]!r}, under the name {stream[:60]!r}")
    return PartialDepth(symbol, levels, update.u, update.b, update.a, update.E, update.T, data)


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
