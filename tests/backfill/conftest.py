"""A simulated exchange with a past in the test's own loop, and backfills from it into a local store."""

from __future__ import annotations

import datetime as dt
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from collector.backfill.outcome import Outcome
from collector.backfill.run import BackfillSettings, backfill
from collector.clock import SystemClock
from collector.simulator.server import Simulator, SimulatorConfig
from storage_backends.interface import Backend, Market
from tests.stores import open_local

HOUR_NS = 3600 * 10**9


class Filled:
    """A store beside an exchange."""

    def __init__(self, simulator: Simulator, data_dir: Path) -> None:
        self.simulator = simulator
        self.data_dir = data_dir
        self.store: Backend = open_local(data_dir)
        self.clock = SystemClock()
        self.now_ns = self.clock.now_ns()

    def hours_ago(self, hours: float) -> int:
        return self.now_ns - round(hours * HOUR_NS)

    async def fill(self, kind: str, market: Market, start_ns: int, end_ns: int | None = None, **more: Any) -> Outcome:
        interval = {"interval": more.pop("interval", "1m")} if kind == "klines" else {}
        settings = BackfillSettings(
            kind=kind,
            markets=[market],
            start_ns=start_ns,
            end_ns=self.now_ns if end_ns is None else end_ns,
            data_dir=self.data_dir,
            url_root=self.simulator.url,
            headroom=more.pop("headroom", 0.0),
            **interval,
            **{name: value for name, value in more.items() if name not in ("expect", "done")},
        )
        progress = {name: more[name] for name in ("expect", "done") if name in more}
        (outcome,) = await backfill(settings, self.store, self.clock, **progress)
        return outcome

    def theirs(self, market: Market, table: str) -> list[dict[str, Any]]:
        """The exchange's own rows, oldest first."""
        source = self.simulator.source(market.exchange)
        return source.agg_trades(market.symbol) if table == "trades" else source.trades(market.symbol)

    def asked(self) -> dict[str, int]:
        return {name: count for name, count in self.simulator.hub.counters.items() if name.startswith("rest ")}


@pytest.fixture
def filling(tmp_path: Path) -> Callable[..., Any]:
    """`async with filling(past_s=…, past_orders=…) as filled`."""

    @asynccontextmanager
    async def start(**settings: Any) -> AsyncIterator[Filled]:
        settings = {"symbols": 1, "depth": 200, "trades": 0.0, "levels": 0.0, "past_s": 72 * 3600.0} | settings
        async with Simulator(SimulatorConfig(**settings), SystemClock()) as simulator:
            yield Filled(simulator, tmp_path / "data")

    return start


def day_of(time_ms: int) -> str:
    return f"{dt.datetime.fromtimestamp(time_ms / 1000, dt.UTC):%Y-%m-%d}"


def write_archive(folder: Path, name: str, lines: list[str]) -> Path:
    """A file as the exchange packs it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}.csv", "".join(f"{line}\n" for line in lines))
    return path
