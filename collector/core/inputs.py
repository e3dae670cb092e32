"""What reaches a market besides the exchange's own messages. A capture holds these as `!collector` lines.

Live and replay hand the same objects to the same market, so that a replay gives the same rows.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from collector.core.gaps import Gap, Unfilled
from collector.core.sequencer import Position


class Resume(msgspec.Struct):
    """What a market remembers across sessions: how far each stream got, gaps that are open or may still be filled
    by REST, and the last epoch written. `events` are those of the time `last_ns`, after which the next one is numbered.
    `unheard` are streams that were listened for and of which nothing had come by then, and `silent_ns` says since when
    those of them were subscribed to that had a connection: it may have been dead.

    `events_until_ns`, where it is not 0: rows were refused after `last_ns`, and of what came until then `events` alone
    is stored.
    """

    positions: dict[str, Position] = {}
    open_gaps: dict[str, Gap] = {}
    last_epoch: int | None = None
    last_ns: int = 0
    unfilled: list[Unfilled] = []
    events: int = 0
    unheard: tuple[str, ...] = ()
    events_until_ns: int = 0
    silent_ns: dict[str, int] = {}


class SessionStarted(msgspec.Struct, tag_field="event", tag="session_started", kw_only=True):
    """A session begins; everything that decides about rows. `protocol` says what frames and ids mean: `binance`,
    `bybit`, or `unified` for an exchange that only ccxt understands.

    `bars` names intervals. `tick_sizes` None makes no multi-tick book, and () lets the price decide on the ticks.
    `book_grid_ms` None makes no rows of `books`.
    """

    exchange: str
    symbol: str
    futures: bool
    interval_s: int = 1
    step: float = 0.00002
    steps: int = 40
    reference: str = "best"
    stale_after_s: float = 5.0
    channels: tuple[str, ...] = ("depth", "trades", "book_ticker")
    resume: Resume | None = None
    protocol: str = "binance"
    bars: tuple[str, ...] = ()
    tick_sizes: tuple[str, ...] | None = None
    num_levels: int = 15
    ask_rounding: Literal["ceil", "floor"] = "ceil"
    book_grid_ms: int | None = None
    book_depth: int = 25
    features: str = "none"
    """Those that are computed, with commas."""
    model: str | None = None
    """The fingerprint of the model file whose forecasts are made."""


class SessionStopped(msgspec.Struct, tag_field="event", tag="session_stopped"):
    """The session ends; no input follows."""

    reason: str


class Opened(msgspec.Struct, tag_field="event", tag="opened"):
    """The exchange acknowledged a subscription."""

    connection: int
    channels: list[str]


class Closed(msgspec.Struct, tag_field="event", tag="closed"):
    """A connection is gone, or its streams are dead."""

    connection: int
    channels: list[str]
    reason: str


class AnchorRequested(msgspec.Struct, tag_field="event", tag="anchor_requested"):
    """A REST snapshot is about to be asked for."""

    reason: str


class AnchorArrived(msgspec.Struct, tag_field="event", tag="anchor_arrived"):
    """How the snapshot that follows in the capture was asked for."""

    requested_ns: int
    reason: str
    limit: int


class Verbatim(msgspec.Struct, tag_field="event", tag="verbatim"):
    """A frame that cannot stand in a capture line as it is: not JSON, or with line breaks. Usually for quarantine."""

    connection: int
    text: bytes


class RestTrades(msgspec.Struct, tag_field="event", tag="rest_trades"):
    """Trades that were fetched because a gap lacks them: rows of a REST answer, as received. `channel` is `trades`
    (rows of aggTrades) or `raw_trades` (rows of trades or historicalTrades); those that no gap lacks count for nothing.
    """

    channel: str
    rows: msgspec.Raw


class HealingEnded(msgspec.Struct, tag_field="event", tag="healing_ended"):
    """Nothing will fill a gap any more, for a reason that people want to know."""

    channel: str
    gap_id: str
    reason: str


class Refused(msgspec.Struct, tag_field="event", tag="refused"):
    """Rows that were received but could not be kept, since the journal or the disk was full."""

    stream: str
    reason: str
    from_id: int | None
    to_id: int | None
    from_ns: int
    to_ns: int


class Polled(msgspec.Struct, tag_field="event", tag="polled"):
    """The body of a REST answer that was asked for at an interval: `book` of `limit` levels, or `open_interest`."""

    what: Literal["book", "open_interest"]
    requested_ns: int
    text: bytes
    limit: int = 0


class Tick(msgspec.Struct, tag_field="event", tag="tick"):
    """Time passed without an input."""


class Note(msgspec.Struct, tag_field="event", tag="note"):
    """Something of the process or the feed that belongs into this market's events."""

    kind: str
    detail: str


class UnifiedBook(msgspec.Struct, tag_field="event", tag="unified_book"):
    """The whole book as ccxt unifies it, [price, quantity] a level, after its last change at `changed_ns`."""

    changed_ns: int
    timestamp_ms: int | None
    nonce: int | None
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]


class UnifiedTrade(msgspec.Struct, array_like=True):
    """A trade as ccxt unifies it; price and quantity as plain decimals. `side` is the taker's."""

    ident: str
    timestamp_ms: int | None
    price: str
    quantity: str
    side: str | None


class UnifiedTrades(msgspec.Struct, tag_field="event", tag="unified_trades"):
    """The trades of one frame."""

    trades: list[UnifiedTrade]


class Kline(msgspec.Struct, array_like=True, frozen=True):
    """A bar that is over, as REST tells it; `buy_volume` is what takers bought, `trades` counts."""

    open_time_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float
    buy_volume: float
    buy_quote_volume: float
    trades: int


class History(msgspec.Struct, tag_field="event", tag="history"):
    """Bars of the time before, oldest first, that features start from. `interval` as in `1m`."""

    interval: str
    klines: list[Kline]


class AvwapAnchor(msgspec.Struct, tag_field="event", tag="avwap_anchor"):
    """Where the anchored VWAP starts: `manual`: now; `auto`: at the start of each quarter of an hour."""

    mode: Literal["auto", "manual"]


CollectorInput: TypeAlias = (
    SessionStarted
    | SessionStopped
    | Opened
    | Closed
    | AnchorRequested
    | AnchorArrived
    | Verbatim
    | RestTrades
    | HealingEnded
    | Refused
    | Polled
    | Tick
    | Note
    | UnifiedBook
    | UnifiedTrades
    | History
    | AvwapAnchor
)

encode_input = msgspec.json.Encoder().encode
decode_input = msgspec.json.Decoder(CollectorInput).decode
