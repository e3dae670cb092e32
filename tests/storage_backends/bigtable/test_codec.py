"""Rows to bytes and back: every bit, whatever the schema, and rows of schemas that were before."""

from __future__ import annotations

import dataclasses
import math
import struct
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage_backends.bigtable.codec import COMPRESSED, PLAIN, compressed, decode, encode
from storage_backends.contract.rows import arrow, rows
from storage_backends.errors import PermanentBackendError
from storage_backends.schema import TABLES, Table, bare


def both_ways(table: Table, made: pa.Table) -> pa.Table:
    payloads = [compressed(payload) for payload in encode(table, made)]
    return decode(table, payloads, table.schema.names, [b"row"] * len(payloads))


@pytest.mark.parametrize("table", TABLES)
def test_every_table_comes_back(table: str) -> None:
    made = arrow(table, rows(table, range(30)))
    assert both_ways(TABLES[table], made).equals(made.cast(bare(made.schema)))


_NUMBER = st.floats(width=64) | st.sampled_from([0.0, -0.0, math.inf, -math.inf, 5e-324, math.nan])
_KINDS: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.float64(): _NUMBER,
    pa.float32(): st.floats(width=32, allow_nan=False),
    pa.bool_(): st.booleans(),
    pa.string(): st.text(max_size=20),
    pa.binary(): st.binary(max_size=600),
    pa.list_(pa.field("item", pa.float64(), nullable=False)): st.lists(_NUMBER, max_size=40),
    pa.list_(pa.float32()): st.lists(st.none() | st.floats(width=32, allow_nan=False), max_size=40),
    pa.list_(pa.int64()): st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), max_size=9),
    pa.list_(pa.string()): st.lists(st.none() | st.text(max_size=5), max_size=5),
    pa.list_(pa.bool_()): st.lists(st.none() | st.booleans(), max_size=5),
    pa.list_(pa.list_(pa.float64())): st.lists(st.lists(st.floats(allow_nan=False), max_size=3), max_size=3),
}


# On a busy machine a list of lists is drawn too slowly for Hypothesis to like it.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_schema_comes_back_bit_by_bit(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from(list(_KINDS)), min_size=1, max_size=6))
    schema = pa.schema([pa.field(f"c{number}", kind) for number, kind in enumerate(kinds)])
    table = dataclasses.replace(TABLES["trades"], schema=schema, key=("c0",))
    count = data.draw(st.integers(1, 6))
    columns = [data.draw(st.lists(st.none() | _KINDS[kind], min_size=count, max_size=count)) for kind in kinds]
    made = pa.table([pa.array(values, kind) for values, kind in zip(columns, kinds, strict=True)], schema=schema)
    found = both_ways(table, made)
    assert found.schema == schema
    assert [_bits(column.to_pylist()) for column in found.columns] == [
        _bits(values.to_pylist()) for values in made.columns
    ]
    assert both_ways(table, made.slice(count // 2)).num_rows == count - count // 2


def _bits(value: Any) -> Any:
    if isinstance(value, float):
        return struct.pack("<d", value)
    return [_bits(one) for one in value] if isinstance(value, list) else value


def test_the_same_row_is_the_same_bytes_wherever_it_stands() -> None:
    made = arrow("depth", rows("depth", range(12)))
    together = encode(TABLES["depth"], made)
    assert together == [encode(TABLES["depth"], made.slice(at, 1))[0] for at in range(12)]


def test_the_bytes_are_what_the_documentation_says() -> None:
    made = {
        "c0": [7],
        "c1": [[1.5, -0.0]],
        "c2": [[1.0, None, 2.0]],
        "c3": [None],
    }
    schema = pa.schema(
        [("c0", pa.int64()), ("c1", pa.list_(pa.float64())), ("c2", pa.list_(pa.float32())), ("c3", pa.string())]
    )
    table = dataclasses.replace(TABLES["trades"], schema=schema, key=("c0",), version=3)
    (payload,) = encode(table, pa.table(made, schema=schema))
    assert payload[:2] == bytes([PLAIN, 3])
    assert msgspec.msgpack.decode(payload[2:]) == [
        7,
        struct.pack("<2d", 1.5, -0.0),
        [struct.pack("<3f", 1.0, 0.0, 2.0), bytes([0b101])],
        None,
    ]


def test_rows_of_an_older_schema_have_nulls_where_columns_were_added() -> None:
    now = TABLES["raw_trades"]
    then = dataclasses.replace(now, schema=now.schema.remove(now.schema.get_field_index("venue_id")), version=1)
    made = arrow("raw_trades", rows("raw_trades", range(6)))
    old = encode(then, made.drop_columns(["venue_id"]).cast(then.schema))
    found = decode(now, [*old, *encode(now, made)], now.schema.names, [b""] * 12)
    assert found.column("venue_id").to_pylist() == [None] * 6 + made.column("venue_id").to_pylist()
    assert found.column("price").to_pylist() == made.column("price").to_pylist() * 2
    alone = decode(now, old, ["venue_id", "trade_id"], [b""] * 6)
    assert alone.column("venue_id").null_count == 6


def test_columns_are_chosen_and_ordered() -> None:
    made = arrow("trades", rows("trades", range(3)))
    found = decode(TABLES["trades"], encode(TABLES["trades"], made), ["price", "agg_trade_id"], [b""] * 3)
    assert found.column_names == ["price", "agg_trade_id"]
    assert decode(TABLES["trades"], [], ["price"], []).num_rows == 0


def test_long_rows_are_compressed() -> None:
    table = TABLES["diffs"]
    made = rows("diffs", [0])
    made[0] |= {"bid_price": [63_943.9 + at for at in range(200)], "bid_quantity": [0.5] * 200}
    (payload,) = encode(table, arrow("diffs", made))
    assert compressed(payload)[0] == COMPRESSED
    assert len(compressed(payload)) < len(payload) / 2
    assert decode(table, [compressed(payload)], ["bid_price"], [b""])["bid_price"][0].as_py() == made[0]["bid_price"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda payload: b"",
        lambda payload: payload[:2],
        lambda payload: payload[:-3],
        lambda payload: bytes([PLAIN, 1]) + b"\xff" * 9,
        lambda payload: bytes([COMPRESSED, 1]) + b"not zstd at all",
        lambda payload: payload[:2] + msgspec.msgpack.encode(["text"] * 10),
        lambda payload: payload[:2] + msgspec.msgpack.encode({"a": 1}),
        lambda payload: payload[:2] + msgspec.msgpack.encode(5),
        lambda payload: b"\x00" + payload[1:],
    ],
)
def test_a_damaged_row_is_named(spoil: Any) -> None:
    table = TABLES["trades"]
    payloads = encode(table, arrow("trades", rows("trades", range(3))))
    payloads[1] = spoil(payloads[1])
    with pytest.raises(PermanentBackendError, match=r"row the-second: damaged, or not written by the collector"):
        decode(table, payloads, table.schema.names, [b"the-first", b"the-second", b"the-third"])


@pytest.mark.parametrize("head", [bytes([9, 1]), bytes([PLAIN, 99])])
def test_a_row_of_a_newer_release_says_so(head: bytes) -> None:
    table = TABLES["trades"]
    (payload,) = encode(table, arrow("trades", rows("trades", [1])))
    with pytest.raises(PermanentBackendError, match=r"row k: has format .* use a newer release"):
        decode(table, [head + payload[2:]], table.schema.names, [b"k"])
