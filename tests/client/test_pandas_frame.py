"""The quick way to pandas gives what the slow one does."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

from collector.client.pandas_frame import to_pandas
from collector.client.pandas_lists import is_numbers
from storage_backends.contract.rows import rows
from storage_backends.schema import TABLES, bare


def made(table: str, count: int) -> pa.Table:
    return pa.Table.from_pylist(rows(table, range(count)), schema=bare(TABLES[table].schema))


def assert_as_the_slow_way(some: pa.Table) -> None:
    quick, slow = to_pandas(some), some.to_pandas()
    lists = [field.name for field in some.schema if is_numbers(field.type)]
    assert_frame_equal(quick.drop(columns=lists), slow.drop(columns=lists))
    assert list(quick.columns) == list(slow.columns)
    for name in lists:
        for cells in (quick[name], [quick[name].iloc[at] for at in range(len(quick))]):
            for mine, other in zip(cells, slow[name], strict=True):
                assert (mine is None) == (other is None)
                assert mine is None or mine.dtype == other.dtype
                np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("table", sorted(TABLES))
def test_every_table_with_its_nulls(table: str) -> None:
    """Lists of these rows have lengths of their own."""
    every = made(table, 40)
    for some in (every, every.slice(7, 20), every.slice(3, 1), every.slice(0, 0)):
        assert_as_the_slow_way(some)
    assert_as_the_slow_way(pa.concat_tables([every, every.slice(0, 3)]))


@pytest.mark.parametrize("item", [1.5, None])
def test_lists_of_one_length(item: float | None) -> None:
    lists = [[float(at), item, 2.0] for at in range(50)]
    every = pa.table(
        {"few": pa.array(lists, pa.list_(pa.float32())), "no": pa.array([[]] * 50, pa.list_(pa.float64()))}
    )
    for some in (every, every.slice(5, 30)):
        assert_as_the_slow_way(some)


def test_a_type_that_no_table_has() -> None:
    when = pa.array([1, 2], pa.timestamp("ns", "UTC"))
    odd = pa.table({"when": when, "few": pa.array([[1.0], [2.0, None]], pa.list_(pa.float64()))})
    assert_as_the_slow_way(odd)
    assert to_pandas(odd)["few"].list.len().tolist() == [1, 2]


def test_a_frame_is_the_caller_s_to_change() -> None:
    every = made("trades", 5)
    first = to_pandas(every)
    first.loc[0, "price"] = -1.0
    first.columns.name = "mine"
    second = to_pandas(every)
    assert second.loc[0, "price"] != -1.0
    assert second.columns.name is None


LISTS = pa.array([[1.0, 2.0], [], [3.0, None, 5.0], None], pa.list_(pa.float64()))


def lists() -> pd.DataFrame:
    return to_pandas(pa.table({"n": [1, 2, 3, 4], "few": LISTS}))


def test_a_cell_is_an_array_however_it_is_asked_for() -> None:
    frame = lists().head(3)
    first = [1.0, 2.0]
    for cell in (
        frame["few"][0],
        frame.loc[0, "few"],
        frame.at[0, "few"],
        frame.iloc[0]["few"],
        next(frame.itertuples()).few,
        next(frame.iterrows())[1]["few"],
        frame.to_dict("records")[0]["few"],
        frame["few"].to_numpy()[0],
        np.asarray(frame["few"])[0],
        frame[frame["n"] == 1]["few"].iloc[0],
        frame.sort_values("n", ascending=False)["few"].iloc[-1],
        frame.set_index("n").reindex([1, 9])["few"].iloc[0],
        pd.concat([frame, frame])["few"].iloc[3],
        frame.merge(frame, on="n")["few_y"].iloc[0],
        frame.groupby("n")["few"].first().iloc[0],
        frame["few"].astype(object)[0],
        pickle.loads(pickle.dumps(frame))["few"][0],
    ):
        assert isinstance(cell, np.ndarray)
        assert cell.tolist() == first
    np.testing.assert_array_equal(frame["few"].iloc[-1], [3.0, np.nan, 5.0])
    assert np.stack(pd.concat([frame.head(1)] * 4)["few"]).shape == (4, 2)


def test_no_list_at_all() -> None:
    column = lists()["few"]
    assert column.isna().tolist() == [False, False, False, True]
    assert column[3] is None
    assert list(column)[3] is None
    assert list(column)[3] is None
    assert lists().dropna()["n"].tolist() == [1, 2, 3]
    frame = lists()
    frame.loc[frame["n"] == 1, "few"] = None
    assert frame["few"].isna().tolist() == [True, False, False, True]
    assert lists()["few"].isna().sum() == 1


def test_what_is_made_of_lists() -> None:
    column = lists()["few"].head(3)
    assert column.map(len).tolist() == [2, 0, 3]
    assert column.map(len).dtype == np.int64
    assert column.apply(lambda cell: cell.sum()).dtype == np.float64
    assert column.list.len().tolist() == [2, 0, 3]
    assert column.list.flatten().tolist()[:3] == [1.0, 2.0, 3.0]
    assert (column * 2)[0].tolist() == [2.0, 4.0]
    assert (2 - column)[0].tolist() == [1.0, 0.0]
    assert (column + column)[0].tolist() == [2.0, 4.0]
    assert lists().head(1).explode("few")["few"].tolist() == [1.0, 2.0]
    assert "[1. 2.]" in repr(lists())


def test_a_file_that_others_read() -> None:
    """The type of these columns is not known to who reads it."""
    file = io.BytesIO()
    lists().to_parquet(file)
    assert pd.read_parquet(file)["few"][0].tolist() == [1.0, 2.0]
    assert '"few":{"0":[1.0,2.0],"1":[],"2":[3.0,null,5.0]' in lists().to_json()
    assert pa.Table.from_pandas(lists())["few"].combine_chunks().equals(LISTS)
