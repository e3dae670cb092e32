"""Faults of the network and of the exchange, by a real collector on a real socket (`tests/FAULTS.md` numbers them)."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from collector.audit.gaps import read_gaps
from collector.core.gaps import Gap
from storage_backends.interface import Market
from tests.live.harness import Process, Simulator, collector, live
from tests.live.invariant import check_promise
from tests.stores import open_local, rows

BTC, ETH = Market("binanceusdm", "BTCUSDT"), Market("binanceusdm", "ETHUSDT")


def events(data_dir: Path, market: Market = BTC) -> list[dict[str, Any]]:
    return rows(open_local(data_dir), "events", market)


def kinds(data_dir: Path, market: Market = BTC) -> set[str]:
    return {row["kind"] for row in events(data_dir, market)}


def gaps_of(data_dir: Path, stream: str, market: Market = BTC) -> list[Gap]:
    return [gap for gap in read_gaps(open_local(data_dir), market) if gap.stream == stream]


def epochs_are_whole(data_dir: Path, market: Market = BTC) -> list[dict[str, Any]]:
    found = rows(open_local(data_dir), "depth", market)
    assert all(after["epoch"] == before["epoch"] + 1 for before, after in pairwise(found))
    return found


def test_an_exchange_that_is_away_at_the_start_is_waited_for(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    process = Process("run", "--url-root", f"http://127.0.0.1:{port}", "--data-dir", str(tmp_path))
    processes.append(process)
    process.wait_for("Asking again until it answers")
    simulate("--symbols", "1", "--port", str(port))
    process.wait_for("$")
    assert process.stop() == 0, process.output
    assert process.output.count("Asking again") == 1


def peak_bytes(process: Process) -> int:
    """The most memory that the process ever held (VmHWM)."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def test_a_half_open_socket_is_a_gap_from_its_last_message(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    simulator = simulate("--symbols", "1")
    process = live(simulator, tmp_path, "--silence", "2")
    processes.append(process)
    time.sleep(1)
    simulator.fault("freeze:route=public")
    time.sleep(10)
    assert process.stop() == 0, process.output
    (gap, *_) = [gap for gap in gaps_of(tmp_path, "depth") if gap.reason == "disconnect"]
    before = [row for row in rows(open_local(tmp_path), "diffs", BTC) if row["last_id"] < (gap.from_id or 0)]
    assert gap.from_id == before[-1]["last_id"] + 1
    assert gap.from_ns == before[-1]["recv_ns"]
    assert gap.to_ns is not None, "it came back"
    # Two seconds of silence, three of grace, the back-off, a new connection.
    assert (gap.to_ns - gap.from_ns) / 1e9 < 11
    assert "silent" in kinds(tmp_path)
    assert not gaps_of(tmp_path, "trades"), "the other connection was not touched"
    epochs_are_whole(tmp_path)
    check_promise(simulator, tmp_path, BTC)


def test_a_huge_frame_ends_its_connection_and_not_the_memory(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    simulator = simulate("--symbols", "1")
    process = live(simulator, tmp_path)
    processes.append(process)
    time.sleep(1.5)
    before = peak_bytes(process)
    simulator.fault("huge:stream=depth,bytes=11534336")
    time.sleep(4)
    assert peak_bytes(process) < before + (64 << 20)
    assert process.stop() == 0, process.output
    assert "oversize" in kinds(tmp_path)
    assert [gap.reason for gap in gaps_of(tmp_path, "depth")] == ["disconnect"]
    assert gaps_of(tmp_path, "depth")[0].to_ns is not None
    check_promise(simulator, tmp_path, BTC)


def test_a_silent_market_is_left_alone(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    simulator = simulate("--symbols", "1")
    quiet = next(
        one["symbol"]
        for one in simulator.get("/fapi/v1/exchangeInfo")["symbols"]
        if one["symbol"] != "BTCUSDT" and one["status"] == "TRADING" and one["quoteAsset"] == "USDT"
    )
    process = live(simulator, tmp_path, "--symbol", "BTC/USDT", "--symbol", quiet, "--silence", "1")
    processes.append(process)
    time.sleep(9)
    assert process.stop() == 0, process.output
    market = Market("binanceusdm", quiet)
    assert len(epochs_are_whole(tmp_path, market)) >= 8
    assert read_gaps(open_local(tmp_path), market) == []
    assert [row["detail"] for row in events(tmp_path, market) if row["kind"] in {"closed", "silent", "dead"}] == []
    check_promise(simulator, tmp_path, BTC)


def test_a_ban_during_a_resync_is_honoured_and_touches_no_other_market(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    simulator = simulate("--symbols", "2")
    process = live(simulator, tmp_path, "--symbol", "BTC/USDT", "--symbol", "ETH/USDT")
    processes.append(process)
    time.sleep(3)
    asked = simulator.get("/stat")["counters"]["rest binanceusdm depth"]
    simulator.fault("rest:status=418,path=depth,n=1,retry_after=4")
    simulator.fault("drop:stream=depth,symbol=ETHUSDT")
    time.sleep(3)
    assert simulator.get("/stat")["counters"]["rest binanceusdm depth"] == asked + 1, "not one request in the pause"
    time.sleep(5)
    assert process.stop() == 0, process.output
    failed = [row["detail"] for row in events(tmp_path, ETH) if row["kind"] == "anchor_failed"]
    assert len(failed) == 1
    assert "418" in failed[0]
    eth = epochs_are_whole(tmp_path, ETH)
    assert not all(row["valid"] for row in eth[3:])
    assert eth[-1]["valid"], "it came back in step"
    btc = epochs_are_whole(tmp_path, BTC)
    assert all(row["valid"] for row in btc[btc.index(next(row for row in btc if row["valid"])) :])
    assert gaps_of(tmp_path, "depth", BTC) == []
    check_promise(simulator, tmp_path, ETH)


def test_a_market_that_is_taken_off_ends_with_an_open_gap_and_the_others_go_on(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    simulator = simulate("--symbols", "2")
    process = live(simulator, tmp_path, "--symbol", "BTC/USDT", "--symbol", "ETH/USDT", "--silence", "1")
    processes.append(process)
    time.sleep(2)
    simulator.fault("delist:symbol=ETHUSDT")
    time.sleep(6)
    assert process.stop() == 0, process.output
    for stream in ("depth", "trades", "book_ticker"):
        (gap,) = gaps_of(tmp_path, stream, ETH)
        assert (gap.reason, gap.to_ns) == ("delisted", None)
        assert gaps_of(tmp_path, stream, BTC) == []
    ended = [row for row in events(tmp_path, ETH) if row["kind"] == "delisted"]
    assert len(ended) == 3, "said once a stream"
    assert "no longer has this market" in ended[0]["detail"]
    assert "closed" not in kinds(tmp_path, BTC)
    assert epochs_are_whole(tmp_path, ETH)[-1]["valid"] is False
    assert epochs_are_whole(tmp_path, BTC)[-1]["valid"] is True
    check_promise(simulator, tmp_path, BTC)
    report = json.loads(collector("verify", "--json", "--data-dir", tmp_path).stdout)
    assert report["ok"], report
