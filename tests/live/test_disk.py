"""What a live run does with its disk: formats, the budget, days that are merged under it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from collector.audit.gaps import read_gaps
from storage_backends.interface import Market
from tests.live.harness import Process, Simulator, collector, live
from tests.live.invariant import check_promise
from tests.stores import open_local, rows

MARKET = Market("binanceusdm", "BTCUSDT")


def test_json_lines_and_parquet_in_one_store(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    simulator = simulate("--symbols", "1")
    for file_format in ("jsonl", "parquet"):
        options = ("--sink-format", file_format, "--flush-interval", "0.5", "--max-batch-size", "20")
        process = live(simulator, tmp_path, *options)
        processes.append(process)
        time.sleep(2)
        assert process.stop() == 0, process.output
    assert list(tmp_path.rglob("*.jsonl.zst"))
    assert list(tmp_path.rglob("*.parquet"))
    report = json.loads(collector("verify", "--json", "--data-dir", tmp_path).stdout)
    assert report["ok"], report
    gaps = read_gaps(open_local(tmp_path), MARKET)
    assert {gap.reason for gap in gaps} == {"restart"}


def test_beyond_the_budget_new_rows_are_a_gap(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    simulator = simulate("--symbols", "1")
    process = live(simulator, tmp_path, "--flush-interval", "0.5")
    processes.append(process)
    time.sleep(2)
    assert process.stop() == 0, process.output
    (tmp_path / "mine").write_bytes(bytes(64 << 20))
    process = live(simulator, tmp_path, "--flush-interval", "0.5", "--disk-budget", "64MiB")
    processes.append(process)
    process.wait_for("new rows are refused")
    time.sleep(2)
    assert process.stop() == 0, process.output
    gaps = [gap for gap in read_gaps(open_local(tmp_path), MARKET) if gap.reason == "disk budget"]
    assert {"depth", "trades", "book_ticker"} <= {gap.stream for gap in gaps}
    kinds = [row["kind"] for row in rows(open_local(tmp_path), "events", MARKET)]
    assert kinds.count("disk_budget") == 1
    check_promise(simulator, tmp_path, MARKET)
    assert collector("verify", "--data-dir", tmp_path, check=False).returncode == 0


def test_compacting_beside_a_collector(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    """Yesterday's rows are today's here: what is written while a day is merged stays, and nothing is there twice."""
    from storage_backends.local_days import LocalDays

    simulator = simulate("--symbols", "1")
    process = live(simulator, tmp_path, "--flush-interval", "0.3", "--raw", "--raw-max-bytes", "16MiB")
    processes.append(process)
    days = LocalDays(tmp_path)
    for _ in range(8):
        time.sleep(0.4)
        with days.alone() as held:
            assert held
            for day in list(days.days()):
                days.compact(day)
    assert process.stop() == 0, process.output
    check_promise(simulator, tmp_path, MARKET)
    report = json.loads(collector("verify", "--json", "--data-dir", tmp_path).stdout)
    assert report["ok"], report
