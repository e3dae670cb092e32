"""Every example runs, as a process of its own, against the simulator."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.harness import ROOT, Simulator

EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    started = Simulator(
        "--symbols", "2", "--past", "7200", "--past-orders", "3000", "--trades", "20", "--depth", "2000"
    )
    yield started
    started.kill()


def run(name: str, simulator: Simulator, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), "--url-root", simulator.url, *options],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_example_is_told_of_and_tested() -> None:
    names = {path.name for path in EXAMPLES.glob("*.py")}
    told = (EXAMPLES / "README.md").read_text()
    tested = Path(__file__).read_text()
    assert {name for name in names if f"`{name}`" not in told or f'"{name}"' not in tested} == set()
    assert set(re.findall(r"`(\w+\.py)`", told)) == names


def test_basic_trades(simulator: Simulator, tmp_path: Path) -> None:
    said = run("basic_trades.py", simulator, "--data-dir", str(tmp_path))
    count = re.search(r"(\d+) trades", said)
    assert count is not None
    assert int(count[1]) > 50
    assert re.search(r"\d+ more since", said)


def test_ohlcv(simulator: Simulator, tmp_path: Path) -> None:
    said = run("ohlcv.py", simulator, "--data-dir", str(tmp_path), "--hours", "1")
    assert "klines: 59 by REST" in said or "klines: 60 by REST" in said
    assert len(re.findall(r"\d\d:\d\d:00\+00:00", said)) == 10


def test_orderbook_snapshot(simulator: Simulator, tmp_path: Path) -> None:
    said = run("orderbook_snapshot.py", simulator, "--data-dir", str(tmp_path))
    assert "3 rows of 129 columns" in said
    assert said.count("@") == 3 * 3 * 2


def test_continuous_collector(simulator: Simulator, tmp_path: Path) -> None:
    options = ("--data-dir", str(tmp_path), "--times", "2", "--every", "1.5")
    said = [run("continuous_collector.py", simulator, *options) for _ in range(2)]
    first, again = ([int(count) for count in re.findall(r"BTCUSDT: (\d+) new", one)] for one in said)
    assert first[0] > 1000, "an hour"
    assert 0 < first[1] < 500
    assert again[0] < 1000, "started again, it goes on where it was"


def test_print_signals(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNAL_THRESHOLD", "0.0")
    said = run("print_signals.py", simulator, "--duration", "6")
    # The run prints lines of its own meanwhile, from another thread.
    assert len(re.findall(r"SIGNAL BTCUSDT \d{10}: (?:bids|asks) outweigh, imbalance [+-]\d\.\d\d", said)) >= 3
