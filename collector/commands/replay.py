"""`collector replay`: captures through the core into a store."""

from __future__ import annotations

import sys
import time
from dataclasses import replace as changed
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec
from click.core import ParameterSource

from collector.commands.log_options import logs_to_stderr
from collector.commands.options import (
    config_option,
    features_option,
    meant_market,
    model_option,
    open_store,
    store_options,
)
from collector.commands.stream_options import derived_of, derived_options
from collector.config import FiniteRange, setting
from collector.core.inputs import SessionStarted
from collector.errors import ConfigurationError
from collector.features.options import chosen_features
from collector.lean_pyarrow import without_pandas
from collector.markets import exchange_symbol, is_futures
from collector.model_file import ModelFile
from collector.replay import Progress, Replay
from collector.sources.capture import CaptureError
from collector.sources.capture_markets import symbols_in
from collector.store import StoreWriter
from collector.ticks import Ticks, named_in
from storage_backends.open import FILE_FORMATS
from storage_backends.settings import StoreSettings

_CHANNELS = ("depth", "trades", "raw_trades", "book_ticker")


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE…")
@click.option(
    "--exchange",
    default="binanceusdm",
    show_default=True,
    help="where a capture without a session of its own comes from",
)
@click.option("-s", "--symbol", multiple=True, help="only these markets; repeatable  [default: all in the files]")
@setting("--step", default=0.00002, type=FiniteRange(0, 0.1, min_open=True), help="log-width of a bucket")
@setting("--steps", default=40, type=click.IntRange(1, 2000), help="buckets a side")
@setting("--interval", default=1, type=click.IntRange(1, 3600), help="seconds between epochs")
@setting("--ref", default="best", type=click.Choice(["best", "mid"]), help="price that buckets are measured from")
@partial(features_option, default=None)
@model_option
@setting("--sink-format", default="parquet", type=click.Choice(FILE_FORMATS), help="format of new files")
@derived_options
@store_options
@config_option
@click.option("--json", "as_json", is_flag=True, help="what was stored, as JSON")
@logs_to_stderr
def replay(
    files: tuple[Path, ...],
    exchange: str,
    symbol: tuple[str, ...],
    step: float,
    steps: int,
    interval: int,
    ref: str,
    features: str | None,
    model: Path | None,
    sink_format: str,
    store: StoreSettings,
    as_json: bool,
    **derived: Any,
) -> None:
    """Runs captures through the core, merged by receive time, as fast as it goes.

    A capture that `run --raw` wrote brings its own settings; for others --exchange, --step, --steps, --interval and
    --ref count, and what is computed of them is what is named here. --bars, --tick-sizes, --book-grid and --features
    count for all where they are given; without --features, others get `basic`.
    --model forecasts anew; without it there are no forecasts, whatever the capture was taken with.
    Replaying the same files into the same store again changes nothing.
    """
    symbols = tuple(one if "-" in one else exchange_symbol(one) for one in symbol)
    settings = derived_of(derived)
    chosen_features(features or "basic")
    model_file = None if model is None else ModelFile(model)
    template = SessionStarted(
        exchange=exchange,
        symbol="",
        futures=is_futures(exchange),
        interval_s=interval,
        step=step,
        steps=steps,
        reference=ref,
        channels=_CHANNELS,
        features=features or "basic",
    )
    for file in files:
        if not file.is_file():
            raise ConfigurationError("FILE", file, "is not a file; give captures that `collector run --raw` wrote")
    _check_markets(files, symbols, settings.ticks)
    without_pandas()
    backend = open_store(changed(store, file_format=sink_format), must_exist=False)
    counts: dict[str, dict[str, int]] = {}
    with_rows = StoreWriter(backend, "replay", store.place)

    def emit(venue: str, market: str, batches: list) -> None:  # type: ignore[type-arg]
        with_rows.add(venue, market, batches)
        tables = counts.setdefault(f"{venue} {market}", {})
        for batch in batches:
            tables[batch.table] = tables.get(batch.table, 0) + batch.rows

    def show(progress: Progress) -> None:
        if not as_json and sys.stderr.isatty() and progress.first_ns is not None:
            seconds = (progress.last_ns - progress.first_ns) / 1e9
            click.echo(f"\r{progress.inputs:,} inputs, {seconds:,.0f} s of market time", nl=False, err=True)

    began = time.process_time()
    replaying = Replay(template, symbols, emit, settings.session, features, model_file, settings.added_to)
    try:
        progress = replaying.run(files, show)
    except CaptureError as error:
        raise ConfigurationError("FILE", "cannot be replayed", str(error)) from error
    if not counts:
        raise ConfigurationError("FILE", ", ".join(map(str, files)), "holds no message of any market")
    with_rows.flush()
    backend.close()
    _say_what_differs(replaying, model_file)
    used_s = time.process_time() - began
    market_s = (progress.last_ns - (progress.first_ns or 0)) / 1e9
    if as_json:
        report = {"inputs": progress.inputs, "market_s": market_s, "cpu_s": used_s, "rows": counts}
        click.echo(msgspec.json.encode(report))
        return
    if sys.stderr.isatty():
        click.echo(err=True)
    for name, tables in counts.items():
        click.echo(f"{name}: " + ", ".join(f"{rows:,} {table}" for table, rows in sorted(tables.items())))
    click.echo(f"{market_s:,.0f} s of market time in {used_s:.1f} s of CPU time, into {store.place[1]}")


def _check_markets(files: tuple[Path, ...], symbols: tuple[str, ...], ticks: Ticks | None) -> None:
    """Refuses markets that are named and not there, before anything is written.

    A file of settings may serve several captures, so of --tick-sizes only the flag counts.

    Raises:
        ConfigurationError: see above, or a file is no capture.
    """
    by_flag = click.get_current_context().get_parameter_source("tick_sizes") == ParameterSource.COMMANDLINE
    widths = named_in(ticks) if by_flag else []
    wanted = dict.fromkeys(widths, "--tick-sizes") | dict.fromkeys(symbols, "--symbol")
    if not wanted:
        return
    try:
        there = symbols_in(files, wanted)
    except CaptureError as error:
        raise ConfigurationError("FILE", "cannot be replayed", str(error)) from error
    known = {symbol: symbol for symbol in sorted(there)}
    for name, flag in wanted.items():
        if name not in there:
            holds = f"which hold {', '.join(known)}" if known else "which name no market"
            raise ConfigurationError(flag, name, f"is not in these captures, {holds}{meant_market(name, known)}")
    for name in widths:
        if symbols and name not in symbols:
            raise ConfigurationError("--tick-sizes", name, f"is not replayed: --symbol has {', '.join(symbols)}")


def _say_what_differs(replaying: Replay, model_file: ModelFile | None) -> None:
    """What makes the rows others than those of the run."""
    if replaying.other_models:
        used = "no model" if model_file is None else f"model {model_file.fingerprint}"
        others = ", ".join(sorted(replaying.other_models))
        click.echo(f"replayed with {used}; captured with model {others}: forecasts are not those of the run", err=True)
    for path, why in replaying.torn.items():
        click.echo(f"{path}: {why}; what stands before that was replayed", err=True)
