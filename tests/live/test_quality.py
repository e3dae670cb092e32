"""Quality in a live run: a lost connection is bad at once and stored so; a callback that blocks costs nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from collector.live_state import read_state
from storage_backends.interface import Market
from tests.live.harness import Process, Simulator, live
from tests.live.invariant import check_promise
from tests.stores import open_local, rows

BTC = Market("binanceusdm", "BTCUSDT")


def test_a_lost_connection_is_bad_at_once_and_callbacks_hold_up_nothing(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    simulator = simulate("--symbols", "1")
    seen = tmp_path / "seen"
    seen.mkdir()
    (tmp_path / "signals.py").write_text(
        "import time\n"
        "from collector.consumers import consumes\n\n"
        "@consumes('epoch', 'trades')\n"
        "async def blocks(event):\n"
        "    time.sleep(60)\n"
    )
    data = tmp_path / "data"
    process = live(
        simulator,
        data,
        "--flush-interval",
        "1",
        "--callback",
        "signals:blocks",
        env={"PYTHONPATH": f"{Path.cwd()}:{tmp_path}", "RECORD_ENABLED": "true", "RECORD_DIR": str(seen)},
    )
    processes.append(process)
    time.sleep(3)
    simulator.fault("rest:path=depth,status=503,n=3")  # so that the book stays away for a second at least
    simulator.fault("abort")
    time.sleep(4)
    state = read_state(data)
    assert state is not None
    assert state.markets[0].grade == "bad"
    assert state.frames > 100
    assert state.journal_bytes is not None
    assert process.stop() == 0, process.output
    assert "the consumer signals:blocks got" in process.output

    found = rows(open_local(data), "quality", BTC)
    assert all(after["epoch"] == before["epoch"] + 1 for before, after in pairwise(found))
    grades = [row["grade"] for row in found]
    assert "bad" in grades
    down = next(row for row in found if row["grade"] == "bad")
    assert {"depth_down", "book_out_of_step"} & set(down["reasons"].split())
    assert any("trades" in reason for row in found for reason in row["reasons"].split())
    assert grades[-1] == "bad", "it stays so for half a minute without cause"
    assert {f"after_{reason}" for reason in down["reasons"].split()} & set(found[-1]["reasons"].split())
    assert found[-1]["lag_p95_ms"] is not None
    assert found[-1]["journal_lag_ms"] < 30_000
    lags_ms = [row["book_lag_ms"] for row in found if row["book_lag_ms"] is not None]
    assert lags_ms
    assert all(0 < lag_ms < 30_000 for lag_ms in lags_ms)
    assert sum(state.markets[0].book_lag.counts) >= 2

    last = read_state(data)
    assert last is not None
    assert last.stopping

    (recorded,) = seen.glob("binanceusdm-BTCUSDT_*.jsonl")
    kinds = {json.loads(line)["type"] for line in recorded.read_text().splitlines()}
    assert {"depth", "trades", "book_ticker", "epoch", "quality"} <= kinds
    check_promise(simulator, data, BTC)
