"""Reading no more than is needed."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from storage_backends import parquet, s3, s3_client
from storage_backends.contract import MARKET, WRITER, got, put
from storage_backends.contract.rows import arrow, rows, time_ns
from storage_backends.s3 import S3Backend
from storage_backends.s3_client import Location
from tests.storage_backends.s3_proxy import S3Proxy


def test_a_range_lists_and_reads_only_its_dates(backend: S3Backend, between: S3Proxy) -> None:
    for first in range(-864_000, 864_000, 43_200):
        put(backend, "trades", rows("trades", range(first, first + 3)))
    between.asked.clear()
    assert got(backend, "trades", start_ns=time_ns(0), end_ns=time_ns(5)) == rows("trades", range(3))
    listings = [one for one in between.asked if "list-type" in one.path]
    reads = [one for one in between.asked if one.span]
    assert len(listings) == 1
    assert "date%3D2024-07-18" in listings[0].path or "date=2024-07-18" in listings[0].path
    assert len(reads) == 2  # two files have that date


def test_only_wanted_columns_and_row_groups_are_fetched(
    backend: S3Backend, between: S3Proxy, location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", 20_000)
    count = 200_000
    made = pa.Table.from_pylist(rows("trades", [1]), schema=arrow("trades", []).schema)
    ids = pa.array(range(count), pa.int64())
    made = pa.concat_tables([made] * count).combine_chunks()
    for name in ("agg_trade_id", "first_id", "last_id"):
        made = made.set_column(made.schema.get_field_index(name), made.schema.field(name), ids)
    start_ms = time_ns(20) // 1_000_000
    times = pa.array(range(start_ms, start_ms + count), pa.int64())
    made = made.set_column(made.schema.get_field_index("timestamp"), made.schema.field("timestamp"), times)
    noise = pa.array([hash((at, "x")) / 2**64 for at in range(count)])
    made = made.set_column(made.schema.get_field_index("price"), made.schema.field("price"), noise)
    backend.write("trades", MARKET, made, writer=WRITER, content_hash="0123abcd" * 8)
    size = backend.stats("trades", MARKET).bytes
    between.asked.clear()
    from_ns = (start_ms + 100_000) * 1_000_000
    how: dict[str, Any] = {"start_ns": from_ns, "end_ns": from_ns + 10_000_000}
    assert len(got(backend, "trades", **how)) == 10
    everything = sum(one.bytes for one in between.asked if one.span)
    between.asked.clear()
    assert len(got(backend, "trades", columns=["quantity"], **how)) == 10
    narrow = sum(one.bytes for one in between.asked if one.span)
    assert everything < s3.TAIL_BYTES + size / 4
    assert narrow < everything / 2


def test_counting_reads_ends_of_files_alone(backend: S3Backend, between: S3Proxy) -> None:
    for first in (0, 5):
        put(backend, "trades", rows("trades", range(first, first + 5)))
    between.asked.clear()
    assert backend.stats("trades", MARKET).rows == 10
    assert [one.span for one in between.asked if one.span] == [f"bytes=-{s3.TAIL_BYTES}"] * 2


def test_listings_of_many_pages(backend: S3Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_client, "_PAGE", 3)
    for at in range(0, 20, 2):
        put(backend, "trades", rows("trades", range(at, at + 3)))
    assert got(backend, "trades") == rows("trades", range(21))
    assert got(backend, "trades", start_ns=time_ns(10)) == rows("trades", range(10, 21))
    assert backend.stats("trades", MARKET).files == 11
