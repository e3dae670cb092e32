"""What a backend is: one way to add rows, and a few questions about those that are there.

Names are checked here, once, for every backend: on the way in, so that no name can leave its folder or break a key, and
(`legal`) while listing, so that what somebody else left in the store is not taken for a market.
"""

from __future__ import annotations

import abc
import re
from typing import TYPE_CHECKING, NamedTuple

from storage_backends.errors import BackendError, PermanentBackendError, StorageFailed, untraced

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa


class Market(NamedTuple):
    """One order book: `exchange` names venue and market type (`binanceusdm`), `symbol` is its own id (`BTCUSDT`)."""

    exchange: str
    symbol: str


class TableStats(NamedTuple):
    """What one market has in one table. `rows` counts stored rows: a key that was stored twice counts twice.

    Keys are the smallest and largest value of the key's first column; times are ns since the Unix epoch, both ends
    included. All four are None when there are no rows.
    """

    rows: int
    files: int
    bytes: int
    first_key: int | str | None
    last_key: int | str | None
    first_ns: int | None
    last_ns: int | None


class Write(NamedTuple):
    """What `Backend.write` takes, as one thing."""

    table: str
    market: Market
    rows: pa.Table
    writer: str
    content_hash: str


_NAME_PATTERNS = {
    "table": re.compile(r"[a-z][a-z0-9_]{0,31}"),
    "exchange": re.compile(r"[a-z0-9][a-z0-9_-]{0,31}"),
    # Letters of any script: exchanges list markets whose ids are not ASCII.
    "symbol": re.compile(r"[^\W_](?!.*\.\.)[\w.-]{0,63}"),
    "writer": re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"),
    "content hash": re.compile(r"[0-9a-f]{8,128}"),
}


def legal(kind: str, name: str) -> bool:
    """Whether `name` may be used as a `kind`: table, exchange, symbol, writer or content hash."""
    return _NAME_PATTERNS[kind].fullmatch(name) is not None


def _require(kind: str, name: str) -> None:
    if not legal(kind, name):
        raise PermanentBackendError(f"{kind} {name!r} cannot be stored: allowed is {_NAME_PATTERNS[kind].pattern}")


def _require_all(table: str, market: Market, writer: str, content_hash: str) -> None:
    _require("table", table)
    _require("exchange", market.exchange)
    _require("symbol", market.symbol)
    _require("writer", writer)
    _require("content hash", content_hash)


class Backend(abc.ABC):
    """A store of rows by table and market. Every method may be called from any one thread at a time.

    Raises (every method):
        TransientBackendError: the same call may succeed later.
        PermanentBackendError: it never will; also a name that is not allowed, or a table that is not known.
        StorageFailed: the device failed; the process must stop.
    """

    rows_at_once: int = 0
    """Up to how many rows of several writes are best given together to `write_many`; 0: each write by itself."""

    def write(self, table: str, market: Market, rows: pa.Table, *, writer: str, content_hash: str) -> None:
        """Adds `rows`, in any order, in the schema of `table`; what is stored is sorted by key.

        Durable: once it returns, the rows survive a loss of power. Before that some of them may be visible, each one
        whole. Idempotent: the same call repeated, also by another process after a crash, changes nothing. `writer`
        names who writes; `content_hash` (hex) stands for the content of `rows`.

        Raises:
            PermanentBackendError: the rows are not in the table's schema, or other content is stored under the name
                that these rows would get; nothing was touched.
            PartialWriteError: some rows were refused for good, the others are stored.
            StorageFull: no room; nothing of what failed is visible.
        """
        _require_all(table, market, writer, content_hash)
        self._write(table, market, rows, writer, content_hash)

    def write_many(self, writes: Sequence[Write]) -> list[BackendError | None]:
        """`write` for each of `writes`: what each one raised, None where its rows are stored.

        A backend for which one large request is cheaper than many small ones joins them. What none of them foresaw is
        raised, and then any of them may be stored or not; so is StorageFailed. What is returned holds no row in memory.
        """
        outcomes: list[BackendError | None] = []
        sound = []
        for write in writes:
            try:
                _require_all(write.table, write.market, write.writer, write.content_hash)
            except PermanentBackendError as error:
                outcomes.append(error)
            else:
                outcomes.append(None)
                sound.append(write)
        given = iter(self._write_many(sound))
        outcomes = [next(given) if outcome is None else outcome for outcome in outcomes]
        return [None if outcome is None else untraced(outcome) for outcome in outcomes]

    def scan(
        self,
        table: str,
        market: Market,
        start_ns: int | None = None,
        end_ns: int | None = None,
        columns: Sequence[str] | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Gives the rows whose time lies in [start_ns, end_ns), in key order, one per key.

        None leaves an end open. `columns` chooses and orders columns; None is all of the schema. Batches are never
        empty and their schema is the table's (without its metadata). Memory stays bounded by a few batches, however
        many rows there are. Which of several rows with one key is given does not depend on when they were written
        (`schema.Table.prefer`). Reads nothing before the first batch is asked for; changes nothing in the store.

        Raises:
            PermanentBackendError: an unknown column; a damaged or foreign file, named; a newer schema version.
        """
        _require("table", table)
        _require("exchange", market.exchange)
        _require("symbol", market.symbol)
        return self._scan(table, market, start_ns, end_ns, columns)

    def stats(self, table: str, market: Market) -> TableStats:
        """Counts and ends, from metadata alone; zeros and None for what is not there."""
        _require("table", table)
        _require("exchange", market.exchange)
        _require("symbol", market.symbol)
        return self._stats(table, market)

    def markets(self, table: str | None = None) -> list[Market]:
        """The markets that have rows, in `table` or in any, sorted."""
        if table is not None:
            _require("table", table)
        return self._markets(table)

    def tables(self, market: Market) -> list[str]:
        """The tables in which `market` has rows, sorted."""
        _require("exchange", market.exchange)
        _require("symbol", market.symbol)
        return self._tables(market)

    @abc.abstractmethod
    def check(self) -> None:
        """Tries whether rows could be written now, and leaves nothing behind; raises what a write would raise."""

    @abc.abstractmethod
    def close(self) -> None:
        """Gives back what is held. Safe to call twice; not needed for durability. No other call may follow."""

    @abc.abstractmethod
    def _write(self, table: str, market: Market, rows: pa.Table, writer: str, content_hash: str) -> None: ...

    def _write_many(self, writes: Sequence[Write]) -> list[BackendError | None]:
        outcomes: list[BackendError | None] = []
        for write in writes:
            try:
                self._write(*write)
            except StorageFailed:
                raise
            except BackendError as error:
                outcomes.append(error)
            else:
                outcomes.append(None)
        return outcomes

    @abc.abstractmethod
    def _scan(
        self, table: str, market: Market, start_ns: int | None, end_ns: int | None, columns: Sequence[str] | None
    ) -> Iterator[pa.RecordBatch]: ...

    @abc.abstractmethod
    def _markets(self, table: str | None) -> list[Market]: ...

    @abc.abstractmethod
    def _tables(self, market: Market) -> list[str]: ...

    @abc.abstractmethod
    def _stats(self, table: str, market: Market) -> TableStats: ...
