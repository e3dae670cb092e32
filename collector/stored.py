"""Which ids a store holds, and which still wait in the journal beside it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from collector.core.ids import IdRanges
from collector.core.inputs import Resume
from collector.journal.codec import decode
from collector.journal.errors import JournalFailed
from collector.journal.format import JOURNAL_FILE, connect_read_only
from storage_backends.schema import known

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

    from storage_backends.interface import Backend, Market
    from storage_backends.schema import Table

_DAY_NS = 86_400 * 10**9


def ranges_of(ids: NDArray[np.int64]) -> IdRanges:
    """The ranges that rising `ids` make up."""
    if not len(ids):
        return IdRanges()
    breaks = (np.diff(ids) > 1).nonzero()[0]
    starts = ids[np.concatenate(([0], breaks + 1))].tolist()
    ends = ids[np.concatenate((breaks, [len(ids) - 1]))].tolist()
    return IdRanges(zip(starts, ends, strict=True))


def inside(ranges: IdRanges, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of `ids` lie in the ranges."""
    if not ranges:
        return np.zeros(len(ids), np.bool_)
    starts, ends = np.array(list(ranges), np.int64).T
    at = np.searchsorted(starts, ids, side="right") - 1
    found: NDArray[np.bool_] = (at >= 0) & (ids <= ends[np.maximum(at, 0)])
    return found


def stored_ids(
    backend: Backend, market: Market, table: str, start_ns: int | None = None, end_ns: int | None = None
) -> IdRanges:
    """The ids, or first key column, of the rows of `table` with times in [start_ns, end_ns).

    Raises:
        BackendError: the store cannot be read.
    """
    column = known(table).key[0]
    found = IdRanges()
    for rows in backend.scan(table, market, start_ns, end_ns, (column,)):
        for first, last in ranges_of(rows.column(column).to_numpy()):
            found.add(first, last)
    return found


def waiting_ids(data_dir: Path, market: Market, table: str, start_ns: int, end_ns: int) -> IdRanges:
    """The ids of rows that a collector has committed to the journal in `data_dir` and not yet delivered, of those with
    times in [start_ns, end_ns).

    Look here before looking into the store: what is delivered meanwhile is then seen at least once.

    Raises:
        JournalFailed: the journal cannot be read.
    """
    definition = known(table)
    found = IdRanges()
    for (body,) in _read(
        data_dir,
        "SELECT body FROM batch JOIN body USING (id) JOIN series ON series.id = batch.series"
        " WHERE table_name = ? AND exchange = ? AND symbol = ? ORDER BY batch.id",
        (table, *market),
    ):
        columns = decode(table, body).columns
        times = np.array(columns[definition.time], np.int64) * definition.ns_per_unit
        ids = np.array(columns[definition.key[0]], np.int64)[(times >= start_ns) & (times < end_ns)]
        for first, last in ranges_of(np.sort(ids)):
            found.add(first, last)
    return found


def neighbours(
    backend: Backend, market: Market, table: str, start_ns: int, end_ns: int
) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    """(id, time in ns) of the last row before `start_ns`, and of the first one from `end_ns` on; None where there is
    none. Looks a day at a time, so that it costs little where rows are near.

    Raises:
        BackendError: the store cannot be read.
    """
    definition, stats = known(table), backend.stats(table, market)
    before = after = None
    if stats.first_ns is None or stats.last_ns is None:
        return None, None
    at_ns = start_ns
    while before is None and at_ns > stats.first_ns:
        for ident, time_ns in _rows(backend, market, definition, at_ns - _DAY_NS, at_ns):
            before = ident, time_ns
        at_ns -= _DAY_NS
    at_ns = end_ns
    while after is None and at_ns <= stats.last_ns:
        after = next(_rows(backend, market, definition, at_ns, at_ns + _DAY_NS), None)
        at_ns += _DAY_NS
    return before, after


def _rows(backend: Backend, market: Market, table: Table, start_ns: int, end_ns: int) -> Iterator[tuple[int, int]]:
    """(id, time in ns) of the first and the last row of each batch of a scan."""
    for rows in backend.scan(table.name, market, start_ns, end_ns, (table.key[0], table.time)):
        for at in (0, -1):
            ident, time = (column[at].as_py() for column in rows.columns)
            yield ident, time * table.ns_per_unit


def live_position(data_dir: Path, market: Market, stream: str) -> int | None:
    """The last id that a collector which runs now in `data_dir` has taken of `stream`; None when none runs there."""
    if not _is_held((data_dir / JOURNAL_FILE).with_suffix(".lock")):
        return None
    for (body,) in _read(data_dir, "SELECT body FROM state WHERE exchange = ? AND symbol = ?", tuple(market)):
        position = msgspec.json.decode(body, type=Resume).positions.get(stream)
        return None if position is None else position.last_id
    return None


def _read(data_dir: Path, statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    path = data_dir / JOURNAL_FILE
    if not path.exists():
        return []
    try:
        with contextlib.closing(connect_read_only(path)) as db:
            return db.execute(statement, values).fetchall()
    except sqlite3.Error as error:
        raise JournalFailed(f"cannot read the journal {path}: {error}") from error


def _is_held(lock: Path) -> bool:
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
