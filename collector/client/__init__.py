"""The SDK: what was collected, as pandas, Polars or Arrow, from this machine, over HTTP, or over SSH.

    from collector.client import get_local_client

    trades = get_local_client("data").get_trades("BTC/USDT", limit=10_000)

Every client has the same questions and gives the same rows for the same one; see `client.questions`.
"""

from __future__ import annotations

from pathlib import Path

from collector.client.api import BinanceCollectorAPIClient
from collector.client.engine import StorageEngine
from collector.client.hot import HotClient
from collector.client.local import LocalClient
from collector.client.remote import BinanceCollectorClient

__all__ = [
    "BinanceCollectorAPIClient",
    "BinanceCollectorClient",
    "HotClient",
    "LocalClient",
    "StorageEngine",
    "get_hot_client",
    "get_local_client",
]


def get_local_client(data_path: str | Path) -> LocalClient:
    """A client of the data folder `data_path`; it may be collected into meanwhile."""
    return LocalClient.of_folder(data_path)


def get_hot_client(data_path: str | Path) -> HotClient:
    """A client of the last 1,024 rows of each table and market under `data_path`, in a millisecond."""
    return HotClient(data_path)
