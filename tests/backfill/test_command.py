"""`collector backfill` as a process: killed, beside a collector, and its exit codes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collector.audit.gaps import read_gaps
from storage_backends.interface import Market
from tests.live.harness import Process, Simulator, collector, live
from tests.live.invariant import stored_ids
from tests.stores import open_local

SPOT, FUTURES = Market("binance", "BTCUSDT"), Market("binanceusdm", "BTCUSDT")
DAY_S = 86_400


@pytest.fixture
def simulate(processes: list[Process]) -> Callable[..., Simulator]:
    def start(*options: str) -> Simulator:
        processes.append(simulator := Simulator("--symbols", "1", "--depth", "200", *options))
        return simulator

    return start


def arguments(simulator: Simulator, data_dir: Path, *more: str, exchange: str = "binance") -> list[str]:
    return ["--exchange", exchange, "--url-root", simulator.url, "--data-dir", str(data_dir), "--headroom", "0", *more]


def trades(data_dir: Path, market: Market) -> list[int]:
    return sorted(stored_ids(data_dir, market, "trades", "agg_trade_id"))


def test_killed_in_the_middle_it_goes_on_and_stores_nothing_twice(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    simulator = simulate("--past", str(2 * DAY_S), "--past-orders", "15000", "--trades", "0")
    began = str(int(time.time()) - 2 * DAY_S)
    options = arguments(simulator, tmp_path, "--from", began, "--max-batch-size", "1000")
    counts = [0]
    for _ in range(2):
        process = Process("backfill", "trades", *options)
        processes.append(process)
        end = time.monotonic() + 60
        while len(trades(tmp_path, SPOT)) <= counts[-1] and time.monotonic() < end:
            time.sleep(0.02)
        process.kill()
        counts.append(len(trades(tmp_path, SPOT)))
    assert 0 < counts[1] < counts[2]
    report = json.loads(collector("backfill", "trades", *options, "--json").stdout)
    ids = trades(tmp_path, SPOT)
    assert report[0]["known"] == counts[2]
    assert len(ids) > 15_000
    assert ids == list(range(ids[0], ids[0] + len(ids))), "an id is missing, or stored twice"
    assert not [gap for gap in read_gaps(open_local(tmp_path), SPOT) if not gap.healed]
    collector("verify", "--data-dir", tmp_path)


def test_beside_a_collector_and_after_it(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    simulator = simulate("--past", "7200", "--past-orders", "2000", "--trades", "20")
    process = live(simulator, tmp_path, "--no-heal", "--flush-interval", "600", exchanges=("binance",))
    processes.append(process)
    time.sleep(1.5)
    simulator.fault("drop:stream=aggTrade,n=5")
    time.sleep(1.5)
    began = str(int(time.time()) - 3600)
    report = json.loads(
        collector("backfill", "trades", *arguments(simulator, tmp_path, "--from", began), "--json").stdout
    )
    assert report[0]["known"] > 20, "what waits in the collector's journal is known"
    assert process.stop() == 0, process.output
    time.sleep(1)
    report = json.loads(
        collector("backfill", "trades", *arguments(simulator, tmp_path, "--from", began), "--json").stdout
    )
    assert report[0]["rest"] > 10, "what came after the collector's end"
    process = live(simulator, tmp_path, exchanges=("binance",))
    processes.append(process)
    time.sleep(5)
    assert process.stop() == 0, process.output
    ids = trades(tmp_path, SPOT)
    assert ids == list(range(ids[0], ids[0] + len(ids))), "an id is missing, or stored twice"
    gaps = [gap for gap in read_gaps(open_local(tmp_path), SPOT) if gap.stream == "trades"]
    assert {gap.reason: gap.healed for gap in gaps} == {"sequence": True, "restart": True}
    assert json.loads(collector("verify", "--json", "--data-dir", tmp_path).stdout)["ok"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["candles", "--from", "2026-01-01"], "candles"),
        (["trades"], "--from"),
        (["trades", "--from", "2126-01-01"], "must lie before"),
        (["trades", "--from", "2026-01-02", "--to", "2026-01-01"], "must lie before"),
        (["funding", "--from", "2026-01-01", "--exchange", "binance"], "has no funding"),
        (["klines", "--from", "2026-01-01", "--interval", "1s"], "the shortest is 1m"),
        (["klines", "--from", "2026-01-01", "--interval", "7m"], "7m"),
        (["trades", "--from", "2026-01-01", "--archive", "/does/not/exist"], "is not a folder"),
        (["trades", "--from", "2026-01-01", "--no-rest"], "nothing to read from"),
    ],
)
def test_wrong_usage_is_one_line(options: list[str], says: str, tmp_path: Path, capsys: Any) -> None:
    from collector.cli import main

    with pytest.raises(SystemExit) as stop:
        main(["backfill", *options, "--data-dir", str(tmp_path / "none")])
    assert stop.value.code == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_what_cannot_be_had_is_bad_news(simulate: Callable[..., Simulator], tmp_path: Path) -> None:
    simulator = simulate("--past", str(4 * DAY_S), "--past-orders", "500", "--trades", "0")
    began = str(int(time.time()) - 3 * DAY_S)
    done = collector(
        "backfill", "trades", *arguments(simulator, tmp_path, "--from", began, exchange="binanceusdm"), check=False
    )
    assert done.returncode == 1
    assert "cannot be had" in done.stdout
    assert "--archive" in done.stdout
    assert len(trades(tmp_path, FUTURES)) > 100
