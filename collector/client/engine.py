"""A data folder with its hot files, by table and market."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from storage_backends.hot import WINDOW_ROWS, HotStore
from storage_backends.interface import Market
from storage_backends.open import open_backend

if TYPE_CHECKING:
    import pyarrow as pa


class StorageEngine:
    """The tables under `base_path`, which is a collector's data folder.

    Attributes:
        backend: the store, for `scan` and `stats`; see `storage_backends.interface`.
    """

    def __init__(self, base_path: str | Path) -> None:
        self.backend = open_backend("local", Path(base_path).expanduser())
        self._hot = HotStore(base_path, self.backend)

    def read_hot(self, table: str, market: Market) -> pa.Table:
        """The newest rows, at most 1,024, from a mapped file; see `storage_backends.hot.HotStore.read_hot`."""
        return self._hot.read_hot(table, market)

    def maintain_hot_snapshot(self, table: str, market: Market, window_size: int = WINDOW_ROWS) -> int:
        """Makes the hot file of a table and market anew from the store; gives its rows."""
        return self._hot.maintain_hot_snapshot(table, market, window_size)
