"""The last rows of each table and market in a file of its own, for whoever wants them at once.

`hot/table/exchange=E/symbol=S.arrow` under a base path: an Arrow IPC file, uncompressed, in one batch, in key order and
one row per key. It is replaced from one moment to the next, so a reader maps a whole one, however often that happens,
and what it has mapped stays as it was. It is a copy of rows that are safe elsewhere: nothing waits for the disk.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from storage_backends.errors import PermanentBackendError, TransientBackendError
from storage_backends.interface import Market, legal
from storage_backends.key_order import in_key_order
from storage_backends.schema import Table, bare, in_schema, known

if TYPE_CHECKING:
    from storage_backends.interface import Backend

WINDOW_ROWS: Final = 1024

_MAGIC: Final = b"ARROW1"
_BATCHES_FROM: Final = 8

_FIRST_REACH_NS = 60 * 1_000_000_000
_WIDER = 8


class HotStore:
    """The hot files under `base_path`, which is a collector's data folder, and the store that they can be made from.

    Any number of processes may read; one writes each file at a time, the last one counts.
    """

    def __init__(self, base_path: str | Path, backend: Backend | None = None) -> None:
        self._folder = Path(base_path).expanduser() / "hot"
        self._backend = backend

    def read_hot(self, table: str, market: Market) -> pa.Table:
        """The newest rows, oldest first, in the schema of `table`; no rows where there is no file.

        Columns lie in the mapped file itself: nothing is copied or decoded. Takes some tenths of a millisecond.

        Raises:
            PermanentBackendError: an unknown table, a name that is not allowed, or a file that is not one of these.
        """
        definition = known(table)
        path = self._path(table, market)
        try:
            rows = _read(path)
        except FileNotFoundError:
            return _schema(table).empty_table()
        except (pa.ArrowException, OSError) as error:
            raise PermanentBackendError(f"{path}: not a hot file ({error}); remove it, it will be made anew") from error
        return _in_schema(definition, rows)

    def markets(self, table: str) -> list[Market]:
        """The markets that have a hot file of `table`, sorted; a run's are there before anything of it is stored.

        Raises:
            PermanentBackendError: an unknown table.
        """
        folder = self._folder / known(table).name
        found = []
        for path in folder.glob("exchange=*/symbol=*.arrow"):
            market = Market(path.parent.name.removeprefix("exchange="), path.stem.removeprefix("symbol="))
            if legal("exchange", market.exchange) and legal("symbol", market.symbol):
                found.append(market)
        return sorted(found)

    def maintain_hot_snapshot(self, table: str, market: Market, window_size: int = WINDOW_ROWS) -> int:
        """Makes the file anew from the store's last `window_size` rows; gives how many there are.

        For stores that no collector on this machine writes to. Looks at the end of the table alone.

        Raises:
            BackendError: as `Backend.scan` says.
            ValueError: this object was made without a backend.
        """
        if self._backend is None:
            raise ValueError("a hot snapshot is made from a store: HotStore(base_path, backend)")
        definition = known(table)
        rows = _last_rows(self._backend, definition, market, window_size)
        self._replace(definition, market, rows)
        return int(rows.num_rows)

    def extend(self, table: str, market: Market, rows: pa.Table, window_size: int = WINDOW_ROWS) -> None:
        """Adds rows, in the schema of `table`, and keeps the last `window_size`.

        Raises:
            TransientBackendError: the file cannot be written now; what was there still is.
        """
        definition = known(table)
        rows = in_schema(rows.slice(max(0, rows.num_rows - window_size)), _schema(table))
        try:
            before = self.read_hot(table, market)
        except PermanentBackendError:
            before = rows.slice(0, 0)
        joined = in_key_order(definition, pa.concat_tables([before, rows]))
        self._replace(definition, market, joined.slice(max(0, joined.num_rows - window_size)))

    def _replace(self, table: Table, market: Market, rows: pa.Table) -> None:
        path = self._path(table.name, market)
        hidden = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with pa.OSFile(str(hidden), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as file:
                file.write_table(rows.combine_chunks())
            hidden.replace(path)
        except OSError as error:
            with suppress(OSError):
                hidden.unlink(missing_ok=True)
            raise TransientBackendError(f"{path}: {error.strerror or error}") from error

    def _path(self, table: str, market: Market) -> Path:
        return _path(self._folder, table, market)


@lru_cache(maxsize=4096)
def _path(folder: Path, table: str, market: Market) -> Path:
    for kind, name in (("table", table), ("exchange", market.exchange), ("symbol", market.symbol)):
        if not legal(kind, name):
            raise PermanentBackendError(f"{kind} {name!r} is no name of a {kind}")
    return folder / table / f"exchange={market.exchange}" / f"symbol={market.symbol}.arrow"


def _read(path: Path) -> pa.Table:
    """The rows of an Arrow file from its beginning, which holds a stream.

    Twice as fast as by way of the file's footer, for which Arrow asks another thread.

    Raises:
        FileNotFoundError: there is none.
        OSError: it cannot be read.
        pa.ArrowException: it is no whole Arrow file.
    """
    with pa.memory_map(str(path)) as source:
        whole = source.read_buffer()
    if whole[:_BATCHES_FROM].to_pybytes().rstrip(b"\0") != _MAGIC or whole[-len(_MAGIC) :].to_pybytes() != _MAGIC:
        raise pa.ArrowInvalid("it does not begin and end as an Arrow file does")
    return pa.ipc.open_stream(whole[_BATCHES_FROM:]).read_all()


@cache
def _schema(name: str) -> pa.Schema:
    """Of a table that is known. Made once: a read takes less time than that."""
    return bare(known(name).schema)


def _in_schema(table: Table, rows: pa.Table) -> pa.Table:
    """Rows of a file that an older release may have left, with nulls for columns that came since."""
    schema = _schema(table.name)
    if rows.schema.equals(schema):
        return rows
    missing = [field for field in schema if field.name not in rows.column_names]
    if any(not field.nullable for field in missing):
        return schema.empty_table()
    for field in missing:
        rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
    return rows.select(schema.names).cast(schema)


def _last_rows(backend: Backend, table: Table, market: Market, count: int) -> pa.Table:
    """The last rows by key. Times rise with keys but for a few seconds, so the end by time has the end by key."""
    schema = _schema(table.name)
    stats = backend.stats(table.name, market)
    if stats.last_ns is None or stats.first_ns is None:
        return schema.empty_table()
    reach_ns = _FIRST_REACH_NS
    while True:
        start_ns = stats.last_ns - reach_ns
        rows = pa.Table.from_batches(backend.scan(table.name, market, start_ns), schema=schema)
        if rows.num_rows >= count or start_ns < stats.first_ns:
            return rows.slice(max(0, rows.num_rows - count))
        reach_ns *= _WIDER
