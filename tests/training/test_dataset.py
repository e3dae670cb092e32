"""Which rows are kept, what they become, and that the same rows give the same data set."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.samples import BOOK, book_rows, dataset_of, write
from training.columns import LEVEL, LOG, OFFSET, RETURN, Column, collapsed, columns_of, prepare
from training.dataset import Rows, build, open_dataset
from training.errors import TrainingError
from training.parquet import ParquetSource
from training.timecolumn import find_period, to_ns

TARGETS = ("mid_price",)


def test_names_decide_what_is_done():
    names = ("best_bid", "price", "bid_price_12", "depth.bid_buckets_3", "ask_quantity_0", "volume_imbalance", "spread")
    kinds = [column.kind for column in columns_of(names, ("price",))]
    assert kinds == [OFFSET, RETURN, OFFSET, LOG, LOG, LEVEL, LEVEL]
    assert {column.kind for column in columns_of(names, ("price",), raw_level=True)} == {LEVEL}
    assert collapsed(["a", "b_0", "b_1", "b_2", "c"]) == "a, b_0…2, c"


def test_prices_are_taken_relative():
    columns = columns_of(("mid_price", "best_bid_price", "bid_volume_top"), TARGETS)
    made = prepare(columns, TARGETS, np.array([[101.0, 100.0, 3.0]]), np.array([[101.0]]), np.array([[100.0]]))
    assert made[0] == pytest.approx([1e4 * np.log(1.01), 1e4 * np.log(100 / 101), np.log(4)], rel=1e-6)


def test_holes_invalid_and_incomplete_rows_end_a_segment(tmp_path):
    rows = book_rows(300, holes=(100,))
    rows["valid"] = np.arange(300) != 200
    rows["spread"][250] = np.nan
    dataset = dataset_of(tmp_path, rows)
    # The first row of each stretch has no return: 0, 100, 200 with its neighbour 201, but not 251, whose price before
    # is known.
    assert len(dataset) == 300 - 5
    assert dataset.segments.tolist() == [[0, 99], [99, 198], [198, 246], [246, 295]]
    assert np.isfinite(dataset.inputs).all()
    times = dataset.time_ns
    for start, stop in dataset.segments:
        assert set(np.diff(times[start:stop])) == {100_000_000}
    assert dataset.counts["rows_invalid"] == 1
    assert dataset.counts["missing"] == {"spread": 1}
    assert dataset.counts["time_breaks"] == 1


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(1, 399), max_size=6, unique=True), seed=st.integers(0, 5))
def test_batches_do_not_matter(tmp_path_factory, cuts, seed):
    rows = book_rows(400, holes=(150,), seed=seed)
    valid = np.random.default_rng(seed).random(400) > 0.02
    values = np.stack([rows[name] for name in BOOK], axis=1)
    prices = rows["mid_price"][:, None]
    time_ns = rows["timestamp"] * 1_000_000

    def made(edges):
        parts = [
            Rows(time_ns[a:b], values[a:b], prices[a:b], valid[a:b])
            for a, b in zip([0, *edges], [*edges, 400], strict=True)
        ]
        folder = tmp_path_factory.mktemp("cut") / "dataset"
        return build(parts, folder, columns_of(BOOK, TARGETS), TARGETS, 100_000_000)

    one, other = made([]), made(sorted(cuts))
    assert one.fingerprint == other.fingerprint
    assert np.array_equal(one.inputs, other.inputs)
    assert np.array_equal(one.segments, other.segments)


def test_other_rows_have_another_fingerprint(tmp_path):
    rows = book_rows(200)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one = dataset_of(tmp_path / "a", rows)
    rows["bid_volume_top"][77] += 1e-3
    assert dataset_of(tmp_path / "b", rows).fingerprint != one.fingerprint
    assert open_dataset(tmp_path / "a" / "dataset").fingerprint == one.fingerprint


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"valid": np.zeros(50, bool)}, "all of 50 rows are invalid"),
        ({"spread": np.full(50, np.nan)}, "spread has no value in any valid row"),
        ({"timestamp": 1_768_054_365_000 + 100 * np.arange(50)[::-1]}, "no common period|not after the one before"),
        (
            {"timestamp": np.repeat(1_768_054_365_000 + 100 * np.arange(25), 2)},
            "row 1: its time is not after|no common",
        ),
        ({"timestamp": np.arange(50)}, "is no time"),
    ],
)
def test_rows_that_cannot_be_used_are_refused_with_the_reason(tmp_path, change, problem):
    with pytest.raises(TrainingError, match=problem):
        dataset_of(tmp_path, {**book_rows(50), **change})
    assert not (tmp_path / "dataset").exists()


def test_a_folder_of_something_else_is_not_replaced(tmp_path):
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "precious").write_text("x")
    with pytest.raises(TrainingError, match="was not made by this command"):
        dataset_of(tmp_path, book_rows(100))
    assert (tmp_path / "dataset" / "precious").exists()


def test_a_damaged_data_set_is_told(tmp_path):
    dataset_of(tmp_path, book_rows(100))
    (tmp_path / "dataset" / "inputs.f32").write_bytes(b"short")
    with pytest.raises(TrainingError, match="damaged"):
        open_dataset(tmp_path / "dataset")
    with pytest.raises(TrainingError, match="holds no data set"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    "times",
    [
        pa.array([1_768_054_365, 1_768_054_366]),
        pa.array([1_768_054_365_000, 1_768_054_366_000]),
        pa.array([1_768_054_365_000_000, 1_768_054_366_000_000]),
        pa.array([1_768_054_365_000_000_000, 1_768_054_366_000_000_000]),
        pa.array([1_768_054_365.0, 1_768_054_366.0]),
        pa.array([1_768_054_365_000_000_000, 1_768_054_366_000_000_000]).cast(pa.timestamp("ns", "UTC")),
        pa.array([1_768_054_365_000, 1_768_054_366_000]).cast(pa.timestamp("ms")),
    ],
)
def test_units_of_time_are_found(times):
    assert to_ns(times, "t").tolist() == [1_768_054_365_000_000_000, 1_768_054_366_000_000_000]


def test_period_is_the_usual_step():
    assert find_period([np.array([0, 100, 200, 300, 9000, 9100])]) == 100
    with pytest.raises(TrainingError, match="no common period"):
        find_period([np.cumsum(np.array([1, 50, 3, 900, 7, 12000, 31]))])


def test_several_files_are_read_in_the_order_of_time(tmp_path):
    rows = book_rows(300)
    parts = tmp_path / "parts"
    parts.mkdir()
    for name, (start, stop) in {"c": (0, 100), "a": (100, 200), "b": (200, 300)}.items():
        write(parts / f"{name}.parquet", {key: value[start:stop] for key, value in rows.items()})
    source = ParquetSource(parts)
    together = np.concatenate([batch.time_ns for batch in source.read(BOOK, TARGETS)])
    assert together.tolist() == (rows["timestamp"] * 1_000_000).tolist()


def test_columns_are_checked_with_a_hint(tmp_path):
    table = pa.table({**book_rows(30), "name": ["x"] * 30, "levels": [[1.0]] * 30})
    pq.write_table(table, tmp_path / "rows.parquet")
    source = ParquetSource(tmp_path / "rows.parquet")
    with pytest.raises(TrainingError, match=r"--features best_bid_prise: .*did you mean best_bid_price"):
        source.check("--features", ["best_bid_prise"])
    with pytest.raises(TrainingError, match="is string"):
        source.check("--features", ["name"])
    with pytest.raises(TrainingError, match="export the table first"):
        source.check("--features", ["levels"])
    (tmp_path / "no.parquet").write_text("PAR1 this is not")
    with pytest.raises(TrainingError, match="is not a Parquet file"):
        ParquetSource(tmp_path / "no.parquet")
    with pytest.raises(TrainingError, match="--time-column when"):
        ParquetSource(tmp_path / "rows.parquet", "when")


def test_column_is_a_name_and_a_kind():
    assert columns_of(("mid_price",), TARGETS) == (Column("mid_price", RETURN),)
