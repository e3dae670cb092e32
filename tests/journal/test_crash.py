"""kill -9 at random moments: what was committed is delivered once, whatever the process was doing."""

from __future__ import annotations

import random
import select
import subprocess
import sys
import time
from pathlib import Path

from collector.clock import SystemClock
from collector.journal.deliverer import Deliverer
from collector.journal.journal import Journal
from storage_backends.interface import Market
from storage_backends.local import LocalBackend
from tests.journal.rows import BTC, ETH

ROOT = Path(__file__).parents[2]
KILLS = 20


def run_until_killed(folder: Path, seed: int) -> dict[str, int]:
    """The count of numbers that each symbol had as of its last line."""
    command = [sys.executable, "-m", "tests.journal.crasher", str(folder), str(seed)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        readable, _, _ = select.select([process.stdout], [], [], 30)
        assert readable, "the process did not start in 30 s"
        assert process.stdout.readline() == "ready\n"
        time.sleep(random.Random(seed).uniform(0, 0.3))
    finally:
        process.kill()
        lines = process.stdout.read().splitlines()
        process.wait(30)
        process.stdout.close()
    return {symbol: int(count) for symbol, count in (line.split() for line in lines if line.count(" ") == 1)}


def stored(backend: LocalBackend, folder: Path, market: Market) -> list[int]:
    """Every stored number, from the files themselves: a scan would hide what is there twice."""
    import pyarrow.parquet as pq

    files = folder.glob(f"book_ticker/exchange={market.exchange}/symbol={market.symbol}/date=*/part-*.parquet")
    return sorted(number for file in files for number in pq.read_table(file)["update_id"].to_pylist())


def test_every_committed_row_is_delivered_once(tmp_path: Path) -> None:
    acknowledged: dict[str, int] = {}
    for seed in range(KILLS):
        acknowledged |= run_until_killed(tmp_path, seed)

    clock = SystemClock()
    journal = Journal.open(tmp_path / "journal.sqlite", clock=clock)
    assert journal.set_aside is None
    backend = LocalBackend(tmp_path)
    deliverer = Deliverer(journal, backend, clock=clock)
    assert deliverer.drain(clock.now_ns() + 30 * 10**9)
    states = journal.states()
    journal.close()

    assert acknowledged.keys() == {"BTCUSDT", "ETHUSDT"}
    for market in (BTC, ETH):
        count = int(states[market])
        assert count >= acknowledged[market.symbol]
        assert stored(backend, tmp_path, market) == list(range(count))
    assert list(tmp_path.rglob("*.tmp")) == []
