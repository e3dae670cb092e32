"""`collector demo`: the whole way of the data on a simulated exchange, without a network."""

from __future__ import annotations

import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import click

from collector.audit.compare import differences
from collector.audit.gaps import read_gaps
from collector.errors import EXIT_BAD_NEWS, ConfigurationError
from storage_backends.interface import Market
from storage_backends.open import open_backend

_MARKETS = (Market("binanceusdm", "BTCUSDT"), Market("binance", "BTCUSDT"))
_READY_S = 30.0


@click.command()
@click.option(
    "--data-dir",
    default="demo-data",
    show_default=True,
    type=click.Path(path_type=Path),
    help="a folder of the demo's own in here",
)
@click.option("--duration", default=30.0, show_default=True, type=click.FloatRange(10, 600), help="seconds to collect")
def demo(data_dir: Path, duration: float) -> None:
    """Collects from a simulated exchange, loses a connection on purpose, then audits, rebuilds and replays.

    Needs no network, no keys and about a minute. Each call makes a folder of its own and touches no other.
    """
    folder = data_dir / datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    if folder.exists():
        raise ConfigurationError("--data-dir", folder, "exists already; wait a second and try again")
    live, again = folder / "live", folder / "replayed"
    cut_s = duration * 0.4

    _title(1, "A simulated Binance, spot and USDⓈ-M futures, on loopback")
    simulator, url = _simulator(f"abort:market=binanceusdm@{cut_s:.0f}")
    click.echo(f"ready at {url}; after {cut_s:.0f} s it will reset the futures connections")
    try:
        _title(2, f"Collect both for {duration:.0f} s: one line a second and market")
        markets = [part for market in _MARKETS for part in ("--exchange", market.exchange)]
        _collector("run", *markets, "--url-root", url, "--data-dir", live, "--raw", "--duration", duration)
    finally:
        simulator.terminate()
        simulator.wait(10)

    _title(3, "Audit what was stored")
    _collector("verify", "--data-dir", live)

    _title(4, "The gap that the lost connection left")
    store = open_backend("local", data_dir=live)
    found = [gap for market in _MARKETS for gap in read_gaps(store, market)]
    _collector("gaps", "--data-dir", live)
    if not any(gap.reason == "disconnect" for gap in found):
        raise _bad_news("the lost connection left no gap")

    _title(5, "The whole futures book 5 s before the end, from diffs and anchors")
    last = store.stats("depth", _MARKETS[0]).last_ns or 0
    _collector("book", "--data-dir", live, "--exchange", "binanceusdm", "--at", last - 5_000_000_000, "--depth", 5)

    _title(6, "Replay the capture and compare every row")
    captures = sorted((live / "raw").glob("*/*.zst"))
    _collector("replay", *captures, "--data-dir", again)
    replayed = open_backend("local", data_dir=again)
    for market in _MARKETS:
        for table, difference in differences(store, replayed, market).items():
            raise _bad_news(f"replay differs in {table} of {market.exchange}: {difference}")
        click.echo(f"{market.exchange} {market.symbol}: the replay gave the same rows in every table")

    _title(7, "Where everything is, and what to try next")
    earlier = datetime.fromtimestamp(last // 10**9 - 10, UTC)
    click.echo(
        f"""\
tables     {live}/<table>/exchange=…/symbol=…/date=…/*.parquet   (pandas.read_parquet("{live}/trades") just works)
captures   {live}/raw
journal    {live}/journal.sqlite

./run.sh local stats  --data-dir {live}
./run.sh local gaps   --data-dir {live} --json
./run.sh local book   --data-dir {live} --exchange binance --at {earlier:%Y-%m-%dT%H:%M:%SZ}
./run.sh local run    --dry-run                      the real exchange, storing nothing
./run.sh local run    --symbol BTC/USDT --symbol ETH/USDT"""
    )


def _simulator(fault: str) -> tuple[subprocess.Popen[str], str]:
    child = subprocess.Popen(
        [sys.executable, "-m", "collector", "simulate", "--port", "0", "--fault", fault],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    watchdog = threading.Timer(_READY_S, child.kill)  # a child that says nothing would be read from for ever
    watchdog.start()
    try:
        for line in child.stdout:
            if "ready" in line:
                return child, line.split()[1]
    finally:
        watchdog.cancel()
    child.kill()
    raise _bad_news(f"the simulator was not ready within {_READY_S:.0f} s; `collector simulate --port 0` shows why")


def _collector(command: str, *arguments: object) -> None:
    """Runs a command as a person would, its output in view."""
    shown = " ".join(str(argument) for argument in arguments)
    click.secho(f"$ collector {command} {shown}", dim=True)
    done = subprocess.run([sys.executable, "-m", "collector", command, *map(str, arguments)], check=False)
    if done.returncode:
        raise _bad_news(f"collector {command} ended with exit code {done.returncode}")


def _bad_news(message: str) -> click.exceptions.Exit:
    click.echo(f"demo: {message}", err=True)
    return click.exceptions.Exit(EXIT_BAD_NEWS)


def _title(number: int, text: str) -> None:
    click.secho(f"\n{number}. {text}", bold=True)
