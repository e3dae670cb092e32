"""Tables of the order book as it was received: diffs, snapshots, partial and polled books."""

from __future__ import annotations

import pyarrow as pa

from storage_backends.schema.columns import (
    EARLIEST,
    EVENT_TIME,
    INT,
    LADDER,
    MAYBE_EVENT_TIME,
    RECV_NS,
    SMALL,
    TEXT,
    TRANSACT_TIME,
    column,
    maybe,
)
from storage_backends.schema.table import Table

DIFFS = Table(
    "diffs",
    pa.schema(
        [
            column("first_id", INT, "first update id in the message (U)"),
            column("last_id", INT, "last update id in the message (u)"),
            maybe("prev_id", INT, "last id of the message before (pu); null on spot"),
            EVENT_TIME,
            TRANSACT_TIME,
            RECV_NS,
            column("connection", SMALL, "number of the connection it came by, from 1 in each session"),
            *LADDER,
        ]
    ),
    key=("last_id",),
    time="event_time",
    time_unit="ms",
    version=1,
    description="depth messages as received",
    prefer=EARLIEST,
)

SNAPSHOTS = Table(
    "snapshots",
    pa.schema(
        [
            column("last_update_id", INT, "the last update id in the snapshot"),
            *LADDER,
            MAYBE_EVENT_TIME,
            TRANSACT_TIME,
            column("request_ns", INT, "ns, when it was asked for"),
            column("recv_ns", INT, "ns, when the answer was complete"),
            column("limit", SMALL, "levels a side that were asked for"),
            column("reason", TEXT, "why it was asked for"),
            maybe("compared_levels", SMALL, "levels compared with our book; null when there was none"),
            maybe("differing_levels", SMALL, "levels of those that differed from our book"),
        ]
    ),
    key=("last_update_id",),
    time="recv_ns",
    time_unit="ns",
    version=1,
    description="REST snapshots of the book",
    prefer=EARLIEST,
    key_spread_ns=60_000_000_000,
)

PARTIAL_DEPTH = Table(
    "partial_depth",
    pa.schema(
        [
            column("last_update_id", INT, "the last update id in the message (u; spot: lastUpdateId)"),
            column("levels", SMALL, "levels a side that the stream gives: 5, 10 or 20"),
            *LADDER,
            MAYBE_EVENT_TIME,
            TRANSACT_TIME,
            RECV_NS,
        ]
    ),
    key=("last_update_id", "levels"),
    time="recv_ns",  # spot sends no time
    time_unit="ns",
    version=1,
    description="best levels as the exchange streams them",
    prefer=EARLIEST,
    key_spread_ns=60_000_000_000,
)

POLLED_BOOKS = Table(
    "polled_books",
    pa.schema(
        [
            column("last_update_id", INT, "the last update id in the book"),
            column("limit", SMALL, "levels a side that were asked for"),
            *LADDER,
            MAYBE_EVENT_TIME,
            TRANSACT_TIME,
            column("request_ns", INT, "ns, when it was asked for"),
            column("recv_ns", INT, "ns, when the answer was complete"),
        ]
    ),
    key=("last_update_id", "limit"),
    time="recv_ns",
    time_unit="ns",
    version=1,
    description="books fetched by REST at an interval",
    prefer=EARLIEST,
    # A quiet book may keep its id for long; one that is fetched again under the same id is the same book.
    key_spread_ns=86_400_000_000_000,
)
