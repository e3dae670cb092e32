"""`collector doctor`: what would keep a run from working here."""

from __future__ import annotations

import asyncio
import logging

import click

from collector.clock import Clock, SystemClock
from collector.commands.log_options import logs_to_stderr
from collector.commands.options import check_wanted, config_option, store_options
from collector.commands.run import DEPTH_SPEEDS_MS, run
from collector.config import FiniteRange, setting
from collector.doctor.exchange import Examined, Wanted, examine
from collector.doctor.machine import check_disk_speed, check_open_files, check_space, check_wall_clock
from collector.doctor.report import Check, as_json, as_table, good
from collector.doctor.store import check_backend
from collector.errors import EXIT_BAD_NEWS, ConfigurationError
from collector.markets import FUTURES
from collector.sources.settings import FeedSettings
from storage_backends.open import BACKENDS
from storage_backends.settings import StoreSettings

_AS_RUN = (
    "exchange",
    "symbol",
    "streams",
    "depth_speed",
    "journal_max_bytes",
    "url_root",
    "spot_ws",
    "futures_ws",
)
"""Options that mean what they mean to `run`."""


@click.command()
@setting("--seconds", default=10.0, type=FiniteRange(1, 600), help="how long a stream may take to say something")
@store_options
@config_option
@click.option("--json", "report_json", is_flag=True, help="one object: ok, and a list of checks")
@logs_to_stderr
@click.pass_context
def doctor(
    context: click.Context,
    exchange: tuple[str, ...],
    symbol: tuple[str, ...],
    streams: str,
    depth_speed: str,
    store: StoreSettings,
    journal_max_bytes: int,
    url_root: str | None,
    spot_ws: str | None,
    futures_ws: str | None,
    seconds: float,
    report_json: bool,
) -> None:
    """Checks what `run` with the same options needs: clock, disk, network, exchange, streams, weight, backend.

    Subscribes for some seconds and stores nothing. Knows binanceusdm and binance only. Exit code 1 says that a check
    failed.
    """
    # What goes wrong is in the report; the feed's own words would only stand in its way.
    logging.basicConfig(level=logging.CRITICAL)
    for one in exchange:
        if one not in FUTURES:
            known = " and ".join(sorted(FUTURES))
            raise ConfigurationError("--exchange", one, f"doctor knows {known} only; try `run --dry-run` with this one")
    channels = check_wanted(exchange, symbol, streams)
    if store.backend not in BACKENDS:
        raise ConfigurationError("--backend", store.backend, f"choose one of {', '.join(BACKENDS)}")
    settings = FeedSettings(
        url_root=url_root, spot_ws=spot_ws, futures_ws=futures_ws, depth_speed_ms=DEPTH_SPEEDS_MS[depth_speed]
    )
    wanted = [Wanted(one, symbol, channels, settings) for one in dict.fromkeys(exchange)]
    clock = SystemClock()
    machine = [check_space(store.data_dir, journal_max_bytes), check_disk_speed(store.data_dir, clock)]
    examined = asyncio.run(_examine(wanted, clock, seconds))
    checks: list[Check] = [
        check_wall_clock(clock),
        *machine,
        check_open_files(sum(one.connections for one in examined), sum(one.markets for one in examined)),
        check_backend(store, clock),
        *(check for one in examined for check in one.checks),
    ]
    if report_json:
        click.echo(as_json(checks))
    else:
        for line in as_table(checks):
            click.echo(line)
    if not good(checks):
        context.exit(EXIT_BAD_NEWS)


doctor.params[:0] = [option for option in run.params if option.name in _AS_RUN]


async def _examine(wanted: list[Wanted], clock: Clock, seconds: float) -> list[Examined]:
    return list(await asyncio.gather(*(examine(one, clock, seconds) for one in wanted)))
