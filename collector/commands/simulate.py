"""`collector simulate`: an exchange on loopback until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from collector.commands.log_options import logs_to_stderr

if TYPE_CHECKING:
    from collector.simulator.server import SimulatorConfig


def _fault_help() -> str:
    from collector.simulator.faults import KINDS

    width = max(map(len, KINDS))
    lines = [f"{kind:<{width}}  {text}; keys: {', '.join(sorted(keys))}" for kind, (keys, text) in KINDS.items()]
    return "\n".join(["\b", "Faults, as kind[:key=value,...][@seconds after the first subscription]:", *lines])


@click.command(epilog=_fault_help())
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port to listen on; 0 takes a free one.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the made-up markets.")
@click.option("--symbols", type=click.IntRange(1, 500), default=2, show_default=True, help="Markets on each exchange.")
@click.option("--depth", type=click.IntRange(100, 20_000), default=3000, show_default=True, help="Levels a side.")
@click.option(
    "--levels", type=click.FloatRange(0), default=20.0, show_default=True, help="Mean changed levels in 100 ms."
)
@click.option(
    "--reach",
    type=click.FloatRange(1, 2000),
    default=15.0,
    show_default=True,
    help="Mean ticks of most changes from the best price. A diff has no more levels than lie within it.",
)
@click.option("--trades", type=click.FloatRange(0, 2000), default=5.0, show_default=True, help="Taker orders a second.")
@click.option(
    "--past",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="Seconds that made-up markets have traded when this starts, for REST to tell of.",
)
@click.option(
    "--past-orders", type=click.IntRange(0, 200_000), default=0, show_default=True, help="Taker orders in that time."
)
@click.option(
    "--signal",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="How much made-up books tell of the next moves; docs/simulator.md says how much that is.",
)
@click.option(
    "--record",
    type=click.Path(path_type=Path),
    default=None,
    help="Write made-up markets as captures into this folder instead of serving them, faster than real time.",
)
@click.option(
    "--record-s", type=click.FloatRange(1), default=3600.0, show_default=True, help="Seconds of market to record."
)
@click.option(
    "--record-exchange",
    type=click.Choice(["binance", "binanceusdm"]),
    default="binanceusdm",
    show_default=True,
    help="Whose markets to record.",
)
@click.option(
    "--capture",
    "captures",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Serve a capture file in place of a made-up exchange; repeatable. Its time starts at the first subscription.",
)
@click.option(
    "--speed",
    type=click.FloatRange(0),
    default=1.0,
    show_default=True,
    help="How much faster than recorded a capture runs; 0 is as fast as the client takes it.",
)
@click.option(
    "--start-delay",
    type=click.FloatRange(0),
    default=0.5,
    show_default=True,
    help="Seconds from the first subscription to a capture's first line, for clients that subscribe in steps.",
)
@click.option(
    "--sent",
    type=click.Path(path_type=Path),
    default=None,
    help="Write the id of every message sent into this folder; /sent lists the newest half million of a stream.",
)
@click.option("--fault", "faults", multiple=True, metavar="SPEC", help="A fault; repeatable. See below.")
@click.option(
    "--ping-interval",
    type=click.FloatRange(0, min_open=True),
    default=None,
    help="Seconds between server pings.  [default: 20 on spot, 180 on futures]",
)
@click.option(
    "--lifetime",
    type=click.FloatRange(0, min_open=True),
    default=86_400.0,
    show_default=True,
    help="Seconds after which a websocket is cut.",
)
@logs_to_stderr
def simulate(
    host: str,
    port: int,
    seed: int,
    symbols: int,
    depth: int,
    levels: float,
    reach: float,
    trades: float,
    past: float,
    past_orders: int,
    signal: float,
    record: Path | None,
    record_s: float,
    record_exchange: str,
    captures: tuple[Path, ...],
    speed: float,
    start_delay: float,
    sent: Path | None,
    faults: tuple[str, ...],
    ping_interval: float | None,
    lifetime: float,
) -> None:
    """Be Binance's REST and websocket on loopback, spot and USDⓈ-M, until SIGINT or SIGTERM.

    Prints a line with "ready" and the URL once it accepts connections; give that URL to `run --url-root`.
    """
    from collector.simulator.faults import parse_fault
    from collector.simulator.server import SimulatorConfig

    try:
        parsed = [parse_fault(spec) for spec in faults]
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--fault") from None
    config = SimulatorConfig(
        host=host,
        port=port,
        seed=seed,
        symbols=symbols,
        depth=depth,
        levels=levels,
        reach_ticks=reach,
        trades=trades,
        past_s=past,
        past_orders=past_orders,
        signal=signal,
        captures=captures,
        speed=speed,
        start_delay_s=start_delay,
        sent=sent,
        faults=parsed,
        ping_interval_s=ping_interval,
        lifetime_s=lifetime,
    )
    if record is None:
        asyncio.run(_serve(config))
        return
    from collector.simulator.recording import record as write_down

    try:
        for path in write_down(config, record_exchange, record_s, record):
            click.echo(path)
    except OSError as error:
        raise click.BadParameter(f"cannot write {record}: {error.strerror}", param_hint="--record") from None


async def _serve(config: SimulatorConfig) -> None:
    from collector.clock import SystemClock
    from collector.simulator.server import Simulator
    from collector.sources.capture import CaptureError

    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    try:
        simulator = Simulator(config, SystemClock())
    except OSError as error:
        raise click.BadParameter(f"cannot write {config.sent}: {error.strerror}", param_hint="--sent") from None
    try:
        await simulator.start()
    except CaptureError as error:
        raise click.BadParameter(str(error), param_hint="--capture") from None
    except OSError as error:
        where = f"{config.host}:{config.port}"
        raise click.BadParameter(f"cannot listen on {where}: {error.strerror}", param_hint="--port") from None
    click.echo(f"ready {simulator.url}")
    stopped = asyncio.ensure_future(told.wait())
    failed = asyncio.ensure_future(simulator.failure())
    try:
        await asyncio.wait({stopped, failed}, return_when=asyncio.FIRST_COMPLETED)
        if failed.done():
            failed.result()
    finally:
        stopped.cancel()
        failed.cancel()
        await simulator.stop()
