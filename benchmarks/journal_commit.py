"""What the journal costs: CPU and wall time of encoding, committing, planning, loading, joining and forgetting.

    python benchmarks/journal_commit.py [--folder DIR]

Two loads: one busy market (400 kB a commit) and fifty ordinary ones (200 small batches a commit). CPU time is the
process's, of which a second thread has none here; wall time includes the disk's fsync.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from collector.clock import SystemClock
from collector.core.batch import Batch, Fixed, Nested
from collector.journal.arrow import to_arrow
from collector.journal.codec import decode, encode
from collector.journal.journal import Journal
from storage_backends.interface import Market

Result = TypeVar("Result")
Load = list[tuple[Market, Batch]]

random = np.random.default_rng(1)


def diffs(rows: int, levels: int, second: int) -> Batch:
    """Depth messages of `levels` levels a side."""
    start_ms = 1_721_260_800_000 + second * 1000
    ids = 4_900_000_000_000 + second * 10_000 + np.arange(rows, dtype=np.int64) * 40
    times = start_ms + np.arange(rows, dtype=np.int64) * 1000 // rows

    def side() -> dict[str, Nested]:
        counts = np.full(rows, levels, np.int32)
        prices = random.integers(640_000, 650_000, rows * levels)
        quantities = random.integers(0, 100_000, rows * levels)
        return {"price": Nested(counts, Fixed(prices, 1)), "quantity": Nested(counts, Fixed(quantities, 3))}

    levels_of = {f"{name}_{kind}": column for name in ("bid", "ask") for kind, column in side().items()}
    return Batch(
        "diffs",
        {
            "first_id": ids - 39,
            "last_id": ids,
            "prev_id": ids - 40,
            "event_time": times,
            "transact_time": times - 1,
            "recv_ns": times * 1_000_000 + 3_000_000,
            "connection": np.ones(rows, np.int64),
            **levels_of,
        },
    )


def ticker(rows: int, second: int) -> Batch:
    ids = second * 1000 + np.arange(rows, dtype=np.int64)
    price = Fixed(random.integers(640_000, 650_000, rows), 1)
    quantity = Fixed(random.integers(1, 100_000, rows), 3)
    columns = {"bid_price": price, "bid_quantity": quantity, "ask_price": price, "ask_quantity": quantity}
    return Batch("book_ticker", {"update_id": ids, **columns, "event_time": ids, "transact_time": ids, "recv_ns": ids})


def busy_market(second: int) -> Load:
    return [(Market("binanceusdm", "BTCUSDT"), diffs(10, 3300, second))]


def fifty_markets(second: int) -> Load:
    markets = [Market("binanceusdm", f"M{n}USDT") for n in range(50)]
    return [(m, b) for m in markets for b in (diffs(10, 12, second), *(ticker(8, second) for _ in range(3)))]


class Timer:
    """Adds up CPU and wall time."""

    def __init__(self) -> None:
        self.cpu_s = self.wall_s = 0.0

    def __call__(self, work: Callable[[], Result]) -> Result:
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        result = work()
        self.cpu_s += time.process_time() - cpu_s
        self.wall_s += time.perf_counter() - wall_s
        return result


def measure(folder: Path, name: str, load: Callable[[int], Load], commits: int) -> None:
    journal = Journal.open(folder / name.replace(" ", "-") / "journal.sqlite", clock=SystemClock())
    steps = {step: Timer() for step in ("encode", "commit", "plan", "load", "arrow", "acknowledge")}
    body_bytes = 0
    for second in range(commits):
        batches = load(second)
        bodies = steps["encode"](lambda batches=batches: [encode(batch) for _, batch in batches])  # type: ignore[misc]
        body_bytes += sum(map(len, bodies))
        steps["commit"](lambda batches=batches: journal.commit(batches, {m: b"state" * 40 for m, _ in batches}))  # type: ignore[misc]
    assert encode(decode("diffs", encode(batches[0][1]))) == encode(batches[0][1])
    plans = steps["plan"](
        lambda: journal.plan(journal.groups(), before_ns=1 << 62, max_rows=1 << 30, max_bytes=1 << 40)
    )
    for plan in plans:
        loaded = steps["load"](lambda plan=plan: journal.load(plan))  # type: ignore[misc]
        steps["arrow"](lambda loaded=loaded: to_arrow(loaded))  # type: ignore[misc]
    steps["acknowledge"](lambda: journal.acknowledge(plans))
    file_bytes = journal.path.stat().st_size + journal.path.with_name("journal.sqlite-wal").stat().st_size
    journal.close()
    print(
        f"\n{name}: {commits} commits of {body_bytes / commits / 1e3:,.0f} kB; "
        f"file and log {file_bytes / body_bytes:.2f} × bodies"
    )
    print(f"{'':14}{'CPU µs a commit':>17}{'wall µs a commit':>18}{'CPU ms a MB':>13}")
    for step, timer in steps.items():
        cpu_us, wall_us = timer.cpu_s / commits * 1e6, timer.wall_s / commits * 1e6
        print(f"{step:14}{cpu_us:17,.0f}{wall_us:18,.0f}{timer.cpu_s * 1e9 / body_bytes:13.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, help="where to write, on the disk to be measured  [default: a new one]")
    parser.add_argument("--commits", type=int, default=100)
    options = parser.parse_args()
    to_arrow([diffs(1, 1, 0)])  # pyarrow's first use loads half of it
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        measure(Path(folder), "one busy market", busy_market, options.commits)
        measure(Path(folder), "fifty markets", fifty_markets, options.commits)


if __name__ == "__main__":
    main()
