"""Codec: whatever a batch may hold comes back exactly; whatever else arrives is refused by name."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from collector.core.batch import Batch, Column, Fixed, Nested
from collector.journal.codec import BadBody, decode, encode

ROWS = st.integers(0, 40)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.text(max_size=5), st.binary(max_size=5)
)
DTYPES = st.sampled_from(["?", "i1", "i2", "i4", "i8", "u1", "u4", "u8", "f4", "f8", ">i8", ">f8"])


def integers(rows: int) -> st.SearchStrategy[np.ndarray]:
    """int64 arrays, narrow and wide: a large base with a small, medium or full spread."""
    spread = st.sampled_from([10, 300, 70_000, 2**32 - 1, 2**32, 2**62])
    base = st.integers(-(2**62), 2**62)
    return st.tuples(base, spread).flatmap(
        lambda pair: hnp.arrays(
            np.int64, rows, elements=st.integers(pair[0], min(pair[0] + pair[1], 2**63 - 1)), fill=st.nothing()
        )
    )


def fixed(rows: int) -> st.SearchStrategy[Fixed]:
    return st.builds(Fixed, integers(rows), st.integers(0, 18))


@st.composite
def nested(draw: st.DrawFn, rows: int) -> Nested:
    counts = np.array(draw(st.lists(st.integers(-1, 3), min_size=rows, max_size=rows)), dtype=np.int32)
    total = int(np.maximum(counts, 0).sum())
    return Nested(counts, draw(st.one_of(fixed(total), hnp.arrays(np.float32, total), hnp.arrays(np.float64, total))))


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    rows = draw(ROWS)
    column: st.SearchStrategy[Column] = st.one_of(
        st.lists(SCALARS, min_size=rows, max_size=rows),
        DTYPES.flatmap(lambda dtype: hnp.arrays(dtype, rows)),
        integers(rows),
        fixed(rows),
        nested(rows),
    )
    return Batch("any", draw(st.dictionaries(st.text(max_size=6), column, min_size=1, max_size=4)))


def same_array(left: np.ndarray, right: np.ndarray) -> bool:
    little = left.dtype.newbyteorder("<")
    return right.dtype == little and left.astype(little).tobytes() == right.tobytes()


def same_list(left: list[object], right: list[object]) -> bool:
    return len(left) == len(right) and all(
        type(a) is type(b) and (a == b or (a != a and b != b)) for a, b in zip(left, right, strict=True)
    )


def same(left: Column, right: Column) -> bool:
    assert type(left) is type(right)
    if isinstance(left, Fixed):
        return left.decimals == right.decimals and same_array(left.units, right.units)
    if isinstance(left, Nested):
        return same_array(left.counts, right.counts) and same(left.values, right.values)
    return same_list(left, right) if isinstance(left, list) else same_array(left, right)


@settings(deadline=None)
@given(batches())
def test_round_trip_is_exact(batch: Batch) -> None:
    result = decode("any", encode(batch))

    assert list(result.columns) == list(batch.columns)
    assert result.rows == batch.rows
    assert all(same(batch.columns[name], result.columns[name]) for name in batch.columns)


@settings(deadline=None)
@given(batches(), st.data())
def test_cut_bodies_are_refused(batch: Batch, data: st.DataObject) -> None:
    body = encode(batch)
    with pytest.raises(BadBody):
        decode("any", body[: data.draw(st.integers(0, len(body) - 1))])


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_batch_or_refused(body: bytes) -> None:
    with contextlib.suppress(BadBody):
        decode("any", b"\x01" + body)


def test_times_of_one_second_take_four_bytes() -> None:
    recv_ns = 1_721_260_800_000_000_000 + np.arange(1000, dtype=np.int64) * 999_999
    assert len(encode(Batch("t", {"recv_ns": recv_ns}))) < 4 * 1000 + 50


def test_numpy_scalars_in_lists_become_plain() -> None:
    assert decode("t", encode(Batch("t", {"a": [np.int64(3), np.float64(0.5)]}))).columns["a"] == [3, 0.5]


@pytest.mark.parametrize(
    ("columns", "error", "words"),
    [
        ({}, ValueError, "without columns"),
        ({"a": [1], "b": [1, 2]}, ValueError, r"t\.b has 2 rows"),
        ({"a": Nested(np.array([2], np.int32), np.zeros(3))}, ValueError, "add up to 2"),
        ({"a": np.array(["x"])}, TypeError, r"t\.a: cannot keep an array"),
        ({"a": np.zeros((1, 2))}, TypeError, "2 dimensions"),
        ({"a": [object()]}, TypeError, "cannot hold a object"),
    ],
)
def test_what_cannot_be_kept_is_named(columns: dict[str, Column], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        encode(Batch("t", columns))


def test_another_version_is_refused() -> None:
    with pytest.raises(BadBody, match="version 9"):
        decode("t", b"\x09" + encode(Batch("t", {"a": [1]}))[1:])
