"""A backend over files laid out as `layout` says, wherever they lie: a folder of this machine, a bucket.

What a place of files must be able to do is `Files`; everything else, merging, pruning, naming, is the same for all.

Files may be replaced by one that has all their rows (`file_days`) while a scan is under way. It then lists them anew
and goes on behind the last key that it gave, so that a scan never gives a row twice nor leaves one out.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pyarrow as pa

from storage_backends import layout
from storage_backends.errors import PermanentBackendError
from storage_backends.formats import SUFFIX_OF, PartGone, encode, part_of
from storage_backends.interface import Backend, Market, TableStats, legal
from storage_backends.key_order import in_key_order
from storage_backends.layout import PartName, TimeRange
from storage_backends.merge import Chunk, Part, merge
from storage_backends.part import select_times, validate
from storage_backends.schema import TABLES, Table, known

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from storage_backends.part import PartFile, PartStats

BATCH_ROWS = 65_536
_REMEMBERED = 10_000  # files whose ends are kept: a month of one market's table
_ALWAYS = TimeRange(None, None)


class Found(NamedTuple):
    """A file that is there. `content_hash` is None where only the file itself can say it."""

    size: int
    content_hash: str | None


class NewFile(Protocol):
    """A file on its way to a name; what was written is gone when it gets none."""

    def write(self, payload: Any, /) -> int:
        """Takes all of `payload`."""
        ...

    def publish(self, name: str, content_hash: str) -> bool:
        """Makes what was written durable under `name` in its folder. False, and nothing touched, when it is taken."""
        ...


class Files(Protocol):
    """A place of files. Paths are relative to its root, with `/`; a file has its name whole and durable, or not at all.

    Raises (every method) what `Backend` raises.
    """

    looks_are_cheap: bool
    """Whether asking for a file costs nothing beside writing one."""

    def where(self, path: str = "") -> str:
        """The full name, for people."""
        ...

    def check(self) -> None:
        """See `Backend.check`."""
        ...

    def close(self) -> None:
        """See `Backend.close`."""
        ...

    def folders(self, parent: str) -> list[str]:
        """The names of the folders in `parent`, sorted; perhaps those of files too."""
        ...

    def dated(self, parent: str, first: dt.date | None, last: dt.date | None) -> Iterator[tuple[str, dict[str, int]]]:
        """Each folder `date=…` of `parent` from `first` to `last`, both included, with its files and their sizes.

        In order of dates, names sorted. Each folder is of one moment as far as `remove` goes: never without the files
        that were removed and also without the one that took their place.
        """
        ...

    def find(self, path: str) -> Found | None:
        """The file, if it is there."""
        ...

    def source(self, path: str) -> AbstractContextManager[pa.NativeFile]:
        """The file, to be read in parts.

        Raises:
            PartGone: it is not there.
        """
        ...

    def first_write(self, folder: str) -> None:
        """Called before the first write below `folder` by this process: time to sweep what dead writers left."""
        ...

    def put(self, path: str, payload: bytes, content_hash: str) -> bool:
        """Makes the file. False, and nothing touched, when there is one."""
        ...

    def confirm(self, path: str) -> None:
        """Makes durable a file that is there, since whoever made it may have died too early."""
        ...

    def unfinished(self, folder: str) -> AbstractContextManager[NewFile]:
        """A file of `folder` that may be too large for memory."""
        ...

    def remove(self, folder: str, names: Sequence[str]) -> None:
        """Removes files; those that are gone already are no error."""
        ...

    def discard(self, folder: str) -> None:
        """Removes a folder `date=…` with all files in it, from one moment to the next for readers."""
        ...

    def alone(self) -> AbstractContextManager[bool]:
        """See `Days.alone`."""
        ...


class FileBackend(Backend):
    """Files, Parquet or JSON lines. The first write makes what is needed; reading makes and removes nothing.

    `file_format` ("parquet" or "jsonl") is that of new files; what is there is read whatever its format.

    Several processes may write at once, each under a writer's name of its own, while others read. Within a process one
    thread writes and any number may read beside it.
    """

    def __init__(self, files: Files, file_format: str = "parquet") -> None:
        self._files = files
        self._suffix = SUFFIX_OF[file_format]
        self._begun: set[str] = set()
        self._known: dict[str, PartStats] = {}

    def check(self) -> None:
        self._files.check()

    def close(self) -> None:
        self._files.close()

    def _write(self, table: str, market: Market, rows: pa.Table, writer: str, content_hash: str) -> None:
        definition = known(table)
        validate(definition, rows)
        if not len(rows):
            return
        base = layout.market_folder(table, market)
        parts = [
            (f"{base}/{folder}/{layout.name_part(definition, part, writer, content_hash, self._suffix)}", part)
            for folder, part in layout.split_by_date(definition, in_key_order(definition, rows))
        ]
        suffixes = self._worth_a_look(len(parts), begun=base in self._begun)
        parts = [(path, part) for path, part in parts if not self._is_stored(definition, path, content_hash, suffixes)]
        if parts and base not in self._begun:
            self._files.first_write(base)
            self._begun.add(base)
        for path, part in parts:
            payload = encode(self._suffix, definition, part, writer=writer, content_hash=content_hash)
            if not self._files.put(path, payload, content_hash):
                self._is_stored(definition, path, content_hash)

    def _worth_a_look(self, parts: int, *, begun: bool) -> Sequence[str]:
        """The formats in which to look for a write before it is done."""
        # Of several parts all are looked at before any is written, so that a refused write leaves no part of itself.
        if self._files.looks_are_cheap or parts > 1:
            return layout.SUFFIXES
        # What has the very name, `put` tells. In another format the same rows can only lie there from an earlier
        # process, whose open writes come first.
        return () if begun else [suffix for suffix in layout.SUFFIXES if suffix != self._suffix]

    def _is_stored(self, table: Table, path: str, content_hash: str, suffixes: Sequence[str] = layout.SUFFIXES) -> bool:
        """Whether this very content lies there, durably, in one of these formats; raises when it is something else."""
        stem = path.removesuffix(layout.PARQUET).removesuffix(layout.JSONL)
        for each in (f"{stem}{suffix}" for suffix in suffixes):
            found = self._files.find(each)
            if found is None:
                continue
            stored = found.content_hash
            if stored is None:
                with self.opened(table, each) as file:
                    stored = file.content_hash
            if stored != content_hash:
                raise PermanentBackendError(
                    f"{self._files.where(each)}: holds other content ({stored}) than what is written under its name "
                    f"now ({content_hash})"
                )
            self._files.confirm(each)
            return True
        return False

    @contextmanager
    def opened(self, table: Table, path: str) -> Iterator[PartFile]:
        """The file at `path`, whatever its format.

        Raises:
            PartGone: there is none.
            BackendError: as `part.PartFile` says.
        """
        with self._files.source(path) as source:
            yield part_of(source, self._files.where(path), table)

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
        counts = None if columns else self._counts(table, market, within, near)
        if counts is not None:
            yield from (pa.record_batch([pa.nulls(rows)], [""]).select([]) for rows in counts)
            return
        given: Any = None
        gone: set[str] = set()
        while True:
            parts = [
                Part(
                    _rank(path, name),
                    name.first if table.span == table.key[0] else None,
                    partial(self._read, table, path, needed, near, given),
                )
                for path, name, _ in self._parts(table, market, near)
                if (given is None or table.span != table.key[0] or name.last > given) and self._may_meet(path, near)
            ]
            try:
                for rows in merge(table, parts):
                    # Every row of the last lead key came with it: what is given is complete up to here.
                    given = rows.column(table.key[0])[-1].as_py()
                    chosen = select_times(table, rows, within).select(columns).combine_chunks()
                    yield from (batch for batch in chosen.to_batches(max_chunksize=BATCH_ROWS) if batch.num_rows)
            except PartGone as error:
                if error.name in gone:
                    raise
                gone.add(error.name)
            else:
                return

    def _counts(self, table: Table, market: Market, within: TimeRange, near: TimeRange) -> list[int] | None:
        """The rows of each file with rows in `within`, from metadata alone; None where that cannot tell.

        It can where each file lies in `within` as a whole or not at all, and no two of `near` may share a key.
        """
        try:
            ends = [self._ends(table, path) for path, _, _ in self._parts(table, market, near)]
        except PartGone:
            return None
        ends.sort(key=lambda part: part.first_key)
        if any(part.last_key >= after.first_key for part, after in pairwise(ends)):
            return None
        ends = [part for part in ends if within.meets(part.first_time, part.last_time)]
        if not all(within.covers(part.first_time, part.last_time) for part in ends):
            return None
        return [part.rows for part in ends]

    def _read(self, table: Table, path: str, columns: Sequence[str], within: TimeRange, after: Any) -> Iterator[Chunk]:
        """The rows of a file whose lead key lies behind `after`; all for None."""
        with self.opened(table, path) as file:
            if path not in self._known:
                self._remember(path, file.stats())
            for chunk in file.chunks(columns, within):
                if after is None:
                    yield chunk
                else:
                    import pyarrow.compute as pc

                    yield Chunk(chunk.rows.filter(pc.greater(chunk.rows.column(table.key[0]), after)), chunk.last)

    def _stats(self, table: str, market: Market) -> TableStats:
        definition = known(table)
        gone: set[str] = set()
        while True:
            try:
                return self._stats_now(definition, market)
            except PartGone as error:
                if error.name in gone:
                    raise
                gone.add(error.name)

    def _stats_now(self, table: Table, market: Market) -> TableStats:
        ends = []
        size = 0
        for path, _, file_size in self._parts(table, market, _ALWAYS):
            ends.append(self._ends(table, path))
            size += file_size
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

    def _ends(self, table: Table, path: str) -> PartStats:
        """What a file says of its rows.

        Raises:
            PartGone: there is none.
            BackendError: as `part.PartFile` says.
        """
        found = self._known.get(path)
        if found is None:
            with self.opened(table, path) as file:
                found = file.stats()
            self._remember(path, found)
        return found

    def _remember(self, path: str, stats: PartStats) -> None:
        """Keeps what a file says of itself: a name has a hash of the content in it, so it never says anything else."""
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[path] = stats

    def _may_meet(self, path: str, within: TimeRange) -> bool:
        """False for a file that was read before and has no row in `within`: names tell of keys, not always of times."""
        found = self._known.get(path)
        return found is None or within.meets(found.first_time, found.last_time)

    def _markets(self, table: str | None) -> list[Market]:
        found: set[Market] = set()
        for each in TABLES.values() if table is None else [known(table)]:
            candidates = [market for market in listed_markets(self._files, each.name) if market not in found]
            found.update(market for market in candidates if self._has_rows(each, market))
        return sorted(found)

    def _tables(self, market: Market) -> list[str]:
        return sorted(table.name for table in TABLES.values() if self._has_rows(table, market))

    def _has_rows(self, table: Table, market: Market) -> bool:
        base = layout.market_folder(table.name, market)
        return any(
            layout.parse_part(name) is not None for _, names in self._files.dated(base, None, None) for name in names
        )

    def _parts(self, table: Table, market: Market, within: TimeRange) -> Iterator[tuple[str, PartName, int]]:
        """The files that may hold rows in `within`, as far as names tell, and their sizes."""
        base = layout.market_folder(table.name, market)
        for folder, names in self._files.dated(base, *within.dates(table)):
            for file, size in names.items():
                if file.startswith((".", "_")) or not file.endswith(layout.SUFFIXES):
                    continue
                path, name = f"{base}/{folder}/{file}", layout.parse_part(file)
                if name is None:
                    raise PermanentBackendError(
                        f"{self._files.where(path)}: not written by the collector; move it out of the store"
                    )
                if table.span != table.time or within.meets(name.first, name.last):
                    yield path, name, size


def listed_markets(files: Files, table: str) -> Iterator[Market]:
    """The markets that have a folder in `table`, with rows or without."""
    for exchange in _values(files, table, "exchange"):
        for symbol in _values(files, f"{table}/exchange={exchange}", "symbol"):
            yield Market(exchange, symbol)


def _values(files: Files, parent: str, column: str) -> list[str]:
    prefix = f"{column}="
    values = (name.removeprefix(prefix) for name in files.folders(parent) if name.startswith(prefix))
    return [value for value in values if legal(column, value)]


def _rank(path: str, name: PartName) -> str:
    """Decides between equal rows. What was compacted goes first in its date, so that a row once given stays."""
    folder, _, file = path.rpartition("/")
    return f"{folder.rpartition('/')[2]}/{' ' if name.writer == layout.COMPACTED else ''}{file}"
