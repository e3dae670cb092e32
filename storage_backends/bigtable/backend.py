"""The backend: what `storage_backends.interface` asks of every one, and what only this one can."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storage_backends.bigtable import catalog, legacy, reader
from storage_backends.bigtable.client import Client, Entry
from storage_backends.bigtable.keys import (
    DATA_FAMILY,
    DATA_TABLE,
    INDEX_FAMILY,
    LEGACY_FAMILY,
    LEGACY_TABLE,
    KeyRange,
    data_prefix,
    index_prefix,
)
from storage_backends.bigtable.writer import Writer
from storage_backends.errors import PermanentBackendError
from storage_backends.interface import Backend, Market, TableStats, Write
from storage_backends.layout import TimeRange
from storage_backends.schema import Table, known

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    import pyarrow as pa

    from storage_backends.bigtable.options import BigtableOptions
    from storage_backends.errors import BackendError

_PROBE_KEY = b"!probe"


class BigtableBackend(Backend):
    """Tables `market_data` and `binance_btc_depth` of one instance; `admin.create` makes them.

    Needs roles/bigtable.user, and no more. Any number of processes may write the same rows at once.
    """

    rows_at_once = 2000

    def __init__(self, options: BigtableOptions) -> None:
        self._client = Client(options)
        self._writer = Writer(self._client)

    def check(self) -> None:
        self._client.probe(DATA_TABLE, _PROBE_KEY, [DATA_FAMILY, INDEX_FAMILY])
        self._client.probe(LEGACY_TABLE, _PROBE_KEY, [LEGACY_FAMILY])

    def close(self) -> None:
        self._client.close()

    def latest(self, table: str, market: Market, count: int, columns: Sequence[str] | None = None) -> pa.Table:
        """The newest `count` rows by time, in key order; one read, however much is stored.

        One per key: fewer than `count` where keys were stored more than once. Raises as `scan`.
        """
        definition = known(table)
        return reader.newest(self._client, definition, market, count, _wanted(definition, columns))

    def time_first(self, symbol: str, epochs: Iterable[int]) -> Iterator[dict[str, Any]]:
        """The rows of `binance_btc_depth` of those epochs, the newest first (`legacy.read`)."""
        return legacy.read(self._client, symbol, epochs)

    def erase(self, table: str, market: Market) -> None:
        """Deletes all rows of `market` in `table`; for probes. Rows of `binance_btc_depth` stay."""
        for prefix in (data_prefix(table, market), index_prefix(table, market)):
            start = prefix.encode()
            span = KeyRange(start, start[:-1] + bytes([start[-1] + 1]))
            entries = [Entry(row.key, []) for row in self._client.read(DATA_TABLE, span, values=False)]
            for error in self._client.write(DATA_TABLE, entries).failed.values():
                raise error

    def _write(self, table: str, market: Market, rows: pa.Table, writer: str, content_hash: str) -> None:
        (error,) = self._write_many([Write(table, market, rows, writer, content_hash)])
        if error is not None:
            raise error

    def _write_many(self, writes: Sequence[Write]) -> list[BackendError | None]:
        return self._writer.write(writes)

    def _scan(
        self, table: str, market: Market, start_ns: int | None, end_ns: int | None, columns: Sequence[str] | None
    ) -> Iterator[pa.RecordBatch]:
        definition = known(table)
        wanted = _wanted(definition, columns)
        return reader.scan(self._client, definition, market, TimeRange.of(definition, start_ns, end_ns), wanted)

    def _markets(self, table: str | None) -> list[Market]:
        return catalog.markets(self._client, None if table is None else known(table).name)

    def _tables(self, market: Market) -> list[str]:
        return catalog.tables(self._client, market)

    def _stats(self, table: str, market: Market) -> TableStats:
        return catalog.stats(self._client, known(table), market)


def _wanted(table: Table, columns: Sequence[str] | None) -> list[str]:
    wanted = list(table.schema.names if columns is None else columns)
    unknown = [name for name in wanted if name not in table.schema.names]
    if unknown:
        raise PermanentBackendError(
            f"table {table.name} has no column {', '.join(unknown)}; there are {', '.join(table.schema.names)}"
        )
    return wanted
