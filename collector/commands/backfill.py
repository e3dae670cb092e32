"""`collector backfill`: history by REST and from archive files."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
import msgspec

from collector.clock import SystemClock
from collector.commands.log_options import logs_to_stderr
from collector.commands.options import config_option, open_store, select_markets, store_errors, store_options
from collector.config import FiniteRange, setting
from collector.core.channels import INTERVALS_MS
from collector.errors import EXIT_BAD_NEWS, ConfigurationError
from collector.markets import exchange_symbol
from collector.times import Time, show_ns
from storage_backends.interface import Market
from storage_backends.open import FILE_FORMATS
from storage_backends.settings import StoreSettings

if TYPE_CHECKING:
    from tqdm import tqdm

    from collector.backfill.outcome import Outcome
    from collector.backfill.run import BackfillSettings
    from storage_backends.interface import Backend

KINDS = ("trades", "raw-trades", "klines", "funding", "bars")
EXCHANGES = ("binance", "binanceusdm")


@click.command()
@click.argument("kind", metavar="KIND", type=click.Choice(KINDS))
@click.option("--exchange", type=click.Choice(EXCHANGES), default="binanceusdm", show_default=True)
@click.option(
    "-s", "--symbol", multiple=True, default=("BTC/USDT",), show_default=True, help="BTC/USDT or BTCUSDT; repeatable"
)
@click.option("--from", "start_ns", type=Time(), required=True, help="2026-11-20, 2026-11-20T14:12:45Z, or a Unix time")
@click.option("--to", "end_ns", type=Time(), default=None, help="the same, exclusive  [default: now]")
@click.option("--interval", type=click.Choice(list(INTERVALS_MS)), default="1m", show_default=True, help="of klines")
@click.option(
    "--archive",
    type=click.Path(path_type=Path),
    default=None,
    help="folder with the exchange's own files, such as BTCUSDT-aggTrades-2026-11-20.zip; read first",
)
@click.option("--rest/--no-rest", default=True, show_default=True, help="ask the exchange for what is missing")
@setting(
    "--headroom", default=0.5, type=FiniteRange(0, 0.95), help="part of the exchange's weight limit left to others"
)
@setting("--max-batch-size", default=50_000, type=click.IntRange(1), help="rows in one file, at most")
@setting("--url-root", default=None, help="an exchange elsewhere, such as the simulator's http://127.0.0.1:8765")
@setting("--sink-format", default="parquet", type=click.Choice(FILE_FORMATS), help="format of new files")
@store_options
@config_option
@click.option("--json", "as_json", is_flag=True, help="what was done, one object a market")
@logs_to_stderr
@click.pass_context
def backfill(
    context: click.Context,
    kind: str,
    exchange: str,
    symbol: tuple[str, ...],
    start_ns: int,
    end_ns: int | None,
    interval: str,
    archive: Path | None,
    rest: bool,
    headroom: float,
    max_batch_size: int,
    url_root: str | None,
    sink_format: str,
    store: StoreSettings,
    as_json: bool,
) -> None:
    """Fills the store between two times with what it lacks: KIND is trades, raw-trades, klines, funding or bars.

    Asks for nothing that is stored, holes inside are filled, and gaps that are filled are stated as healed. May be
    stopped or killed at any moment and run again, also beside a running collector. What cannot be had any more is said,
    and the exit code is 1 then: trades of futures reach back 48 hours by REST, older ones are in the exchange's daily
    files (--archive).

    Bars are made of stored trades, nothing is fetched: those that are not complete, lack trades that came late, or that
    no session wrote.
    """
    from collector.backfill.run import BackfillSettings
    from collector.lean_pyarrow import without_pandas

    clock = SystemClock()
    now_ns = clock.now_ns()
    if kind == "funding" and exchange == "binance":
        raise ConfigurationError("--exchange", exchange, "has no funding; choose binanceusdm")
    if kind == "klines" and interval == "1s" and exchange != "binance":
        raise ConfigurationError("--interval", interval, f"is not had on {exchange}; the shortest is 1m")
    if start_ns >= min(now_ns, end_ns or now_ns):
        raise ConfigurationError("--from", show_ns(start_ns), "must lie before --to and before now")
    if archive is not None and not archive.is_dir():
        raise ConfigurationError("--archive", archive, "is not a folder")
    if archive is None and not rest:
        raise ConfigurationError("--no-rest", "", "leaves nothing to read from; name a folder with --archive")
    without_pandas()
    logging.basicConfig(level="WARNING", format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = BackfillSettings(
        kind=kind.replace("-", "_"),
        markets=[Market(exchange, name) for name in dict.fromkeys(exchange_symbol(one) for one in symbol)],
        start_ns=start_ns,
        end_ns=min(now_ns, end_ns or now_ns),
        data_dir=store.data_dir,
        interval=interval if kind == "klines" else "",
        archive=archive,
        rest=rest,
        url_root=url_root,
        headroom=headroom,
        max_rows=max_batch_size,
    )
    backend = open_store(replace(store, file_format=sink_format), must_exist=False)
    with store_errors(store), contextlib.closing(backend):
        backend.check()
        if kind == "bars":  # made of what is stored, so no exchange says that it does not know the market
            select_markets(backend, (exchange,), symbol)
        outcomes = asyncio.run(_with_bar(settings, backend, clock, quiet=as_json))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(outcomes), indent=2))
    else:
        for outcome in outcomes:
            _show(outcome)
    if not all(outcome.good for outcome in outcomes):
        context.exit(EXIT_BAD_NEWS)


async def _with_bar(settings: BackfillSettings, store: Backend, clock: SystemClock, *, quiet: bool) -> list[Outcome]:
    from tqdm import tqdm

    from collector.backfill.run import backfill as run

    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    # None: no bar where nobody looks at a terminal.
    with tqdm(total=0, unit=" rows", unit_scale=True, disable=True if quiet else None) as bar:
        expected = 0

        def expect(rows: int) -> None:
            nonlocal expected
            expected += rows
            bar.total = expected
            bar.refresh()

        try:
            return await run(settings, store, clock, expect=expect, done=lambda rows: _advance(bar, rows))
        except asyncio.CancelledError:
            raise click.Abort from None


def _advance(bar: tqdm[NoReturn], rows: int) -> None:
    bar.update(rows)


def _show(outcome: Outcome) -> None:
    came = [
        f"{rows:,} {source}" for rows, source in ((outcome.archive, "from archives"), (outcome.rest, "by REST")) if rows
    ]
    line = f"{outcome.exchange} {outcome.symbol} {outcome.table}: {', '.join(came) or 'nothing new'}"
    if outcome.table == "bars":
        line = f"{outcome.exchange} {outcome.symbol} bars: {outcome.made:,} made of stored trades"
        line += f"; {outcome.known:,} had them all"
    else:
        line += f"; {outcome.known:,} were there before; {outcome.requests} requests"
    line += f"; {outcome.healed} gaps healed" if outcome.healed else ""
    click.echo(line)
    if outcome.unreadable:
        click.echo(f"  {outcome.unreadable} rows of the exchange cannot be read and are not stored")
    for lost in outcome.out_of_reach:
        click.echo(f"  cannot be had: {lost}")
