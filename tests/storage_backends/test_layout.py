from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage_backends.contract.rows import time_ns
from storage_backends.layout import PartName, TimeRange, parse_date, parse_part
from storage_backends.schema import TABLES, Table


@settings(deadline=None)
@given(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-(2**63), 2**63 - 1),
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", fullmatch=True),
    st.from_regex(r"[0-9a-f]{8}", fullmatch=True),
)
def test_names_of_parts_round_trip(first: int, last: int, writer: str, hash8: str) -> None:
    name = PartName(first, last, writer, hash8)
    assert parse_part(str(name)) == name


@pytest.mark.parametrize("name", ["", "part-1-2-w.abcdefab", ".part-1-2-w.abcdefab.parquet", "part-1-2-w.abc.parquet"])
def test_other_names_are_no_parts(name: str) -> None:
    assert parse_part(name) is None


def test_dates() -> None:
    assert parse_date("date=2024-07-18") == dt.date(2024, 7, 18)
    for name in ("date=2024-7-18", "date=20240718", "date=2024-02-30", "2024-07-18", "date=", "day=2024-07-18"):
        assert parse_date(name) is None


def test_ranges_round_to_whole_units() -> None:
    trades = TABLES["trades"]
    assert TimeRange.of(trades, 1_000_000, 2_000_000) == (1, 2)
    assert TimeRange.of(trades, 1_000_001, 2_000_001) == (2, 3)
    assert TimeRange.of(trades, None, None).open


@pytest.mark.parametrize("definition", TABLES.values(), ids=TABLES)
def test_a_range_meets_the_dates_it_touches(definition: Table) -> None:
    before, after = dt.date(2024, 7, 18), dt.date(2024, 7, 19)
    ends_at_midnight = TimeRange.of(definition, time_ns(5), time_ns(10))
    assert ends_at_midnight.dates(definition) == (before, before)
    starts_at_midnight = TimeRange.of(definition, time_ns(10), None)
    assert starts_at_midnight.dates(definition) == (after, None)
