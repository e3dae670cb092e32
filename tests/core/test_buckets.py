"""Buckets against the formula, level by level."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from collector.core.book import WHOLE_CEILING, WHOLE_FLOOR, Book, Change
from collector.core.buckets import Buckets, Grid, Reference, ask_buckets, bid_buckets
from collector.core.side import Side

GRID = Grid(0.00002, 40, "best")


def side(levels: dict[int, int]) -> Side:
    prices = sorted(levels)
    return Side(np.array(prices, np.int64), np.array([levels[price] for price in prices], np.int64))


def formula(levels: dict[int, int], reference: float, grid: Grid, places: int) -> list[float]:
    sums = [0] * grid.steps
    for price, quantity in levels.items():
        index = math.floor(abs(math.log(price) - math.log(reference)) / grid.step)
        if index < grid.steps:
            sums[index] += price * quantity
    return [float(np.float32(total / 10**places)) for total in sums]


def near_an_edge(levels: dict[int, int], reference: float, grid: Grid) -> bool:
    """Where the last digits of a logarithm decide."""
    distances = [abs(math.log(price / reference)) / grid.step for price in levels]
    return any(abs(one - round(one)) < 1e-6 and round(one) > 0 for one in distances)


def values(found: Buckets | None) -> list[float]:
    assert found is not None
    return [float(value) for value in found.values]


@pytest.mark.parametrize("reference", ["best", "mid"])
@given(
    best=st.integers(50_000, 10**7),
    spread=st.integers(1, 20),
    bids=st.dictionaries(st.integers(0, 15_000), st.integers(1, 10**6), max_size=40),
    asks=st.dictionaries(st.integers(0, 15_000), st.integers(1, 10**6), max_size=40),
    step=st.sampled_from([0.00002, 0.0001, 0.003]),
)
def test_each_level_falls_where_the_formula_says(
    reference: Reference, best: int, spread: int, bids: dict[int, int], asks: dict[int, int], step: float
) -> None:
    grid = Grid(step, 40, reference)
    bid_levels = {best - offset: quantity for offset, quantity in {**bids, 0: 5}.items()}
    ask_levels = {best + spread + offset: quantity for offset, quantity in {**asks, 0: 5}.items()}
    mid = best + spread / 2
    from_bid, from_ask = (best, best + spread) if reference == "best" else (mid, mid)
    assume(not near_an_edge(bid_levels, from_bid, grid) and not near_an_edge(ask_levels, from_ask, grid))
    book = Book(side(bid_levels), side(ask_levels), WHOLE_FLOOR, WHOLE_CEILING, 1, 2, 3)
    assert values(bid_buckets(book, grid)) == formula(bid_levels, from_bid, grid, 5)
    assert values(ask_buckets(book, grid)) == formula(ask_levels, from_ask, grid, 5)


def test_the_big_integer_path_gives_the_same_sums() -> None:
    small = {10**6 - offset: 7 + offset for offset in range(50)}
    large = {price: quantity * 10**12 for price, quantity in small.items()}
    one = bid_buckets(Book(side(small), side({}), 0, WHOLE_CEILING, 1, 0, 0), GRID)
    other = bid_buckets(Book(side(large), side({}), 0, WHOLE_CEILING, 1, 0, 12), GRID)
    assert max(large) * max(large.values()) * len(large) >= 2**63
    assert values(one) == values(other)
    assert sum(values(one)) > 0


def test_what_lies_beyond_the_known_book_is_null_and_coverage_says_how_far_it_goes() -> None:
    best, far = 1_000_000, 999_800
    book = Book(side({best: 1, far: 1}), side({best + 1: 1, best + 201: 1}), far, best + 201, 1, 0, 0)
    bids, asks = bid_buckets(book, GRID), ask_buckets(book, GRID)
    assert bids is not None
    assert asks is not None
    known = math.log(best / far) / 0.0008
    assert bids.coverage == pytest.approx(known)
    assert asks.coverage == pytest.approx(math.log((best + 201) / (best + 1)) / 0.0008)
    whole = int(known * 40)
    assert np.isfinite(bids.values[:whole]).all()
    assert np.isnan(bids.values[whole + 1 :]).all()
    assert np.isnan(asks.values[whole + 1 :]).all()


def test_a_side_known_to_its_end_is_zero_there_and_covered() -> None:
    book = Book(side({100: 1}), side({101: 1}), WHOLE_FLOOR, WHOLE_CEILING, 1, 0, 0)
    for found in (bid_buckets(book, GRID), ask_buckets(book, GRID)):
        assert found is not None
        assert found.coverage == 1.0
        assert found.values[1:].tolist() == [0.0] * 39


def test_without_a_reference_price_there_are_no_buckets() -> None:
    empty = Book(side({}), side({101: 1}), WHOLE_FLOOR, WHOLE_CEILING, 1, 0, 0)
    assert bid_buckets(empty, GRID) is None
    assert ask_buckets(empty, GRID) is not None
    assert ask_buckets(empty, GRID._replace(reference="mid")) is None


@pytest.mark.parametrize("reference", ["best", "mid"])
def test_prices_of_zero_and_far_too_wide_grids_raise_nothing(reference: Reference) -> None:
    for grid in (Grid(0.00002, 40, reference), Grid(0.1, 2000, reference)):
        for bids, asks, floor, ceiling in (
            ({0: 1}, {}, 5, 7),
            ({}, {0: 1}, 5, 0),
            ({0: 1}, {0: 1}, 0, 0),
            ({10**14: 1}, {10**14 + 1: 1}, 10**14, 10**14 + 1),
        ):
            book = Book(side(bids), side(asks), floor, ceiling, 1, 0, 0)
            for found in (bid_buckets(book, grid), ask_buckets(book, grid)):
                assert found is None or 0 <= found.coverage <= 1


@given(st.permutations(list(range(30))), st.integers(1, 30))
def test_sums_depend_neither_on_the_order_of_diffs_nor_on_how_they_are_cut(order: list[int], size: int) -> None:
    one = Book(side({}), side({}), WHOLE_FLOOR, WHOLE_CEILING, 1, 1, 3)
    none = np.empty(0, np.int64)
    for start in range(0, len(order), size):
        part = np.array(order[start : start + size], np.int64)
        one = one.apply(Change(10**6 - part * 3, part * 17 + 1, none, none), 2)
    expected = formula({10**6 - n * 3: n * 17 + 1 for n in range(30)}, 10**6, GRID, 4)
    assert values(bid_buckets(one, GRID)) == expected
