"""Made-up markets written down as captures, faster than real time: months of data without waiting for them.

The capture is what a collector that began with the market would have written: a snapshot, then every depth message and
trade, and a snapshot every ten minutes. It is a function of the settings alone, its time included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.clock import ManualClock
from collector.simulator.instruments import simulated
from collector.simulator.seeded import STEP_MS, SeededMarket
from collector.sources.capture_writer import CaptureWriter

if TYPE_CHECKING:
    from pathlib import Path

    from collector.simulator.instruments import Instrument
    from collector.simulator.server import SimulatorConfig

START_MS = 1_767_225_600_000
"""2026-01-01, when every recording begins."""

_SUBSCRIBED = (("depth", 100), ("aggTrade", 0))
_ANCHOR_MS = 600_000
_ANCHOR_LEVELS = 1000
_LATENCY_NS = 1_000_000


def record(config: SimulatorConfig, exchange: str, seconds: float, folder: Path) -> list[Path]:
    """Writes a capture of each of the exchange's made-up markets to `folder`; gives the files.

    Raises:
        OSError: the disk did not take it.
    """
    return [
        path
        for instrument in simulated(exchange, config.symbols)
        for path in _record_market(config, instrument, seconds, folder)
    ]


def _record_market(config: SimulatorConfig, instrument: Instrument, seconds: float, folder: Path) -> list[Path]:
    clock = ManualClock(START_MS * 10**6)
    writer = CaptureWriter(folder, instrument.exchange, instrument.symbol, clock)
    market = SeededMarket(
        instrument,
        config.seed,
        config.depth,
        config.levels,
        config.trades,
        START_MS,
        signal=config.signal,
        reach_ticks=config.reach_ticks,
    )
    name = instrument.symbol.lower()
    for now_ms in range(START_MS, START_MS + round(seconds * 1000), STEP_MS):
        recv_ns = now_ms * 10**6 + _LATENCY_NS
        if (now_ms - START_MS) % _ANCHOR_MS == 0:
            writer.write_snapshot(recv_ns, market.depth(_ANCHOR_LEVELS, now_ms))
        clock.advance(STEP_MS / 1000)
        for message in market.advance(now_ms + STEP_MS, _SUBSCRIBED):
            speed = f"@{message.speed_ms}ms" if message.speed_ms else ""
            stamp = recv_ns + STEP_MS * 10**6
            writer.write(stamp, f"{name}@{message.channel}{speed}", message.payload)
    writer.close()
    return writer.paths
