"""What becomes of the rows when the process is stopped, frozen or killed."""

from __future__ import annotations

import json
import random
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from collector.audit.gaps import read_gaps
from storage_backends.interface import Market
from tests.live.harness import Process, Simulator, collector, live
from tests.live.invariant import check_promise
from tests.stores import differing, open_local, rows

MARKET = Market("binanceusdm", "BTCUSDT")


def restarts(
    simulator: Simulator, data_dir: Path, processes: list[Process], *, kills: int, longest_s: float, seed: int
) -> None:
    """Kills a collector at `kills` random moments and then lets it end in peace."""
    chance = random.Random(seed)
    for _ in range(kills):
        process = Process(
            "run", "--url-root", simulator.url, "--data-dir", str(data_dir), "--flush-interval", "1", "--raw"
        )
        processes.append(process)
        began = time.monotonic()
        process.wait_for("collecting")
        assert time.monotonic() - began < 10, "a restart takes less than 10 s"
        time.sleep(chance.uniform(0, longest_s))
        process.kill()
    process = live(simulator, data_dir, "--flush-interval", "1", "--raw")
    processes.append(process)
    time.sleep(2)
    assert process.stop() == 0, process.output
    check_promise(simulator, data_dir, MARKET)
    report = json.loads(collector("verify", "--json", "--data-dir", data_dir, check=False).stdout)
    assert report["ok"], report
    replayed = data_dir / "replayed"
    collector("replay", *sorted((data_dir / "raw").rglob("*.zst")), "--data-dir", replayed)
    assert differing(data_dir, replayed, MARKET) == {}


@pytest.mark.parametrize(
    ("kills", "longest_s"),
    [
        (7, 2.2),
        pytest.param(20, 2.2, marks=pytest.mark.soak),
        # The simulator, as the exchange, takes 300 connections in five minutes; a start makes four.
        pytest.param(120, 9, marks=pytest.mark.soak),
    ],
)
def test_kill_9_at_random_moments_loses_nothing_committed(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path, kills: int, longest_s: float
) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    restarts(simulate("--symbols", "1"), tmp_path, processes, kills=kills, longest_s=longest_s, seed=seed)
    gaps = [gap for gap in read_gaps(open_local(tmp_path), MARKET) if gap.reason == "restart"]
    assert gaps
    assert all(gap.to_ns is not None for gap in gaps)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_a_run_that_writes_loads_no_library_that_it_does_not_use(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    """Nor does the next one, which reads the end of the store and states gaps. Each of them takes megabytes."""
    simulator = simulate("--symbols", "1")
    for _ in range(2):
        process = live(simulator, tmp_path, "--flush-interval", "1")
        processes.append(process)
        time.sleep(4)
        loaded = Path(f"/proc/{process.pid}/maps").read_text()
        assert process.stop() == 0, process.output
        assert "_parquet." in loaded
        unused = ("pyarrow/_compute.", "/cryptography/", "/charset_normalizer/", "/zstandard/", "/pandas/", "/torch/")
        assert [name for name in unused if name in loaded] == []
    assert rows(open_local(tmp_path), "gaps", MARKET)


def test_a_kill_before_anything_was_committed_is_a_gap_too(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    """Also of a stream that never said anything, and nothing but this gap would tell that it was listened for."""
    simulator = simulate("--symbols", "1")
    options = ("--streams", "depth,aggTrade,bookTicker,forceOrder", "--raw")
    process = Process("run", "--url-root", simulator.url, "--data-dir", str(tmp_path), *options)
    processes.append(process)
    process.wait_for("collecting")
    time.sleep(0.2)
    process.kill()
    process = live(simulator, tmp_path, *options)
    processes.append(process)
    time.sleep(1)
    assert process.stop() == 0, process.output
    gaps = [gap for gap in read_gaps(open_local(tmp_path), MARKET) if gap.reason == "restart"]
    assert sorted(gap.stream for gap in gaps) == ["book_ticker", "depth", "liquidations", "trades"]
    assert all(gap.to_ns is not None for gap in gaps)
    replayed = tmp_path / "replayed"
    collector("replay", *sorted((tmp_path / "raw").rglob("*.zst")), "--data-dir", replayed)
    assert differing(tmp_path, replayed, MARKET) == {}


def test_sigterm_drains_and_the_next_session_is_one_gap_away(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    simulator = simulate("--symbols", "1")
    for _ in range(2):
        process = live(simulator, tmp_path)
        processes.append(process)
        time.sleep(2)
        began = time.monotonic()
        assert process.stop() == 0
        assert time.monotonic() - began < 30
        assert "everything is stored" in process.output
        with sqlite3.connect(tmp_path / "journal.sqlite") as journal:
            assert journal.execute("SELECT count(*) FROM batch").fetchone() == (0,)
    gaps = read_gaps(open_local(tmp_path), MARKET)
    assert sorted(gap.stream for gap in gaps) == ["book_ticker", "depth", "trades"]
    assert {gap.reason for gap in gaps} == {"restart"}
    check_promise(simulator, tmp_path, MARKET)
    assert collector("verify", "--data-dir", tmp_path, check=False).returncode == 0


def test_ctrl_c_with_the_backend_away_keeps_the_journal_and_says_so(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    simulator = simulate("--symbols", "1")
    process = live(simulator, tmp_path)
    processes.append(process)
    time.sleep(2)
    for table in ("depth", "diffs", "trades", "book_ticker", "snapshots", "events", "clock", "gaps"):
        (tmp_path / table).write_text("in the way")
    process.signal(signal.SIGINT)
    assert process.wait() == 0, process.output
    assert "stay in" in process.output or "dead letter" in process.output, process.output
    for table in ("depth", "diffs", "trades", "book_ticker", "snapshots", "events", "clock", "gaps"):
        (tmp_path / table).unlink()


def test_what_the_backend_refuses_while_it_stops_is_a_gap_too(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    simulator = simulate("--symbols", "1")
    process = live(simulator, tmp_path, shim="refused_trades")
    processes.append(process)
    time.sleep(2)
    assert process.stop() == 0, process.output
    gaps = [gap for gap in read_gaps(open_local(tmp_path), MARKET) if gap.stream == "trades"]
    assert [gap.reason for gap in gaps] == ["refused by the backend"]
    sent = simulator.get("/sent", market=MARKET.exchange, symbol=MARKET.symbol, stream="aggTrade")["sent"]
    assert gaps[0].from_id in sent
    assert gaps[0].to_id in sent
    assert "no trades, please" in collector("journal", "--data-dir", tmp_path, check=False).stdout


def test_a_stopped_process_catches_up_without_skipping_an_epoch(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    simulator = simulate("--symbols", "1")
    process = live(simulator, tmp_path)
    processes.append(process)
    time.sleep(2)
    process.signal(signal.SIGSTOP)
    time.sleep(10)
    process.signal(signal.SIGCONT)
    time.sleep(3)
    assert process.stop() == 0, process.output
    found = rows(open_local(tmp_path), "depth", MARKET)
    epochs = [row["epoch"] for row in found]
    assert len(epochs) >= 14
    assert all(after == before + 1 for before, after in pairwise(epochs))
    stalled = [row for row in found if row["book_age_ms"] is not None and row["book_age_ms"] > 5000]
    assert stalled
    assert not any(row["valid"] for row in stalled)
    check_promise(simulator, tmp_path, MARKET)


def test_a_lost_journal_is_a_fresh_start_beside_what_is_stored(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    simulator = simulate("--symbols", "1")
    for _ in range(2):
        process = live(simulator, tmp_path)
        processes.append(process)
        time.sleep(1.5)
        assert process.stop() == 0
        (tmp_path / "journal.sqlite").write_bytes(b"this is no database" * 100)
        for leftover in ("journal.sqlite-wal", "journal.sqlite-shm"):
            shutil.rmtree(tmp_path / leftover, ignore_errors=True)
    assert list(tmp_path.glob("journal.damaged-*")), [path.name for path in tmp_path.iterdir()]
