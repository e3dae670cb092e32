"""Tables of a store as files: nothing known too early, gaps told, the same bytes again, and Beam gives the same."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage_backends.interface import Market
from storage_backends.open import open_backend
from storage_backends.schema import bare, known
from storage_backends.settings import StoreSettings
from training.beam import run_beam
from training.errors import TrainingError
from training.export import Range, Spec, export_all, export_range, file_name, in_gap, plan, specify
from training.flatten import Flat, joined
from training.parquet import ParquetSource

MARKET = Market("binanceusdm", "BTCUSDT")
START_S = 1_768_053_600  # a full hour
NS = 1_000_000_000


def add(store: Path, table: str, rows: list[dict]) -> None:
    schema = bare(known(table).schema)
    filled = [{name: row.get(name) for name in schema.names} for row in rows]
    content = pa.Table.from_pylist(filled, schema=schema)
    digest = hashlib.sha256(repr(rows).encode()).hexdigest()
    open_backend("local", store).write(table, MARKET, content, writer="test", content_hash=digest)


def depth_row(epoch: int, **more: object) -> dict:
    mid = 60_000.0 + epoch % 97
    row = {
        "epoch": epoch,
        "best_bid": mid - 0.05,
        "best_ask": mid + 0.05,
        "price": mid,
        "bid_buckets": [float(epoch % 7), 2.0, None],
        "ask_buckets": [1.0, float(epoch % 5), 3.0],
        "step_pct": 0.00002,
        "num_steps": 3,
        "ref": "best",
        "valid": True,
    }
    return {**row, **more}


def book_row(time_ms: int, levels: int = 2) -> dict:
    mid = 60_000.0 + time_ms // 100 % 13
    ladder = {f"{side}_{kind}": [mid] * levels for side in ("bid", "ask") for kind in ("price", "quantity")}
    return {
        "timestamp": time_ms,
        "best_bid_price": mid - 0.5,
        "best_ask_price": mid + 0.5,
        "mid_price": mid,
        "spread": 1.0,
        "bid_volume_top": 3.0,
        "ask_volume_top": 1.0,
        "volume_imbalance": 0.5,
        **ladder,
        "depth": 2,
        "grid_ms": 100,
        "valid": True,
    }


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two hours of depth from 30 minutes before a full hour on, and 20 s of grid books around it."""
    folder = tmp_path / "data"
    begin = START_S - 1800
    add(folder, "depth", [depth_row(epoch, valid=epoch != START_S + 7) for epoch in range(begin, begin + 7200)])
    add(folder, "books", [book_row(1000 * START_S - 10_000 + 100 * at) for at in range(200)])
    gap = {"revision": 1, "reason": "disconnect", "detected_ns": START_S * NS, "healed": False}
    between = {"from_ns": START_S * NS + 100_500_000_000, "to_ns": START_S * NS + 102_500_000_000}
    add(folder, "gaps", [{**gap, **between, "gap_id": "a", "stream": "depth"}])
    other = {"from_ns": START_S * NS + 200 * NS, "to_ns": START_S * NS + 210 * NS}
    add(folder, "gaps", [{**gap, **other, "gap_id": "b", "stream": "trades"}])
    return folder


def spec_of(store: Path, output: Path, **more: object) -> Spec:
    wishes: dict = {"table": None, "datasets": ("depth",), "start_ns": None, "end_ns": None, "range_s": 3600.0}
    wishes |= {"exchange": None, "symbol": "BTC/USDT", "levels": 3, "output": output}
    return specify(StoreSettings(data_dir=store), **{**wishes, **more})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.parquet"))}


def test_depth_becomes_columns_with_gaps_told(store: Path, tmp_path: Path):
    spec = spec_of(store, tmp_path / "out")
    assert [part.end_ns - part.start_ns for part in plan(spec)] == [1800 * NS, 3600 * NS, 1799 * NS + 1]
    assert export_all(spec, 1, lambda rows: None) == 7200
    table = pq.read_table(tmp_path / "out").to_pandas()
    names = ["timestamp", "best_bid", "best_ask", "price", "bid_buckets_0", "bid_buckets_1", "bid_buckets_2"]
    assert list(table.columns)[:7] == names
    assert list(table.columns)[-3:] == ["bid_coverage", "ask_coverage", "valid"]
    assert table.timestamp.tolist() == [1000 * epoch for epoch in range(START_S - 1800, START_S + 5400)]
    assert table.bid_buckets_2.isna().all()
    assert table.ask_buckets_1.iloc[4] == (START_S - 1800 + 4) % 5
    # The row of T tells of [T - 1 s, T): a gap of depth from 100.5 to 102.5 touches three rows; one of trades none.
    bad = (table.timestamp[~table.valid] // 1000 - START_S).tolist()
    assert bad == [7, 101, 102, 103]


def test_again_and_on_two_processes_come_the_same_bytes_and_what_is_there_stays(store: Path, tmp_path: Path):
    export_all(spec_of(store, tmp_path / "one"), 1, lambda rows: None)
    half = spec_of(store, tmp_path / "two")
    export_range(half, plan(half)[1])
    untouched = (tmp_path / "two" / file_name(plan(half)[1])).stat().st_mtime_ns
    # Rows that came since do not change what was begun.
    add(store, "depth", [depth_row(START_S + 5400)])
    resumed = spec_of(store, tmp_path / "two")
    assert plan(resumed) == plan(half)
    assert export_all(resumed, 2, lambda rows: None) == 7200
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert (tmp_path / "two" / file_name(plan(half)[1])).stat().st_mtime_ns == untouched
    with pytest.raises(TrainingError, match=r"--output .*holds an export with range_s"):
        spec_of(store, tmp_path / "two", range_s=60.0)


def test_beam_gives_the_same_bytes(store: Path, tmp_path: Path):
    export_all(spec_of(store, tmp_path / "one"), 1, lambda rows: None)
    run_beam(spec_of(store, tmp_path / "beam"), "direct", ["--direct_running_mode=in_memory"])
    assert contents(tmp_path / "one") == contents(tmp_path / "beam")
    run_beam(spec_of(store, tmp_path / "far"), "direct", [], str(tmp_path / "bucket"))
    assert contents(tmp_path / "one") == contents(tmp_path / "bucket")


def test_books_are_spread_and_joined_with_what_was_known(store: Path, tmp_path: Path):
    export_all(spec_of(store, tmp_path / "out", datasets=("book", "depth")), 1, lambda rows: None)
    table = pq.read_table(tmp_path / "out").to_pandas()
    assert len(table) == 200
    assert {"bid_price_0", "bid_price_2", "ask_quantity_1", "depth.price", "depth.bid_buckets_0"} <= set(table.columns)
    assert table.bid_price_1.notna().all()
    assert table.bid_price_2.isna().all()  # two levels are stored, three were wanted
    for _, row in table.iterrows():
        epoch = int(row.timestamp) // 1000  # the newest epoch that was over by then
        if epoch == START_S + 7:  # not valid
            assert np.isnan(row["depth.price"])
        else:
            assert row["depth.price"] == 60_000.0 + epoch % 97
    # What was exported is what training reads.
    source = ParquetSource(tmp_path / "out")
    assert source.period_ns() == 100_000_000


def test_joining_never_looks_ahead():
    rng = np.random.default_rng(0)
    for _ in range(50):
        times = np.unique(rng.integers(0, 2000, 40))
        other = Flat(times, rng.random(len(times)) > 0.2, {"x": times.astype(float)})
        base = np.unique(rng.integers(0, 2000, 60))
        found = joined(base, other, 100)["x"]
        for time, value in zip(base, found, strict=True):
            past = times[times <= time]
            known_then = len(past) and time - past[-1] < 100 and other.valid[np.searchsorted(times, past[-1])]
            assert value == past[-1] if known_then else np.isnan(value)
    nothing = Flat(np.empty(0, np.int64), np.empty(0, bool), {"x": np.empty(0)})
    assert np.isnan(joined(np.array([5]), nothing, 100)["x"]).all()


def test_a_row_tells_of_the_period_before_it():
    times = np.array([1000, 2000, 3000, 4000])
    assert in_gap(times, 1000, np.array([[2000, 2001]])).tolist() == [False, False, True, False]
    assert in_gap(times, 1000, np.array([[1999, 2001]])).tolist() == [False, True, True, False]
    assert in_gap(times, 1000, np.array([[2500, 2**63 - 1]])).tolist() == [False, False, True, True]
    assert in_gap(times, 1000, np.empty((0, 2), np.int64)).tolist() == [False] * 4


def test_any_table_as_it_is_stored(store: Path, tmp_path: Path):
    first = START_S * NS
    spec = spec_of(store, tmp_path / "out", table="depth", datasets=(), start_ns=first, end_ns=first + 60 * NS)
    assert export_all(spec, 1, lambda rows: None) == 60
    table = pq.read_table(tmp_path / "out")
    assert table.schema.equals(bare(known("depth").schema))
    assert table.column("epoch").to_pylist() == list(range(START_S, START_S + 60))


@pytest.mark.parametrize(
    ("wish", "problem"),
    [
        ({"symbol": "ETH/USDT"}, "--symbol ETH/USDT: is not in table depth, which holds binanceusdm BTCUSDT"),
        ({"datasets": ("dept",)}, "--dataset dept: choose from depth, book, features"),
        ({"start_ns": 2 * START_S * NS}, "no rows between"),
        ({"table": "trades", "datasets": ()}, "--symbol BTC/USDT: is not in table trades"),
    ],
)
def test_wishes_that_cannot_be_met(store: Path, tmp_path: Path, wish: dict, problem: str):
    with pytest.raises(TrainingError, match=problem):
        spec_of(store, tmp_path / "out", **wish)
    assert not (tmp_path / "out").exists()


def test_plan_covers_every_instant_once():
    for start, end, length in ((5, 6, 10), (0, 100, 10), (3, 101, 7), (99, 100, 1)):
        spec = Spec(StoreSettings(), MARKET, start, end, length, "out")
        parts = plan(spec)
        assert parts[0].start_ns == start
        assert parts[-1].end_ns == end
        assert all(one.end_ns == after.start_ns for one, after in pairwise(parts))
        assert all(isinstance(part, Range) and part.end_ns > part.start_ns for part in parts)
