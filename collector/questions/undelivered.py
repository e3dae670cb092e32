"""A store together with the rows that are safe in a journal on this disk, and not in the store yet.

Files are written every five minutes, so without these the last minutes would be missing from an answer, or, where it
ends with a hot file, from the middle of it.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from collector.journal.arrow import to_arrow
from collector.journal.codec import BadBody, decode
from collector.journal.format import APPLICATION_ID, FORMAT, JOURNAL_FILE, connect_read_only
from collector.questions.rows import behind, last_key
from storage_backends.interface import Backend, Market, TableStats
from storage_backends.key_order import in_key_order
from storage_backends.schema import Table, bare, in_schema, known

log = logging.getLogger(__name__)

_LATE_NS: Final = 60 * 1_000_000_000
"""How much earlier or later than its rows' times, which may be an exchange's, a batch is committed; not what is fetched
for a gap, which shows once it is stored."""
_ENDS_NS: Final = 10 * 1_000_000_000
_PIECE_BYTES: Final = 16 << 20

_OF_SERIES: Final = (
    "FROM batch JOIN series ON series.id = batch.series WHERE table_name = ? AND exchange = ? AND symbol = ?"
)
_HEADS: Final = f"SELECT batch.id, batch.bytes {_OF_SERIES} AND created_ns >= ? AND created_ns < ? ORDER BY batch.id"


class WithUndelivered(Backend):
    """`backend`, and behind it what waits in the journal of `data_dir`, if there is one; for questions alone.

    A journal that cannot be read is warned of, and answers are then those of the store.
    """

    def __init__(self, backend: Backend, data_dir: Path) -> None:
        self.stored = backend
        self._path = data_dir / JOURNAL_FILE

    def check(self) -> None:
        self.stored.check()

    def close(self) -> None:
        self.stored.close()

    def _write(self, table: str, market: Market, rows: pa.Table, writer: str, content_hash: str) -> None:
        raise NotImplementedError("questions write nothing")

    def _scan(
        self, table: str, market: Market, start_ns: int | None, end_ns: int | None, columns: Sequence[str] | None
    ) -> Iterator[pa.RecordBatch]:
        # The journal is looked at first, and as it was then: what is delivered meanwhile is in both.
        with contextlib.ExitStack() as looking:
            journal = looking.enter_context(self._journal())
            heads = [] if journal is None else _heads(journal, table, market, start_ns, end_ns)
            if journal is None or not heads:
                looking.close()
                yield from self.stored.scan(table, market, start_ns, end_ns, columns)
                return
            definition = known(table)
            names = list(definition.schema.names if columns is None else columns)
            needed = dict.fromkeys([*names, *definition.key, *(name for name, _ in definition.prefer)])
            pieces = _pieces(journal, definition, heads, (start_ns, end_ns))
            waiting: Iterator[pa.Table] = (piece.select(list(needed)) for piece in pieces)
            if sum(size for _, size in heads) <= _PIECE_BYTES:
                # A journal that always has a reader cannot start its log over, so nobody looks for longer than needed.
                waiting = iter(list(waiting))
                looking.close()
            stored = self.stored.scan(table, market, start_ns, end_ns, list(needed))
            for rows in _merged(definition, stored, waiting):
                yield from rows.select(names).to_batches()

    def _stats(self, table: str, market: Market) -> TableStats:
        with self._journal() as journal:
            stats = self.stored.stats(table, market)
            if journal is None:
                return stats
            oldest_ns, newest_ns, rows = journal.execute(
                f"SELECT min(created_ns), max(created_ns), sum(batch.rows) {_OF_SERIES}", (table, *market)
            ).fetchone()
            if oldest_ns is None:
                return stats
            keys, times = [], []
            for at_ns in (oldest_ns, newest_ns):
                heads = _created(journal, table, market, at_ns - _ENDS_NS, at_ns + _ENDS_NS)
                for piece in _pieces(journal, known(table), heads, (None, None)):
                    keys += piece.column(known(table).key[0]).to_pylist()
                    times += piece.column(known(table).time).to_pylist()
        unit_ns = known(table).ns_per_unit
        keys += [key for key in (stats.first_key, stats.last_key) if key is not None]
        times_ns = [time * unit_ns for time in times]
        times_ns += [time for time in (stats.first_ns, stats.last_ns) if time is not None]
        if not times_ns:
            return stats
        return stats._replace(
            rows=stats.rows + rows,
            first_key=min(keys),
            last_key=max(keys),
            first_ns=min(times_ns),
            last_ns=max(times_ns),
        )

    def _markets(self, table: str | None) -> list[Market]:
        with self._journal() as journal:
            found = set(self.stored.markets(table))
            if journal is not None:
                found |= {Market(*rest) for name, *rest in _series(journal) if table in (None, name)}
        return sorted(found)

    def _tables(self, market: Market) -> list[str]:
        with self._journal() as journal:
            found = set(self.stored.tables(market))
            if journal is not None:
                found |= {name for name, *rest in _series(journal) if Market(*rest) == market}
        return sorted(found)

    @contextlib.contextmanager
    def _journal(self) -> Iterator[sqlite3.Connection | None]:
        """The journal as it is at this moment; None where there is none, or none that can be read."""
        try:
            journal = _opened(self._path)
        except (sqlite3.Error, OSError) as error:
            log.warning("rows that are not delivered yet are not shown: cannot read %s: %s", self._path, error)
            journal = None
        with contextlib.closing(journal) if journal is not None else contextlib.nullcontext():
            yield journal


def _opened(path: Path) -> sqlite3.Connection | None:
    if not path.exists():
        return None
    journal = connect_read_only(path)
    try:
        if journal.execute("PRAGMA application_id").fetchone() != (APPLICATION_ID,):
            raise sqlite3.DatabaseError("it is not a journal")
        if journal.execute("PRAGMA user_version").fetchone()[0] > FORMAT:
            raise sqlite3.DatabaseError("a newer version wrote it")
        journal.execute("BEGIN")
        journal.execute("SELECT count(*) FROM series").fetchone()  # the moment that is kept
    except sqlite3.Error:
        journal.close()
        raise
    return journal


def _series(journal: sqlite3.Connection) -> list[tuple[str, str, str]]:
    return journal.execute(
        "SELECT table_name, exchange, symbol FROM series WHERE id IN (SELECT series FROM batch)"
    ).fetchall()


def _heads(
    journal: sqlite3.Connection, table: str, market: Market, start_ns: int | None, end_ns: int | None
) -> list[tuple[int, int]]:
    """Id and size of batches that may hold rows of [start_ns, end_ns)."""
    from_ns = 0 if start_ns is None else start_ns - _LATE_NS
    return _created(journal, table, market, from_ns, 2**63 - 1 if end_ns is None else min(end_ns + _LATE_NS, 2**63 - 1))


def _created(
    journal: sqlite3.Connection, table: str, market: Market, from_ns: int, to_ns: int
) -> list[tuple[int, int]]:
    return journal.execute(_HEADS, (table, *market, from_ns, to_ns)).fetchall()


def _pieces(
    journal: sqlite3.Connection,
    definition: Table,
    heads: Sequence[tuple[int, int]],
    span: tuple[int | None, int | None],
) -> Iterator[pa.Table]:
    """The rows of those batches within `span`, in key order; some MiB at a time, in each only keys above the last.

    A batch that is damaged is passed over: the collector states it as a gap.
    """
    last: tuple[Any, ...] | None = None
    at = 0
    while at < len(heads):
        batches, size = [], 0
        while at < len(heads) and size < _PIECE_BYTES:
            found = journal.execute("SELECT body FROM body WHERE id = ?", heads[at][:1]).fetchone()
            size += heads[at][1]
            at += 1
            with contextlib.suppress(BadBody):
                if found is not None:
                    batches.append(decode(definition.name, found[0]))
        if not batches:
            continue
        rows = in_schema(to_arrow(batches), bare(definition.schema))
        rows = in_key_order(definition, _within(definition, rows, *span))
        if last is not None:
            rows = behind(definition, rows, last)
        if rows.num_rows:
            last = last_key(definition, rows)
            yield rows


def _within(definition: Table, rows: pa.Table, start_ns: int | None, end_ns: int | None) -> pa.Table:
    times, unit_ns = rows.column(definition.time), definition.ns_per_unit
    if start_ns is not None:
        rows = rows.filter(pc.greater_equal(times, -(-start_ns // unit_ns)))
        times = rows.column(definition.time)
    return rows if end_ns is None else rows.filter(pc.less(times, -(-end_ns // unit_ns)))


def _merged(definition: Table, stored: Iterator[pa.RecordBatch], waiting: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Two sequences of rows in key order as one, one row per key."""
    young = next(waiting, None)
    for batch in stored:
        parts = [pa.Table.from_batches([batch])]
        end = last_key(definition, parts[0])
        while young is not None:
            rest = behind(definition, young, end)
            parts.append(young.slice(0, young.num_rows - rest.num_rows))
            young = rest if rest.num_rows else next(waiting, None)
            if rest.num_rows:
                break
        yield in_key_order(definition, pa.concat_tables(parts)) if len(parts) > 1 else parts[0]
    if young is not None:
        yield young
    yield from waiting
