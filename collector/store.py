"""Rows straight into a backend, without a journal between: for replay, whose input is already on disk."""

from __future__ import annotations

import hashlib

from collector.core.batch import Batch
from collector.errors import ConfigurationError, MachineFailed
from collector.journal.codec import encode
from storage_backends.errors import BackendError, PermanentBackendError, StorageFailed, StorageFull
from storage_backends.interface import Backend, Market

_FILE_ROWS = 200_000
_FILE_BYTES = 32_000_000


class StoreWriter:
    """Collects batches by table and market and writes them in files of bounded size.

    Where a file ends depends on the rows alone, so that writing the same rows again changes nothing in the store.
    """

    def __init__(self, backend: Backend, writer: str, place: tuple[str, str]) -> None:
        """`place`, a setting and its value, names the store in errors (`StoreSettings.place`)."""
        self.rows = 0
        self._backend = backend
        self._writer = writer
        self._place = place
        self._waiting: dict[tuple[str, Market], list[tuple[Batch, bytes]]] = {}
        self._sizes: dict[tuple[str, Market], tuple[int, int]] = {}

    def add(self, exchange: str, symbol: str, batches: list[Batch]) -> None:
        """Takes rows; writes what has grown to a file.

        Raises:
            CollectorError: the backend refused or failed.
        """
        for batch in batches:
            key = (batch.table, Market(exchange, symbol))
            waiting = self._waiting.setdefault(key, [])
            body = encode(batch)
            waiting.append((batch, body))
            rows, size = self._sizes.get(key, (0, 0))
            rows, size = self._sizes[key] = (rows + batch.rows, size + len(body))
            if rows >= _FILE_ROWS or size >= _FILE_BYTES:
                self._write(*key)

    def flush(self) -> None:
        """Writes everything that waits. Raises as `add`."""
        for key in list(self._waiting):
            self._write(*key)

    def _write(self, table: str, market: Market) -> None:
        from collector.journal.arrow import to_arrow

        waiting = self._waiting.pop((table, market))
        del self._sizes[table, market]
        digest = hashlib.sha256()
        for _, body in waiting:
            digest.update(body)
        rows = to_arrow([batch for batch, _ in waiting])
        try:
            self._backend.write(table, market, rows, writer=self._writer, content_hash=digest.hexdigest())
        except (StorageFailed, StorageFull) as error:
            raise MachineFailed(f"{table} of {market.exchange} {market.symbol} could not be stored: {error}") from error
        except PermanentBackendError as error:
            raise ConfigurationError(*self._place, f"cannot take the rows: {error}") from error
        except BackendError as error:
            raise MachineFailed(str(error)) from error
        self.rows += rows.num_rows
