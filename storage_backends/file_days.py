"""Days of a store of files: many files of minutes into one file a day, and whole days deleted.

A new file is made durable first and the old ones go afterwards, so a crash between leaves rows twice in the store,
which a scan gives once and the next compaction removes. `Files` says what a reader sees meanwhile.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pyarrow as pa

from storage_backends import layout, parquet
from storage_backends.days import Day
from storage_backends.errors import TransientBackendError
from storage_backends.files import FileBackend, listed_markets
from storage_backends.formats import writer_of
from storage_backends.schema import TABLES, known

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

    from storage_backends.files import Files
    from storage_backends.interface import Market
    from storage_backends.layout import PartName


class FileDays:
    """See `days.Days`."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._store = FileBackend(files)

    def alone(self) -> AbstractContextManager[bool]:
        return self._files.alone()

    def days(self) -> Iterator[Day]:
        for table in TABLES:
            for market in listed_markets(self._files, table):
                for folder, names in self._files.dated(layout.market_folder(table, market), None, None):
                    date = layout.parse_date(folder)
                    if date is not None:
                        day = _day(table, market, date, names)
                        if day.files:
                            yield day

    def compact(self, day: Day) -> Day:
        folder = _folder(day.table, day.market, day.date)
        sources = _parts(self._names(day))
        if _is_compacted(sources):
            return day
        # Of one format if all are; readers of either find what they are used to.
        suffix = layout.JSONL if all(name.suffix == layout.JSONL for name in sources.values()) else layout.PARQUET
        made = self._merge(day, folder, suffix, hashlib.sha256("\n".join(sources).encode()).hexdigest())
        self._files.remove(folder, [name for name in sources if name != made])
        return _day(day.table, day.market, day.date, self._names(day))

    def delete(self, day: Day) -> None:
        self._files.discard(_folder(day.table, day.market, day.date))

    def _merge(self, day: Day, folder: str, suffix: str, content_hash: str) -> str | None:
        """Makes the day's one file; gives its name, None when no row of the day counts."""
        table = known(day.table)
        rows = 0
        ends: list[int] = []
        with self._files.unfinished(folder) as file:
            part = writer_of(suffix, table, file)
            for group in _row_groups(self._store.scan(table.name, day.market, *layout.range_of_date(day.date))):
                part.add(group)
                rows += len(group)
                spans = group.column(table.span).to_numpy()
                ends += [int(spans.min()), int(spans.max())]
            if not rows:
                return None
            part.finish(writer=layout.COMPACTED, content_hash=content_hash)
            name = str(layout.PartName(min(ends), max(ends), layout.COMPACTED, content_hash[:8], suffix))
            full_name = self._files.where(f"{folder}/{name}")
            if not file.publish(name, content_hash):
                raise TransientBackendError(f"{full_name}: was made by somebody else meanwhile")
        with self._store.opened(table, f"{folder}/{name}") as made:
            if made.stats().rows != rows:
                raise TransientBackendError(f"{full_name}: does not hold what was written; the old files stay")
        return name

    def _names(self, day: Day) -> dict[str, int]:
        found = self._files.dated(layout.market_folder(day.table, day.market), day.date, day.date)
        return next((names for _, names in found), {})


def _folder(table: str, market: Market, date: dt.date) -> str:
    return f"{layout.market_folder(table, market)}/{layout.date_folder(date)}"


def _day(table: str, market: Market, date: dt.date, names: dict[str, int]) -> Day:
    parts = _parts(names)
    return Day(table, market, date, len(parts), sum(names[name] for name in parts), _is_compacted(parts))


def _parts(names: Iterable[str]) -> dict[str, PartName]:
    parsed = {name: layout.parse_part(name) for name in names}
    return {name: part for name, part in parsed.items() if part is not None}


def _is_compacted(parts: dict[str, PartName]) -> bool:
    return len(parts) == 1 and all(part.writer == layout.COMPACTED for part in parts.values())


def _row_groups(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The same rows in pieces about as large as a row group."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting.append(batch)
        if (
            sum(each.num_rows for each in waiting) >= parquet.ROW_GROUP_ROWS
            or sum(each.nbytes for each in waiting) >= parquet.ROW_GROUP_BYTES
        ):
            yield pa.Table.from_batches(waiting)
            waiting = []
    if waiting:
        yield pa.Table.from_batches(waiting)
