"""Tables that tell how far the others can be trusted."""

from __future__ import annotations

import pyarrow as pa

from storage_backends.schema.columns import FLOAT, INT, SMALL, TEXT, column, maybe
from storage_backends.schema.table import Table

GAPS = Table(
    "gaps",
    pa.schema(
        [
            column("gap_id", TEXT, "names one gap through all its revisions"),
            column("revision", SMALL, "from 1; the newest statement about a gap counts"),
            column("stream", TEXT, "what is missing: depth, trades, ..."),
            column("reason", TEXT, "why it is missing"),
            maybe("from_id", INT, "first missing id, where ids tell"),
            maybe("to_id", INT, "last missing id, where ids tell"),
            column("from_ns", INT, "ns, from here on rows may be missing"),
            maybe("to_ns", INT, "ns, up to here, exclusive; null while the gap is open"),
            column("detected_ns", INT, "ns, when this statement was made"),
            column("healed", pa.bool_(), "true: every missing row has been stored since"),
            maybe("healed_by", TEXT, "where the missing rows came from"),
        ]
    ),
    key=("gap_id", "revision"),
    time="detected_ns",
    time_unit="ns",
    version=1,
    description="statements about what is missing; the newest revision of a gap counts",
    prefer=(("detected_ns", "ascending"),),
)

CLOCK = Table(
    "clock",
    pa.schema(
        [
            column("time_ns", INT, "ns, when it was measured or noticed"),
            column("sequence", SMALL, "tells rows of one instant apart"),
            column("kind", TEXT, "offset (exchange minus collector) or step (wall clock minus collector)"),
            column("offset_ns", INT, "ns"),
            maybe("round_trip_ns", INT, "ns, of the sample that the offset is from"),
            maybe("samples", SMALL, "samples that it was chosen from"),
        ]
    ),
    key=("time_ns", "sequence"),
    time="time_ns",
    time_unit="ns",
    version=1,
    description="offsets to the exchange's clock and steps of the wall clock",
)

EVENTS = Table(
    "events",
    pa.schema(
        [
            column("time_ns", INT, "ns, when it happened"),
            column("sequence", SMALL, "tells rows of one instant apart"),
            column("kind", TEXT, "session_started, opened, closed, in_step, out_of_step, quarantine, …"),
            maybe("stream", TEXT, "the stream concerned"),
            maybe("connection", SMALL, "the connection concerned"),
            column("detail", TEXT, "for people"),
            maybe("text", pa.binary(), "a quarantined frame, as received"),
        ]
    ),
    key=("time_ns", "sequence"),
    time="time_ns",
    time_unit="ns",
    version=1,
    description="what happened: connections, resyncs, quarantined frames",
)

QUALITY = Table(
    "quality",
    pa.schema(
        [
            column("epoch", INT, "s, the second that ended"),
            column("ok", pa.bool_(), "whether nothing was wrong"),
            column("grade", TEXT, "ok, degraded or bad; gets better only after 30 s without cause"),
            column("reasons", TEXT, "stable names with spaces between; after_… while recovering"),
            maybe("lag_p50_ms", FLOAT, "exchange's stamp to receipt, median of a minute; null without messages"),
            maybe("lag_p95_ms", FLOAT, "the same, exceeded by 5 %"),
            maybe("lag_p99_ms", FLOAT, "the same, exceeded by 1 %"),
            column("late_ms", FLOAT, "how long after its end the second was closed"),
            maybe("clock_offset_ms", FLOAT, "exchange clock minus ours, as last measured"),
            maybe("journal_lag_ms", FLOAT, "age of the oldest row of the last commit when it was on disk"),
            maybe("backend_lag_ms", FLOAT, "age of the oldest row that the backend has not confirmed"),
            maybe(
                "book_lag_ms",
                FLOAT,
                "longest time in this second from a depth message's receipt until the book held it; null without any",
            ),
        ]
    ),
    key=("epoch",),
    time="epoch",
    time_unit="s",
    version=2,
    description="how far a market's data could be trusted, second by second",
    prefer=(("ok", "descending"),),
)
