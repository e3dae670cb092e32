"""Options that several commands share."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from training.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from training.columns import Column
    from training.dataset import Dataset
    from training.parquet import ParquetSource
    from training.run import Run

    Command = TypeVar("Command", bound=Callable[..., Any])


NO_SOURCE = "--parquet-path: give a Parquet file, or --dataset a folder that `training export` made"


class ListCommand(click.Command):
    """A command whose repeatable options also take several values in a row: --features a b c."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        lists = {name for one in self.params if isinstance(one, click.Option) and one.multiple for name in one.opts}
        spread: list[str] = []
        current: str | None = None
        fresh = False
        for token in args:
            if token.startswith("-") and not _is_number(token):
                name, _, _value = token.partition("=")
                current = name if name in lists else None
                fresh = current is not None and "=" not in token
                spread.append(token)
            elif current is not None and not fresh:
                spread += [current, token]
            else:
                fresh = False
                spread.append(token)
        return super().parse_args(ctx, spread)


def _is_number(token: str) -> bool:
    try:
        float(token)
    except ValueError:
        return False
    return True


def source_options(command: Command) -> Command:
    """Where rows come from: --parquet-path or --dataset, and how their time is told."""
    for option in reversed(
        (
            click.option("--parquet-path", type=click.Path(path_type=Path), help="a Parquet file, or a folder of them"),
            click.option("--dataset", "dataset_path", type=click.Path(path_type=Path), help="a memory map of `export`"),
            click.option("--time-column", help="the column of times  [default: found by name]"),
            click.option(
                "--period-ms", type=click.FloatRange(0, min_open=True), help="time between rows  [default: found]"
            ),
        )
    ):
        command = option(command)
    return command


def open_source(
    folder: Path,
    columns: Sequence[Column],
    targets: Sequence[str],
    parquet_path: Path | None,
    dataset_path: Path | None,
    time_column: str | None,
    period_ms: float | None,
) -> Dataset:
    """The rows that the options name, as a data set; one of Parquet is built in `folder`.

    Raises:
        TrainingError: neither or both are given, columns are missing, or no row can be used.
    """
    from training.dataset import build, open_dataset

    if (parquet_path is None) == (dataset_path is None):
        raise TrainingError(NO_SOURCE)
    if dataset_path is not None:
        dataset = open_dataset(dataset_path)
        if list(dataset.columns) != list(columns) or list(dataset.targets) != list(targets):
            raise TrainingError(
                f"--dataset {dataset_path}: has columns {' '.join(dataset.names)} and targets "
                f"{' '.join(dataset.targets)}, wanted are {' '.join(column.name for column in columns)} and "
                f"{' '.join(targets)}; export it anew with these --features and --targets"
            )
        return dataset
    assert parquet_path is not None
    source = open_parquet(parquet_path, time_column)
    source.check("--features", [column.name for column in columns])
    source.check("--targets", targets)
    period_ns = source.period_ns() if period_ms is None else round(period_ms * 1e6)
    names = [column.name for column in columns]
    return build(source.read(names, targets), folder, columns, targets, period_ns, source.settings)


def open_parquet(path: Path, time_column: str | None) -> ParquetSource:
    """A Parquet source. Raises TrainingError when there is none."""
    from training.parquet import ParquetSource

    return ParquetSource(path, time_column)


def rows_for(
    run: Run,
    folder: Path,
    parquet_path: Path | None,
    dataset_path: Path | None,
    time_column: str | None,
    period_ms: float | None,
) -> Dataset:
    """Rows for a trained model: its columns, at its period.

    Raises:
        TrainingError: columns are missing, or the period is another.
    """
    dataset = open_source(folder, run.columns, run.config.targets, parquet_path, dataset_path, time_column, period_ms)
    if abs(dataset.period_ns - run.period_ns) > run.period_ns / 100:
        raise TrainingError(
            f"--parquet-path {parquet_path or dataset_path}: has a row each {dataset.period_ns / 1e6:g} ms, and the "
            f"model was trained on one each {run.period_ns / 1e6:g} ms; give data of that period"
        )
    return dataset


def command_line() -> str:
    """The command as it was typed, for the record."""
    return shlex.join(["python", "-m", "training", *sys.argv[1:]])


model_option = click.option(
    "--model-dir", required=True, type=click.Path(path_type=Path), help="output folder of `train`"
)
