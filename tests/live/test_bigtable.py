"""A collector that writes to Bigtable: what is in the tables afterwards, and what an outage does."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from storage_backends.bigtable.backend import BigtableBackend
from storage_backends.bigtable.keys import DATA_TABLE, LEGACY_TABLE
from storage_backends.bigtable.options import BigtableOptions
from storage_backends.interface import Market
from storage_backends.open import open_backend
from tests.bigtable_emulator import emulator_host, flags_of, options
from tests.bigtable_proxy import Fault, Proxy, proxy
from tests.live.bigtable import all_cells, cbt, check_promise
from tests.live.harness import Process, Simulator, collector, live
from tests.stores import rows

__all__ = ["emulator_host", "options", "proxy"]

SPOT, FUTURES = Market("binance", "BTCUSDT"), Market("binanceusdm", "BTCUSDT")


def legacy_by_the_specification(cells: dict[str, str]) -> dict[str, Any]:
    """A reader written from the design's table alone: text cells, `orderbook` JSON of seven names."""
    book = json.loads(cells["orderbook"])
    assert list(book) == ["epoch", "best_bid", "best_ask", "bid_buckets", "ask_buckets", "step_pct", "num_steps"]
    assert len(book["bid_buckets"]) == len(book["ask_buckets"]) == book["num_steps"]
    return {**book, "price": float(cells["price"]), "timestamp": int(cells["timestamp"])}


def printed_rows(said: str) -> dict[str, dict[str, str]]:
    """Rows as `cbt read` prints them: key → column without family → text."""
    found: dict[str, dict[str, str]] = {}
    for block in said.split("-" * 40 + "\n")[1:]:
        key, *lines = block.rstrip().splitlines()
        names = [re.fullmatch(r"  data:(\w+) +@ .*", line) for line in lines[::2]]
        values = [json.loads(line.strip()) for line in lines[1::2]]
        found[key] = {name[1]: value for name, value in zip(names, values, strict=True) if name}
    return found


def test_what_a_run_leaves_is_as_specified_and_stays_so_when_it_is_replayed(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path, options: BigtableOptions
) -> None:
    simulator = simulate("--symbols", "2")
    process = live(simulator, tmp_path, "--raw", *flags_of(options), exchanges=("binance", "binanceusdm"))
    processes.append(process)
    time.sleep(4)
    simulator.fault("drop:stream=depth,symbol=BTCUSDT,market=binance")
    time.sleep(3)
    assert process.stop() == 0, process.output
    assert process.lines[-1] == f"stopped; everything is stored in {options.instance_id}"
    for market in (SPOT, FUTURES):
        check_promise(simulator, options, market)

    backend = BigtableBackend(options)
    depth = [row for row in rows(backend, "depth", SPOT) if row["valid"]]
    old = {key.decode(): row.cells for key, row in all_cells(options, LEGACY_TABLE).items()}
    assert list(old) == [f"{9_999_999_999 - row['epoch']}#BTCUSDT" for row in reversed(depth)]
    assert len(depth) >= 4
    for row in depth:
        cells = old[f"{9_999_999_999 - row['epoch']}#BTCUSDT"]
        assert [name for name, *_ in cells] == [b"orderbook", b"price", b"timestamp"], "one version each"
        assert {stamp for _, stamp, _ in cells} == {row["epoch"] * 1000}
        parsed = legacy_by_the_specification({name.decode(): value.decode() for name, _, value in cells})
        assert parsed.pop("timestamp") == row["epoch"]
        assert parsed == {name: row[name] for name in parsed}
    assert [one["epoch"] for one in backend.time_first("BTCUSDT", (row["epoch"] for row in depth))] == [
        row["epoch"] for row in reversed(depth)
    ]
    if shutil.which("cbt"):
        said = printed_rows(cbt(options, "read", LEGACY_TABLE))
        assert said == {key: {name.decode(): value.decode() for name, _, value in cells} for key, cells in old.items()}

    before = [all_cells(options, table) for table in (DATA_TABLE, LEGACY_TABLE)]
    captures = sorted((tmp_path / "raw").glob("*/*.zst"))
    collector("replay", *captures, *flags_of(options))
    after = [all_cells(options, table) for table in (DATA_TABLE, LEGACY_TABLE)]
    assert after == before, "the same cells, one version each"
    for command in (["verify"], ["stats"], ["gaps"], ["book", "--exchange", "binance", "--at", "2100-01-01"]):
        said_json = json.loads(collector(*command, "--json", *flags_of(options)).stdout)
        if command == ["verify"]:
            assert said_json["ok"]
            assert {(one["exchange"], one["gaps"]["depth"]["gaps"]) for one in said_json["markets"] if one["gaps"]} == {
                ("binance", 1)
            }
        if command == ["gaps"]:
            assert [(one["exchange"], one["reason"]) for one in said_json] == [("binance", "sequence")]
        if command[0] == "book":
            assert said_json["bids"][0][0] < said_json["asks"][0][0]
    collector("replay", *captures, "--data-dir", tmp_path / "files")
    files = open_backend("local", tmp_path / "files")
    for market in (SPOT, FUTURES):
        for table in ("depth", "diffs", "snapshots", "trades", "book_ticker", "gaps"):
            assert rows(backend, table, market) == rows(files, table, market), table
    backend.close()


@pytest.mark.parametrize("seconds", [10, *(pytest.param(60 * minutes, marks=pytest.mark.soak) for minutes in (1, 5))])
def test_a_server_that_is_gone_for_a_while(
    seconds: int,
    simulate: Callable[..., Simulator],
    processes: list[Process],
    tmp_path: Path,
    options: BigtableOptions,
    proxy: Proxy,
) -> None:
    """Twenty markets, and it is gone in the middle."""
    simulator = simulate("--symbols", "20")
    through = BigtableOptions(options.project_id, options.instance_id, proxy.host)
    names = [one["symbol"] for one in simulator.get("/fapi/v1/exchangeInfo")["symbols"][:20]]
    symbols = [f"--symbol={name}" for name in names]
    where = ("--url-root", simulator.url, "--data-dir", str(tmp_path))
    process = Process("run", *symbols, *where, *flags_of(through))
    processes.append(process)
    process.wait_for("20 of 20 markets valid")
    backend = BigtableBackend(options)
    until = time.monotonic() + 30
    markets = [Market("binanceusdm", name) for name in names]
    while backend.markets("diffs") != sorted(markets):
        assert time.monotonic() < until, process.output
        time.sleep(0.5)
    memory_before = _memory_mb(process)
    proxy.stop()
    gone = time.monotonic()
    process.wait_for("backend away")
    time.sleep(max(0.0, gone + seconds - time.monotonic()))
    proxy.start()
    back = time.monotonic()
    waiting = markets.copy()
    while waiting:
        assert time.monotonic() - back < 60, f"{len(waiting)} markets are not current again:\n{process.output}"
        newest = backend.latest("depth", waiting[-1], 1)
        if time.time() - newest["epoch"][0].as_py() < 5:
            waiting.pop()
        else:
            time.sleep(0.2)
    memory_after = _memory_mb(process)
    assert memory_after < memory_before + 60 + seconds / 10, (memory_before, memory_after)
    assert process.stop() == 0, process.output
    for market in markets:
        check_promise(simulator, options, market)
        epochs = [row["epoch"] for row in rows(backend, "depth", market)]
        assert epochs == list(range(epochs[0], epochs[-1] + 1)), "one row an epoch, also meanwhile"
    kinds = [row["kind"] for row in rows(backend, "events", markets[0])]
    assert "backend_away" in kinds
    assert "backend_back" in kinds
    backend.close()


def test_lost_permission_is_told_and_a_slow_server_is_not_and_neither_costs_a_row(
    simulate: Callable[..., Simulator],
    processes: list[Process],
    tmp_path: Path,
    options: BigtableOptions,
    proxy: Proxy,
) -> None:
    simulator = simulate("--symbols", "1")
    through = BigtableOptions(options.project_id, options.instance_id, proxy.host)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    process = live(simulator, tmp_path, "--http", address, *flags_of(through), shim="impatient")
    processes.append(process)
    _readiness(address, lambda code, said: code == 200)

    denied = Fault(code=grpc.StatusCode.PERMISSION_DENIED, message="no bigtable.tables.mutateRows")
    proxy.trouble = lambda method: denied
    said = _readiness(address, lambda code, said: code == 503)
    assert (said["status"], said["reasons"][-1]) == ("running", "backend_away")
    _readiness(address, lambda code, said: code == 503 and said["grade"] == "degraded")
    report = json.loads(collector("journal", "--json", "--data-dir", tmp_path).stdout)
    assert "no bigtable.tables.mutateRows" in str(report), report

    # A hundred times what a request takes. The same process goes on.
    proxy.trouble = lambda method: Fault(delay_s=1)
    process.wait_for("backend back")
    _readiness(address, lambda code, said: code == 200)
    time.sleep(5)
    _readiness(address, lambda code, said: code == 200, wait_s=0)
    assert process.stop() == 0, process.output
    assert process.lines[-1] == f"stopped; everything is stored in {options.instance_id}"
    assert process.output.count("backend away") == 1
    check_promise(simulator, options, FUTURES)
    backend = BigtableBackend(options)
    epochs = [row["epoch"] for row in rows(backend, "depth", FUTURES)]
    assert epochs == list(range(epochs[0], epochs[-1] + 1)), "one row an epoch, also meanwhile"
    assert rows(backend, "gaps", FUTURES) == []
    backend.close()


def _readiness(address: str, wanted: Callable[[int, Any], bool], wait_s: float = 60) -> Any:
    """What `/ready` says once its code and its words are as wanted."""
    until = time.monotonic() + wait_s
    while True:
        heard: tuple[int, Any] | None = None
        with contextlib.suppress(httpx.HTTPError):
            answer = httpx.get(f"http://{address}/ready", timeout=10)
            heard = answer.status_code, answer.json()
            if wanted(*heard):
                return heard[1]
        assert time.monotonic() < until, heard
        time.sleep(0.1)


def _memory_mb(process: Process) -> float:
    status = Path(f"/proc/{process.pid}/status")
    if not status.exists():
        return float(subprocess.check_output(["ps", "-o", "rss=", "-p", str(process.pid)], text=True)) / 1024
    return int(re.search(r"VmRSS:\s+(\d+)", status.read_text())[1]) / 1024  # type: ignore[index]
