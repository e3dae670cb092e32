"""`run --http`: a process of its own, beside a collection that does not depend on it."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from storage_backends.interface import Market
from tests.live.harness import Process, Simulator, collector, live
from tests.live.invariant import check_promise
from tests.stores import differing, open_local, rows

BTC = Market("binanceusdm", "BTCUSDT")


def get(url: str, path: str) -> Any:
    """The answer, once there is one."""
    end = time.monotonic() + 30
    while True:
        try:
            answer = httpx.get(f"{url}{path}", timeout=5)
            if answer.status_code == 200:
                return answer.json()
        except httpx.HTTPError:
            pass
        assert time.monotonic() < end, f"{path} did not answer"
        time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def child_of(pid: int) -> int:
    """The process that serves for `pid`."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and b"serve" in (entry / "cmdline").read_bytes().split(b"\0"):
                return int(entry.name)
        except (OSError, ValueError, IndexError):
            continue
    raise AssertionError("nothing serves")


def test_a_run_answers_and_a_server_that_dies_is_nobodys_loss(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    simulator = simulate("--symbols", "1")
    port = free_port()
    process = live(simulator, tmp_path, "--flush-interval", "1", "--http", f"127.0.0.1:{port}")
    processes.append(process)
    url = f"http://127.0.0.1:{port}"
    state = get(url, "/state")
    assert state["markets"][0]["symbol"] == "BTCUSDT"
    weight = state["rest_weight"]["binanceusdm"]
    assert 0 < weight["used"] < weight["limit"]
    end = time.monotonic() + 30
    while get(url, "/trades/BTCUSDT?limit=5")["count"] < 5:
        assert time.monotonic() < end, "no trades"
        time.sleep(0.1)
    with httpx.stream("GET", f"{url}/stream", timeout=20) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "event: epoch"
        assert '"BTCUSDT"' in next(lines)
    if len(str(tmp_path)) < 80:  # the paths of sockets are bounded
        reset = httpx.post(f"{url}/control/anchor/reset?symbol=BTC/USDT", timeout=10)
        assert reset.json()["markets"] == [{"exchange": "binanceusdm", "symbol": "BTCUSDT"}]
        elsewhere = {"Origin": "http://elsewhere.example"}
        assert httpx.post(f"{url}/control/anchor/reset", headers=elsewhere, timeout=10).status_code == 403
    first = child_of(process.pid)
    os.kill(first, signal.SIGKILL)
    assert get(url, "/health")["status"] == "running"
    second = child_of(process.pid)
    assert second != first
    assert process.stop() == 0, process.output
    assert not Path(f"/proc/{second}").exists()
    check_promise(simulator, tmp_path, BTC)


def test_an_anchor_that_was_reset_over_http_is_reset_in_a_replay(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("reset")  # short, since the path of a socket is bounded
    simulator = simulate("--symbols", "1", "--trades", "50")
    port = free_port()
    options = ("--raw", "--features", "avwap,cvd", "--flush-interval", "1", "--http", f"127.0.0.1:{port}")
    process = live(simulator, folder / "live", *options)
    processes.append(process)
    url = f"http://127.0.0.1:{port}"
    get(url, "/state")
    time.sleep(3)
    reset = httpx.post(f"{url}/control/anchor/reset?symbol=BTCUSDT&mode=manual", timeout=10)
    assert reset.json()["markets"] == [{"exchange": "binanceusdm", "symbol": "BTCUSDT"}], reset.text
    time.sleep(3)
    assert process.stop() == 0, process.output
    collector(
        "replay", *sorted((folder / "live" / "raw").glob("*/*.zst")), "--features", "avwap,cvd",
        "--data-dir", folder / "again",
    )  # fmt: skip
    assert not differing(folder / "live", folder / "again", BTC)
    found = rows(open_local(folder / "live"), "features", BTC)
    asked = [row for row in rows(open_local(folder / "live"), "events", BTC) if row["detail"] == "manual"]
    assert len(asked) == 1
    after = [row["avwap"] for row in found if row["epoch"] * 10**9 > asked[0]["time_ns"]]
    assert any(value is not None for value in after), (
        "a quarter that was not seen from its start has no anchor of its own"
    )


def test_a_collector_that_is_killed_takes_its_server_along(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    simulator = simulate("--symbols", "1")
    port = free_port()
    process = live(simulator, tmp_path, "--http", f"127.0.0.1:{port}")
    processes.append(process)
    get(f"http://127.0.0.1:{port}", "/state")
    server = child_of(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    end = time.monotonic() + 20
    while Path(f"/proc/{server}/cmdline").exists() and Path(f"/proc/{server}/cmdline").read_bytes():
        assert time.monotonic() < end, "it lives on"
        time.sleep(0.05)
