"""The book against a dictionary."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from collector.core.book import WHOLE_CEILING, WHOLE_FLOOR, Book, Change, compare
from collector.core.decimals import Ints
from collector.core.side import Side

PRICES = st.integers(1, 30)
QUANTITIES = st.integers(0, 3)
LEVELS = st.lists(st.tuples(PRICES, QUANTITIES), max_size=25)
KNOWN = st.dictionaries(PRICES, st.integers(1, 3), max_size=20)


def ints(values: object) -> Ints:
    return np.array(list(values), np.int64)  # type: ignore[call-overload]


def side(levels: dict[int, int]) -> Side:
    return Side(ints(sorted(levels)), ints(levels[price] for price in sorted(levels)))


def levels_of(one: Side) -> dict[int, int]:
    return dict(zip(one.price.tolist(), one.quantity.tolist(), strict=True))


def change(bids: list[tuple[int, int]], asks: list[tuple[int, int]]) -> Change:
    return Change(*(ints(level[of] for level in levels) for levels in (bids, asks) for of in (0, 1)))


def book(
    bids: dict[int, int], asks: dict[int, int], floor: int = WHOLE_FLOOR, ceiling: int = WHOLE_CEILING, last_id: int = 1
) -> Book:
    return Book(side(bids), side(asks), floor, ceiling, last_id, 0, 0)


def test_an_older_book_stays_as_it_was() -> None:
    before = book({10: 1}, {12: 1})
    after = before.apply(change([(10, 0), (9, 2)], [(12, 5)]), 7)
    assert (levels_of(before.bids), levels_of(before.asks), before.last_id) == ({10: 1}, {12: 1}, 1)
    assert (levels_of(after.bids), levels_of(after.asks), after.last_id) == ({9: 2}, {12: 5}, 7)


@given(KNOWN, KNOWN)
def test_finer_units_are_the_same_book(bids: dict[int, int], asks: dict[int, int]) -> None:
    coarse = book(bids, asks, min(bids, default=0))
    fine = coarse.at_places(2, 3)
    assert levels_of(fine.bids) == {price * 100: quantity * 1000 for price, quantity in bids.items()}
    assert levels_of(fine.asks) == {price * 100: quantity * 1000 for price, quantity in asks.items()}
    assert (fine.bid_floor, fine.ask_ceiling) == (coarse.bid_floor * 100, WHOLE_CEILING)
    assert coarse.at_places(0, 0) is coarse


@given(KNOWN, KNOWN, st.integers(1, 30), st.integers(1, 30))
def test_widened_is_the_deeper_of_two_true_books(
    bids: dict[int, int], asks: dict[int, int], ours: int, theirs: int
) -> None:
    """Both see the same levels, each down to its own floor and up to its own ceiling."""

    def seen(reach: int) -> Book:
        floor, ceiling = 31 - reach, reach
        return book(
            {price: q for price, q in bids.items() if price >= floor},
            {price: q for price, q in asks.items() if price <= ceiling},
            floor,
            ceiling,
        )

    wide = seen(ours).widened(seen(theirs))
    if wide is not None and wide.bid_floor == 31 - max(ours, theirs) and wide.ask_ceiling == max(ours, theirs):
        expected = seen(max(ours, theirs))
        assert levels_of(wide.bids) == levels_of(expected.bids)
        assert levels_of(wide.asks) == levels_of(expected.asks)
    else:  # ranges that do not touch: the anchor alone
        assert levels_of(wide.bids) == levels_of(seen(theirs).bids)
        assert levels_of(wide.asks) == levels_of(seen(theirs).asks)


def test_ranges_that_do_not_touch_leave_the_anchors_alone() -> None:
    ours = book({20: 1}, {22: 1}, 20, 22)
    anchor = book({15: 1, 10: 2}, {30: 1}, 10, 30)
    assert ours.widened(anchor) is anchor


@given(KNOWN, KNOWN, LEVELS)
def test_compare_counts_what_differs(
    ours: dict[int, int], theirs: dict[int, int], touched: list[tuple[int, int]]
) -> None:
    excluded = {price for price, _ in touched}
    prices = (set(ours) | set(theirs)) - excluded
    differing = sum(ours.get(price) != theirs.get(price) for price in prices)
    assert compare(book(ours, {}), book(theirs, {}), change(touched, [])) == (len(prices), differing)
    assert compare(book({}, ours), book({}, theirs), change([], touched)) == (len(prices), differing)


def test_compare_stays_within_what_both_know() -> None:
    ours = book({10: 1, 9: 9, 5: 7}, {12: 1, 20: 7}, 9, 15)
    theirs = book({10: 1, 9: 9, 8: 4}, {12: 2, 14: 1, 16: 4}, 8, 16)
    assert compare(ours, theirs, change([], [])) == (4, 2)


def test_best_prices_beyond_what_is_known_are_no_best_prices() -> None:
    assert book({}, {}).known_to_its_best
    assert book({9: 1}, {12: 1}, 9, 12).known_to_its_best
    assert not book({8: 1}, {12: 1}, 9, 12).known_to_its_best
    assert not book({9: 1}, {13: 1}, 9, 12).known_to_its_best
    assert not book({}, {12: 1}, 9, 12).known_to_its_best
