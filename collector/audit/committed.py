"""Streams whose ids do not count: the rows that are stored against the numbers that collectors state.

Nothing in such rows shows that one of them is missing. What a collector has committed it states once a minute, as spans
of ids with the number of messages in each (`collector.coverage`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from collector.audit.findings import Findings
from collector.core.epochs import SECOND_NS
from collector.core.gaps import Gap
from collector.core.ids import IdRanges
from collector.coverage import UNCOUNTED, Statement

if TYPE_CHECKING:
    from storage_backends.interface import Backend, Market

_STATED_WITHIN_NS: Final = 180 * SECOND_NS
"""How long after its first message a span is stated: a minute, and what a process may have stood still."""

_AFTERWARDS: Final = frozenset({"refused by the backend", "damaged in the journal"})
"""Reasons of gaps in what had been committed."""


class CountedSpan(NamedTuple):
    """`rows` messages with ids above `after_id` and up to `to_id` were committed, as was stated at `stated_ns`."""

    stated_ns: int
    after_id: int
    to_id: int
    rows: int


def counted_spans(stated_ns: int, statement: Statement) -> Iterable[tuple[str, CountedSpan]]:
    """The spans of a statement that say how many messages they hold, with their streams."""
    for stream, counts in statement.rows.items():
        for span, rows in zip(statement.streams.get(stream, ()), counts, strict=False):
            yield stream, CountedSpan(stated_ns, span.after_id, span.to_id, rows)


def check_committed(
    backend: Backend,
    market: Market,
    stream: str,
    spans: Sequence[CountedSpan],
    gaps: Iterable[Gap],
    findings: Findings,
    start_ns: int | None = None,
    end_ns: int | None = None,
) -> IdRanges:
    """Tells of spans of which rows are missing; gives the ids of those that are all there.

    A span is looked at from the row before it to its last one, where both are stored: the oldest may have been deleted,
    and the newest may be on their way, which go in the order of their commits. One that a gap touches in what had been
    committed already is not looked at.

    Raises:
        BackendError: the store cannot be read.
    """
    lost = [(gap.from_ns, gap.to_ns) for gap in gaps if gap.stream == stream and gap.reason in _AFTERWARDS]
    spans = [
        span
        for span in spans
        if (start_ns is None or span.stated_ns - _STATED_WITHIN_NS >= start_ns)
        and (end_ns is None or span.stated_ns + SECOND_NS <= end_ns)
        and not any(
            from_ns <= span.stated_ns and (to_ns is None or to_ns >= span.stated_ns - _STATED_WITHIN_NS)
            for from_ns, to_ns in lost
        )
    ]
    complete = IdRanges()
    if not spans:
        return complete
    after, to = (np.array(column, np.int64) for column in list(zip(*spans, strict=True))[1:3])
    stored = np.zeros(len(spans), np.int64)
    first = last = None
    column = UNCOUNTED[stream]
    for batch in backend.scan(stream, market, start_ns, end_ns, (column,)):
        ids = np.sort(batch.column(column).to_numpy())
        low, high = int(ids[0]), int(ids[-1])
        first, last = min(low, low if first is None else first), max(high, high if last is None else last)
        touched = np.flatnonzero((after < high) & (to >= low))
        stored[touched] += np.searchsorted(ids, to[touched], "right") - np.searchsorted(ids, after[touched], "right")
    for span, found in zip(spans, stored.tolist(), strict=True):
        if first is None or last is None or not (first <= span.after_id and span.to_id <= last):
            continue
        if found >= span.rows:
            complete.add(span.after_id + 1, span.to_id)
        else:
            rows = "a row is" if span.rows - found == 1 else f"{span.rows - found:,} rows are"
            what = f"{rows} missing of {span.rows:,} that were committed in the minute before, and no gap tells of it"
            findings.hole(stream, span.stated_ns, what)
    return complete
