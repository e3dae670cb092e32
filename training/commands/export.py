"""`training export`: tables of a store as Parquet, or as a memory map for training."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from training.commands.options import ListCommand
from training.errors import TrainingError
from training.store import store_options
from training.times import Time

if TYPE_CHECKING:
    from storage_backends.settings import StoreSettings

_MID = ("mid_price", "price")


@click.command(cls=ListCommand)
@click.option(
    "--dataset",
    "datasets",
    multiple=True,
    help="depth, book or features, one row each of its times; further ones are joined to the first",
)
@click.option("--table", help="instead, any table as it is stored: trades, diffs, …")
@click.option("--exchange", help="as stored: binanceusdm, …  [default: the only one]")
@click.option("-s", "--symbol", help="BTC/USDT or BTCUSDT  [default: the only one]")
@click.option("--from", "--start", "start", type=Time(), help="first time, ISO 8601 or Unix  [default: all]")
@click.option("--to", "--end", "end", type=Time(), help="where to stop, exclusive")
@click.option("--format", "file_format", default="parquet", show_default=True, type=click.Choice(["parquet", "memmap"]))
@click.option("--output", "--out", default="export", show_default=True, type=click.Path(path_type=Path), help="folder")
@click.option("--features", multiple=True, help="memmap: columns to keep  [default: all]")
@click.option("--targets", multiple=True, help="memmap: price columns to forecast  [default: the mid]")
@click.option("--ladder", default=25, show_default=True, type=click.IntRange(1, 1000), help="levels a side of book")
@click.option("--range-s", default=3600.0, show_default=True, type=click.FloatRange(1), help="seconds in one file")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 256), help="processes")
@click.option("--runner", default="local", show_default=True, type=click.Choice(["local", "direct", "dataflow"]))
@click.option("--beam-args", default="", help="arguments of the Beam runner, as one text")
@click.option("--beam-output", help="a bucket's folder for the files, in place of --output")
@click.option("--progress/--no-progress", default=True, help="a progress bar")
@store_options
def export(
    store: StoreSettings,
    datasets: tuple[str, ...],
    table: str | None,
    exchange: str | None,
    symbol: str | None,
    start: int | None,
    end: int | None,
    file_format: str,
    output: Path,
    features: tuple[str, ...],
    targets: tuple[str, ...],
    ladder: int,
    range_s: float,
    workers: int,
    runner: str,
    beam_args: str,
    beam_output: str | None,
    progress: bool,
) -> None:
    """Writes Parquet files for other tools, and with --format memmap also what `train --dataset` reads.

    A row is `valid` when it was when it was written and no stored gap touches it. Joined columns hold what was known at
    the row's time. The same rows give the same files; a run that was stopped goes on where it was.
    """
    from tqdm import tqdm

    from training.export import export_all, plan, specify

    if (table is None) == (not datasets):
        raise TrainingError("--dataset: give one or more of depth, book, features; or --table NAME")
    if table is not None and file_format == "memmap":
        raise TrainingError("--format memmap: is for --dataset, whose rows stand on a time grid")
    if beam_output is not None and (runner == "local" or file_format == "memmap"):
        raise TrainingError("--beam-output: goes with --runner direct or dataflow and --format parquet")
    folder = output / "parts" if file_format == "memmap" else output
    spec = specify(
        store,
        exchange=exchange,
        symbol=symbol,
        output=folder,
        table=table,
        datasets=datasets,
        start_ns=start,
        end_ns=end,
        range_s=range_s,
        levels=ladder,
    )
    parts = plan(spec)
    if runner == "local":
        with tqdm(total=len(parts), desc="export", unit="range", disable=not progress, leave=False) as bar:
            rows = export_all(spec, workers, lambda _: bar.update())
        click.echo(f"{rows:,} rows in {len(parts):,} files in {folder}")
    else:
        from training.beam import run_beam

        run_beam(spec, runner, shlex.split(beam_args), beam_output)
        click.echo(f"{len(parts):,} files in {beam_output or folder}")
    if file_format == "memmap":
        _memory_map(folder, output, features, targets)


def _memory_map(parts: Path, output: Path, features: tuple[str, ...], targets: tuple[str, ...]) -> None:
    from training.columns import columns_of
    from training.dataset import build
    from training.parquet import ParquetSource

    source = ParquetSource(parts)
    chosen = targets or tuple(name for name in _MID if name in source.schema.names)[:1]
    if not chosen:
        raise TrainingError(f"--targets: name the price to forecast among {', '.join(source.numeric())}")
    names = features or tuple(source.numeric())
    source.check("--features", names)
    source.check("--targets", chosen)
    columns = columns_of(names, chosen)
    rows = source.read(names, chosen)
    dataset = build(rows, output / "memmap", columns, chosen, source.period_ns(), source.settings)
    click.echo(
        f"{len(dataset):,} of {dataset.counts['rows_read']:,} rows in {len(dataset.segments):,} segments; train with: "
        f"python -m training train --dataset {dataset.folder} --targets {' '.join(chosen)}"
    )
