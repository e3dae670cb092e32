"""Models with random weights on rows of a store, as the collector is given them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from click.testing import CliRunner

from collector.cli import collector
from collector.errors import CollectorError
from storage_backends.settings import StoreSettings
from training.artifacts import describe, weights_of, write_npz
from training.columns import columns_of
from training.config import Config
from training.dataset import Dataset, build
from training.export import export_all, specify
from training.model import Forecaster
from training.parquet import ParquetSource

TARGET = {"depth": "price", "book": "mid_price", "features": "mid"}
INPUTS: dict[str, tuple[str, ...]] = {
    "depth": ("price", "best_bid", "bid_buckets_0", "ask_buckets_3", "bid_coverage"),
    "book": ("mid_price", "best_ask_price", "spread", "volume_imbalance", "bid_volume_top", "ask_quantity_2"),
    "features": ("mid", "spread_bps", "microprice", "imbalance_1"),
}
REPLAY = ("--book-grid", "100ms", "--book-depth", "5", "--features", "basic")


def run(*words: object) -> str:
    done = CliRunner().invoke(collector, [str(word) for word in words])
    if isinstance(done.exception, CollectorError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output + done.stderr


def exported(store: Path, folder: Path, dataset: str, inputs: tuple[str, ...]) -> Dataset:
    """The rows of a data set as training reads them."""
    spec = specify(
        StoreSettings(data_dir=store), exchange=None, symbol=None, output=folder / "export", table=None,
        datasets=(dataset,), start_ns=None, end_ns=None, range_s=3600.0, levels=5,
    )  # fmt: skip
    export_all(spec, 1, lambda rows: None)
    source = ParquetSource(folder / "export")
    targets = (TARGET[dataset],)
    columns = columns_of(inputs, targets)
    period_ns = source.period_ns()
    return build(source.read(inputs, targets), folder / "memmap", columns, targets, period_ns, source.settings)


def model_of(dataset: Dataset, path: Path, **changes: Any) -> tuple[Forecaster, Config]:
    """A network of random weights, whose outputs are of the size of real ones, in a file."""
    settings: dict[str, Any] = {"features": dataset.names, "targets": dataset.targets, "horizons": (1, 5)}
    config = Config(**{**settings, "channels": 8, "levels": 2, "kernel": 3, "dropout": 0.0, **changes})
    torch.manual_seed(5)
    model = Forecaster(config)
    with torch.no_grad():
        for parameter in model.tcn.head.parameters():
            parameter.copy_(torch.randn_like(parameter))
        inputs = torch.from_numpy(np.array(dataset.inputs))
        model.mean.copy_(inputs.mean(0)[:, None])
        model.std.copy_(inputs.std(0)[:, None].clamp(min=1e-3))
    write_npz(path, weights_of(model), describe(config, dataset))
    return model, config
