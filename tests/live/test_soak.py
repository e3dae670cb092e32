"""An hour at twice the peak rate, with random faults (`SOAK_SECONDS`, `SOAK_SEED`).

The busiest second of the real captures has 1,218 messages and 6,364 levels (USDⓈ-M BTCUSDT, 2024-07-19); the options of
the simulator below give twice of both in a usual second, which is checked at the end.
"""

from __future__ import annotations

import json
import os
import random
import signal
import statistics
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from storage_backends.interface import Market
from tests.live.harness import Process, Simulator, collector, live
from tests.live.invariant import check_promise

MARKET = Market("binanceusdm", "BTCUSDT")
PEAK_MESSAGES, PEAK_LEVELS = 1218, 6364
LEVELS = ("bid_price", "ask_price")
RATE = ("--levels", "2000", "--reach", "600", "--trades", "800")
FAULTS = (
    "abort:stream=depth",
    "abort:stream=bookTicker",
    "close:code=1008",
    "freeze:stream=depth,for=9",
    "freeze:route=public,for=8",
    "drop:stream=depth",
    "drop:stream=aggTrade,n=3",
    "duplicate:stream=depth,n=3",
    "duplicate:stream=aggTrade,n=3",
    "reorder:stream=depth",
    "garbage:n=2",
    "unknown:n=2",
    "bad_level:text=1e400",
    "huge:stream=aggTrade",
    "stale_snapshot:n=1",
    "rest:status=429,n=1,path=depth,retry_after=2",
    "rest:status=503,n=2,path=depth",
    "cut",
)


class Sample(NamedTuple):
    """What a process holds at a moment."""

    rss_bytes: int
    descriptors: int
    tasks: int


def sample(process: Process) -> Sample:
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    tasks = next((int(line.split()[1]) for line in reversed(process.lines) if line.startswith("tasks ")), 0)
    return Sample(
        int(status.partition("VmRSS:")[2].split()[0]) * 1024,
        len(list(Path(f"/proc/{process.pid}/fd").iterdir())),
        tasks,
    )


def strike(simulator: Simulator, process: Process, away: Path, chance: random.Random) -> str:
    """One fault; all but the simulator's are over when this returns."""
    kind = chance.random()
    if kind < 0.1:
        process.signal(signal.SIGSTOP)
        time.sleep(chance.uniform(1, 6))
        process.signal(signal.SIGCONT)
        return "stopped for seconds"
    if kind < 0.25:
        away.touch()
        time.sleep(chance.uniform(2, 15))
        away.unlink()
        return "backend away"
    fault = chance.choice(FAULTS)
    simulator.fault(fault)
    return fault


def check_flat(samples: list[Sample]) -> None:
    """The last third holds no more than the one before.

    Of each third the ninth decile: while connections wait out their pauses a process holds less, and which third has
    more of that is chance.
    """
    third = len(samples) // 3
    before, after = samples[third : 2 * third], samples[2 * third :]
    for name, slack in (("rss_bytes", 8 << 20), ("descriptors", 2), ("tasks", 2)):
        earlier, later = (
            statistics.quantiles([getattr(one, name) for one in part], n=10)[-1] for part in (before, after)
        )
        print(f"{name}: {earlier:,} then {later:,}, at most {max(getattr(one, name) for one in samples):,}")
        assert later <= earlier * 1.1 + slack, f"{name} grows"


def check_rate(data_dir: Path) -> None:
    """Half of the seconds had twice the peak, in messages and in levels: faults may take the other half."""
    messages, levels = Counter[int](), Counter[int]()
    for table in ("diffs", "trades", "book_ticker"):
        for file in (data_dir / table).rglob("*.parquet"):
            rows = pq.ParquetFile(file).read(["recv_ns", *(LEVELS if table == "diffs" else ())])
            seconds = pc.divide(rows["recv_ns"].cast("int64"), 10**9)
            for second in seconds.value_counts():
                messages[second["values"].as_py()] += second["counts"].as_py()
            for side in LEVELS if table == "diffs" else ():
                for second, length in zip(
                    seconds.to_pylist(), pc.list_value_length(rows[side]).to_pylist(), strict=True
                ):
                    levels[second] += length
    for name, counted, peak in (("messages", messages, PEAK_MESSAGES), ("levels", levels, PEAK_LEVELS)):
        usual = statistics.median(counted.values())
        print(f"{name}: {usual:,.0f} in a usual second, {max(counted.values()):,} in the busiest")
        assert usual >= 2 * peak, f"{name}: not twice the peak of {peak:,}"


@pytest.mark.soak
def test_random_faults_at_twice_the_peak_rate(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    seconds = float(os.environ.get("SOAK_SECONDS", "3600"))
    seed = int(os.environ.get("SOAK_SEED", random.randrange(10**6)))
    print("seed", seed, "seconds", seconds)
    chance, away = random.Random(seed), tmp_path / "away"
    simulator = simulate("--symbols", "1", "--sent", str(tmp_path / "sent"), *RATE)
    data_dir = tmp_path / "data"

    def start() -> Process:
        options = ("--silence", "2", "--flush-interval", str(min(60.0, seconds / 20)), "--max-connects", "300")
        process = live(simulator, data_dir, *options, shim="soak", env={"BACKEND_AWAY": str(away)})
        processes.append(process)
        return process

    process = start()
    began, samples, simulator_samples, struck = time.monotonic(), list[Sample](), list[Sample](), dict[str, int]()
    next_strike = began + 5
    # Kills come in the last part, so that before them one process lives long enough to be measured.
    while (now := time.monotonic() - began) < seconds:
        time.sleep(1)
        simulator_samples.append(sample(simulator))
        if now < 0.75 * seconds:
            samples.append(sample(process))
        if time.monotonic() < next_strike:
            continue
        if now > 0.75 * seconds and chance.random() < 0.4:
            process.kill()
            done = "kill -9"
            process = start()
        else:
            done = strike(simulator, process, away, chance)
        struck[done] = struck.get(done, 0) + 1
        # A connection costs one of the 300 that the exchange grants in five minutes.
        next_strike = time.monotonic() + chance.uniform(3, 10)
    time.sleep(10)
    assert process.stop() == 0, process.output[-3000:]
    print("struck", struck)
    print("sent", simulator.get("/stat")["sent"])
    check_flat(samples)
    check_flat(simulator_samples)
    check_rate(data_dir)
    check_promise(simulator, data_dir, MARKET)
    report = json.loads(collector("verify", "--json", "--data-dir", data_dir, check=False, timeout_s=3600).stdout)
    assert report["ok"], report
    print("gaps", report["markets"][0]["gaps"], "epochs", report["markets"][0]["epochs"])
