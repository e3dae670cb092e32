"""`training predict`: forecasts for every row of a file that has enough rows before it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from training.commands.options import ListCommand, model_option, rows_for, source_options


@click.command(cls=ListCommand)
@model_option
@source_options
@click.option("--output", default="forecasts.parquet", show_default=True, type=click.Path(path_type=Path))
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1))
def predict(
    model_dir: Path,
    parquet_path: Path | None,
    dataset_path: Path | None,
    time_column: str | None,
    period_ms: float | None,
    output: Path,
    threads: int,
) -> None:
    """Writes a Parquet file: time, price, and for each horizon the forecast in basis points and as a price.

    The model is the one that serves (`model.npz`). Rows without a whole context (the first of each segment) are not in
    it. Forecasts of rows that the model was trained on say nothing about its worth: `evaluate` leaves them out.
    """
    import torch

    from training.predict import write_forecasts
    from training.run import open_run

    torch.set_num_threads(threads)
    run = open_run(model_dir)
    with tempfile.TemporaryDirectory() as folder:
        dataset = rows_for(run, Path(folder) / "dataset", parquet_path, dataset_path, time_column, period_ms)
        rows = write_forecasts(run, dataset, output)
    click.echo(f"{rows:,} forecasts of {len(dataset):,} rows in {output}")
