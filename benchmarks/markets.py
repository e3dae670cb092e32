"""CPU, memory and lag of `collector run` for 1 to 200 markets, and for 50 inside a quarter of a CPU and 1 GB.

    python benchmarks/markets.py [--markets N]... [--seconds S] [--no-limits] [--json]
    python benchmarks/markets.py --streams [--json]

The made-up markets of `collector simulate` send depth at 100 ms, trades and best prices; the simulator runs on one
core, the collector on another, with local storage. Measured from the moment when every market has its snapshot: CPU
time of the collector, its memory, and the lag of each depth message from the exchange's event time to its receive
stamp, which is given when the event loop gets to it (the book has it microseconds later). Event times are whole
milliseconds, and the simulator's own delays are in them. Every one of our gaps counts.

The limits are a cgroup of version 1 or 2, made and removed here; where that is not allowed the table says so.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from collector.simulator.instruments import simulated
from storage_backends.interface import Backend, Market
from storage_backends.open import open_backend

ROOT = Path(__file__).parents[1]
COUNTS = (1, 10, 50, 100, 200)
LIMITED = 50
CPU_SHARE, MEMORY_BYTES = 0.25, 1 << 30
REACH_LAG_MS = 250
_CGROUPS = Path("/sys/fs/cgroup")
_PERIOD_US = 100_000
_START_S = 120.0
_SETTLE_S = 3.0


class Child:
    """A command of the collector on one core, with its output line by line."""

    def __init__(self, *arguments: str, core: int, groups: tuple[Path, ...] = ()) -> None:
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "collector", *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.pid = self._process.pid
        os.sched_setaffinity(self.pid, {core})
        for group in groups:
            (group / "cgroup.procs").write_text(str(self.pid))
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.rstrip())

    def wait_for(self, text: str) -> str:
        """The first line with `text`."""
        ends_s = time.monotonic() + _START_S
        while time.monotonic() < ends_s and self._process.poll() is None:
            for line in list(self.lines):
                if text in line:
                    return line
            time.sleep(0.05)
        self.stop()
        raise SystemExit(f"{text!r} did not come:\n" + "\n".join(self.lines[-20:]))

    def cpu_s(self) -> float:
        """CPU time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak_mb(self) -> float:
        """The most memory that was resident."""
        status = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(row.split()[1]) for row in status if row.startswith("VmHWM")) / 1024

    def stop(self) -> None:
        """As Ctrl-C does."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def limits() -> Iterator[tuple[Path, ...]]:
    """Cgroups with `CPU_SHARE` and `MEMORY_BYTES`.

    Raises:
        OSError: they cannot be made here.
    """
    name = f"collector-benchmark-{os.getpid()}"
    quota_us = round(CPU_SHARE * _PERIOD_US)
    if (_CGROUPS / "cgroup.controllers").exists():
        settings = {_CGROUPS / name: {"cpu.max": f"{quota_us} {_PERIOD_US}", "memory.max": str(MEMORY_BYTES)}}
    else:
        settings = {
            _CGROUPS / "cpu" / name: {"cpu.cfs_period_us": str(_PERIOD_US), "cpu.cfs_quota_us": str(quota_us)},
            _CGROUPS / "memory" / name: {"memory.limit_in_bytes": str(MEMORY_BYTES)},
        }
    made: list[Path] = []
    try:
        for group, values in settings.items():
            group.mkdir()
            made.append(group)
            for file, value in values.items():
                (group / file).write_text(value)
        yield tuple(made)
    finally:
        for group in made:
            group.rmdir()


def measure(markets: int, seconds: float, groups: tuple[Path, ...] = ()) -> dict[str, Any]:
    """One collector of so many markets."""
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        simulator = Child("simulate", "--symbols", str(markets), core=cores[0])
        try:
            url = simulator.wait_for("ready").split()[1]
            where = ("--url-root", url, "--data-dir", folder)
            names = [Market("binanceusdm", one.symbol) for one in simulated("binanceusdm", markets)]
            symbols = [part for market in names for part in ("--symbol", market.symbol)]
            # Fewer levels than by default: the weight limit of the exchange would make 200 snapshots take minutes.
            collector = Child("run", *where, *symbols, "--anchor-limit", "100", core=cores[-1], groups=groups)
            try:
                collector.wait_for(f"{markets} of {markets} markets valid" if markets > 4 else "epoch:")
                time.sleep(_SETTLE_S)
                began_ns, began_s, cpu_s = time.time_ns(), time.perf_counter(), collector.cpu_s()
                time.sleep(seconds)
                cpu_s, took_s = collector.cpu_s() - cpu_s, time.perf_counter() - began_s
                ended_ns = time.time_ns()
                peak_mb = collector.peak_mb()
            finally:
                collector.stop()
        finally:
            simulator.stop()
        figures = stored(open_backend("local", data_dir=folder), began_ns, ended_ns, names)
    return {"markets": markets, "cpu_percent": 100 * cpu_s / took_s, "peak_mb": peak_mb, **figures}


def stored(store: Backend, began_ns: int, ended_ns: int, markets: Sequence[Market]) -> dict[str, Any]:
    """What the store says of that time, for markets that are known: Bigtable's emulator takes seconds to find one."""
    lags_ms, valid, epochs, gaps = [], 0, 0, 0
    for market in markets:
        for rows in store.scan("diffs", market, began_ns, ended_ns, ["event_time", "recv_ns"]):
            lag_ms = rows.column("recv_ns").to_numpy() / 1e6 - rows.column("event_time").to_numpy()
            lags_ms.append(lag_ms)
        for rows in store.scan("depth", market, began_ns, ended_ns, ["valid"]):
            valid += rows.column("valid").true_count
            epochs += rows.num_rows
        gaps += sum(rows.num_rows for rows in store.scan("gaps", market))
    together = np.concatenate(lags_ms)
    return {
        "diffs_per_s": len(together) / (ended_ns - began_ns) * 1e9,
        "lag_p50_ms": float(np.percentile(together, 50)),
        "lag_p99_ms": float(np.percentile(together, 99)),
        "epochs": epochs,
        "valid": valid,
        "gaps": gaps,
    }


def show(label: str, one: dict[str, Any]) -> str:
    """One line of the table."""
    epochs = f"{one['valid']:,} of {one['epochs']:,}"
    return (
        f"{label:<28}{one['cpu_percent']:>8.1f}{one['peak_mb']:>10.0f}{one['diffs_per_s']:>11,.0f}"
        f"{one['lag_p50_ms']:>10.1f}{one['lag_p99_ms']:>10.1f}{epochs:>19}{one['gaps']:>5}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--markets", type=int, action="append", help=f"how many; repeatable  [default: {COUNTS}]")
    parser.add_argument("--seconds", type=float, default=15.0, help="how long each is measured")
    parser.add_argument("--no-limits", action="store_true", help=f"leave out the {LIMITED} markets inside limits")
    parser.add_argument("--json", action="store_true", help="figures as JSON")
    parser.add_argument("--streams", action="store_true", help="the cost of each stream by the message, and no more")
    chosen = parser.parse_args()
    if chosen.streams:
        from benchmarks import market_streams

        found = market_streams.measure()
        print(json.dumps(found) if chosen.json else market_streams.show(found))
        return 0
    results: dict[str, Any] = {"markets": [], "limited": None}
    if not chosen.json:
        heads = f"{'CPU %':>8}{'peak MB':>10}{'diffs/s':>11}{'p50 ms':>10}{'p99 ms':>10}{'epochs valid':>19}{'gaps':>5}"
        print(f"{'markets':<28}{heads}")
    for count in chosen.markets or COUNTS:
        results["markets"].append(measure(count, chosen.seconds))
        if not chosen.json:
            print(show(str(count), results["markets"][-1]), flush=True)
    reached = True
    if not chosen.no_limits:
        label = f"{LIMITED} in {CPU_SHARE:g} CPU and {MEMORY_BYTES >> 30} GB"
        try:
            with limits() as groups:
                limited = results["limited"] = measure(LIMITED, chosen.seconds, groups)
        except OSError as error:
            print(f"{label}: not measured, no cgroup can be made here: {error}", file=sys.stderr)
        else:
            reached = limited["gaps"] == 0 and limited["lag_p99_ms"] <= REACH_LAG_MS
            if not chosen.json:
                verdict = "reached" if reached else "NOT reached"
                print(show(label, limited))
                print(f"no gap and p99 at most {REACH_LAG_MS} ms inside these limits: {verdict}")
    if chosen.json:
        print(json.dumps(results))
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
