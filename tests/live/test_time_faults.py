"""Clocks that step and loops that stand still, and bursts that come faster than they can be stored."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from collector.audit.gaps import read_gaps
from storage_backends.interface import Market
from tests.live.harness import Process, Simulator, collector, live
from tests.live.invariant import check_promise, stored_ids
from tests.stores import open_local, rows

BTC, ETH = Market("binanceusdm", "BTCUSDT"), Market("binanceusdm", "ETHUSDT")


def check_epochs(data_dir: Path, market: Market = BTC) -> list[dict[str, Any]]:
    """One row an epoch, in every file, not only in a scan."""
    found = rows(open_local(data_dir), "depth", market)
    assert all(after["epoch"] == before["epoch"] + 1 for before, after in pairwise(found))
    assert len(stored_ids(data_dir, market, "depth", "epoch")) == len(found)
    return found


def test_a_wall_clock_that_steps_moves_no_stamp(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    simulator = simulate("--symbols", "1")
    process = live(simulator, tmp_path, "--silence", "2", "--flush-interval", "1", shim="stepped_clock")
    processes.append(process)
    time.sleep(8)
    assert process.stop() == 0, process.output
    store = open_local(tmp_path)
    steps = [row["offset_ns"] / 1e9 for row in rows(store, "clock", BTC) if row["kind"] == "step"]
    assert [round(step) for step in steps] == [3600, -3600]
    found = check_epochs(tmp_path)
    assert len(found) >= 8
    first = next(at for at, row in enumerate(found) if row["valid"])
    assert all(row["valid"] for row in found[first:]), "nothing went stale"
    assert read_gaps(store, BTC) == []
    stamps = [row["recv_ns"] for row in rows(store, "diffs", BTC)]
    assert stamps == sorted(stamps)
    assert stamps[-1] - stamps[0] < 30 * 10**9
    assert "closed" not in {row["kind"] for row in rows(store, "events", BTC)}
    check_promise(simulator, tmp_path, BTC)


def test_a_clock_that_was_ahead_leaves_a_gap_and_is_said(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    simulator = simulate("--symbols", "1")
    ahead = live(simulator, tmp_path, shim="clock_ahead")
    processes.append(ahead)
    assert ahead.stop() == 0, ahead.output
    right = Process("run", "--exchange", "binanceusdm", "--url-root", simulator.url, "--data-dir", str(tmp_path))
    processes.append(right)
    right.wait_for("collecting")
    time.sleep(2)
    assert right.stop() == 0, right.output
    warning = "the clock is behind what is stored"
    assert (ahead.output.count(warning), right.output.count(warning)) == (0, 1)
    store = open_local(tmp_path)
    second_ns, first_ns = (row["time_ns"] for row in rows(store, "events", BTC) if row["kind"] == "session_started")
    (gap,) = [one for one in read_gaps(store, BTC) if one.stream == "depth" and one.reason == "restart"]
    assert gap.to_ns is not None
    assert second_ns == gap.detected_ns <= gap.from_ns < first_ns < gap.to_ns
    report = json.loads(collector("verify", "--json", "--data-dir", tmp_path, check=False).stdout)
    assert report["markets"][0]["covered"]["seconds"] == 0, "what is of which session, nobody can tell"


def test_a_loop_that_stands_still_for_3_s_skips_no_epoch(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    simulator = simulate("--symbols", "1")
    process = live(simulator, tmp_path, shim="blocked_loop")
    processes.append(process)
    time.sleep(8)
    assert process.stop() == 0, process.output
    found = check_epochs(tmp_path)
    assert len(found) >= 8
    assert read_gaps(open_local(tmp_path), BTC) == [], "the socket held what came meanwhile"
    late = [
        (after["recv_ns"] - before["recv_ns"]) / 1e9
        for before, after in pairwise(rows(open_local(tmp_path), "diffs", BTC))
    ]
    assert max(late) > 2.5, "the loop did stand still"
    check_promise(simulator, tmp_path, BTC)


def test_a_bug_in_one_market_is_a_gap_there_and_nowhere_else(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    simulator = simulate("--symbols", "2")
    process = live(simulator, tmp_path, "--symbol", "BTC/USDT", "--symbol", "ETH/USDT", shim="lossy_market")
    processes.append(process)
    time.sleep(5)
    assert process.stop() == 0, process.output
    assert "begins anew" in process.output
    assert "internal_error" in {row["kind"] for row in rows(open_local(tmp_path), "events", ETH)}
    assert read_gaps(open_local(tmp_path), BTC) == []
    for market in (BTC, ETH):
        check_promise(simulator, tmp_path, market)


_MESSAGES = 50_000


def burst(start_ns: int) -> Iterator[str]:
    """Lines of a capture: a snapshot, and 50,000 messages of one second."""
    chance = random.Random(5)
    yield f'{start_ns} {{"lastUpdateId":1000,"bids":[["60000.0","1"]],"asks":[["60000.1","1"]]}}'
    for number in range(1, _MESSAGES + 1):
        ns = start_ns + 10**9 + number * 20_000
        times = {"E": ns // 10**6, "T": ns // 10**6, "s": "BTCUSDT"}
        if number % 5 == 0:
            u = 1000 + number
            bids = [[f"{59_000 + chance.randrange(900)}.0", str(chance.randrange(1, 99))] for _ in range(10)]
            data = {"e": "depthUpdate", **times, "U": u - 4, "u": u, "pu": u - 5, "b": bids, "a": []}
            stream = "depth@100ms"
        elif number % 5 < 3:
            a = 10**6 + 2 * (number // 5) + number % 5
            data = {"e": "aggTrade", **times, "a": a, "p": "60000.0", "q": "1", "f": a, "l": a, "m": True}
            stream = "aggTrade"
        else:
            quotes = {"b": "60000.0", "B": "1", "a": "60000.1", "A": "1"}
            data = {"e": "bookTicker", **times, "u": 10**7 + number, **quotes}
            stream = "bookTicker"
        yield f'{ns} {{"stream":"btcusdt@{stream}","data":{msgspec.json.encode(data).decode()}}}'


def test_a_burst_while_the_sink_stalls_is_stored_whole(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    capture = tmp_path / "btcusdt.ndjson"
    capture.write_text("\n".join([*burst(1_795_000_000 * 10**9), ""]))
    simulator = simulate("--capture", str(capture), "--speed", "0", "--start-delay", "4")
    process = Process(
        "stalled_sink",
        *("run", "--url-root", simulator.url, "--data-dir", str(tmp_path / "data")),
        module="tests.live.shim",
    )
    processes.append(process)
    process.wait_for("collecting")
    process.wait_for("the sink stalls")
    during = 0
    while "the sink goes on" not in process.output:
        during = sent(simulator)
        time.sleep(0.1)
    assert during > _MESSAGES // 2, "most of the burst came into the stall"
    end = time.monotonic() + 40
    while time.monotonic() < end and sent(simulator) < _MESSAGES:
        time.sleep(0.2)
    assert sent(simulator) == _MESSAGES
    time.sleep(2)
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    peak_bytes = int(status.partition("VmHWM:")[2].split()[0]) * 1024
    assert process.stop() == 0, process.output
    data = tmp_path / "data"
    stored = [len(stored_ids(data, BTC, table, ident)) for table, ident in STORED]
    assert sum(stored) == _MESSAGES, stored
    assert read_gaps(open_local(data), BTC) == []
    check_epochs(data)
    assert peak_bytes < 300 << 20


STORED = (("diffs", "last_id"), ("trades", "agg_trade_id"), ("book_ticker", "update_id"))


def sent(simulator: Simulator) -> int:
    return sum(
        len(simulator.get("/sent", market="binanceusdm", symbol="BTCUSDT", stream=stream)["sent"])
        for stream in ("depth", "aggTrade", "bookTicker")
    )
