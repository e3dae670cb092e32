"""Forecasts as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from training.columns import BP
from training.config import CLASSES, CLASSIFICATION
from training.errors import TrainingError
from training.files import replacing
from training.forecast import in_basis_points, outputs, probabilities
from training.segments import labelled, row_numbers

if TYPE_CHECKING:
    from pathlib import Path

    from training.dataset import Dataset
    from training.run import Run

_ROWS = 65_536


def write_forecasts(run: Run, dataset: Dataset, path: Path) -> int:
    """Writes the forecasts of the serving model for all rows with a whole context; gives their number.

    Columns: `timestamp` (ns), each target, and for each target and horizon h `{target}_h{h}_bp` and `{target}_h{h}`
    (a price), or for classification `{target}_h{h}_down`, `_flat` and `_up`. Memory stays bounded.

    Raises:
        TrainingError: no row has enough rows before it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    config = run.config
    context = config.network_field - 1
    spans = labelled(dataset.segments, context, 0)
    if not len(spans):
        raise TrainingError(f"too short: no segment has {config.receptive_field} rows, which one forecast needs")
    model = run.model(config.folds - 1, config.seeds[0])
    total = 0
    with replacing(path) as unfinished:
        writer: Any = None
        for start, stop in spans:
            for first in range(int(start), int(stop), _ROWS):
                piece = np.array([[first, min(first + _ROWS, int(stop))]])
                rows = row_numbers(piece)
                made = outputs(model, dataset, piece, context)
                made = probabilities(made) if model.classes else in_basis_points(made, dataset, rows, config)
                table = pa.table(_columns(run, dataset, rows, made))
                writer = writer or pq.ParquetWriter(unfinished, table.schema, compression="zstd")
                writer.write_table(table)
                total += len(rows)
        writer.close()
    return total


def _columns(run: Run, dataset: Dataset, rows: Any, made: Any) -> dict[str, Any]:
    config = run.config
    prices = np.asarray(dataset.prices[rows])
    columns: dict[str, Any] = {"timestamp": np.asarray(dataset.time_ns[rows])}
    columns |= {name: prices[:, at] for at, name in enumerate(config.targets)}
    at = 0
    for number, target in enumerate(config.targets):
        for horizon in config.horizons:
            name = f"{target}_h{horizon}"
            if config.task == CLASSIFICATION:
                columns |= {f"{name}_{kind}": made[:, 3 * at + place] for place, kind in enumerate(CLASSES)}
            else:
                columns[f"{name}_bp"] = made[:, at]
                columns[name] = prices[:, number] * np.exp(made[:, at] / BP)
            at += 1
    return columns
