"""Stored gaps that a backfill has filled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa

from collector.audit.gaps import id_cover, read_gaps
from collector.backfill.sink import WRITER, store
from collector.core.gaps import Gap
from collector.stored import neighbours
from storage_backends.schema import TABLES

if TYPE_CHECKING:
    from collector.core.ids import IdRanges
    from storage_backends.interface import Backend, Market


def state_healed(backend: Backend, market: Market, stream: str, have: IdRanges, by: str) -> int:
    """States every gap of `stream` as healed whose ids are all in `have`; gives how many there were.

    A gap whose ids a later gap says are missing for another reason (a row in quarantine, say) is not looked at twice:
    each gap stands for itself.

    Raises:
        CollectorError: the backend refused or failed.
    """
    healed = [
        msgspec.structs.replace(gap, revision=gap.revision + 1, healed=True, healed_by=by)
        for gap in read_gaps(backend, market)
        if gap.stream == stream
        and not gap.healed
        and gap.from_id is not None
        and gap.to_id is not None
        and have.holds(gap.from_id, gap.to_id)
    ]
    for gap in healed:
        _state(backend, market, gap)
    return len(healed)


def state_missing(
    backend: Backend, market: Market, stream: str, have: IdRanges, start_ns: int, end_ns: int, now_ns: int
) -> None:
    """States as gaps, `not collected`, the ids that nothing else tells of: those that are missing between the rows of
    [start_ns, end_ns), whose ids are `have`, and from there to the nearest rows before and after.

    Raises:
        CollectorError: the backend refused or failed.
    """
    if have.first is None or have.last is None:
        return
    before, after = neighbours(backend, market, stream, start_ns, end_ns)
    holes = [(first, last, start_ns, end_ns) for first, last in have.missing(have.first, have.last)]
    if before is not None:
        holes.append((before[0] + 1, have.first - 1, before[1], max(start_ns, before[1])))
    if after is not None:
        holes.append((have.last + 1, after[0] - 1, min(end_ns, after[1]), after[1]))
    known = id_cover(read_gaps(backend, market), stream)
    for from_id, to_id, from_ns, to_ns in holes:
        if from_id <= to_id and not known.holds(from_id, to_id):
            gap_id = f"{now_ns}-{stream}-not_collected-{from_id}"
            gap = Gap(gap_id, 0, stream, "not collected", from_id, to_id, from_ns, to_ns, now_ns)
            _state(backend, market, gap)


def _state(backend: Backend, market: Market, gap: Gap) -> None:
    # A write of its own each: files are named by time, and several gaps may have been noticed at one.
    rows = pa.Table.from_pylist([msgspec.structs.asdict(gap)], schema=TABLES["gaps"].schema)
    store(backend, market, "gaps", rows, f"{WRITER}-{gap.stream}-{gap.from_id}-{gap.revision}")
