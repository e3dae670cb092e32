"""The last rows of each table and market, from mapped files: answers within a millisecond, and nothing older."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from collector.client.local import LocalClient, store_errors
from collector.client.questions import Wanted
from collector.questions.rows import find_market, with_fresh
from storage_backends.hot import HotStore
from storage_backends.interface import Market
from storage_backends.open import open_backend

if TYPE_CHECKING:
    import pyarrow as pa


class HotClient(LocalClient):
    """See `Client`. Tables come from the hot files of 1,024 rows each; what they cannot answer, the store does.

    A market's name is looked up in the store once and remembered.
    """

    def __init__(self, data_path: str | Path) -> None:
        folder = Path(data_path).expanduser()
        super().__init__(open_backend("local", folder), folder)
        self._hot = HotStore(folder)
        self._markets: dict[tuple[str, str | None], Market] = {}

    def read_hot(self, table: str, symbol: str, exchange: str | None = None) -> Any:
        """All rows of a hot file, as pyarrow.Table."""
        with store_errors():
            return self._hot.read_hot(table, self._market(symbol, exchange))

    def _rows(self, table: str, symbol: str, wanted: Wanted) -> pa.Table:
        if wanted.start_ns is not None or wanted.end_ns is not None:
            return super()._rows(table, symbol, wanted)
        fresh = self.read_hot(table, symbol, wanted.exchange)
        if fresh.num_rows >= wanted.limit:
            return fresh.slice(fresh.num_rows - wanted.limit)
        if self._market(symbol, wanted.exchange) in self._backend.markets(table):
            return with_fresh(table, super()._rows(table, symbol, wanted), fresh, wanted.limit)
        return fresh

    def _market(self, symbol: str, exchange: str | None) -> Market:
        market = self._markets.get((symbol, exchange))
        if market is None:
            market = self._markets[symbol, exchange] = find_market(
                self._backend, symbol, exchange, self._hot.markets("depth")
            )
        return market
