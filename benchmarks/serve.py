"""What questions over HTTP cost, and what those who only want to do harm cost the collection.

    python benchmarks/serve.py [--seconds S] [--clients N] [--no-harm] [--json]

First `collector serve` answers over a made-up day of one market (864,000 trades in files of five minutes, as a live run
leaves them; half an hour of depth at 100 ms, a snapshot each ten minutes). N clients ask one question after the other,
each over a connection of its own: requests a second, their times, and the CPU time of the server for one.

Then a collector runs against the simulator and answers over HTTP, with a key. In turns it is left alone, and is asked
1,000 times a second with a wrong key while 500 connections send a byte now and then. Ingest is told by the lag of each
stored depth message, from the exchange's event time to its receive stamp. Everything is on loopback, on the cores that
there are: whoever asks takes CPU time too. The collector's share of it tells what others had.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from benchmarks.serve_store import BARS_ONLY, MARKET, ROOT, book_end_ns, make
from collector.simulator.instruments import simulated
from storage_backends.hot import HotStore
from storage_backends.open import open_backend

ARROW = "application/vnd.apache.arrow.stream"
KEY = "benchmark-key-0123456789"
_BOOK_S = 1800
_HARM = Path(__file__).with_name("serve_harm.py")
_PHASE_S = 20.0


@contextmanager
def child(*command: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A process that ends with the block; SIGTERM, so that a collector stores what it has."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=40)
        process.kill()
        process.wait()


def said(process: subprocess.Popen[str], word: str) -> str:
    """The first line with `word`."""
    assert process.stdout is not None
    for line in process.stdout:
        if word in line:
            return line
    raise SystemExit(f"{process.args}: ended without {word!r}")


def cpu_s(pid: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ask(port: int, pid: int, path: str, accept: str, clients: int, seconds: float) -> dict[str, float]:
    """Asks a question over and over."""
    took_ms: list[float] = []
    sizes: list[int] = []
    end = time.monotonic() + seconds

    def one() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while time.monotonic() < end or not took_ms:
            began = time.perf_counter()
            connection.request("GET", path, headers={"Accept": accept})
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise SystemExit(f"{path}: {answer.status} {body[:200]!r}")
            took_ms.append((time.perf_counter() - began) * 1000)
            sizes.append(len(body))
        connection.close()

    began_s, began_cpu_s = time.perf_counter(), cpu_s(pid)
    threads = [threading.Thread(target=one) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall_s, spent_s = time.perf_counter() - began_s, cpu_s(pid) - began_cpu_s
    return {
        "requests": len(took_ms),
        "requests_per_s": len(took_ms) / wall_s,
        "median_ms": statistics.median(took_ms),
        "p99_ms": float(np.percentile(took_ms, 99)),
        "cpu_ms": spent_s / len(took_ms) * 1000,
        "kilobytes": statistics.median(sizes) / 1000,
    }


def questions(folder: Path, clients: int, seconds: float) -> list[dict[str, Any]]:
    """Rows of the first table."""
    make(folder, _BOOK_S)
    backend = open_backend("local", folder)
    at_ns = book_end_ns(backend) - 37 * 10**9  # more than nine minutes after its anchor
    asked = {
        "last 1,000 trades, from files": "/trades/BTCUSDT?limit=1000",
        "last 1,000 trades, from the hot file": "/trades/BTCUSDT?limit=1000",
        "OHLCV of a day, from trades": "/ohlcv/BTCUSDT?timeframe=1m&limit=1440",
        "OHLCV of a day, from bars": f"/ohlcv/{BARS_ONLY.symbol}?timeframe=1m&limit=1440",
        "book of 100 levels, rebuilt": f"/book/BTCUSDT?at={at_ns}&depth=100",
    }
    found = []
    command = (sys.executable, "-m", "collector", "serve", "--data-dir", str(folder), "--http-port", "0")
    with child(*command, "--requests-per-s", "1000000") as server:
        port = int(said(server, "answering on").split()[2].rpartition(":")[2])
        for name, path in asked.items():
            if "hot" in name:
                HotStore(folder, backend).maintain_hot_snapshot("trades", MARKET)
            for kind, accept in (("JSON", "application/json"), ("Arrow", ARROW)):
                if kind == "Arrow" and path.startswith("/book"):
                    continue  # it is no table
                ask(port, server.pid, path, accept, 1, 0)
                found.append({"question": name, "as": kind, **ask(port, server.pid, path, accept, clients, seconds)})
    return found


def harm(folder: Path, rounds: int) -> dict[str, Any]:
    """Lags of ingest in peace and under wrong keys and slow connections, in turns."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spans: dict[str, list[tuple[int, int]]] = {"peace": [], "harm": []}
    told: list[dict[str, Any]] = []
    command = (sys.executable, "-m", "collector")
    with child(*command, "simulate", "--symbols", "5") as simulator:
        url = said(simulator, "ready").split()[1]
        options = ("--url-root", url, "--data-dir", str(folder), *_named(5), "--flush-interval", "5")
        with child(*command, "run", *options, "--http", f"127.0.0.1:{port}", API_KEY=KEY) as collector:
            threading.Thread(target=lambda: [None for _ in collector.stdout or ()], daemon=True).start()
            _until_answered(port)
            time.sleep(10)
            for _ in range(rounds):
                for name, seen in spans.items():
                    began_ns = time.time_ns()
                    if name == "harm":
                        harmful = (sys.executable, str(_HARM), str(port), str(_PHASE_S))
                        done = subprocess.run(harmful, capture_output=True, text=True, check=True)
                        told.append(json.loads(done.stdout))
                    else:
                        time.sleep(_PHASE_S)
                    seen.append((began_ns + 2 * 10**9, time.time_ns() - 10**9))
    lags = _lags(folder)
    found: dict[str, Any] = {}
    for name, several in spans.items():
        some = np.concatenate([lags[1][(lags[0] >= start) & (lags[0] < end)] for start, end in several])
        found[name] = {
            "messages": len(some),
            **{f"p{share}_ms": float(np.percentile(some, share)) for share in (50, 99)},
        }
    found["ratio_p99"] = found["harm"]["p99_ms"] / found["peace"]["p99_ms"]
    found["wrong_keys_per_s"] = statistics.mean(one["wrong_keys_per_s"] for one in told)
    found["slow_clients"] = statistics.median(one["slow_clients"] for one in told)
    found["gaps"] = sum(
        batch.num_rows
        for market in open_backend("local", folder).markets("diffs")
        for batch in open_backend("local", folder).scan("gaps", market)
    )
    return found


def _named(count: int) -> list[str]:
    return [part for one in simulated(MARKET.exchange, count) for part in ("--symbol", one.symbol)]


def _lags(folder: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    backend = open_backend("local", folder)
    received, lag_ms = [], []
    for market in backend.markets("diffs"):
        for batch in backend.scan("diffs", market, None, None, ("recv_ns", "event_time")):
            recv_ns, event_ms = (batch.column(name).to_numpy() for name in ("recv_ns", "event_time"))
            received.append(recv_ns)
            lag_ms.append(recv_ns / 1e6 - event_ms)
    return np.concatenate(received), np.concatenate(lag_ms)


def _until_answered(port: int) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/ready")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.2)
    raise SystemExit("the collector does not answer")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="for each question")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3, help="of peace and harm")
    parser.add_argument("--no-harm", action="store_true")
    parser.add_argument("--no-questions", action="store_true")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    found: dict[str, Any] = {}
    if not chosen.no_questions:
        with tempfile.TemporaryDirectory() as folder:
            found["questions"] = questions(Path(folder), chosen.clients, chosen.seconds)
    if not chosen.no_harm:
        with tempfile.TemporaryDirectory() as folder:
            found["harm"] = harm(Path(folder), chosen.rounds)
    if chosen.json:
        print(json.dumps(found, indent=2))
        return
    if "questions" in found:
        print(f"{'question':<38} {'as':<6} {'req/s':>8} {'median ms':>10} {'p99 ms':>8} {'CPU ms':>8} {'kB':>7}")
        for one in found["questions"]:
            times = f"{one['median_ms']:>10.1f} {one['p99_ms']:>8.1f} {one['cpu_ms']:>8.1f}"
            print(
                f"{one['question']:<38} {one['as']:<6} {one['requests_per_s']:>8.1f} {times} {one['kilobytes']:>7.0f}"
            )
    if "harm" in found:
        told = found["harm"]
        for name in ("peace", "harm"):
            print(f"{name}: lag p50 {told[name]['p50_ms']:.1f} ms, p99 {told[name]['p99_ms']:.1f} ms", end="; ")
            print(f"{told[name]['messages']} messages")
        print(
            f"ratio of p99: {told['ratio_p99']:.2f} (reach 1.5); {told['wrong_keys_per_s']:.0f} wrong keys a second,",
            end=" ",
        )
        print(f"{told['slow_clients']} slow connections; {told['gaps']} statements about gaps")


if __name__ == "__main__":
    main()
