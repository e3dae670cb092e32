"""A hundred readers at once over HTTP, while markets are collected: no frame is lost, and every reader is answered."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from collector.simulator.instruments import simulated
from storage_backends.interface import Market
from tests.live.harness import Process, Simulator, collector
from tests.live.invariant import check_promise
from tests.live.test_http import free_port, get

READERS = 100
QUESTIONS = (
    "/trades/{}?limit=200",
    "/depth/{}?limit=60",
    "/state",
    "/gaps?symbol={}",
    "/ohlcv/{}?timeframe=5s",
    "/hot/diffs/{}",
)


@pytest.mark.parametrize(
    ("markets", "seconds"), [(4, 6.0), pytest.param(20, 20.0, marks=pytest.mark.soak)], ids=["few", "twenty markets"]
)
def test_readers_cost_no_frame(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path, markets: int, seconds: float
) -> None:
    simulator = simulate("--symbols", str(markets))
    port, data = free_port(), tmp_path / "data"
    named = [part for one in simulated("binanceusdm", markets) for part in ("--symbol", one.symbol)]
    process = Process(
        "run", "--url-root", simulator.url, "--data-dir", str(data), *named,
        "--flush-interval", "2", "--http", f"127.0.0.1:{port}",
    )  # fmt: skip
    processes.append(process)
    process.wait_for("epoch:")
    url = f"http://127.0.0.1:{port}"
    symbols = [one["symbol"] for one in get(url, "/state")["markets"]]
    assert len(symbols) == markets
    end = time.monotonic() + seconds
    statuses: Counter[int] = Counter()
    failed: list[str] = []

    def read(number: int) -> None:
        with httpx.Client(base_url=url, timeout=60) as client:
            asked = number
            while time.monotonic() < end:
                path = QUESTIONS[asked % len(QUESTIONS)].format(symbols[asked % len(symbols)])
                asked += 1
                try:
                    answer = client.get(path)
                except httpx.HTTPError as error:
                    failed.append(f"{path}: {error!r}")
                    continue
                statuses[answer.status_code] += 1
                # Too many requests of one address, or all busy: told so, which is an answer.
                if answer.status_code in (429, 503):
                    time.sleep(0.5)

    readers = [threading.Thread(target=read, args=(number,)) for number in range(READERS)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(90)
        assert not reader.is_alive()
    assert process.stop() == 0, process.output
    assert not failed, failed[:3]
    assert set(statuses) <= {200, 400, 429, 503}, statuses  # 400: nothing of that market is stored yet
    assert statuses[200] > READERS, statuses
    for symbol in symbols:
        check_promise(simulator, data, Market("binanceusdm", symbol))
    gaps = json.loads(collector("gaps", "--json", "--data-dir", data).stdout)
    assert gaps == [], "readers made a gap"
