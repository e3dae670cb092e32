"""Bytes and CPU time of the encodings in `storage_backends.parquet`, beside others, on real captures.

    python benchmarks/parquet_sizes.py [--captures DIR]

Reads the USDⓈ-M captures `usdm_btcusdt_*.gz` (a line: receive time in ns, a space, a combined-stream frame). Each
encoding gets the same rows, as one file in memory; `stored` is what the local backend really leaves on the disk, with
its files split at midnight. CPU time is the best of five runs, encoding alone.
"""

from __future__ import annotations

import argparse
import gzip
import io
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from storage_backends.interface import Market
from storage_backends.local import LocalBackend
from storage_backends.parquet import encode
from storage_backends.schema import TABLES, bare

MARKET = Market("binanceusdm", "BTCUSDT")
BUDGET = {"diffs": 3.9, "raw_trades": 5.5}
RUNS = 5

_DELTA = "DELTA_BINARY_PACKED"
_SPLIT = "BYTE_STREAM_SPLIT"


def load(folder: Path) -> dict[str, pa.Table]:
    """The captures in `folder` as rows of the tables that they feed."""
    rows: dict[str, list[dict[str, Any]]] = {"diffs": [], "raw_trades": [], "book_ticker": []}
    captures = sorted(folder.glob("usdm_btcusdt_*.gz"))
    if not captures:
        sys.exit(f"no usdm_btcusdt_*.gz in {folder}; name their folder: --captures DIR, or CAPTURE_DIR")
    for capture in captures:
        with gzip.open(capture) as lines:
            for line in lines:
                stamp, _, text = line.partition(b" ")
                frame = msgspec.json.decode(text)
                if "stream" in frame:
                    table, row = _row(int(stamp), frame["data"])
                    rows[table].append(row)
    return {name: pa.Table.from_pylist(found, schema=TABLES[name].schema) for name, found in rows.items()}


def _row(recv_ns: int, data: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    if data["e"] == "depthUpdate":
        ids = {"first_id": data["U"], "last_id": data["u"], "prev_id": data["pu"], "connection": 1}
        times = {"event_time": data["E"], "transact_time": data["T"], "recv_ns": recv_ns}
        levels = {
            f"{side}_{what}": [float(level[at]) for level in data[side[0]]]
            for side in ("bid", "ask")
            for at, what in enumerate(("price", "quantity"))
        }
        return "diffs", {**ids, **times, **levels}
    if data["e"] == "trade":
        return "raw_trades", {
            "trade_id": data["t"],
            "price": float(data["p"]),
            "quantity": float(data["q"]),
            "is_buyer_maker": data["m"],
            "timestamp": data["T"],
            "order_type": data["X"],
            "recv_ns": recv_ns,
            "source": "ws",
        }
    return "book_ticker", {
        "update_id": data["u"],
        "bid_price": float(data["b"]),
        "bid_quantity": float(data["B"]),
        "ask_price": float(data["a"]),
        "ask_quantity": float(data["A"]),
        "event_time": data["E"],
        "transact_time": data["T"],
        "recv_ns": recv_ns,
    }


def alternatives(name: str) -> dict[str, dict[str, Any]]:
    """Other encodings of the same table, as options of pyarrow's writer."""
    integers, floats = [], []
    for field in bare(TABLES[name].schema):
        if pa.types.is_list(field.type):
            floats.append(f"{field.name}.list.element")
        elif pa.types.is_float64(field.type):
            floats.append(field.name)
        elif pa.types.is_int64(field.type):
            integers.append(field.name)
    texts = [field.name for field in TABLES[name].schema if pa.types.is_string(field.type)]
    delta = dict.fromkeys(integers, _DELTA)
    split = delta | dict.fromkeys(floats, _SPLIT)
    by_type: dict[str, Any] = {"use_dictionary": floats + texts, "column_encoding": delta, "store_schema": False}
    return {
        "pyarrow's defaults (snappy)": {},
        "defaults, zstd 3": {"compression": "zstd", "compression_level": 3},
        "delta + byte stream split, zstd 3": {
            "compression": "zstd",
            "compression_level": 3,
            "use_dictionary": texts,
            "column_encoding": split,
            "store_schema": False,
        },
        **{
            f"delta + dictionary, zstd {level}": {"compression": "zstd", "compression_level": level, **by_type}
            for level in (1, 3, 6, 9)
        },
    }


def measure(write: Callable[[], int]) -> tuple[int, float]:
    """Bytes, and the least CPU seconds."""
    best = float("inf")
    size = 0
    for _ in range(RUNS):
        start = time.process_time()
        size = write()
        best = min(best, time.process_time() - start)
    return size, best


def stored_bytes(name: str, rows: pa.Table) -> int:
    """What the local backend leaves on the disk."""
    with tempfile.TemporaryDirectory() as folder:
        backend = LocalBackend(Path(folder))
        backend.write(name, MARKET, rows, writer="c0ffee00", content_hash="ab" * 32)
        return backend.stats(name, MARKET).bytes


def report(name: str, rows: pa.Table) -> bool:
    """Prints the table of one kind of rows; whether the budget is kept."""
    if name == "diffs":
        unit, count = "level", sum(len(rows[side].combine_chunks().flatten()) for side in ("bid_price", "ask_price"))
    else:
        unit, count = "row", len(rows)
    print(f"\n{name}: {len(rows):,} rows, {count:,} {unit}s")
    print(f"  {'encoding':<36}{'B/' + unit:>10}{'CPU ns/' + unit:>16}")

    def line(label: str, size: int, seconds: float | None) -> None:
        cpu = "" if seconds is None else f"{seconds / count * 1e9:.0f}"
        print(f"  {label:<36}{size / count:>10.3f}{cpu:>16}")

    plain = rows.cast(bare(TABLES[name].schema))
    for label, options in alternatives(name).items():

        def write(options: dict[str, Any] = options) -> int:
            sink = io.BytesIO()
            pq.write_table(plain, sink, **options)
            return sink.tell()

        line(label, *measure(write))
    line("ours", *measure(lambda: len(encode(TABLES[name], rows, writer="c0ffee00", content_hash="ab" * 32))))
    stored = stored_bytes(name, rows)
    line("ours, stored", stored, None)
    budget = BUDGET.get(name)
    if budget is None:
        return True
    print(f"  budget {budget} B/{unit}: {'kept' if stored / count <= budget else 'MISSED'}")
    return stored / count <= budget


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(os.environ.get("CAPTURE_DIR", Path(__file__).parents[1] / "../shared/data"))
    parser.add_argument("--captures", type=Path, default=default, help="folder of the captures [%(default)s]")
    tables = load(parser.parse_args().captures)
    kept = [report(name, rows) for name, rows in tables.items()]
    sys.exit(0 if all(kept) else 1)


if __name__ == "__main__":
    main()
