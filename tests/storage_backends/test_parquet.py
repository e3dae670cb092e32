from __future__ import annotations

import dataclasses
import io
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage_backends import parquet, part
from storage_backends.contract.rows import arrow, rows
from storage_backends.errors import PermanentBackendError
from storage_backends.layout import TimeRange
from storage_backends.schema import TABLES, Table

if TYPE_CHECKING:
    from collections.abc import Callable

TRADES = TABLES["trades"]
ALWAYS = TimeRange(None, None)


def encode(table: Table, made: pa.Table) -> bytes:
    return parquet.encode(table, made, writer="w", content_hash="ab" * 32)


def encoded(table: Table = TRADES, count: int = 20) -> bytes:
    return encode(table, arrow(table.name, rows(table.name, range(count))))


def opened(data: bytes, table: Table = TRADES) -> parquet.PartFile:
    return parquet.PartFile(pa.BufferReader(data), "part.parquet", table)


def all_rows(file: parquet.PartFile, table: Table = TRADES, within: TimeRange = ALWAYS) -> list[dict[str, Any]]:
    chunks = file.chunks(table.schema.names, within)
    return [made for chunk in chunks for made in chunk.rows.to_pylist()]


def with_column(table: Table, field: pa.Field) -> Table:
    return dataclasses.replace(table, schema=table.schema.append(field), version=table.version + 1)


def test_a_file_says_what_it_holds() -> None:
    said = pq.read_metadata(io.BytesIO(encoded())).metadata
    assert said == {
        b"collector.table": b"trades",
        b"collector.schema_version": b"1",
        b"collector.writer": b"w",
        b"collector.content_hash": b"ab" * 32,
    }


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_the_same_rows_give_the_same_bytes(table: Table) -> None:
    assert encoded(table) == encoded(table)


def test_row_groups_are_bounded_in_rows_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", 6)
    assert pq.read_metadata(io.BytesIO(encoded())).num_row_groups == 4
    monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", 1000)
    monkeypatch.setattr(parquet, "ROW_GROUP_BYTES", 500)
    assert pq.read_metadata(io.BytesIO(encoded())).num_row_groups > 3
    monkeypatch.setattr(parquet, "ROW_GROUP_BYTES", 1)
    assert pq.read_metadata(io.BytesIO(encoded())).num_row_groups == 20


def test_row_groups_out_of_range_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", 5)
    made = rows("trades", range(20))
    file = opened(encoded())
    chunks = list(file.chunks(TRADES.schema.names, TimeRange(made[7]["timestamp"], made[8]["timestamp"])))
    assert [(chunk.rows.to_pylist(), chunk.last) for chunk in chunks] == [([made[7]], True)]
    assert list(file.chunks(TRADES.schema.names, TimeRange(0, 1))) == []


def test_columns_that_came_later_read_as_null() -> None:
    newer = with_column(TRADES, pa.field("note", pa.string()))
    found = all_rows(opened(encoded(), newer), newer)
    assert found == [{**made, "note": None} for made in rows("trades", range(20))]


def test_a_newer_version_is_refused() -> None:
    newer = with_column(TRADES, pa.field("note", pa.string()))
    made = arrow("trades", rows("trades", [1])).append_column("note", pa.array(["x"]))
    data = encode(newer, made)
    assert all_rows(opened(data, newer), newer)[0]["note"] == "x"
    with pytest.raises(PermanentBackendError, match=r"part\.parquet: has schema version 2 .* newer release"):
        opened(data)


def test_a_file_of_another_table_is_refused() -> None:
    with pytest.raises(PermanentBackendError, match="not a file of table depth"):
        opened(encoded(), TABLES["depth"])


def test_a_file_of_somebody_else_is_refused() -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"price": [1.0]}), sink)
    with pytest.raises(PermanentBackendError, match=r"part\.parquet: damaged, or not a file of the collector"):
        opened(sink.getvalue())


def test_a_required_column_that_is_missing_is_damage() -> None:
    shorter = dataclasses.replace(TRADES, schema=pa.schema([f for f in TRADES.schema if f.name != "price"]))
    made = arrow("trades", rows("trades", [1])).drop_columns(["price"])
    data = encode(shorter, made)
    with pytest.raises(PermanentBackendError, match="damaged, price missing"):
        opened(data)


@pytest.mark.parametrize(
    "spoil",
    [lambda data: b"", lambda data: b"not parquet", lambda data: data[:-1], lambda data: data[: len(data) // 2]],
    ids=["empty", "text", "last byte cut", "half"],
)
def test_a_truncated_file_is_named(spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(PermanentBackendError, match=r"part\.parquet: damaged, or not a file of the collector"):
        opened(spoil(encoded()))


def test_flipped_bytes_are_noticed_or_harmless() -> None:
    made = rows("trades", range(8))
    data = encoded(count=8)
    problems = []
    for at in range(0, len(data), 5):
        spoilt = bytearray(data)
        spoilt[at] ^= 0xFF
        try:
            assert all_rows(opened(bytes(spoilt))) == made
        except PermanentBackendError as error:
            problems.append(str(error))
    assert all(problem.startswith("part.parquet: ") for problem in problems)
    assert len(problems) > len(data) // 5 * 0.8


def test_lists_that_hold_a_null_are_refused() -> None:
    levels = pa.array([[1.0, None]], pa.list_(pa.float64()))
    made = arrow("diffs", rows("diffs", [1]))
    spoilt = pa.ListArray.from_arrays(levels.offsets, levels.values, type=made.schema.field("bid_price").type)
    made = made.set_column(7, made.schema.field("bid_price"), spoilt)
    with pytest.raises(PermanentBackendError, match="bid_price holds a null"):
        part.validate(TABLES["diffs"], made)


def test_no_byte_of_the_footer_can_change_unnoticed() -> None:
    """libparquet may abort the process over some of these, so they must be found before it looks."""
    data = encoded(count=8)
    footer_size = int.from_bytes(data[-8:-4], "little")
    for at in range(len(data) - 8 - footer_size - 8, len(data)):
        spoilt = bytearray(data)
        spoilt[at] ^= 0x01
        with pytest.raises(PermanentBackendError, match=r"part\.parquet: damaged, or not a file of the collector"):
            opened(bytes(spoilt))
