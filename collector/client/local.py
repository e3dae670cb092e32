"""A store that can be reached from here: a folder, or any backend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collector.client.questions import Client, Instant, Wanted, instant_ns
from storage_backends.errors import BackendError, TransientBackendError

if TYPE_CHECKING:
    import pyarrow as pa

    from storage_backends.interface import Backend, Market


def _never() -> bool:
    return False


@contextmanager
def store_errors() -> Iterator[None]:
    """What a store raises, as the errors that a client promises."""
    try:
        yield
    except TransientBackendError as error:
        raise ConnectionError(str(error)) from error
    except BackendError as error:
        raise ValueError(str(error)) from error


class LocalClient(Client):
    """See `Client`. Reads the store itself; a collector may write to it meanwhile."""

    def __init__(self, backend: Backend, data_dir: Path | None = None) -> None:
        """Of `backend`, and of what the journal in `data_dir` still holds for it."""
        from collector.questions.undelivered import WithUndelivered

        self._stored = backend
        self._backend = backend if data_dir is None else WithUndelivered(backend, data_dir)

    @classmethod
    def of_folder(cls, data_path: str | Path) -> LocalClient:
        """The client of a data folder.

        Raises:
            ValueError: there is no such folder.
        """
        from storage_backends.open import open_backend

        folder = Path(data_path).expanduser()
        if not folder.is_dir():
            raise ValueError(f"{folder} is no folder: name the data folder of a collector (--data-dir)")
        return cls(open_backend("local", folder), folder)

    def get_stats(self, symbol: str | None = None, *, exchange: str | None = None) -> list[dict[str, Any]]:
        from collector.questions.stats import stats

        with store_errors():
            return stats(self._stored, self._markets_of(symbol, exchange))

    def get_book(self, symbol: str, at: Instant, *, depth: int = 100, exchange: str | None = None) -> dict[str, Any]:
        from collector.audit.instant import book_at
        from collector.questions.book import ladder
        from collector.questions.rows import find_market

        at_ns = instant_ns(at)
        assert at_ns is not None
        with store_errors():
            market = find_market(self._backend, symbol, exchange)
            known = book_at(self._backend, market, at_ns)
        if known is None:
            raise LookupError(f"no book of {market.exchange} {market.symbol} was known then")
        return {**market._asdict(), "at_ns": at_ns, **ladder(known, depth)}

    def _rows(self, table: str, symbol: str, wanted: Wanted) -> pa.Table:
        from collector.questions.rows import find_market, latest_rows, rows_between, table_of

        backend = self._backend
        with store_errors():
            name, market = table_of(table), find_market(backend, symbol, wanted.exchange)
            if wanted.start_ns is None:
                return latest_rows(backend, name, market, wanted.limit, _never, wanted.end_ns).rows
            return rows_between(backend, name, market, wanted.start_ns, wanted.end_ns, wanted.limit, _never).rows

    def _gaps(self, symbol: str | None, wanted: Wanted, *, healed: bool) -> list[dict[str, Any]]:
        from collector.questions.gaps import gaps

        with store_errors():
            markets = self._markets_of(symbol, wanted.exchange)
            return gaps(self._backend, markets, wanted.limit, _never, wanted.start_ns, wanted.end_ns, healed=healed)

    def _markets_of(self, symbol: str | None, exchange: str | None) -> list[Market]:
        from collector.questions.rows import find_market

        return self._backend.markets() if symbol is None else [find_market(self._backend, symbol, exchange)]

    def _orderbook(self, symbol: str, tick_size: float | None, wanted: Wanted) -> pa.Table:
        from collector.questions.orderbook import orderbook
        from collector.questions.rows import find_market

        with store_errors():
            market = find_market(self._backend, symbol, wanted.exchange)
            return orderbook(self._backend, market, tick_size, wanted.limit, _never, wanted.end_ns)

    def _ohlcv(self, symbol: str, timeframe: str, wanted: Wanted) -> pa.Table:
        from collector.questions.bars import ohlcv
        from collector.questions.rows import find_market

        with store_errors():
            market = find_market(self._backend, symbol, wanted.exchange)
            return ohlcv(self._backend, market, timeframe, wanted.limit, _never, wanted.start_ns, wanted.end_ns)
