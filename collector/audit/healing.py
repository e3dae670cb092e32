"""Gaps of one collector that another one has no part in.

Several collectors may have written into one store. A scan gives the rows of all of them, so a gap that one of them
states is one of the store only as far as the rows of the others do not fill it. Nothing is written: this is found at
reading. A gap without ids stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from collector.audit.gaps import read_gaps
from collector.core.ids import IdRanges
from collector.coverage import KIND, Statement, decode_statement
from collector.markets import FUTURES

if TYPE_CHECKING:
    from collector.core.gaps import Gap
    from storage_backends.interface import Backend, Market

HEALED_BY = "another collector"
_REFUSED = "refused by the backend"
_NEAR_NS = 60 * 1_000_000_000
_ID_TABLES = {"trades": ("trades", "agg_trade_id"), "raw_trades": ("raw_trades", "trade_id")}
"""Streams whose ids count by one, and where they are."""


def remaining(gaps: Sequence[Gap], held: Mapping[str, IdRanges], statements: Sequence[Statement] = ()) -> list[Gap]:
    """The same gaps in the same order, as far as they are still ones.

    `held` has the ids of each stream that rows prove. A gap whose ids are all held is healed, by `HEALED_BY`; of
    another one the first and last id are those that are missing still. Where rows prove nothing, a gap heals when the
    statements of a single collector cover it wholly, unless the backend refused rows there: they were stated before.
    """
    refused = [gap for gap in gaps if gap.reason == _REFUSED and not gap.healed]
    covers = _covers(statements)
    return [_remaining(gap, held.get(gap.stream), covers.get(gap.stream, []), refused) for gap in gaps]


def _remaining(gap: Gap, held: IdRanges | None, covers: list[IdRanges], refused: list[Gap]) -> Gap:
    if gap.healed or gap.to_ns is None:
        return gap
    if gap.from_id is not None and gap.to_id is not None and held is not None:
        missing = held.missing(gap.from_id, gap.to_id)
        if not missing:
            return _healed(gap)
        gap = msgspec.structs.replace(gap, from_id=missing[0][0], to_id=missing[-1][1])
    if any(one.stream == gap.stream and _overlap(one, gap) for one in refused):
        return gap
    counted = gap.from_id is not None and gap.to_id is not None
    if counted and any(ids.holds(gap.from_id or 0, gap.to_id or 0) for ids in covers):
        return _healed(gap)
    return gap


def _healed(gap: Gap) -> Gap:
    return msgspec.structs.replace(gap, healed=True, healed_by=HEALED_BY)


def _overlap(one: Gap, other: Gap) -> bool:
    return (other.to_ns is None or one.from_ns <= other.to_ns) and (one.to_ns is None or one.to_ns >= other.from_ns)


def _covers(statements: Iterable[Statement]) -> dict[str, list[IdRanges]]:
    """For each stream, the ids that each collector says it has."""
    found: dict[str, dict[str, list[tuple[int, int]]]] = {}
    for statement in statements:
        for stream, spans in statement.streams.items():
            ids = found.setdefault(stream, {}).setdefault(statement.collector, [])
            ids += [(span.after_id + 1, span.to_id) for span in spans]
    return {stream: [IdRanges(ids) for ids in each.values()] for stream, each in found.items()}


def read_remaining(
    backend: Backend, market: Market, start_ns: int | None = None, end_ns: int | None = None
) -> list[Gap]:
    """The newest revision of every gap of a market, oldest gap first, as far as the rows of the store leave it one.

    With a start or an end only of gaps that touch [start_ns, end_ns); little else of the store is read then.
    """
    # What the backend refused bears on gaps that overlap it, wherever the span ends.
    gaps = [
        gap
        for gap in read_gaps(backend, market)
        if _touches(gap, start_ns, end_ns) or (gap.reason == _REFUSED and not gap.healed)
    ]
    open_ones = [gap for gap in gaps if not gap.healed and gap.to_ns is not None]
    if not open_ones:
        return [gap for gap in gaps if _touches(gap, start_ns, end_ns)]
    held = {}
    if market.exchange in FUTURES:  # elsewhere ids do not count
        for stream in {gap.stream for gap in open_ones}:
            near = IdRanges(
                (gap.from_ns - _NEAR_NS, (gap.to_ns or 0) + _NEAR_NS) for gap in open_ones if gap.stream == stream
            )
            if stream == "depth":
                held[stream] = IdRanges(_held_updates(backend, market, near))
            elif stream in _ID_TABLES:
                held[stream] = IdRanges(_held_ids(backend, market, near, *_ID_TABLES[stream]))
    # What another collector states of a time it states once it has been.
    stated_ns = max(0, min(gap.from_ns for gap in open_ones) - _NEAR_NS)
    left = remaining(gaps, held, list(_statements(backend, market, stated_ns)))
    return [gap for gap in left if _touches(gap, start_ns, end_ns)]


def _touches(gap: Gap, start_ns: int | None, end_ns: int | None) -> bool:
    ends_before = start_ns is not None and gap.to_ns is not None and gap.to_ns < start_ns
    return not ends_before and (end_ns is None or gap.from_ns < end_ns)


def _held_updates(backend: Backend, market: Market, near: IdRanges) -> Iterator[tuple[int, int]]:
    """The update ids that stored diffs lead over."""
    for start_ns, end_ns in near:
        for rows in backend.scan("diffs", market, start_ns, end_ns, ("first_id", "last_id", "prev_id")):
            columns = (rows.column(name).to_pylist() for name in ("first_id", "last_id", "prev_id"))
            for first, last, prev in zip(*columns, strict=True):
                yield (first if prev is None else prev + 1), last


def _held_ids(backend: Backend, market: Market, near: IdRanges, table: str, column: str) -> Iterator[tuple[int, int]]:
    for start_ns, end_ns in near:
        for rows in backend.scan(table, market, start_ns, end_ns, (column,)):
            ids = rows.column(column).to_numpy()
            # Runs of ids that count by one.
            ends = [*((ids[1:] - ids[:-1] != 1).nonzero()[0]).tolist(), len(ids) - 1]
            begins = [0, *(end + 1 for end in ends[:-1])]
            yield from ((int(ids[begin]), int(ids[end])) for begin, end in zip(begins, ends, strict=True))


def _statements(backend: Backend, market: Market, since_ns: int) -> Iterator[Statement]:
    for rows in backend.scan("events", market, since_ns, None, ("kind", "detail")):
        for kind, detail in zip(*(column.to_pylist() for column in rows.columns), strict=True):
            if kind == KIND:
                try:
                    yield decode_statement(detail)
                except msgspec.MsgspecError:
                    continue  # of a newer release: it heals nothing
