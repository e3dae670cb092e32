"""Days of a local store: many files of minutes into one file a day, and whole days deleted.

A new file is made durable first and the old ones go afterwards, so a crash between leaves rows twice on disk, which a
scan gives once and the next compaction removes. A deleted day is renamed out of sight first. `disk.names` and
`LocalBackend` say what a reader sees meanwhile.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from storage_backends import disk, layout, parquet
from storage_backends.days import Day
from storage_backends.errors import TransientBackendError
from storage_backends.formats import opened, writer_of
from storage_backends.local import LocalBackend, folders_of_markets
from storage_backends.schema import TABLES, known

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator
    from pathlib import Path

    from storage_backends.interface import Market
    from storage_backends.layout import PartName

_LOCK_FILE = ".compact.lock"


class LocalDays:
    """See `days.Days`. The lock is a hidden file in the store's folder."""

    def __init__(self, data_dir: Path) -> None:
        self._root = data_dir.absolute()
        self._store = LocalBackend(data_dir)

    @contextmanager
    def alone(self) -> Iterator[bool]:
        with disk.held_alone(self._root / _LOCK_FILE) as held:
            yield held

    def days(self) -> Iterator[Day]:
        for table in TABLES:
            for market in folders_of_markets(self._root, table):
                for name in disk.names(self._root / layout.market_folder(table, market)):
                    date = layout.parse_date(name)
                    if date is not None:
                        day = self._day(table, market, date)
                        if day.files:
                            yield day

    def compact(self, day: Day) -> Day:
        folder = self._folder(day)
        sources = _parts(folder)
        if _is_compacted(sources):
            return day
        # Of one format if all are; readers of either find what they are used to.
        suffix = layout.JSONL if all(name.suffix == layout.JSONL for name in sources.values()) else layout.PARQUET
        made = self._merge(day, folder, suffix, hashlib.sha256("\n".join(sources).encode()).hexdigest())
        disk.remove(folder, [name for name in sources if name != made])
        return self._day(day.table, day.market, day.date)

    def delete(self, day: Day) -> None:
        folder = self._folder(day)
        disk.sweep_discarded(folder.parent)
        disk.discard_folder(folder)

    def _merge(self, day: Day, folder: Path, suffix: str, content_hash: str) -> str | None:
        """Makes the day's one file; gives its name, None when no row of the day counts."""
        table = known(day.table)
        rows = 0
        ends: list[int] = []
        with disk.unfinished(folder / f".{layout.COMPACTED}{disk.UNFINISHED_SUFFIX}") as file:
            part = writer_of(suffix, table, file)
            for group in _row_groups(self._store.scan(table.name, day.market, *layout.range_of_date(day.date))):
                part.add(group)
                rows += len(group)
                span = pc.min_max(group.column(table.span)).as_py()
                ends += [span["min"], span["max"]]
            if not rows:
                return None
            part.finish(writer=layout.COMPACTED, content_hash=content_hash)
            name = str(layout.PartName(min(ends), max(ends), layout.COMPACTED, content_hash[:8], suffix))
            if not file.publish(folder / name):
                raise TransientBackendError(f"{folder / name}: was made by somebody else meanwhile")
        with opened(table, folder / name) as made:
            if made.stats().rows != rows:
                raise TransientBackendError(f"{folder / name}: does not hold what was written; the old files stay")
        return name

    def _day(self, table: str, market: Market, date: dt.date) -> Day:
        folder = self._root / layout.market_folder(table, market) / f"date={date.isoformat()}"
        parts = _parts(folder)
        size = sum(disk.size(folder / name) for name in parts)
        return Day(table, market, date, len(parts), size, _is_compacted(parts))

    def _folder(self, day: Day) -> Path:
        return self._root / layout.market_folder(day.table, day.market) / f"date={day.date.isoformat()}"


def _parts(folder: Path) -> dict[str, PartName]:
    names = {name: layout.parse_part(name) for name in disk.names(folder)}
    return {name: part for name, part in names.items() if part is not None}


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
