"""Bigtable: bytes a row, and the client's CPU time for writing and scanning, beside the stock client with JSON.

    python benchmarks/storage.py [--captures DIR] [--json]

Rows are those that a replay of the USDⓈ-M captures `usdm_btcusdt_*.gz` gives. Ours goes through the backend, as the
deliverer and readers call it. The stock client is `google.cloud.bigtable.data` as its documentation shows it:
`bulk_mutate_rows` and `read_rows_stream`, one cell of `json.dumps` a row. Both write batches of 100 into Google's
emulator, a process of its own whose work does not count. CPU time is the best of three runs.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import pyarrow as pa

from collector.core.batch import Batch
from collector.core.inputs import SessionStarted
from collector.journal.arrow import to_arrow
from collector.replay import Replay
from storage_backends.bigtable.admin import create
from storage_backends.bigtable.backend import BigtableBackend
from storage_backends.bigtable.client import Client
from storage_backends.bigtable.keys import DATA_TABLE, time_range
from storage_backends.bigtable.options import BigtableOptions
from storage_backends.interface import Market
from storage_backends.layout import TimeRange
from storage_backends.reading import read
from storage_backends.schema import TABLES
from tests.bigtable_emulator import Emulator, emulator_program

MARKET = Market("binanceusdm", "BTCUSDT")
BATCH = 100
ROWS = 5000
RUNS = 3
GOAL_US = 50


def load(folder: Path) -> dict[str, pa.Table]:
    """At most `ROWS` rows of each table that the captures feed."""
    captures = sorted(folder.glob("usdm_btcusdt_*.gz"))
    if not captures:
        sys.exit(f"no usdm_btcusdt_*.gz in {folder}; name their folder: --captures DIR, or CAPTURE_DIR")
    template = SessionStarted(
        exchange=MARKET.exchange,
        symbol="",
        futures=True,
        interval_s=1,
        step=0.00002,
        steps=40,
        reference="best",
        channels=("depth", "raw_trades", "book_ticker"),
    )
    found: dict[str, list[Batch]] = {}

    def keep(exchange: str, symbol: str, batches: list[Batch]) -> None:
        for batch in batches:
            found.setdefault(batch.table, []).append(batch)

    Replay(template, (), keep).run(captures)
    return {name: to_arrow(found[name]).slice(0, ROWS) for name in ("raw_trades", "diffs", "depth", "book_ticker")}


def timed(work: Callable[[], None], rows: int) -> tuple[float, float]:
    """CPU µs a row, and rows a second by the clock on the wall."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return (time.process_time() - cpu) / rows * 1e6, rows / (time.perf_counter() - wall)


def batches(rows: pa.Table) -> Iterator[pa.Table]:
    for start in range(0, len(rows), BATCH):
        yield rows.slice(start, BATCH)


def ours(options: BigtableOptions, table: str, rows: pa.Table) -> dict[str, float]:
    backend = BigtableBackend(options)
    backend.check()

    def write() -> None:
        for number, part in enumerate(batches(rows)):
            backend.write(table, MARKET, part, writer="benchmark", content_hash=f"{number:08x}")

    def scan() -> None:
        given = read(backend, table, MARKET)
        assert len(given) == len(rows), "a scan lost rows"

    figures = _both(write, scan, len(rows))
    backend.close()
    client = Client(options)
    span = time_range(TABLES[table], MARKET, TimeRange(None, None))
    assert span is not None
    stored = [
        len(row.key) + len(name) + len(value) for row in client.read(DATA_TABLE, span) for name, _, value in row.cells
    ]
    client.close()
    figures["bytes"] = sum(stored) / len(rows)
    return figures


def stock(options: BigtableOptions, table: str, rows: pa.Table) -> dict[str, float]:
    from google.cloud.bigtable.data import BigtableDataClient, ReadRowsQuery, RowMutationEntry, RowRange, SetCell

    os.environ["BIGTABLE_EMULATOR_HOST"] = str(options.emulator_host)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = BigtableDataClient(project=options.project_id)
    target = client.get_table(options.instance_id, "market_data")
    definition = TABLES[table]
    size = 0

    def entry(made: dict[str, Any]) -> Any:
        nonlocal size
        value = json.dumps(made).encode()
        key = f"stock#{table}#{made[definition.time]}#{made[definition.key[0]]}"
        size += len(key) + len(value)
        stamp = made[definition.time] * definition.ns_per_unit // 1_000_000 * 1000
        return RowMutationEntry(key, [SetCell("data", "json", value, timestamp_micros=stamp)])

    def write() -> None:
        for part in batches(rows):
            entries = [entry(made) for made in part.to_pylist()]
            target.bulk_mutate_rows(entries, operation_timeout=30, attempt_timeout=5)

    def scan() -> None:
        span = RowRange(start_key=f"stock#{table}#", end_key=f"stock#{table}$")
        given = [json.loads(row.cells[0].value) for row in target.read_rows_stream(ReadRowsQuery(row_ranges=span))]
        assert len(given) == len(rows), "a scan lost rows"

    figures = _both(write, scan, len(rows))
    client.close()
    return {**figures, "bytes": size / len(rows) / RUNS}


def _both(write: Callable[[], None], scan: Callable[[], None], rows: int) -> dict[str, float]:
    writes = [timed(write, rows) for _ in range(RUNS)]
    scans = [timed(scan, rows) for _ in range(RUNS)]
    return {
        "write_us": min(cpu for cpu, _ in writes),
        "write_rows_s": max(rate for _, rate in writes),
        "scan_us": min(cpu for cpu, _ in scans),
        "scan_rows_s": max(rate for _, rate in scans),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captures", type=Path, default=Path(os.environ.get("CAPTURE_DIR", "../shared/data")))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    program = emulator_program()
    if program is None:
        sys.exit("no Bigtable emulator: install the Cloud SDK's component bigtable")
    tables = load(arguments.captures)
    emulator = Emulator(program)
    try:
        options = BigtableOptions("benchmark", "benchmark", emulator.host)
        create(options)
        results = {
            name: {"rows": len(rows), "ours": ours(options, name, rows), "stock": stock(options, name, rows)}
            for name, rows in tables.items()
        }
    finally:
        emulator.kill()
    levels = sum(len(tables["diffs"].column(name).combine_chunks().flatten()) for name in ("bid_price", "ask_price"))
    level_bytes = results["diffs"]["ours"]["bytes"] * len(tables["diffs"]) / levels  # type: ignore[index]
    if arguments.json:
        print(json.dumps({**results, "level_bytes": level_bytes, "goal_us": GOAL_US}))
        return
    print("| rows of | client | bytes a row | write, µs CPU a row | rows/s | scan, µs CPU a row | rows/s |")
    print("|---|---|---|---|---|---|---|")
    for name, result in results.items():
        for who in ("ours", "stock"):
            one: Any = result[who]
            print(
                f"| {name} ({result['rows']:,}) | {who} | {one['bytes']:,.0f} | {one['write_us']:.0f} | "
                f"{one['write_rows_s']:,.0f} | {one['scan_us']:.0f} | {one['scan_rows_s']:,.0f} |"
            )
    print(f"\na depth level, ids and times included: {level_bytes:.1f} bytes")


if __name__ == "__main__":
    main()
