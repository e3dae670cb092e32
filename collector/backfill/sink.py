"""Rows of a backfill on their way into the store, in files of bounded size.

Straight into the backend, without the journal: a folder's journal belongs to one collector, which may be running, and
what a crash loses here is asked for again. A write is whole or not there, and what is there is never fetched again, so
that a run which was killed leaves nothing twice.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pyarrow as pa

from collector.errors import ConfigurationError, MachineFailed
from storage_backends.errors import BackendError, PermanentBackendError, StorageFailed, StorageFull

if TYPE_CHECKING:
    from collector.clock import Clock
    from storage_backends.interface import Backend, Market

WRITER = "backfill"
_FLUSH_S = 20.0


class Sink:
    """Collects rows of one table and market."""

    def __init__(
        self, backend: Backend, market: Market, table: str, clock: Clock, *, max_rows: int, writer: str = WRITER
    ) -> None:
        self.rows = 0
        """Rows stored so far."""
        self._backend = backend
        self._market = market
        self._table = table
        self._clock = clock
        self._max_rows = max_rows
        self._writer = writer
        self._waiting: list[pa.Table] = []
        self._waiting_rows = 0
        self._flushed_ns = clock.now_ns()

    def add(self, rows: pa.Table) -> None:
        """Takes rows in the table's schema; writes when there are enough, or when the last write is long ago.

        Raises:
            CollectorError: the backend refused or failed.
        """
        if len(rows):
            self._waiting.append(rows)
            self._waiting_rows += len(rows)
        if self._waiting_rows >= self._max_rows or self._clock.now_ns() - self._flushed_ns > _FLUSH_S * 1e9:
            self.flush()

    def flush(self) -> None:
        """Writes everything that waits. Raises as `add`."""
        waiting, self._waiting, self._waiting_rows = self._waiting, [], 0
        self._flushed_ns = self._clock.now_ns()
        if waiting:
            rows = pa.concat_tables(waiting)
            store(self._backend, self._market, self._table, rows, self._writer)
            self.rows += len(rows)


def store(backend: Backend, market: Market, table: str, rows: pa.Table, writer: str) -> None:
    """One write, named by its content.

    Raises:
        CollectorError: the backend refused or failed.
    """
    content = pa.BufferOutputStream()
    with pa.ipc.new_stream(content, rows.schema) as stream:
        stream.write_table(rows)
    try:
        backend.write(table, market, rows, writer=writer, content_hash=hashlib.sha256(content.getvalue()).hexdigest())
    except (StorageFailed, StorageFull) as error:
        raise MachineFailed(f"{table} of {market.exchange} {market.symbol} could not be stored: {error}") from error
    except PermanentBackendError as error:
        raise ConfigurationError("--data-dir", "cannot take the rows", str(error)) from error
    except BackendError as error:
        raise MachineFailed(str(error)) from error
