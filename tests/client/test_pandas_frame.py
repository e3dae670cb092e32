"""The quick way to pandas gives what the slow one does."""

from __future__ import annotations

import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

from collector.client.pandas_frame import to_pandas
from storage_backends.contract_rows import rows
from storage_backends.schema import TABLES, bare


def made(table: str, count: int) -> pa.Table:
    return pa.Table.from_pylist(rows(table, range(count)), schema=bare(TABLES[table].schema))


@pytest.mark.parametrize("table", sorted(TABLES))
def test_every_table_with_its_nulls(table: str) -> None:
    """Lists of these rows have lengths of their own."""
    every = made(table, 40)
    for some in (every, every.slice(7, 20), every.slice(3, 1), every.slice(0, 0)):
        assert_frame_equal(to_pandas(some), some.to_pandas())
    several = pa.concat_tables([every, every.slice(0, 3)])
    assert_frame_equal(to_pandas(several), several.to_pandas())


@pytest.mark.parametrize("item", [1.5, None])
def test_lists_of_one_length(item: float | None) -> None:
    lists = [[float(at), item, 2.0] for at in range(50)]
    every = pa.table(
        {"few": pa.array(lists, pa.list_(pa.float32())), "no": pa.array([[]] * 50, pa.list_(pa.float64()))}
    )
    for some in (every, every.slice(5, 30)):
        assert_frame_equal(to_pandas(some), some.to_pandas())


def test_a_type_that_no_table_has() -> None:
    odd = pa.table({"when": pa.array([1, 2], pa.timestamp("ns", "UTC")), "x": [1, 2]})
    assert_frame_equal(to_pandas(odd), odd.to_pandas())


def test_a_frame_is_the_caller_s_to_change() -> None:
    every = made("trades", 5)
    first = to_pandas(every)
    first.loc[0, "price"] = -1.0
    first.columns.name = "mine"
    second = to_pandas(every)
    assert second.loc[0, "price"] != -1.0
    assert second.columns.name is None
