"""A made-up day for `serve.py`: what is asked for there, in files of five minutes as a live run leaves them."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from collector.bars import trades_to_ohlcv
from storage_backends.interface import Backend, Market
from storage_backends.open import open_backend
from storage_backends.schema import TABLES, bare

ROOT = Path(__file__).parents[1]
MARKET = Market("binanceusdm", "BTCUSDT")
BARS_ONLY = Market("binanceusdm", "ETHUSDT")
"""A market that was collected with --bars 1m."""

DAY_S = 86_400
START_S = 1_767_225_600  # when recordings of the simulator begin
_TRADES_PER_S = 10
_FILE_S = 300


def make(folder: Path, book_s: int) -> None:
    """Fills `folder`: a day of trades, the same as bars, and `book_s` seconds of diffs and anchors, replayed."""
    captures = folder / "captures"
    record = ("simulate", "--record", str(captures), "--record-s", str(book_s), "--symbols", "1", "--levels", "45")
    _collector(*record, "--record-exchange", MARKET.exchange)
    files = [str(path) for path in sorted(captures.rglob("*")) if path.is_file()]
    _collector("replay", *files, "--features", "none", "--exchange", MARKET.exchange, "--data-dir", str(folder))
    backend = open_backend("local", folder)
    # A day of trades of its own: those of the recording would be the first minutes of it.
    _forget(folder / "trades")
    rng = np.random.default_rng(1)
    for at_s in range(0, DAY_S, _FILE_S):
        trades = _trades(rng, at_s)
        _write(backend, "trades", MARKET, trades.to_pylist())
        bars = trades_to_ohlcv(trades, "1m").to_pylist()
        told = {"late_trades": 0, "complete": True}
        _write(backend, "bars", BARS_ONLY, [{**bar, **told, "recv_ns": 0} for bar in bars])


def _write(backend: Backend, table: str, market: Market, rows: list[dict[str, Any]]) -> None:
    made = pa.Table.from_pylist(rows, schema=TABLES[table].schema)
    backend.write(table, market, made, writer="benchmark", content_hash=uuid.uuid4().hex * 2)


def _trades(rng: np.random.Generator, at_s: int) -> pa.Table:
    count = _FILE_S * _TRADES_PER_S
    first = at_s * _TRADES_PER_S
    stamp_ms = (START_S + at_s) * 1000 + np.sort(rng.integers(0, _FILE_S * 1000, count))
    ids = np.arange(first, first + count) + 1_000_000
    price = np.rint(900_000 + np.cumsum(rng.normal(0, 5, count))) / 10
    quantity = np.rint(rng.exponential(50, count) + 1) / 1000
    columns = {
        "agg_trade_id": ids,
        "first_id": ids,
        "last_id": ids,
        "price": price,
        "quantity": quantity,
        "normal_quantity": quantity,
        "is_buyer_maker": rng.random(count) < 0.5,
        "timestamp": stamp_ms,
        "recv_ns": stamp_ms * 1_000_000,
        "source": ["ws"] * count,
    }
    return pa.table(columns, schema=bare(TABLES["trades"].schema))


def _forget(folder: Path) -> None:
    for path in folder.rglob("part-*"):
        path.unlink()


def _collector(*arguments: str) -> None:
    command = [sys.executable, "-m", "collector", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)


def book_end_ns(backend: Backend) -> int:
    """The time of the last diff."""
    last_ns = backend.stats("diffs", MARKET).last_ns
    assert last_ns is not None
    return last_ns
