"""`training report`: one HTML page about a model."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from training.commands.options import ListCommand, command_line, model_option, rows_for, source_options
from training.files import replacing


@click.command(cls=ListCommand)
@model_option
@source_options
@click.option("--output", default="report.html", show_default=True, type=click.Path(path_type=Path))
@click.option("--fee-bp", default=0.0, show_default=True, type=click.FloatRange(0), help="a trade, for the markout")
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1))
def report(
    model_dir: Path,
    parquet_path: Path | None,
    dataset_path: Path | None,
    time_column: str | None,
    period_ms: float | None,
    output: Path,
    fee_bp: float,
    threads: int,
) -> None:
    """Writes one HTML page: skill by horizon and fold, forecasts against what came, losses, importance, coverage.

    Without --parquet-path and --dataset, the rows that the model was trained on: their held-out parts.
    """
    import torch

    from training.evaluate import evaluate, held_out
    from training.report import page
    from training.run import open_run

    torch.set_num_threads(threads)
    run = open_run(model_dir)
    if parquet_path is None and dataset_path is None:
        dataset_path = run.dataset_folder
    with tempfile.TemporaryDirectory() as folder:
        dataset = rows_for(run, Path(folder) / "dataset", parquet_path, dataset_path, time_column, period_ms)
        parts = held_out(run, dataset)
        result = evaluate(run, dataset, parts, fee_bp=fee_bp)
        text = page(run, dataset, parts, result, command_line())
    with replacing(output) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
    click.echo(f"{result['verdict']}\n{output}")
