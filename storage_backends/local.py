"""Parquet files under one folder, laid out as `layout` says. pandas, DuckDB and Polars read a table's folder as is."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from storage_backends import disk, layout
from storage_backends.errors import PermanentBackendError
from storage_backends.interface import Backend, Market, TableStats, legal
from storage_backends.layout import PartName, TimeRange
from storage_backends.merge import Chunk, Part, in_key_order, merge
from storage_backends.parquet import PartFile, encode, select_times, validate
from storage_backends.schema import TABLES, Table, known

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

BATCH_ROWS = 65_536
_ALWAYS = TimeRange(None, None)


class LocalBackend(Backend):
    """A folder of Parquet files. The first write makes it; reading makes and removes nothing.

    Several processes may write at once, each under a writer's name of its own, while others read. Within a process one
    thread writes and any number may read beside it.
    """

    def __init__(self, data_dir: Path) -> None:
        self._root = data_dir.absolute()
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
            (base / folder / str(layout.name_part(definition, part, writer, content_hash)), part)
            for folder, part in layout.split_by_date(definition, in_key_order(definition, rows))
        ]
        # Looked at before anything is written, so that a refused write leaves no part of itself.
        missing = [(path, part) for path, part in parts if not _is_stored(definition, path, content_hash)]
        if missing and base not in self._swept:
            disk.sweep(base)
            self._swept.add(base)
        for path, part in missing:
            self._prepare(path.parent)
            payload = encode(definition, part, writer=writer, content_hash=content_hash)
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
        parts = [
            Part(
                f"{path.parent.name}/{path.name}",
                name.first if table.span == table.key[0] else None,
                partial(_read, table, path, needed, near),
            )
            for path, name in self._parts(table, market, near)
        ]
        for rows in merge(table, parts):
            chosen = select_times(table, rows, within).select(columns).combine_chunks()
            yield from (batch for batch in chosen.to_batches(max_chunksize=BATCH_ROWS) if batch.num_rows)

    def _stats(self, table: str, market: Market) -> TableStats:
        definition = known(table)
        ends = []
        size = 0
        for path, _ in self._parts(definition, market, _ALWAYS):
            with _opened(definition, path) as file:
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
            first_ns=min(part.first_time for part in ends) * definition.ns_per_unit,
            last_ns=max(part.last_time for part in ends) * definition.ns_per_unit,
        )

    def _markets(self, table: str | None) -> list[Market]:
        tables = TABLES.values() if table is None else [known(table)]
        return sorted({market for each in tables for market in self._listed(each) if self._has_rows(each, market)})

    def _tables(self, market: Market) -> list[str]:
        return sorted(table.name for table in TABLES.values() if self._has_rows(table, market))

    def _listed(self, table: Table) -> Iterator[Market]:
        base = self._root / table.name
        for exchange in _folders(base, "exchange"):
            for symbol in _folders(base / f"exchange={exchange}", "symbol"):
                yield Market(exchange, symbol)

    def _has_rows(self, table: Table, market: Market) -> bool:
        base = self._root / layout.market_folder(table.name, market)
        return any(
            layout.parse_part(name) is not None
            for folder in _names(base)
            if layout.parse_date(folder) is not None
            for name in _names(base / folder)
        )

    def _parts(self, table: Table, market: Market, within: TimeRange) -> Iterator[tuple[Path, PartName]]:
        """The files that may hold rows in `within`, as far as names tell."""
        base = self._root / layout.market_folder(table.name, market)
        for folder in _names(base):
            date = layout.parse_date(folder)
            if date is None or not within.meets_date(table, date):
                continue
            for file in _names(base / folder):
                if file.startswith((".", "_")) or not file.endswith(layout.SUFFIX):
                    continue
                name = layout.parse_part(file)
                if name is None:
                    raise PermanentBackendError(
                        f"{base / folder / file}: not written by the collector; move it out of the data folder"
                    )
                if table.span != table.time or within.meets(name.first, name.last):
                    yield base / folder / file, name


def _names(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise disk.translate(error, folder) from error


def _folders(parent: Path, column: str) -> list[str]:
    prefix = f"{column}="
    values = (name.removeprefix(prefix) for name in _names(parent) if name.startswith(prefix))
    return [value for value in values if legal(column, value)]


@contextmanager
def _opened(table: Table, path: Path) -> Iterator[PartFile]:
    try:
        with pa.OSFile(str(path)) as source:
            yield PartFile(source, str(path), table)
    except OSError as error:
        raise disk.translate(error, path) from error


def _read(table: Table, path: Path, columns: Sequence[str], within: TimeRange) -> Iterator[Chunk]:
    with _opened(table, path) as file:
        yield from file.chunks(columns, within)


def _is_stored(table: Table, path: Path, content_hash: str) -> bool:
    """Whether this very content lies there, durably; raises when it is something else."""
    if not disk.exists(path):
        return False
    with _opened(table, path) as file:
        stored = file.content_hash
    if stored != content_hash:
        raise PermanentBackendError(
            f"{path}: holds other content ({stored}) than what is written under its name now ({content_hash})"
        )
    # The process that made it may have died between naming it and making the name durable.
    disk.fsync_folder(path.parent)
    return True
