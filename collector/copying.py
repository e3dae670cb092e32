"""Rows of one store into another, a day of one table and market at a time, each compared afterwards.

Nothing is remembered between runs: a day that is there already is found to be, and passed over. Rows go in pieces that
follow from the rows alone, so that a piece that was written before a run broke off is written again without effect.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import msgspec
import pyarrow as pa
import tenacity

from storage_backends.errors import SetupError, TransientBackendError
from storage_backends.interface import Backend, Market
from storage_backends.layout import range_of_date
from storage_backends.merge import Chunk, Part, merge
from storage_backends.schema import known

WRITER = "copy"

_PIECE_ROWS = 131_072
_PIECE_ROWS_WITH_LISTS = 8_192
_PIECE_BYTES = 64 << 20
_ATTEMPTS = 8
_DAY = dt.timedelta(days=1)


class Task(NamedTuple):
    """One day of one market in one table, and about how many rows it has."""

    table: str
    market: Market
    date: dt.date
    share: int

    def __str__(self) -> str:
        return f"{self.market.exchange} {self.market.symbol} {self.table} {self.date}"


class CopyReport(msgspec.Struct):
    """Days that have rows: `copied` now, or `present` already. `problems` names days that differ after all."""

    copied: int = 0
    present: int = 0
    rows: int = 0
    problems: list[str] = []


def days_of(source: Backend, markets: Iterable[Market], tables: tuple[str, ...] = ()) -> list[Task]:
    """Every day from the first row to the last of each table, by metadata alone; of all tables where none is named."""
    found = []
    for market in markets:
        for table in source.tables(market):
            stats = source.stats(table, market)
            if (tables and table not in tables) or stats.first_ns is None or stats.last_ns is None:
                continue
            first, last = (_date(ns) for ns in (stats.first_ns, stats.last_ns))
            count = (last - first).days + 1
            shares = [stats.rows * (day + 1) // count - stats.rows * day // count for day in range(count)]
            found += [Task(table, market, first + day * _DAY, share) for day, share in enumerate(shares)]
    return found


def copy_days(source: Backend, target: Backend, days: Iterable[Task], done: Callable[[Task], object]) -> CopyReport:
    """Copies each day and compares; `done` is told of each.

    A day is good when adding the source's rows to the target would change nothing there: every key is in the target,
    with the source's row or with one that `schema.Table.prefer` puts before it.

    Raises:
        BackendError: one of the stores fails, and not only for the moment. Running it again goes on from there.
    """
    report = CopyReport()
    for day in days:
        rows, good = compare(source, target, day)
        if good:
            report.present += rows > 0
        else:
            for piece in _pieces(source, day):
                _write(target, day, piece)
            rows, good = compare(source, target, day)
            report.copied += 1
        report.rows += rows
        if not good:
            report.problems.append(f"{day}: the target does not give what was written")
        done(day)
    return report


def compare(source: Backend, target: Backend, day: Task) -> tuple[int, bool]:
    """Rows of the source that were looked at, and whether the target has all of the day; ends at the first it lacks."""
    table = known(day.table)
    start_ns, end_ns = range_of_date(day.date)
    counts = [0]
    theirs = _Rows()

    def from_source() -> Iterator[Chunk]:
        for batch in source.scan(day.table, day.market, start_ns, end_ns):
            counts[0] += batch.num_rows
            yield Chunk(pa.Table.from_batches([batch]), last=False)

    def from_target() -> Iterator[Chunk]:
        # Of a key on both sides of midnight the target may prefer the row of the other day.
        spread_ns = table.key_spread_ns
        for batch in target.scan(day.table, day.market, start_ns - spread_ns, end_ns + spread_ns):
            rows = pa.Table.from_batches([batch])
            theirs.add(rows)
            yield Chunk(rows, last=False)

    # Names decide between rows that are equal but for what nothing prefers: the target's go first.
    for rows in merge(table, [Part("0", None, from_target), Part("1", None, from_source)]):
        if not rows.equals(theirs.take(len(rows))):
            return counts[0], False
    return counts[0], True


class _Rows:
    """Rows that come and go in pieces of different sizes."""

    def __init__(self) -> None:
        self._waiting: deque[pa.Table] = deque()

    def add(self, rows: pa.Table) -> None:
        self._waiting.append(rows)

    def take(self, count: int) -> pa.Table | None:
        """The first `count` rows, or all where there are fewer; None for none."""
        taken = []
        while count and self._waiting:
            rows = self._waiting.popleft()
            if len(rows) > count:
                self._waiting.appendleft(rows.slice(count))
                rows = rows.slice(0, count)
            taken.append(rows)
            count -= len(rows)
        return pa.concat_tables(taken) if taken else None


def _pieces(source: Backend, day: Task) -> Iterator[pa.Table]:
    nested = any(pa.types.is_list(field.type) for field in known(day.table).schema)
    most = _PIECE_ROWS_WITH_LISTS if nested else _PIECE_ROWS
    rows, held, size = _Rows(), 0, 0
    for batch in source.scan(day.table, day.market, *range_of_date(day.date)):
        rows.add(pa.Table.from_batches([batch]))
        held, size = held + batch.num_rows, size + batch.nbytes
        while held >= most or (held and size >= _PIECE_BYTES):
            piece = rows.take(min(most, held))
            assert piece is not None
            yield piece
            held -= len(piece)
            size = 0 if not held else max(0, size - piece.nbytes)
    rest = rows.take(held)
    if rest is not None:
        yield rest


@tenacity.retry(
    stop=tenacity.stop_after_attempt(_ATTEMPTS),
    wait=tenacity.wait_random_exponential(multiplier=0.5, max=30),
    retry=tenacity.retry_if_exception(
        lambda error: isinstance(error, TransientBackendError) and not isinstance(error, SetupError)
    ),
    reraise=True,
)
def _write(target: Backend, day: Task, piece: pa.Table) -> None:
    schema = known(day.table).schema
    target.write(day.table, day.market, piece.cast(schema), writer=WRITER, content_hash=_hash(piece))


def _hash(rows: pa.Table) -> str:
    """Of the rows alone, not of how they lie in memory: Arrow's stream cuts slices and drops empty masks."""
    sink = pa.BufferOutputStream()
    combined = rows.combine_chunks()
    with pa.ipc.new_stream(sink, combined.schema) as stream:
        stream.write_table(combined)
    return hashlib.sha256(sink.getvalue()).hexdigest()


def _date(ns: int) -> dt.date:
    return dt.datetime.fromtimestamp(ns // 1_000_000_000, dt.UTC).date()
