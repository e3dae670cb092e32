"""What hot files cost to read while they are written, and to write for fifty markets.

    python benchmarks/storage_hot.py [--folder DIR] [--reads N]

A process of its own writes as a live run does, all tables of fifty markets each second, while this one reads the last
1,024 rows of a table, as Arrow and up to pandas, at random. Wall time of a read, and its CPU time, since on a machine
that others use the wall tells of them; CPU time of a write.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from collector.client.pandas_frame import to_pandas
from storage_backends.contract.rows import rows
from storage_backends.hot import HotStore
from storage_backends.interface import Market
from storage_backends.schema import TABLES

MARKETS = [Market("binanceusdm", f"M{number:02}USDT") for number in range(50)]
ROWS_PER_S = {"depth": 1, "diffs": 10, "trades": 20, "book_ticker": 40}
LEVELS = 40


def made(table: str, first: int, count: int) -> pa.Table:
    """Rows as a market of average size has them: 40 buckets, and 20 to 60 levels a side in a message."""
    some = rows(table, range(first, first + count))
    for at, one in enumerate(some):
        levels = LEVELS if table == "depth" else LEVELS - 20 + at * 7 % 41
        for field in TABLES[table].schema:
            if pa.types.is_list(field.type):
                one[field.name] = [63_943.9 + 0.1 * level for level in range(levels)]
    return pa.Table.from_pylist(some, schema=TABLES[table].schema)


def write(folder: Path) -> None:
    """Writes until killed, and says every ten seconds of CPU time what a file costs."""
    hot = HotStore(folder)
    blocks = {table: [made(table, n * count, count) for n in range(120)] for table, count in ROWS_PER_S.items()}
    for table, count in ROWS_PER_S.items():
        full = made(table, -1024, 1024)
        for market in MARKETS:
            hot.extend(table, market, full)
        print(f"filled {table} ({count} rows/s)", flush=True)
    print("ready", flush=True)
    for second in range(120):
        began_s, cpu_s = time.monotonic(), time.process_time()
        for market in MARKETS:
            for table, some in blocks.items():
                hot.extend(table, market, some[second])
        print(f"round {time.process_time() - cpu_s}", flush=True)
        time.sleep(max(0.0, 1 - (time.monotonic() - began_s)))


def read(folder: Path, reads: int, what: Callable[[pa.Table], Any]) -> dict[str, list[tuple[float, float]]]:
    """Milliseconds of each read, by table: of the clock, and of CPU time."""
    hot, chance = HotStore(folder), random.Random(1)
    took: dict[str, list[tuple[float, float]]] = {table: [] for table in ROWS_PER_S}
    for _ in range(reads):
        for table, found in took.items():
            market = chance.choice(MARKETS)
            began_ns, began_cpu_ns = time.perf_counter_ns(), time.thread_time_ns()
            what(hot.read_hot(table, market))
            cpu_ns = time.thread_time_ns() - began_cpu_ns
            found.append(((time.perf_counter_ns() - began_ns) / 1e6, cpu_ns / 1e6))
            time.sleep(0.001)
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--reads", type=int, default=2000)
    parser.add_argument("--write", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.write:
        write(chosen.folder)
        return
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        folder = Path(name)
        command = [sys.executable, __file__, "--write", "--folder", name]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            while writer.stdout.readline().strip() != "ready":
                pass
            print(f"{'table':<12} {'read as':<8} {'median ms':>10} {'p99 ms':>8} {'p99 CPU ms':>11}")
            for label, what in (("Arrow", lambda table: table), ("pandas", to_pandas)):
                for table, found in read(folder, chosen.reads, what).items():
                    wall, cpu = zip(*found, strict=True)
                    p99, p99_cpu = (statistics.quantiles(each, n=100)[98] for each in (wall, cpu))
                    print(f"{table:<12} {label:<8} {statistics.median(wall):>10.3f} {p99:>8.3f} {p99_cpu:>11.3f}")
            writer.kill()
            rounds = [float(line.split()[1]) for line in writer.stdout if line.startswith("round")]
        files = len(MARKETS) * len(ROWS_PER_S)
        each = statistics.median(rounds)
        print(f"a write: {each / files * 1000:.2f} ms of CPU time a file, {each * 1000:.0f} ms for all {files}")


if __name__ == "__main__":
    main()
