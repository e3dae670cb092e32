"""Connections replaced before the exchange ends them, at full load."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from storage_backends.interface import Market
from tests.live.harness import Process, Simulator, collector, live
from tests.live.invariant import check_promise
from tests.stores import differing, open_local, rows

FUTURES, SPOT = Market("binanceusdm", "BTCUSDT"), Market("binance", "BTCUSDT")
FULL_LOAD = ("--symbols", "1", "--levels", "120", "--trades", "400")


def check_no_gap(simulator: Simulator, folder: Path, market: Market, rotations: int) -> None:
    """Nothing is missing, nothing is there twice, the book was never lost, and a replay gives the same rows."""
    check_promise(simulator, folder / "live", market)
    assert differing(folder / "live", folder / "again", market) == {}
    store = open_local(folder / "live")
    events = rows(store, "events", market)
    rotated = [event["time_ns"] for event in events if event["kind"] == "rotated"]
    assert len(rotated) >= rotations, [event["kind"] for event in events]
    assert rows(store, "gaps", market) == []
    kinds = [event["kind"] for event in events]
    assert kinds.count("in_step") == 1
    assert "out_of_step" not in kinds
    assert len(kinds) < 20 + 4 * len(rotated), "what came twice is counted, not stored"
    depth = [row["valid"] for row in rows(store, "depth", market)]
    assert all(depth[depth.index(True) :])
    connections = [row["connection"] for row in rows(store, "diffs", market)]
    assert connections == sorted(connections), "a stream changes hands once"
    assert len(set(connections)) >= 2


def test_no_hole_where_the_exchange_would_cut(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    simulator = simulate(*FULL_LOAD, "--lifetime", "6.5")
    process = live(
        simulator, tmp_path / "live", "--raw", "--rotate-after", "0.0012", exchanges=("binanceusdm", "binance")
    )
    processes.append(process)
    time.sleep(6.5)
    assert process.stop() == 0, process.output
    counters = simulator.get("/stat")["counters"]
    assert "websocket cuts" not in counters
    collector("replay", *sorted((tmp_path / "live" / "raw").glob("*/*.zst")), "--data-dir", tmp_path / "again")
    for market in (FUTURES, SPOT):
        check_no_gap(simulator, tmp_path, market, rotations=3)
    assert json.loads(collector("verify", "--json", "--data-dir", tmp_path / "live").stdout)["ok"]


@pytest.mark.parametrize("closes_after_s", ["0.5", "5"])
def test_no_hole_at_an_announced_shutdown(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path, closes_after_s: str
) -> None:
    """In half a second the old connection is gone before anybody has looked whether the new one is in step."""
    simulator = simulate(*FULL_LOAD)
    process = live(simulator, tmp_path / "live", "--raw", exchanges=("binance",))
    processes.append(process)
    time.sleep(1)
    simulator.fault(f"shutdown:for={closes_after_s}")
    time.sleep(3)
    assert process.stop() == 0, process.output
    collector("replay", *sorted((tmp_path / "live" / "raw").glob("*/*.zst")), "--data-dir", tmp_path / "again")
    check_no_gap(simulator, tmp_path, SPOT, rotations=3)
