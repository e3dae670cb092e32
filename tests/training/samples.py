"""Made rows for tests: a price with as much predictability as asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.columns import columns_of
from training.config import Config
from training.dataset import Dataset, build
from training.parquet import ParquetSource

BOOK = (
    *("best_bid_price", "best_ask_price", "mid_price", "spread"),
    *("bid_volume_top", "ask_volume_top", "volume_imbalance"),
)
START_MS = 1_768_054_365_000


def book_rows(rows: int, *, signal: float = 0.0, seed: int = 1, holes: tuple[int, ...] = ()) -> dict[str, Any]:
    """Rows as table `books` has them. Each move is noise of one unit plus `signal` times the last imbalance, which is
    white with variance 1/3: the R² that can be had one row ahead is signal² / 3 / (1 + signal² / 3)."""
    rng = np.random.default_rng(seed)
    imbalance = rng.uniform(-1, 1, rows)
    moves = rng.standard_normal(rows)
    moves[1:] += signal * imbalance[:-1]
    mid = 60_000 * np.exp(np.cumsum(moves) * 1e-5)
    spread = rng.integers(1, 4, rows) * 0.1
    total = rng.exponential(3.0, rows) + 0.5
    times = START_MS + 100 * np.arange(rows)
    for hole in holes:
        times[hole:] += 30_000
    return {
        "timestamp": times,
        "best_bid_price": mid - spread / 2,
        "best_ask_price": mid + spread / 2,
        "mid_price": mid,
        "spread": spread,
        "bid_volume_top": total * (1 + imbalance) / 2,
        "ask_volume_top": total * (1 - imbalance) / 2,
        "volume_imbalance": imbalance,
    }


def possible_skill(signal: float) -> float:
    """R² one row ahead of the best forecast of `book_rows`."""
    return signal**2 / 3 / (1 + signal**2 / 3)


def write(path: Path, columns: dict[str, Any]) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def dataset_of(folder: Path, columns: dict[str, Any], features: tuple[str, ...] = BOOK, **kind: bool) -> Dataset:
    source = ParquetSource(write(folder / "rows.parquet", columns))
    targets = ("mid_price",)
    inputs = columns_of(features, targets, **kind)
    return build(source.read(features, targets), folder / "dataset", inputs, targets, source.period_ns())


def small_config(**changes: Any) -> Config:
    """A network of 13 rows that trains in a second."""
    settings: dict[str, Any] = {
        "features": BOOK,
        "targets": ("mid_price",),
        "horizons": (1, 3),
        "input_length": 20,
        "channels": 8,
        "levels": 2,
        "kernel": 3,
        "dropout": 0.0,
        "epochs": 3,
        "folds": 1,
        "batch_size": 512,
    }
    return Config(**{**settings, **changes})
