"""A real collector on a real socket, with an exchange that misbehaves."""

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


def collect_through(
    simulator: Simulator, data_dir: Path, processes: list[Process], faults: list[list[str]], *, pause_s: float = 1.2
) -> Process:
    """Runs a collector of both exchanges, does each fault in turn, and stops it."""
    process = live(simulator, data_dir, "--raw", exchanges=("binanceusdm", "binance"))
    processes.append(process)
    time.sleep(1)
    for together in faults:
        for fault in together:
            simulator.fault(fault)
        time.sleep(pause_s)
    time.sleep(1.5)
    assert process.stop() == 0, process.output
    return process


def test_faults_become_gaps_and_a_replay_gives_the_same_rows(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    simulator = simulate("--symbols", "2")
    everywhere = [
        "drop:stream=depth,symbol=BTCUSDT",
        "garbage:n=1",
        "duplicate:stream=depth,n=2,symbol=BTCUSDT",
        "duplicate:stream=aggTrade,n=2,symbol=BTCUSDT",
        "reorder:stream=depth,symbol=BTCUSDT",
        "bad_level:text=abc,symbol=BTCUSDT",
        "bad_level:text=1e400,symbol=BTCUSDT",
        "unknown:n=1",
        "drop:stream=aggTrade,n=2,symbol=BTCUSDT",
        "stale_snapshot:n=2,symbol=BTCUSDT",
        "close:code=1008",
        "abort:stream=depth",
    ]
    faults = [[f"{fault},market={market.exchange}" for market in (FUTURES, SPOT)] for fault in everywhere]
    collect_through(simulator, tmp_path / "live", processes, faults)
    collector("replay", *sorted((tmp_path / "live" / "raw").glob("*/*.zst")), "--data-dir", tmp_path / "again")
    for market in (FUTURES, SPOT):
        check_promise(simulator, tmp_path / "live", market)
        assert differing(tmp_path / "live", tmp_path / "again", market) == {}
        kinds = {row["kind"] for row in rows(open_local(tmp_path / "live"), "events", market)}
        assert {"quarantine", "closed", "opened", "in_step", "out_of_step"} <= kinds
    report = json.loads(collector("verify", "--json", "--data-dir", tmp_path / "live").stdout)
    assert report["ok"], report
    for found in report["markets"]:
        assert found["gaps"]["depth"]["gaps"] >= 5
        assert found["quarantined"] >= 4
        # Around a lost connection the newest book_ticker may be from before it: then it says nothing of the book.
        assert found["book"]["compared"] == found["book"]["equal"] + found["book"]["unreported"]
        assert found["book"]["equal"] > 50


def test_a_gap_in_one_market_leaves_the_others_in_step(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    simulator = simulate("--symbols", "2")
    process = live(simulator, tmp_path, "--symbol", "BTC/USDT", "--symbol", "ETH/USDT")
    processes.append(process)
    time.sleep(1.5)
    connections = simulator.get("/stat")["counters"]
    simulator.fault("drop:stream=depth,symbol=ETHUSDT")
    time.sleep(2.5)
    after = simulator.get("/stat")["counters"]
    assert process.stop() == 0
    report = {
        one["symbol"]: one
        for one in json.loads(collector("verify", "--json", "--data-dir", tmp_path).stdout)["markets"]
    }
    assert report["ETHUSDT"]["gaps"]["depth"]["gaps"] == 1
    assert "depth" not in report["BTCUSDT"]["gaps"]
    subscribes = [name for name in after if "ubscribe" in name]
    assert all(after[name] == connections.get(name) for name in subscribes), "a gap needs no new subscription"


@pytest.mark.parametrize("stream", ["depth", "aggTrade"])
def test_one_dead_stream_on_a_live_socket_is_noticed(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path, stream: str
) -> None:
    simulator = simulate("--symbols", "1")
    process = live(simulator, tmp_path, "--silence", "2")
    processes.append(process)
    time.sleep(1)
    simulator.fault(f"freeze:stream={stream}")
    time.sleep(9)
    simulator.fault(f"thaw:stream={stream}")
    time.sleep(2)
    assert process.stop() == 0
    market = FUTURES
    table = {"depth": "depth", "aggTrade": "trades"}[stream]
    gaps = [row for row in rows(open_local(tmp_path), "gaps", market) if row["stream"] == table and row["to_ns"]]
    assert gaps, process.output
    check_promise(simulator, tmp_path, market)
