"""Files under one folder, laid out as `layout` says. pandas, DuckDB and Polars read a table's folder as is.

Files may be replaced by one that has all their rows (`local_days`) while a scan is under way. It then lists the folder
anew and goes on behind the last key that it gave, so that a scan never gives a row twice nor leaves one out.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from storage_backends import disk, layout
from storage_backends.errors import PermanentBackendError
from storage_backends.formats import SUFFIX_OF, PartGone, encode, opened
from storage_backends.interface import Backend, Market, TableStats, legal
from storage_backends.layout import PartName, TimeRange
from storage_backends.merge import Chunk, Part, in_key_order, merge
from storage_backends.part import select_times, validate
from storage_backends.schema import TABLES, Table, known

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa

BATCH_ROWS = 65_536
_ALWAYS = TimeRange(None, None)


class LocalBackend(Backend):
    """A folder of files, Parquet or JSON lines. The first write makes it; reading makes and removes nothing.

    `file_format` ("parquet" or "jsonl") is that of new files; what is there is read whatever its format.

    Several processes may write at once, each under a writer's name of its own, while others read. Within a process one
    thread writes and any number may read beside it.
    """

    def __init__(self, data_dir: Path, file_format: str = "parquet") -> None:
        self._root = data_dir.absolute()
        self._suffix = SUFFIX_OF[file_format]
        self._prepared: set[Path] = set()
        self._swept: set[Path] = set()

    def check(self) -> None:
        disk.probe(self._root)

    def close(self) -> None:
        """Nothing is held between calls."""

    def _write(self, table: str, market: Market, rows: pa.Table, writer: str, content_hash: str) -> None:
        definition = known(table)
        validate(definition, rows)
        if not len(rows):
            return
        base = self._root / layout.market_folder(table, market)
        parts = [
            (base / folder / str(layout.name_part(definition, part, writer, content_hash, self._suffix)), part)
            for folder, part in layout.split_by_date(definition, in_key_order(definition, rows))
        ]
        # Looked at before anything is written, so that a refused write leaves no part of itself.
        missing = [(path, part) for path, part in parts if not _is_stored(definition, path, content_hash)]
        if missing and base not in self._swept:
            disk.sweep(base)
            self._swept.add(base)
        for path, part in missing:
            self._prepare(path.parent)
            payload = encode(self._suffix, definition, part, writer=writer, content_hash=content_hash)
            if not disk.write_new(path, memoryview(payload)):
                _is_stored(definition, path, content_hash)

    def _prepare(self, folder: Path) -> None:
        if folder not in self._prepared or not disk.exists(folder):
            disk.make_folder(folder, self._root)
            self._prepared.add(folder)

    def _scan(
        self, table: str, market: Market, start_ns: int | None, end_ns: int | None, columns: Sequence[str] | None
    ) -> Iterator[pa.RecordBatch]:
        definition = known(table)
        wanted = list(definition.schema.names if columns is None else columns)
        unknown = [name for name in wanted if name not in definition.schema.names]
        if unknown:
            raise PermanentBackendError(
                f"table {table} has no column {', '.join(unknown)}; there are {', '.join(definition.schema.names)}"
            )
        return self._batches(definition, market, TimeRange.of(definition, start_ns, end_ns), wanted)

    def _batches(self, table: Table, market: Market, within: TimeRange, columns: list[str]) -> Iterator[pa.RecordBatch]:
        # Rows that may share a key with one in range are looked at too, so that neighbouring ranges agree on it.
        near = within.widened(-(-table.key_spread_ns // table.ns_per_unit))
        needed = list(dict.fromkeys([*table.key, *(name for name, _ in table.prefer), table.time, *columns]))
        given: Any = None
        gone: set[Path] = set()
        while True:
            parts = [
                Part(
                    _rank(path, name),
                    name.first if table.span == table.key[0] else None,
                    partial(_read, table, path, needed, near, given),
                )
                for path, name in self._parts(table, market, near)
                if given is None or table.span != table.key[0] or name.last > given
            ]
            try:
                for rows in merge(table, parts):
                    # Every row of the last lead key came with it: what is given is complete up to here.
                    given = rows.column(table.key[0])[-1].as_py()
                    chosen = select_times(table, rows, within).select(columns).combine_chunks()
                    yield from (batch for batch in chosen.to_batches(max_chunksize=BATCH_ROWS) if batch.num_rows)
            except PartGone as error:
                if error.path in gone:
                    raise
                gone.add(error.path)
            else:
                return

    def _stats(self, table: str, market: Market) -> TableStats:
        definition = known(table)
        gone: set[Path] = set()
        while True:
            try:
                return self._stats_now(definition, market)
            except PartGone as error:
                if error.path in gone:
                    raise
                gone.add(error.path)

    def _stats_now(self, table: Table, market: Market) -> TableStats:
        ends = []
        size = 0
        for path, _ in self._parts(table, market, _ALWAYS):
            with opened(table, path) as file:
                ends.append(file.stats())
                size += path.stat().st_size
        if not ends:
            return TableStats(0, 0, 0, None, None, None, None)
        return TableStats(
            rows=sum(part.rows for part in ends),
            files=len(ends),
            bytes=size,
            first_key=min(part.first_key for part in ends),
            last_key=max(part.last_key for part in ends),
            first_ns=min(part.first_time for part in ends) * table.ns_per_unit,
            last_ns=max(part.last_time for part in ends) * table.ns_per_unit,
        )

    def _markets(self, table: str | None) -> list[Market]:
        tables = TABLES.values() if table is None else [known(table)]
        return sorted({market for each in tables for market in self._listed(each) if self._has_rows(each, market)})

    def _tables(self, market: Market) -> list[str]:
        return sorted(table.name for table in TABLES.values() if self._has_rows(table, market))

    def _listed(self, table: Table) -> Iterator[Market]:
        return folders_of_markets(self._root, table.name)

    def _has_rows(self, table: Table, market: Market) -> bool:
        base = self._root / layout.market_folder(table.name, market)
        return any(
            layout.parse_part(name) is not None
            for folder in disk.names(base)
            if layout.parse_date(folder) is not None
            for name in disk.names(base / folder)
        )

    def _parts(self, table: Table, market: Market, within: TimeRange) -> Iterator[tuple[Path, PartName]]:
        """The files that may hold rows in `within`, as far as names tell."""
        base = self._root / layout.market_folder(table.name, market)
        for folder in disk.names(base):
            date = layout.parse_date(folder)
            if date is None or not within.meets_date(table, date):
                continue
            for file in disk.names(base / folder):
                if file.startswith((".", "_")) or not file.endswith(layout.SUFFIXES):
                    continue
                name = layout.parse_part(file)
                if name is None:
                    raise PermanentBackendError(
                        f"{base / folder / file}: not written by the collector; move it out of the data folder"
                    )
                if table.span != table.time or within.meets(name.first, name.last):
                    yield base / folder / file, name


def folders_of_markets(root: Path, table: str) -> Iterator[Market]:
    """The markets that have a folder in `table`, with rows or without."""
    base = root / table
    for exchange in _folders(base, "exchange"):
        for symbol in _folders(base / f"exchange={exchange}", "symbol"):
            yield Market(exchange, symbol)


def _folders(parent: Path, column: str) -> list[str]:
    prefix = f"{column}="
    values = (name.removeprefix(prefix) for name in disk.names(parent) if name.startswith(prefix))
    return [value for value in values if legal(column, value)]


def _rank(path: Path, name: PartName) -> str:
    """Decides between equal rows. What was compacted goes first in its date, so that a row once given stays."""
    return f"{path.parent.name}/{' ' if name.writer == layout.COMPACTED else ''}{path.name}"


def _read(table: Table, path: Path, columns: Sequence[str], within: TimeRange, after: Any) -> Iterator[Chunk]:
    """The rows of a file whose lead key lies behind `after`; all for None."""
    with opened(table, path) as file:
        for chunk in file.chunks(columns, within):
            if after is None:
                yield chunk
            else:
                yield Chunk(chunk.rows.filter(pc.greater(chunk.rows.column(table.key[0]), after)), chunk.last)


def _is_stored(table: Table, path: Path, content_hash: str) -> bool:
    """Whether this very content lies there, durably, in whatever format; raises when it is something else."""
    stem = path.name.removesuffix(layout.PARQUET).removesuffix(layout.JSONL)
    for each in (path.with_name(f"{stem}{suffix}") for suffix in layout.SUFFIXES):
        if not disk.exists(each):
            continue
        with opened(table, each) as file:
            stored = file.content_hash
        if stored != content_hash:
            raise PermanentBackendError(
                f"{each}: holds other content ({stored}) than what is written under its name now ({content_hash})"
            )
        # The process that made it may have died between naming it and making the name durable.
        disk.fsync_folder(each.parent)
        return True
    return False
