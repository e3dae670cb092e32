"""`collector run`: live collection."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import msgspec

from collector.clock import SystemClock
from collector.commands.log_options import log_settings
from collector.commands.options import (
    check_named,
    check_wanted,
    config_option,
    features_option,
    model_option,
    open_store,
    retention_options,
    store_options,
)
from collector.commands.stream_options import derived_options, stream_options, wanted_of
from collector.config import FiniteRange, setting
from collector.consumers import Consumer, load_callback
from collector.context import check_intervals
from collector.core.channels import stream_of
from collector.errors import ConfigurationError
from collector.logs import configure
from collector.markets import FUTURES
from collector.model_file import ModelFile
from collector.printer import PrintedLog, Printer, lines_to
from collector.serve.child import check_address
from collector.settings import RunSettings
from collector.shards import Shard
from collector.sizes import Size
from collector.sources.settings import FeedSettings
from storage_backends.open import FILE_FORMATS
from storage_backends.settings import StoreSettings

DEPTH_SPEEDS_MS = {"100ms": 100, "250ms": 250, "500ms": 500, "1000ms": 1000, "none": None}


@click.command()
@setting(
    "--exchange",
    multiple=True,
    default=("binanceusdm",),
    help="binanceusdm, binance, or another of ccxt.pro, such as bybit-swap; repeatable",
)
@setting("-s", "--symbol", multiple=True, default=("BTC/USDT",), help="BTC/USDT, BTCUSDT or */USDT; repeatable")
@setting("--step", default=0.00002, type=FiniteRange(0, 0.1, min_open=True), help="log-width of a depth bucket")
@setting("--steps", default=40, type=click.IntRange(1, 2000), help="depth buckets a side")
@setting("--interval", default=1, type=click.IntRange(1, 3600), help="seconds between epochs")
@setting("--ref", default="best", type=click.Choice(["best", "mid"]), help="price that buckets are measured from")
@stream_options
@derived_options
@setting(
    "--depth-speed",
    default="100ms",
    type=click.Choice(list(DEPTH_SPEEDS_MS)),
    help="pace of depth diffs; none: the exchange's own",
)
@features_option
@model_option
@setting("--context-enabled/--no-context-enabled", default=True, help="let features of long bars start from klines")
@setting("--context-tfs", default="1m,5m,15m,1h", help="intervals of those klines, with commas")
@setting("--context-bootstrap-limit", default=300, type=click.IntRange(1, 1000), help="klines of each interval")
@store_options
@setting("--dry-run", "--no-storage", "dry_run", is_flag=True, help="collect and show, store nothing")
@setting("--duration", default=None, type=FiniteRange(0, min_open=True), help="seconds, then stop as on Ctrl-C")
@setting("--raw", is_flag=True, help="also write every input as a capture under DATA_DIR/raw")
@setting(
    "--raw-max-bytes",
    default=None,
    type=Size(16 << 20),
    help="size that captures may have, as in 5GB; then the oldest are deleted  [default: no bound]",
)
@setting("--sink-format", default="parquet", type=click.Choice(FILE_FORMATS), help="format of new files")
@setting(
    "--flush-interval",
    default=None,
    type=FiniteRange(0.1, 86400),
    help="seconds of rows in one file  [default: 300; Bigtable: 1]",
)
@setting("--max-batch-size", default=1_000_000, type=click.IntRange(1), help="rows in one file, at most")
@setting("--compact/--no-compact", default=True, help="merge each day that is over into one file, once an hour")
@setting("--heal/--no-heal", default=True, help="fetch by REST the trades that a gap lacks (Binance)")
@setting("--hot/--no-hot", default=True, help="keep the last 1,024 rows of each table and market under DATA_DIR/hot")
@retention_options
@setting(
    "--journal-max-bytes",
    default="4GiB",
    type=Size(1 << 20),
    help="size that the journal may have, as in 4GiB; then new rows are refused",
)
@setting(
    "--stale-after",
    default=5.0,
    type=FiniteRange(0, min_open=True),
    help="seconds without depth after which an epoch is not valid",
)
@setting("--anchor-interval", default=600.0, type=FiniteRange(10), help="seconds between snapshots of a market")
@setting(
    "--anchor-limit",
    default=None,
    type=click.IntRange(5, 5000),
    help="levels of a snapshot  [default: 1000; 5000 for up to ten spot markets]",
)
@setting(
    "--max-connects", default=150, type=click.IntRange(1, 300), help="connection attempts in five minutes, at most"
)
@setting(
    "--rotate-after",
    default=23.0,
    type=FiniteRange(0.001, 23.4),
    help="hours until a connection is replaced, a fiftieth more or less; the exchange cuts it after 24",
)
@setting(
    "--silence",
    default=None,
    type=FiniteRange(1),
    help="seconds without data before a stream is questioned  [default: 30; trades 120]",
)
@setting("--shard-count", default=1, type=click.IntRange(1, 10_000), help="collectors among which markets are split")
@setting("--shard-index", default=0, type=click.IntRange(0), help="which of them this one is, from 0")
@setting("--callback", multiple=True, help="MODULE:FUNCTION, an `async def` that is told of what happens; repeatable")
@setting(
    "--record/--no-record", "record_enabled", default=False, help="also write events as JSON lines, for looking at"
)
@setting("--record-dir", default=None, type=click.Path(path_type=Path), help="where to  [default: DATA_DIR/recordings]")
@setting("--record-buffer-size", default=100, type=click.IntRange(1), help="lines that are written together")
@setting("--webhook", default=None, help="address that is told, by POST, when a market's quality gets worse")
@setting(
    "--listing-interval",
    default=300.0,
    type=FiniteRange(1),
    help="seconds between looks at what a wildcard means by now",
)
@setting("--http", default=None, help="also answer over HTTP, on HOST:PORT, in a process of its own; see `serve`")
@setting("--url-root", default=None, help="an exchange elsewhere, such as the simulator's http://127.0.0.1:8765")
@setting("--spot-ws", default=None, help="websocket root of spot")
@setting("--futures-ws", default=None, help="websocket root of USDⓈ-M futures")
@log_settings
@click.option(
    "--check", is_flag=True, help="look at the settings, say whether they are good, and stop; touches nothing"
)
@config_option
def run(
    exchange: tuple[str, ...],
    symbol: tuple[str, ...],
    step: float,
    steps: int,
    interval: int,
    ref: str,
    depth_speed: str,
    features: str,
    model: Path | None,
    context_enabled: bool,
    context_tfs: str,
    context_bootstrap_limit: int,
    store: StoreSettings,
    dry_run: bool,
    duration: float | None,
    raw: bool,
    raw_max_bytes: int | None,
    sink_format: str,
    flush_interval: float | None,
    max_batch_size: int,
    compact: bool,
    heal: bool,
    hot: bool,
    retain_days: int | None,
    disk_budget: int | None,
    journal_max_bytes: int,
    stale_after: float,
    anchor_interval: float,
    anchor_limit: int | None,
    max_connects: int,
    rotate_after: float,
    silence: float | None,
    listing_interval: float,
    shard_count: int,
    shard_index: int,
    callback: tuple[str, ...],
    record_enabled: bool,
    record_dir: Path | None,
    record_buffer_size: int,
    webhook: str | None,
    http: str | None,
    url_root: str | None,
    spot_ws: str | None,
    futures_ws: str | None,
    log_level: str,
    log_format: str,
    check: bool,
    **streams: Any,
) -> None:
    """Collects live until Ctrl-C or SIGTERM, and prints a line a second.

    Every option can be set in the environment as COLLECTOR_<OPTION>, in .env, or in the file of --config; flags are
    strongest. SYMBOL, DB_BACKEND, LOG_LEVEL, FUTURES_WS, SPOT_WS, DEPTH_ENABLED, DEPTH_SPEED and TOPN work as they are.
    """
    say, complain = Printer(lines_to(sys.stdout)), Printer(lines_to(sys.stderr))
    configure(log_level, log_format, PrintedLog(complain))
    wanted = wanted_of(streams)
    channels = check_wanted(exchange, symbol, ",".join(wanted.channels))
    check_named(wanted.derived.ticks, exchange, symbol)
    settings = RunSettings(
        exchanges=tuple(dict.fromkeys(exchange)),
        symbols=tuple(dict.fromkeys(symbol)),
        streams=channels,
        step=step,
        steps=steps,
        interval_s=interval,
        reference=ref,
        stale_after_s=stale_after,
        features=_features(features, dry_run=dry_run and model is None),
        context_intervals=check_intervals(context_tfs) if context_enabled else (),
        context_limit=context_bootstrap_limit,
        store=replace(store, backend="none" if dry_run else store.backend, file_format=sink_format),
        raw=raw,
        duration_s=duration,
        flush_interval_s=store.flush_interval_s if flush_interval is None else flush_interval,
        max_batch_rows=max_batch_size,
        compact=compact,
        heal=heal,
        hot=hot,
        retain_days=retain_days,
        disk_budget_bytes=disk_budget,
        raw_max_bytes=raw_max_bytes,
        journal_max_bytes=journal_max_bytes,
        derived=wanted.derived,
        record_dir=(record_dir or store.data_dir / "recordings") if record_enabled else None,
        record_buffer_size=record_buffer_size,
        webhook=webhook,
        http=http,
        model=None if model is None else ModelFile(model),
        feed=FeedSettings(
            url_root=url_root,
            spot_ws=spot_ws,
            futures_ws=futures_ws,
            depth_speed_ms=DEPTH_SPEEDS_MS[depth_speed],
            anchor_interval_s=anchor_interval,
            anchor_limit=anchor_limit,
            max_connects_per_5min=max_connects,
            rotate_after_s=rotate_after * 3600,
            polls=wanted.polls,
            listing_interval_s=listing_interval,
            shard=_shard(shard_index, shard_count),
            silence_s={} if silence is None else dict.fromkeys(channels, silence),
        ),
    )
    if webhook is not None and not webhook.startswith(("http://", "https://")):
        raise ConfigurationError("--webhook", "…", "must begin with http:// or https://")
    if http is not None:
        check_address(http)
    if settings.model is not None:
        streams_of = tuple(stream_of(channel) for channel in settings.streams)
        settings.model.open(msgspec.structs.replace(settings.session(""), channels=streams_of))
    consumers = [Consumer(load_callback(spec), name=spec) for spec in callback]
    if check:
        from collector.sources.binance_feed import checked_endpoints

        for one in FUTURES.keys() & settings.exchanges:
            checked_endpoints(one, settings.feed)
        open_store(settings.store, must_exist=False).close()
        click.echo("the settings are good")
        return
    from collector.pipeline import Pipeline

    if not dry_run:
        from collector.lean_pyarrow import with_system_memory, without_pandas
        from collector.memory import without_large_leftovers

        with_system_memory()
        without_pandas()
        without_large_leftovers()
    try:
        asyncio.run(Pipeline(settings, SystemClock(), say, consumers).run())
    finally:
        say.flush()
        complain.flush()


def _features(text: str, *, dry_run: bool) -> str:
    """The features to compute: a dry run stores none and need not pay for the default.

    Raises:
        ConfigurationError: an unknown one.
    """
    if text == "none" or (dry_run and text == "basic"):
        return "none"
    from collector.features.options import chosen_features

    chosen_features(text)
    return text


def _shard(index: int, count: int) -> Shard:
    if index >= count:
        raise ConfigurationError(
            "--shard-index", index, f"there are {count} collectors (--shard-count), numbered 0 to {count - 1}"
        )
    return Shard(index, count)
