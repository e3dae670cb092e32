"""Columns, and those that several tables share."""

from __future__ import annotations

from typing import Final, Literal

import pyarrow as pa


def column(name: str, kind: pa.DataType, doc: str, *, nullable: bool = False) -> pa.Field:
    """A column that is never null, unless said; `doc` tells its unit and meaning."""
    return pa.field(name, kind, nullable=nullable, metadata={"doc": doc})


def maybe(name: str, kind: pa.DataType, doc: str) -> pa.Field:
    """A column that may be null; `doc` also says when."""
    return column(name, kind, doc, nullable=True)


INT = pa.int64()
SMALL = pa.int32()
FLOAT = pa.float64()
TEXT = pa.string()
LEVELS = pa.list_(pa.field("item", pa.float64(), nullable=False))
BUCKETS = pa.list_(pa.float32())

RECV_NS = column("recv_ns", INT, "ns, when the message left the socket")
EVENT_TIME = column("event_time", INT, "ms, exchange clock: when the exchange sent it")
MAYBE_EVENT_TIME = maybe("event_time", INT, "ms, exchange clock: when the exchange sent it; null where it does not say")
TRANSACT_TIME = maybe("transact_time", INT, "ms, exchange clock: matching engine; null on spot")
LADDER = [
    column("bid_price", LEVELS, "quote currency, in the exchange's order"),
    column("bid_quantity", LEVELS, "base currency, one a bid price; 0 removes the level"),
    column("ask_price", LEVELS, "quote currency, in the exchange's order"),
    column("ask_quantity", LEVELS, "base currency, one an ask price; 0 removes the level"),
]
LAST_UPDATE_ID = maybe("last_update_id", INT, "the last depth message in the book")
THAT_RECV_NS = maybe("recv_ns", INT, "ns, receipt of that message")
VALID = column("valid", pa.bool_(), "in sync, connected, no open gap and fresh, as known when written")
SOURCE = column("source", TEXT, "ws; rest or archive where it was fetched afterwards")
EARLIEST: Final[tuple[tuple[str, Literal["ascending", "descending"]], ...]] = (("recv_ns", "ascending"),)
SOUNDEST: Final[tuple[tuple[str, Literal["ascending", "descending"]], ...]] = (
    ("valid", "descending"),
    ("recv_ns", "descending"),
)
"""Of two collectors the one with a sound and fresh book tells more than the one that stalled."""
