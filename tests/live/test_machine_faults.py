"""Faults of disk, memory and process, on real files (`tests/FAULTS.md` numbers them)."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from collector.audit.gaps import read_gaps
from storage_backends.interface import Market
from tests.live.harness import Process, Simulator, collector, live
from tests.live.invariant import check_promise
from tests.stores import open_local, rows

MARKET = Market("binanceusdm", "BTCUSDT")


def check_store(simulator: Simulator, data_dir: Path) -> dict[str, Any]:
    """The promise by ids, and the audit's word; gives its report of the market."""
    check_promise(simulator, data_dir, MARKET)
    report = json.loads(collector("verify", "--json", "--data-dir", data_dir, check=False).stdout)
    assert report["ok"], report
    found: dict[str, Any] = report["markets"][0]
    return found


def session(simulator: Simulator, data_dir: Path, processes: list[Process], seconds: float = 2.0) -> Process:
    """One run to its end in peace. What is lost stays lost: healing would race with the end of the test."""
    process = live(simulator, data_dir, "--no-heal")
    processes.append(process)
    time.sleep(seconds)
    assert process.stop() == 0, process.output
    return process


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", disk], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a small tmpfs, so the full disk was not tried: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def fill(disk: Path) -> Path:
    """Takes all room but what the journal holds in reserve."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * (1 << 16))
        except OSError:
            pass
    return filler


def test_a_disk_that_fills_up_is_a_gap_and_collection_goes_on_by_itself(
    simulate: Callable[..., Simulator], processes: list[Process], small_disk: Path
) -> None:
    simulator = simulate("--symbols", "1", "--levels", "400", "--trades", "400")
    process = live(simulator, small_disk)
    processes.append(process)
    time.sleep(2)
    filler = fill(small_disk)
    process.wait_for("new rows are refused")
    time.sleep(2)
    filler.unlink()
    process.wait_for("rows are stored again")
    time.sleep(2)
    assert process.stop() == 0, process.output
    check_store(simulator, small_disk)
    full = [gap for gap in read_gaps(open_local(small_disk), MARKET) if gap.reason == "disk full"]
    assert {gap.stream for gap in full if gap.to_id is not None} >= {"depth", "trades", "book_ticker"}
    assert all(gap.to_ns is not None for gap in full)
    assert "refused" in {row["kind"] for row in rows(open_local(small_disk), "events", MARKET)}


@pytest.fixture
def failing_sync(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], Path]:
    """The environment for a process whose syncs fail, and the file that has them fail once it is there."""
    compiler = shutil.which("cc")
    if compiler is None or not Path("/proc").is_dir():
        pytest.skip("needs a C compiler and Linux, so a failing fsync was not tried")
    folder = tmp_path_factory.mktemp("eio")
    library, when = folder / "eio.so", folder / "now"
    source = Path(__file__).with_name("eio.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return {"LD_PRELOAD": str(library), "EIO_WHEN": str(when)}, when


def test_a_failed_sync_ends_the_process_and_the_next_one_verifies(
    simulate: Callable[..., Simulator],
    processes: list[Process],
    tmp_path: Path,
    failing_sync: tuple[dict[str, str], Path],
) -> None:
    env, when = failing_sync
    simulator = simulate("--symbols", "1")
    process = live(simulator, tmp_path, env=env)
    processes.append(process)
    time.sleep(2)
    when.touch()
    assert process.wait(15) == 3, process.output
    assert "journal failed" in process.lines[-1]
    assert "Traceback" not in process.output
    when.unlink()
    session(simulator, tmp_path, processes)
    check_store(simulator, tmp_path)
    assert {gap.reason for gap in read_gaps(open_local(tmp_path), MARKET)} == {"restart"}


@pytest.mark.parametrize("damage", ["garbage", "gone", "bit"])
def test_without_its_journal_a_session_begins_with_a_gap(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path, damage: str
) -> None:
    simulator = simulate("--symbols", "1")
    session(simulator, tmp_path, processes)
    # Rows that reach the journal only.
    process = live(simulator, tmp_path, "--no-heal")
    processes.append(process)
    time.sleep(1.5)
    process.kill()
    journal = tmp_path / "journal.sqlite"
    for part in (f"{journal.name}-wal", f"{journal.name}-shm"):
        (tmp_path / part).unlink(missing_ok=True)
    if damage == "gone":
        journal.unlink()
    elif damage == "garbage":
        journal.write_bytes(b"this is no database" * 1000)
    else:
        pages = bytearray(journal.read_bytes())
        pages[100:600] = bytes(byte ^ 255 for byte in pages[100:600])
        journal.write_bytes(pages)
    again = session(simulator, tmp_path, processes)
    if damage != "gone":
        aside = tmp_path.glob("journal.damaged-*")
        assert any(f"set aside as {path}" in again.output for path in aside), again.output
        assert "journal_set_aside" in {row["kind"] for row in rows(open_local(tmp_path), "events", MARKET)}
    check_store(simulator, tmp_path)
    gaps = [gap for gap in read_gaps(open_local(tmp_path), MARKET) if not gap.healed]
    assert {(gap.stream, gap.reason) for gap in gaps} == {
        (stream, "restart") for stream in ("depth", "trades", "book_ticker")
    }


def test_a_second_sigterm_ends_at_once_and_loses_nothing(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    simulator = simulate("--symbols", "1")
    process = live(simulator, tmp_path, "--flush-interval", "1", shim="stalled_backend")
    processes.append(process)
    process.wait_for("the backend stalls")
    time.sleep(1)
    process.signal(signal.SIGTERM)
    time.sleep(1)
    began = time.monotonic()
    process.signal(signal.SIGTERM)
    assert process.wait(10) == 1
    assert time.monotonic() - began < 3
    assert "second signal" in process.output
    session(simulator, tmp_path, processes)
    check_store(simulator, tmp_path)


def test_sigterm_under_load_drains_in_time(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    simulator = simulate("--symbols", "1", "--levels", "200", "--trades", "1000")
    process = live(simulator, tmp_path)
    processes.append(process)
    time.sleep(4)
    began = time.monotonic()
    assert process.stop() == 0, process.output
    assert time.monotonic() - began < 30
    assert "everything is stored" in process.output
    check_promise(simulator, tmp_path, MARKET)


def test_without_file_descriptors_collection_goes_on_and_connections_come_back(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    simulator = simulate("--symbols", "1")
    process = live(simulator, tmp_path, "--flush-interval", "1")
    processes.append(process)
    time.sleep(2)
    _, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (3, hard))  # whatever is open stays open
    time.sleep(1)
    simulator.fault("abort:stream=depth")
    time.sleep(4)
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (hard, hard))
    time.sleep(9)
    assert process.stop() == 0, process.output
    check_store(simulator, tmp_path)
    found = rows(open_local(tmp_path), "events", MARKET)
    assert any("Too many open files" in (row["detail"] or "") for row in found), [row["detail"] for row in found]
    depth = rows(open_local(tmp_path), "depth", MARKET)
    assert depth[-1]["valid"], "the connection came back"
    trades = [gap for gap in read_gaps(open_local(tmp_path), MARKET) if gap.stream == "trades"]
    assert trades == [], "a live connection was not given up for it"


def test_without_memory_the_process_ends_or_goes_on_but_keeps_the_promise(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    simulator = simulate("--symbols", "1", "--levels", "400")
    process = live(simulator, tmp_path, "--flush-interval", "1")
    processes.append(process)
    time.sleep(2)
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    held = int(status.partition("VmSize:")[2].split()[0]) * 1024
    resource.prlimit(process.pid, resource.RLIMIT_AS, (held, resource.RLIM_INFINITY))
    time.sleep(6)
    with_limit = process.lines[:]
    if process.stop() != 0:
        print("ended:", with_limit[-3:])
    session(simulator, tmp_path, processes)
    check_store(simulator, tmp_path)


def test_a_second_collector_is_refused_and_the_first_is_not_disturbed(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    simulator = simulate("--symbols", "1")
    first = live(simulator, tmp_path)
    processes.append(first)
    for _ in range(3):
        second = Process("run", "--url-root", simulator.url, "--data-dir", str(tmp_path))
        processes.append(second)
        assert second.wait(20) == 2
        assert len(second.lines) == 1
        assert f"in use by process {first.pid}" in second.output
        assert "--data-dir" in second.output
    assert first.stop() == 0, first.output
    found = check_store(simulator, tmp_path)
    assert found["gaps"] == {}


def test_oom_kill_is_a_restart(simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path) -> None:
    simulator = simulate("--symbols", "1")
    process = live(simulator, tmp_path)
    processes.append(process)
    time.sleep(2)
    os.kill(process.pid, signal.SIGKILL)  # as the kernel does it
    assert process.wait() == -signal.SIGKILL
    session(simulator, tmp_path, processes)
    check_store(simulator, tmp_path)
    assert {gap.reason for gap in read_gaps(open_local(tmp_path), MARKET)} == {"restart"}
