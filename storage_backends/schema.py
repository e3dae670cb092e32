"""The one definition of every table: columns, key, time and version.

Exchange and symbol are no columns; a backend keeps them beside the rows (Parquet: as folders). Prices and quantities
are float64 that print back to the exchange's own text. `*_ns` are nanoseconds since the Unix epoch (UTC) by the
collector's clock; `event_time`, `transact_time` and `timestamp` are milliseconds by the exchange's.

Columns are only ever added, nullable and at the end, and then the table's version goes up: a file of an older version
reads as if the new columns were null.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import pyarrow as pa

from storage_backends.errors import PermanentBackendError

SCHEMA_VERSION: Final = 2
"""The highest version among the tables below."""

NS_PER_UNIT: Final = {"s": 1_000_000_000, "ms": 1_000_000, "ns": 1}


@dataclass(frozen=True)
class Table:
    """One table.

    A key is unique within a market once scanned. `time` names the int64 column, in `time_unit`, that ranges and dates
    go by. Where a key was stored more than once, `prefer` says which row a scan gives: (column, "ascending" or
    "descending"), the first column deciding first, nulls last; what is still equal goes by file name.
    `key_spread_ns` bounds how far apart the times of rows with one key can lie; 0 where the key fixes the time.
    """

    name: str
    schema: pa.Schema
    key: tuple[str, ...]
    time: str
    time_unit: Literal["s", "ms", "ns"]
    version: int
    description: str
    prefer: tuple[tuple[str, Literal["ascending", "descending"]], ...] = ()
    key_spread_ns: int = 0

    @property
    def ns_per_unit(self) -> int:
        """Nanoseconds in one unit of the time column."""
        return NS_PER_UNIT[self.time_unit]

    @property
    def span(self) -> str:
        """The integer column whose smallest and largest value name a file: the key's first, or else the time."""
        return self.key[0] if pa.types.is_integer(self.schema.field(self.key[0]).type) else self.time


def _column(name: str, kind: pa.DataType, doc: str, *, nullable: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"doc": doc})


def _maybe(name: str, kind: pa.DataType, doc: str) -> pa.Field:
    return _column(name, kind, doc, nullable=True)


_INT = pa.int64()
_SMALL = pa.int32()
_FLOAT = pa.float64()
_TEXT = pa.string()
_LEVELS = pa.list_(pa.field("item", pa.float64(), nullable=False))
_BUCKETS = pa.list_(pa.float32())

_RECV_NS = _column("recv_ns", _INT, "ns, when the message left the socket")
_EVENT_TIME = _column("event_time", _INT, "ms, exchange clock: when the exchange sent it")
_MAYBE_EVENT_TIME = _maybe(
    "event_time", _INT, "ms, exchange clock: when the exchange sent it; null where it does not say"
)
_TRANSACT_TIME = _maybe("transact_time", _INT, "ms, exchange clock: matching engine; null on spot")
_LADDER = [
    _column("bid_price", _LEVELS, "quote currency, in the exchange's order"),
    _column("bid_quantity", _LEVELS, "base currency, one a bid price; 0 removes the level"),
    _column("ask_price", _LEVELS, "quote currency, in the exchange's order"),
    _column("ask_quantity", _LEVELS, "base currency, one an ask price; 0 removes the level"),
]
_SOURCE = _column("source", _TEXT, "ws, or rest where it was fetched afterwards")
_EARLIEST: tuple[tuple[str, Literal["ascending", "descending"]], ...] = (("recv_ns", "ascending"),)

_DEPTH = Table(
    "depth",
    pa.schema(
        [
            _column("epoch", _INT, "s, the state after every input received before this second and none after"),
            _maybe("best_bid", _FLOAT, "quote currency; null on an empty or unknown side"),
            _maybe("best_ask", _FLOAT, "quote currency; null on an empty or unknown side"),
            _maybe("price", _FLOAT, "quote currency, the middle of best bid and best ask"),
            _maybe("bid_buckets", _BUCKETS, "quote currency by log-distance below ref; null beyond the known book"),
            _maybe("ask_buckets", _BUCKETS, "quote currency by log-distance above ref; null beyond the known book"),
            _column("step_pct", _FLOAT, "log-distance of one bucket, as a fraction (0.00002 = 0.2 bp)"),
            _column("num_steps", _SMALL, "buckets a side"),
            _column("ref", _TEXT, "where distances start: best (each side's own best price) or mid"),
            _maybe("bid_coverage", pa.float32(), "known log-distance / (step_pct * num_steps), at most 1"),
            _maybe("ask_coverage", pa.float32(), "known log-distance / (step_pct * num_steps), at most 1"),
            _maybe("last_update_id", _INT, "the last depth message in the book"),
            _maybe("event_time", _INT, "ms, exchange clock, of that message"),
            _maybe("recv_ns", _INT, "ns, receipt of that message"),
            _maybe("book_age_ms", _INT, "ms from that receipt to the epoch"),
            _column("valid", pa.bool_(), "in sync, connected, no open gap and fresh, as known when written"),
        ]
    ),
    key=("epoch",),
    time="epoch",
    time_unit="s",
    version=1,
    description="the book in log-distance buckets, one row a second",
    # Of two collectors the one with a sound and fresh book tells more than the one that stalled.
    prefer=(("valid", "descending"), ("recv_ns", "descending")),
)

_DIFFS = Table(
    "diffs",
    pa.schema(
        [
            _column("first_id", _INT, "first update id in the message (U)"),
            _column("last_id", _INT, "last update id in the message (u)"),
            _maybe("prev_id", _INT, "last id of the message before (pu); null on spot"),
            _EVENT_TIME,
            _TRANSACT_TIME,
            _RECV_NS,
            _column("connection", _SMALL, "number of the connection it came by, from 1 in each session"),
            *_LADDER,
        ]
    ),
    key=("last_id",),
    time="event_time",
    time_unit="ms",
    version=1,
    description="depth messages as received",
    prefer=_EARLIEST,
)

_SNAPSHOTS = Table(
    "snapshots",
    pa.schema(
        [
            _column("last_update_id", _INT, "the last update id in the snapshot"),
            *_LADDER,
            _MAYBE_EVENT_TIME,
            _TRANSACT_TIME,
            _column("request_ns", _INT, "ns, when it was asked for"),
            _column("recv_ns", _INT, "ns, when the answer was complete"),
            _column("limit", _SMALL, "levels a side that were asked for"),
            _column("reason", _TEXT, "why it was asked for"),
            _maybe("compared_levels", _SMALL, "levels compared with our book; null when there was none"),
            _maybe("differing_levels", _SMALL, "levels of those that differed from our book"),
        ]
    ),
    key=("last_update_id",),
    time="recv_ns",
    time_unit="ns",
    version=1,
    description="REST snapshots of the book",
    prefer=_EARLIEST,
    key_spread_ns=60_000_000_000,
)

_TRADES = Table(
    "trades",
    pa.schema(
        [
            _column("agg_trade_id", _INT, "aggregate trade id (a)"),
            _column("first_id", _INT, "first trade id in it (f)"),
            _column("last_id", _INT, "last trade id in it (l)"),
            _column("price", _FLOAT, "quote currency"),
            _column("quantity", _FLOAT, "base currency"),
            _maybe("normal_quantity", _FLOAT, "base currency without price-improvement orders (nq); null if unsaid"),
            _column("is_buyer_maker", pa.bool_(), "true: the seller took liquidity"),
            _column("timestamp", _INT, "ms, exchange clock: when it was made"),
            _RECV_NS,
            _SOURCE,
        ]
    ),
    key=("agg_trade_id",),
    time="timestamp",
    time_unit="ms",
    version=1,
    description="aggregate trades",
    prefer=_EARLIEST,
)

_RAW_TRADES = Table(
    "raw_trades",
    pa.schema(
        [
            _column("trade_id", _INT, "trade id (t); where the exchange has no such number, see venue_id"),
            _column("price", _FLOAT, "quote currency"),
            _column("quantity", _FLOAT, "base currency"),
            _column("is_buyer_maker", pa.bool_(), "true: the seller took liquidity"),
            _column("timestamp", _INT, "ms, exchange clock: when it was made"),
            _maybe("order_type", _TEXT, "futures: MARKET, INSURANCE_FUND, ... (X); null on spot"),
            _RECV_NS,
            _SOURCE,
            _maybe(
                "venue_id",
                _TEXT,
                "the exchange's id where it is no integer; trade_id is then timestamp << 20 plus a checksum of it",
            ),
        ]
    ),
    key=("trade_id",),
    time="timestamp",
    time_unit="ms",
    version=2,
    description="single trades",
    prefer=_EARLIEST,
)

_BOOK_TICKER = Table(
    "book_ticker",
    pa.schema(
        [
            _column("update_id", _INT, "order book update id (u)"),
            _column("bid_price", _FLOAT, "quote currency"),
            _column("bid_quantity", _FLOAT, "base currency"),
            _column("ask_price", _FLOAT, "quote currency"),
            _column("ask_quantity", _FLOAT, "base currency"),
            _MAYBE_EVENT_TIME,
            _TRANSACT_TIME,
            _RECV_NS,
        ]
    ),
    key=("update_id",),
    time="recv_ns",  # spot sends no time
    time_unit="ns",
    version=1,
    description="best bid and ask, each change",
    prefer=_EARLIEST,
    key_spread_ns=60_000_000_000,
)

_GAPS = Table(
    "gaps",
    pa.schema(
        [
            _column("gap_id", _TEXT, "names one gap through all its revisions"),
            _column("revision", _SMALL, "from 1; the newest statement about a gap counts"),
            _column("stream", _TEXT, "what is missing: depth, trades, ..."),
            _column("reason", _TEXT, "why it is missing"),
            _maybe("from_id", _INT, "first missing id, where ids tell"),
            _maybe("to_id", _INT, "last missing id, where ids tell"),
            _column("from_ns", _INT, "ns, from here on rows may be missing"),
            _maybe("to_ns", _INT, "ns, up to here, exclusive; null while the gap is open"),
            _column("detected_ns", _INT, "ns, when this statement was made"),
            _column("healed", pa.bool_(), "true: every missing row has been stored since"),
            _maybe("healed_by", _TEXT, "where the missing rows came from"),
        ]
    ),
    key=("gap_id", "revision"),
    time="detected_ns",
    time_unit="ns",
    version=1,
    description="statements about what is missing; the newest revision of a gap counts",
    prefer=(("detected_ns", "ascending"),),
)

_CLOCK = Table(
    "clock",
    pa.schema(
        [
            _column("time_ns", _INT, "ns, when it was measured or noticed"),
            _column("sequence", _SMALL, "tells rows of one instant apart"),
            _column("kind", _TEXT, "offset (exchange minus collector) or step (wall clock minus collector)"),
            _column("offset_ns", _INT, "ns"),
            _maybe("round_trip_ns", _INT, "ns, of the sample that the offset is from"),
            _maybe("samples", _SMALL, "samples that it was chosen from"),
        ]
    ),
    key=("time_ns", "sequence"),
    time="time_ns",
    time_unit="ns",
    version=1,
    description="offsets to the exchange's clock and steps of the wall clock",
)

_EVENTS = Table(
    "events",
    pa.schema(
        [
            _column("time_ns", _INT, "ns, when it happened"),
            _column("sequence", _SMALL, "tells rows of one instant apart"),
            _column("kind", _TEXT, "session_started, opened, closed, in_step, out_of_step, quarantine, …"),
            _maybe("stream", _TEXT, "the stream concerned"),
            _maybe("connection", _SMALL, "the connection concerned"),
            _column("detail", _TEXT, "for people"),
            _maybe("text", pa.binary(), "a quarantined frame, as received"),
        ]
    ),
    key=("time_ns", "sequence"),
    time="time_ns",
    time_unit="ns",
    version=1,
    description="what happened: connections, resyncs, quarantined frames",
)

TABLES: Final[dict[str, Table]] = {
    table.name: table
    for table in (_DEPTH, _DIFFS, _SNAPSHOTS, _TRADES, _RAW_TRADES, _BOOK_TICKER, _GAPS, _CLOCK, _EVENTS)
}


def known(name: str) -> Table:
    """The table of that name.

    Raises:
        PermanentBackendError: there is none; names the choices.
    """
    table = TABLES.get(name)
    if table is None:
        raise PermanentBackendError(f"table {name!r} is not known; there are {', '.join(sorted(TABLES))}")
    return table


def bare(schema: pa.Schema) -> pa.Schema:
    """The schema without its documentation."""
    return pa.schema([field.remove_metadata() for field in schema]).remove_metadata()
