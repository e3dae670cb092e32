"""`training train`: models on walk-forward folds, judged on rows that they have not seen."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from training.commands.options import (
    NO_SOURCE,
    ListCommand,
    command_line,
    open_parquet,
    open_source,
    source_options,
)
from training.errors import TrainingError

if TYPE_CHECKING:
    from training.config import Config
    from training.dataset import Dataset


@click.command(cls=ListCommand)
@source_options
@click.option("--features", multiple=True, help="input columns, one after the other  [default: all numbers]")
@click.option("--targets", multiple=True, default=("mid_price",), show_default=True, help="price columns to forecast")
@click.option("--input-length", default=100, show_default=True, type=click.IntRange(2), help="rows to look back on")
@click.option(
    "--forecast-horizon", default=10, show_default=True, type=click.IntRange(1), help="forecast 1 … N rows ahead"
)
@click.option("--horizons", multiple=True, type=click.IntRange(1), help="these instead, such as 1 5 10 50")
@click.option("--epochs", default=25, show_default=True, type=click.IntRange(1))
@click.option("--batch-size", default=512, show_default=True, type=click.IntRange(1), help="forecasts in a batch")
@click.option("--output-dir", default="models", show_default=True, type=click.Path(path_type=Path))
@click.option("--task", default="regression", show_default=True, type=click.Choice(["regression", "classification"]))
@click.option("--raw-level", is_flag=True, help="forecast the z-scored price itself, the old way, which loses")
@click.option("--flat-bp", default=0.0, show_default=True, type=click.FloatRange(0), help="classes: flat up to here")
@click.option("--channels", default=32, show_default=True, type=click.IntRange(1))
@click.option("--levels", type=click.IntRange(1, 16), help="[default: as many as --input-length allows, at most 8]")
@click.option("--kernel", default=4, show_default=True, type=click.IntRange(2))
@click.option("--dropout", default=0.1, show_default=True, type=click.FloatRange(0, 1, max_open=True))
@click.option("--learning-rate", default=3e-3, show_default=True, type=click.FloatRange(0, min_open=True))
@click.option("--weight-decay", default=1e-2, show_default=True, type=click.FloatRange(0))
@click.option("--clip", default=1.0, show_default=True, type=click.FloatRange(0, min_open=True))
@click.option("--patience", default=5, show_default=True, type=click.IntRange(1), help="epochs without improvement")
@click.option("--folds", default=3, show_default=True, type=click.IntRange(1, 50), help="walk-forward folds")
@click.option("--seeds", multiple=True, type=int, default=(0,), show_default=True, help="one model each")
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1), help="of this process, on the CPU")
@click.option("--precision", default="float32", show_default=True, type=click.Choice(["float32", "bf16"]))
@click.option("--device", default="auto", show_default=True, help="auto (a GPU when there is one), cpu, cuda, cuda:1")
@click.option("--resume", is_flag=True, help="go on where a run with the same settings was stopped")
@click.option("--progress/--no-progress", default=True, help="progress bars")
def train(
    parquet_path: Path | None,
    dataset_path: Path | None,
    time_column: str | None,
    period_ms: float | None,
    features: tuple[str, ...],
    targets: tuple[str, ...],
    input_length: int,
    forecast_horizon: int,
    horizons: tuple[int, ...],
    epochs: int,
    batch_size: int,
    output_dir: Path,
    task: str,
    raw_level: bool,
    flat_bp: float,
    channels: int,
    levels: int | None,
    kernel: int,
    dropout: float,
    learning_rate: float,
    weight_decay: float,
    clip: float,
    patience: int,
    folds: int,
    seeds: tuple[int, ...],
    threads: int,
    precision: str,
    device: str,
    resume: bool,
    progress: bool,
) -> None:
    """Trains a causal TCN on log-returns of the targets and judges it on held-out rows.

    Every row of a segment is a label; no window crosses a gap or an invalid row; folds go forward in time with a purge
    between. Persistence, a line through the last imbalance and ridge stand beside the model. Start it with torchrun for
    several processes or GPUs.
    """
    from training.columns import columns_of
    from training.config import Config, check, levels_within
    from training.dataset import open_dataset
    from training.resume import require_same_config, require_same_rows

    if (parquet_path is None) == (dataset_path is None):
        raise TrainingError(NO_SOURCE)
    names = features
    if not names and dataset_path is not None:
        names = open_dataset(dataset_path).names
    elif not names and parquet_path is not None:
        names = tuple(open_parquet(parquet_path, time_column).numeric())
    looks_back = not raw_level and any(name in targets for name in names)
    fitting = min(8, levels_within(kernel, input_length - looks_back))
    if levels is None and not fitting:
        raise TrainingError(f"--input-length {input_length}: is too short for --kernel {kernel}; give a longer one")
    config = Config(
        features=names,
        targets=targets,
        horizons=horizons or tuple(range(1, forecast_horizon + 1)),
        input_length=input_length,
        task=task,
        raw_level=raw_level,
        flat_bp=flat_bp,
        channels=channels,
        levels=levels or fitting,
        kernel=kernel,
        dropout=dropout,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        clip=clip,
        patience=patience,
        folds=folds,
        seeds=seeds,
        threads=threads,
        precision=precision,
        device=device,
    )
    check(config)
    if resume:
        require_same_config(output_dir, config)

    from training.evaluate import evaluate, held_out, table
    from training.files import write_json
    from training.run import open_run, train_all
    from training.world import enter, leave

    world = enter(config)
    try:
        if world.leads:
            columns = columns_of(names, targets, raw_level=raw_level)
            read = partial(
                open_source,
                columns=columns,
                targets=targets,
                parquet_path=parquet_path,
                dataset_path=dataset_path,
                time_column=time_column,
                period_ms=period_ms,
            )
            if resume:
                require_same_rows(output_dir, read)
            dataset = read(output_dir / "dataset")
            _describe(config, dataset)
        world.wait()
        if not world.leads:
            dataset = open_dataset(dataset_path or output_dir / "dataset")
        source = str(parquet_path or dataset_path)
        train_all(
            config,
            dataset,
            output_dir,
            world,
            command=command_line(),
            source=source,
            resume=resume,
            bars=progress,
            say=click.echo,
        )
        if world.leads:
            run = open_run(output_dir)
            result = evaluate(run, dataset, held_out(run, dataset))
            write_json(output_dir / "evaluation.json", result)
            click.echo("\n" + "\n".join(table(result)))
            click.echo(f"models, statistics, model.npz and model.onnx are in {output_dir}")
    finally:
        leave()


def _describe(config: Config, dataset: Dataset) -> None:
    """What is about to be done, for people."""
    from training.columns import LEVEL, LOG, OFFSET, RETURN, collapsed

    counts = dataset.counts
    settings = {name: value for name, value in config.as_dict().items() if name != "features"}
    click.echo("config: " + " ".join(f"{name}={value}" for name, value in settings.items()))
    for kind in (RETURN, OFFSET, LOG, LEVEL):
        names = [column.name for column in dataset.columns if column.kind == kind]
        if names:
            click.echo(f"inputs as {kind}: {collapsed(names)}")
    click.echo(
        f"data: {len(dataset):,} of {counts['rows_read']:,} rows in {len(dataset.segments):,} segments, one each "
        f"{dataset.period_ns / 1e6:g} ms; {counts['rows_invalid']:,} invalid, missing values "
        f"{counts['missing'] or 'none'}; fingerprint {dataset.fingerprint[:16]}"
    )
    before = " (the network's, and one row before for returns)" if config.looks_back else ""
    click.echo(
        f"receptive field: {config.receptive_field} rows{before}, within the input length of {config.input_length}; "
        f"purge between parts: {config.purge} rows"
    )
