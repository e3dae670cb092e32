"""`training evaluate`: a trained model on rows that it has not seen."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import click

from training.commands.options import ListCommand, model_option, rows_for, source_options
from training.files import write_json


@click.command(cls=ListCommand)
@model_option
@source_options
@click.option("--fee-bp", default=0.0, show_default=True, type=click.FloatRange(0), help="a trade, for the markout")
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1))
@click.option("--json", "as_json", is_flag=True, help="the figures as one object")
def evaluate(
    model_dir: Path,
    parquet_path: Path | None,
    dataset_path: Path | None,
    time_column: str | None,
    period_ms: float | None,
    fee_bp: float,
    threads: int,
    as_json: bool,
) -> None:
    """Skill against persistence by horizon, with block-bootstrap intervals, and the baselines beside it.

    Held-out rows only: those of the folds' test parts, by their times, and everything later.
    """
    import torch

    from training.evaluate import evaluate as judge
    from training.evaluate import held_out, table
    from training.run import open_run

    torch.set_num_threads(threads)
    run = open_run(model_dir)
    with tempfile.TemporaryDirectory() as folder:
        dataset = rows_for(run, Path(folder) / "dataset", parquet_path, dataset_path, time_column, period_ms)
        result = judge(run, dataset, held_out(run, dataset), fee_bp=fee_bp)
    write_json(model_dir / "evaluation.json", result)
    click.echo(json.dumps(result) if as_json else "\n".join(table(result)))
