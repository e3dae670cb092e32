"""A table's folder read without any of our code, by the tools that people use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from storage_backends.contract import MARKET, OTHER, put
from storage_backends.contract.rows import rows
from storage_backends.local import LocalBackend

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two markets over a midnight in two tables, and what a killed writer left."""
    backend = LocalBackend(tmp_path)
    for table in ("trades", "diffs"):
        put(backend, table, rows(table, range(8, 13)))
        put(backend, table, rows(table, [1, 2]), market=OTHER)
    next(tmp_path.rglob("date=2024-07-18")).joinpath(".part-1-2-w.0123abcd.parquet.tmp").write_bytes(b"half")
    return tmp_path


def test_pandas_reads_a_table(root: Path) -> None:
    import pandas as pd  # type: ignore[import-untyped]

    frame = pd.read_parquet(root / "trades")
    assert len(frame) == 7
    assert set(frame.exchange.unique()) == {"binance", "binanceusdm"}
    ours = frame[(frame.symbol == MARKET.symbol) & (frame.date == "2024-07-19")].sort_values("agg_trade_id")
    assert ours.price.tolist() == [made["price"] for made in rows("trades", range(10, 13))]
    levels = pd.read_parquet(root / "diffs", filters=[("symbol", "==", OTHER.symbol)])
    assert [list(prices) for prices in levels.bid_price] == [made["bid_price"] for made in rows("diffs", [1, 2])]


def test_duckdb_reads_a_table(root: Path) -> None:
    import duckdb

    with duckdb.connect() as connection:
        source = f"read_parquet('{root}/trades/**/*.parquet', hive_partitioning = true)"
        counted = connection.sql(
            f"select exchange, symbol, date::varchar, count(*) from {source} group by all order by all"
        )
        assert counted.fetchall() == [
            ("binance", "ETHUSDT", "2024-07-18", 2),
            ("binanceusdm", "BTCUSDT", "2024-07-18", 2),
            ("binanceusdm", "BTCUSDT", "2024-07-19", 3),
        ]
        levels = connection.sql(f"select bid_price from '{root}/diffs/*/*/*/*.parquet' order by last_id").fetchall()
        assert [prices for (prices,) in levels] == [made["bid_price"] for made in rows("diffs", [1, 2, *range(8, 13)])]
