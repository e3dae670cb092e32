"""Arrow: every kind of column in every schema, compared with what plain Python makes of it."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.core.batch import Batch, Column, Fixed, Nested
from collector.journal.arrow import to_arrow, to_arrow_each
from collector.journal.codec import decode, encode
from storage_backends.schema import TABLES


def plain(column: Column) -> list[object]:
    """The column's rows as Python values, the slow and obvious way."""
    if isinstance(column, list):
        return column
    if isinstance(column, Fixed):
        return [int(unit) / 10**column.decimals for unit in column.units]
    if isinstance(column, Nested):
        values = iter(plain(column.values))
        return [
            None if count < 0 else [None if math.isnan(v := next(values)) else v for _ in range(count)]  # type: ignore[arg-type]
            for count in column.counts
        ]
    return [value.item() for value in column]


def integers(low: int, high: int, size: int) -> st.SearchStrategy[np.ndarray]:
    return st.lists(st.integers(low, high), min_size=size, max_size=size).map(lambda values: np.array(values, np.int64))


def fixed(size: int) -> st.SearchStrategy[Fixed]:
    return st.builds(Fixed, integers(0, 10**15, size), st.integers(0, 8))


@st.composite
def nested(draw: st.DrawFn, field: pa.Field, rows: int) -> Nested:
    counts = draw(integers(-1 if field.nullable else 0, 3, rows)).astype(np.int32)
    total = int(np.maximum(counts, 0).sum())
    if field.type.value_type == pa.float64():
        return Nested(counts, draw(fixed(total)))
    numbers = st.floats(width=32, allow_nan=field.type.value_field.nullable)
    return Nested(counts, np.array(draw(st.lists(numbers, min_size=total, max_size=total)), np.float32))


def columns(field: pa.Field, rows: int) -> st.SearchStrategy[Column]:
    """Any of the forms in which the core may hand over a column of this type."""
    if pa.types.is_list(field.type):
        return nested(field, rows)
    values, arrays = {
        pa.int64(): (st.integers(-(2**63), 2**63 - 1), integers(-(2**62), 2**62, rows)),
        pa.int32(): (st.integers(0, 2**31 - 1), integers(0, 2**31 - 1, rows)),
        pa.float64(): (st.floats(allow_nan=False), fixed(rows)),
        pa.float32(): (st.floats(width=32, allow_nan=False), st.nothing()),
        pa.bool_(): (st.booleans(), integers(0, 1, rows).map(lambda array: array.astype(bool))),
        pa.string(): (st.text(max_size=3), st.nothing()),
        pa.binary(): (st.binary(max_size=3), st.nothing()),
    }[field.type]
    if field.nullable:
        values = values | st.none()
    return st.lists(values, min_size=rows, max_size=rows) | arrays


@st.composite
def tables(draw: st.DrawFn) -> list[Batch]:
    name = draw(st.sampled_from(sorted(TABLES)))
    batches = []
    for _ in range(draw(st.integers(1, 3))):
        rows = draw(st.integers(0, 4))
        fields = [f for f in TABLES[name].schema if not f.nullable or draw(st.booleans())]
        batches.append(Batch(name, {field.name: draw(columns(field, rows)) for field in fields}))
    return batches


@settings(deadline=None, max_examples=50)
@given(tables())
def test_every_table_and_kind_of_column(batches: list[Batch]) -> None:
    table = to_arrow([decode(batch.table, encode(batch)) for batch in batches])

    schema = TABLES[batches[0].table].schema
    assert table.schema.equals(schema, check_metadata=True)
    for field in schema:
        expected = [
            value
            for batch in batches
            for value in (plain(batch.columns[field.name]) if field.name in batch.columns else [None] * batch.rows)
        ]
        assert table[field.name].to_pylist() == expected
    table.validate(full=True)


@settings(deadline=None, max_examples=50)
@given(tables(), st.data())
def test_groups_that_are_converted_together_are_as_each_by_itself(batches: list[Batch], data: st.DataObject) -> None:
    sizes = data.draw(st.permutations(range(1, len(batches) + 1)))
    groups = [batches[:size] for size in sizes]
    for group, table in zip(groups, to_arrow_each(groups), strict=True):
        alone = to_arrow(group)
        assert table.schema.equals(alone.schema, check_metadata=True)
        assert table.to_pylist() == alone.to_pylist()
        table.validate(full=True)


def ticker(**changes: Column | None) -> Batch:
    columns: dict[str, Column | None] = {
        "update_id": [1],
        "bid_price": [1.0],
        "bid_quantity": [1.0],
        "ask_price": [1.0],
        "ask_quantity": [1.0],
        "recv_ns": [1],
    }
    columns |= changes
    return Batch("book_ticker", {name: column for name, column in columns.items() if column is not None})


@pytest.mark.parametrize(
    ("batches", "words"),
    [
        ([], "one table"),
        ([ticker(), Batch("clock", {"time_ns": [1]})], "one table"),
        ([Batch("nonsense", {"a": [1]})], "nonsense"),
        ([ticker(colour=["red"])], "no column.*colour"),
        ([ticker(bid_price=None)], r"book_ticker\.bid_price may not be null"),
        ([ticker(recv_ns=[None])], r"book_ticker\.recv_ns may not be null"),
        ([ticker(recv_ns=["soon"])], r"book_ticker\.recv_ns"),
        ([ticker(update_id=np.array([2**63], np.uint64))], r"book_ticker\.update_id"),
    ],
)
def test_what_does_not_fit_is_named(batches: list[Batch], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        to_arrow(batches)


def test_nan_where_levels_may_not_be_null_is_refused() -> None:
    field = TABLES["diffs"].schema.field("bid_price")
    assert not field.type.value_field.nullable
    one = np.array([1], np.int32)
    columns: dict[str, Column] = {name: Nested(one, np.array([math.nan])) for name in ("bid_price",)}
    with pytest.raises(ValueError, match=r"diffs\.bid_price: 1 nested values are NaN"):
        to_arrow(
            [
                Batch(
                    "diffs",
                    columns | {"first_id": [1], "last_id": [1], "event_time": [1], "recv_ns": [1], "connection": [1]},
                )
            ]
        )
