"""Row keys: order, ranges, limits; and slices of the index."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_backends.bigtable import legacy
from storage_backends.bigtable.client import Client
from storage_backends.bigtable.index import SLICE_S, Index, Slice, _lower_bound, _stamp
from storage_backends.bigtable.keys import (
    MAX_KEY_BYTES,
    Stored,
    index_key,
    latest,
    lead_of,
    parse,
    row_keys,
    time_range,
)
from storage_backends.bigtable.options import BigtableOptions
from storage_backends.interface import Market
from storage_backends.layout import TimeRange
from storage_backends.schema import TABLES

MARKET = Market("binance", "BTCUSDT")


def test_the_known_example() -> None:
    assert legacy.key(1_768_053_958, "BTCUSDT") == b"8231946041#BTCUSDT"
    assert row_keys(TABLES["depth"], MARKET, [[1_768_053_958]], [1_768_053_958]) == [
        b"binance#BTCUSDT#depth#8231946041"
    ]


def test_keys_hold_what_tells_rows_apart() -> None:
    assert row_keys(TABLES["trades"], MARKET, [[5]], [1_700_000_000_000]) == [b"binance#BTCUSDT#trades#8299999999999#5"]
    gaps = row_keys(TABLES["gaps"], Market("okx-swap", "币-USDT"), [["a#1"], [2]], [7])
    assert gaps == ["okx-swap#币-USDT#gaps#9999999999999999992#a%231#2".encode()]
    assert lead_of(TABLES["gaps"], gaps[0] or b"") == "a#1"


@pytest.mark.parametrize("table", TABLES)
@given(
    times=st.lists(st.integers(0, 9_999_999_999), min_size=2, max_size=6),
    ends=st.tuples(*[st.none() | st.integers(-5, 10**10)] * 2),
)
def test_newer_rows_come_first_and_ranges_hold_what_they_should(
    table: str, times: list[int], ends: tuple[int | None, int | None]
) -> None:
    definition = TABLES[table]
    keys = row_keys(definition, MARKET, [list(range(len(times)))] * len(definition.key), times)
    by_key = [time for _, time in sorted(zip(keys, times, strict=True), key=lambda pair: pair[0] or b"")]
    assert by_key == sorted(times, reverse=True)
    span = time_range(definition, MARKET, TimeRange(*ends))
    for key, time in zip(keys, times, strict=True):
        assert key is not None
        inside = (ends[0] is None or time >= ends[0]) and (ends[1] is None or time < ends[1])
        assert (span is not None and span.start <= key < span.end) == inside
        assert parse(key) == Stored(MARKET, table, False, time)


def test_other_markets_and_tables_lie_outside_a_range() -> None:
    span = time_range(TABLES["trades"], MARKET, TimeRange(None, None))
    assert span is not None
    for other in (b"binance#BTCUSDT#trades!8231946041", b"binance#BTCUSDT#trades_x#1", b"binance#BTCUSDTX#trades#1"):
        assert not span.start <= other < span.end


def test_what_cannot_be_a_key_is_none() -> None:
    trades = TABLES["trades"]
    assert row_keys(trades, MARKET, [[1, 2, 3]], [-1, 10**13, 10**13 - 1])[:2] == [None, None]
    longest = "x" * (MAX_KEY_BYTES - len("binance#BTCUSDT#gaps#") - 19 - len("##1"))
    keys = row_keys(TABLES["gaps"], MARKET, [[longest, longest + "x"], [1, 1]], [5, 5])
    assert [key and len(key) for key in keys] == [MAX_KEY_BYTES, None]


@pytest.mark.parametrize("key", [b"", b"a", b"a#b", b"a#b#c", b"A#b#c#1", b"binance#BTC#trades#x", b"\xff\xfe#b#c#1"])
def test_foreign_keys_are_nobodys(key: bytes) -> None:
    assert parse(key) is None


def test_an_index_key_tells_its_slice() -> None:
    key = index_key("trades", MARKET, 1_768_053_900)
    assert key == b"binance#BTCUSDT#trades!8231946099"
    assert parse(key) == Stored(MARKET, "trades", True, 1_768_053_900)
    assert latest("s") == 9_999_999_999


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_the_latest_stamp_is_that_of_the_smallest_id(leads: list[int]) -> None:
    stamps = [_stamp(lead) for lead in leads]
    assert all(0 <= stamp * 1000 < 2**63 for stamp in stamps)
    bound = _lower_bound(TABLES["trades"], 0, max(stamps))
    assert bound is not None
    assert bound <= min(leads)
    assert min(leads) - bound < 1 << 10 or min(leads) < 1 << 10


def test_only_what_is_new_to_the_index_is_written() -> None:
    index = Index(Client(BigtableOptions("p", "i", "127.0.0.1:1")))

    def missing(ids: list[int], seconds: int) -> list[Slice]:
        return [one for one, _ in index.missing(TABLES["trades"], MARKET, [seconds * 1000] * len(ids), ids)]

    assert missing([5000, 6000], 10) == [Slice(0, 5000)]
    assert missing([5000, 6000], 10) == [Slice(0, 5000)], "not told, only asked"
    index.remember("trades", MARKET, [Slice(0, 5000)])
    assert missing([5000, 9000], 299) == []
    assert missing([2000], 299) == [Slice(0, 2000)]
    assert missing([9000], SLICE_S) == [Slice(SLICE_S, 9000)]
