"""Decimal texts: exact or refused, whatever way they are parsed, and never at the cost of later ones."""

from __future__ import annotations

import json
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.core.decimals import BadNumber, Decimals, parse_column, parse_levels, units_of

GARBAGE = [
    "abc",
    "1e400",
    "1e5",
    "NaN",
    "-1",
    "",
    ".5",
    "5.",
    "1.2.3",
    "1,2",
    " 1",
    "+1",
    "inf",
    "0x10",
    "１",
    "1_0",
    ".",
]
LONG = [
    "1.0000000000000001",
    "0.10000000000000001",
    "1.00000000000000000000001",
    "1234567890123456",
    "123456789.1234567",
    "9" * 400,
    "0.0000000000000001",
    "1000000000000000",
]


@st.composite
def texts(draw: st.DrawFn, places: int | None = None) -> str:
    """A decimal of at most 15 digits in units of 10**-8, plain or padded."""
    places = draw(st.integers(0, 8)) if places is None else places
    units = draw(st.one_of(st.integers(0, 10**7 - 1), st.integers(0, 10**4)))
    text = f"{Decimal(units).scaleb(-places):f}"
    return f"{Decimal(text):.8f}" if draw(st.booleans()) else text


def exact(units: np.ndarray, places: int, text: list[str]) -> bool:
    return [Decimal(int(unit)).scaleb(-places) for unit in units] == [Decimal(one) for one in text]


@given(st.lists(texts(), min_size=1, max_size=20))
def test_a_column_is_exactly_its_texts(column: list[str]) -> None:
    decimals = Decimals()
    fixed = parse_column(column, decimals)
    assert exact(fixed.units, fixed.decimals, column)
    assert fixed.floats().tolist() == [float(text) for text in column]
    assert decimals.places == fixed.decimals


@given(st.integers(0, 8), st.data())
def test_texts_of_equal_places_and_of_mixed_ones_give_the_same_units(places: int, data: st.DataObject) -> None:
    column = data.draw(st.lists(texts(places), min_size=1, max_size=10))
    uniform, mixed, alone = Decimals(), Decimals(), Decimals()
    padded = [f"{Decimal(text):.8f}" for text in column]
    fast = parse_column(padded, uniform)
    slow = parse_column([*column, "1", "0.5"], mixed)
    for text in column:
        parse_column([text], alone)
    assert alone.places == fast.decimals <= slow.decimals
    assert fast.floats().tolist() == slow.floats().tolist()[:-2]


@given(st.lists(st.tuples(texts(), texts()), max_size=12), st.integers(0, 12))
def test_levels_keep_order_and_owners(levels: list[tuple[str, str]], split: int) -> None:
    price, quantity = Decimals(), Decimals()
    chunks = [levels[:split], levels[split:]]
    raw = [json.dumps(chunk, separators=(",", ":")).encode() for chunk in chunks]
    bids, asks = parse_levels(raw, [b"[]", raw[0]], price, quantity)
    assert bids.counts.tolist() == [len(chunk) for chunk in chunks]
    assert asks.counts.tolist() == [0, len(chunks[0])]
    assert exact(bids.price, price.places or 0, [level[0] for level in levels])
    assert exact(bids.quantity, quantity.places or 0, [level[1] for level in levels])
    assert exact(asks.price, price.places or 0, [level[0] for level in chunks[0]])


def test_twelve_digits_and_eight_zeros() -> None:
    fixed = parse_column(["123456789012.00000000", "1.00000000"], Decimals())
    assert (fixed.units.tolist(), fixed.decimals) == ([123456789012, 1], 0)


def test_fifteen_digits_are_kept_and_sixteen_refused() -> None:
    kept = parse_column(["1234567.12345678", "0.00000001"], Decimals())
    assert kept.floats().tolist() == [1234567.12345678, 0.00000001]
    with pytest.raises(BadNumber, match="15"):
        parse_column(["12345678.12345678"], Decimals())


@pytest.mark.parametrize("bad", GARBAGE + LONG)
@pytest.mark.parametrize("others", [[], ["1.5", "2.5"], ["1", "0.25"], ["1.50000000"]])
def test_a_bad_number_is_refused_and_nothing_grows(bad: str, others: list[str]) -> None:
    decimals = Decimals()
    parse_column(["1.5"], decimals)
    for column in ([*others, bad], [bad, *others]):
        with pytest.raises(BadNumber):
            parse_column(column, decimals)
        assert (decimals.places, decimals.largest) == (1, 15)


@pytest.mark.parametrize(
    "levels",
    [
        b'[["1","2"],["abc","2"]]',
        b'[["1.123","2"],["1","-2"]]',
        b"[[1,2]]",
        b'[["1",2]]',
        b'[["1"]]',
        b'[["1","2","3"]]',
        b'["1","2"]',
        b'[[["1","2"]]]',
        b'[ ["1","2"]]',
        b'[["1", "2"]]',
        b"{}",
        b"null",
        b'"12"',
        b"12",
        b"[[]]",
        b'[["1;2","3"]]',
        b'[["1,2","3"]]',
        b'[["",""]]',
        b'[["0.12345678","1"],["0.5","0.0000000000000001"]]',
    ],
)
def test_bad_levels_are_refused_and_neither_kind_grows(levels: bytes) -> None:
    price, quantity = Decimals(), Decimals()
    parse_levels([b'[["1.5","2"]]'], [], price, quantity)
    before = (price.places, price.largest, quantity.places, quantity.largest)
    for bids, asks in (([levels], []), ([], [levels]), ([b'[["7.25","1"]]', levels], [b"[]"])):
        with pytest.raises(BadNumber):
            parse_levels(bids, asks, price, quantity)
        assert (price.places, price.largest, quantity.places, quantity.largest) == before


@given(st.permutations(["1.00000", "12345678901", "0.25", "7", "0.00100000"]), st.integers(1, 5))
def test_what_fits_does_not_depend_on_order_or_grouping(column: list[str], size: int) -> None:
    decimals = Decimals()
    for start in range(0, len(column), size):
        parse_column(column[start : start + size], decimals)
    assert (decimals.places, decimals.largest) == (3, 12345678901000)


@given(st.lists(texts(), min_size=1, max_size=20))
def test_floats_give_back_their_units(column: list[str]) -> None:
    fixed = parse_column(column, Decimals())
    decimals = Decimals()
    units = units_of(fixed.floats(), decimals)
    assert decimals.places == fixed.decimals
    assert units.tolist() == fixed.units.tolist()


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), 1e15, 0.1 + 0.2])
def test_floats_that_stand_for_no_short_decimal_are_refused(value: float) -> None:
    with pytest.raises(BadNumber):
        units_of(np.array([1.0, value]), Decimals())
