"""A side against a dictionary, in each of its forms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.core import side as module
from collector.core.decimals import Ints
from collector.core.side import EMPTY, DeepSide, Side, merged

PRICES = st.integers(1, 120)
LEVELS = st.lists(st.tuples(PRICES, st.integers(0, 3)), max_size=25)
BATCHES = st.lists(LEVELS, max_size=12)
KNOWN = st.dictionaries(PRICES, st.integers(1, 3), max_size=60)


@pytest.fixture(autouse=True, scope="module")
def small_windows() -> Iterator[None]:
    """So that sides of a few levels have windows, which prices leave and changes miss."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BEST_LEVELS", 3)
        patch.setattr(module, "_WINDOW_TICKS", 64)
        patch.setattr(module, "_WAITING_LEVELS", 40)
        yield


def ints(values: Iterable[int]) -> Ints:
    return np.array(list(values), np.int64)


def side(levels: dict[int, int]) -> Side:
    return Side(ints(sorted(levels)), ints(levels[price] for price in sorted(levels)))


def columns(levels: list[tuple[int, int]]) -> tuple[Ints, Ints]:
    return ints(price for price, _ in levels), ints(quantity for _, quantity in levels)


def levels_of(one: Side) -> dict[int, int]:
    assert np.all(np.diff(one.price) > 0)
    return dict(zip(one.price.tolist(), one.quantity.tolist(), strict=True))


def apply_to(model: dict[int, int], levels: list[tuple[int, int]]) -> None:
    for price, quantity in levels:
        model[price] = quantity
        if not quantity:
            del model[price]


@given(KNOWN, BATCHES, st.booleans())
def test_merging_is_what_a_dictionary_does(
    start: dict[int, int], batches: list[list[tuple[int, int]]], best_last: bool
) -> None:
    plain, asked, unasked = side(start), side(start), side(start)
    model = dict(start)
    for batch in batches:
        apply_to(model, batch)
        plain = plain.merge(*columns(batch))
        asked = merged(asked, *columns(batch), best_last=best_last)
        unasked = merged(unasked, *columns(batch), best_last=best_last)
        assert levels_of(plain) == levels_of(asked) == model
    assert levels_of(unasked) == model
    everything = [level for batch in batches for level in batch]
    assert levels_of(merged(side(start), *columns(everything), best_last=best_last)) == model


@given(KNOWN, BATCHES, st.booleans(), st.integers(1, 8), PRICES, PRICES)
def test_parts_hold_what_they_promise(
    start: dict[int, int], batches: list[list[tuple[int, int]]], best_last: bool, wanted: int, one: int, other: int
) -> None:
    low, high = sorted((one, other))
    now, model = side(start), dict(start)
    for batch in batches:
        apply_to(model, batch)
        now = merged(now, *columns(batch), best_last=best_last)
        near = levels_of(now.near(wanted))
        best = sorted(model, reverse=best_last)[:wanted]
        assert sorted(near, reverse=best_last)[:wanted] == best
        around = levels_of(now.around(low, high))
        inside = {price: quantity for price, quantity in model.items() if low <= price <= high}
        assert inside.items() <= around.items() <= model.items()
        assert near.items() <= model.items()
        assert levels_of(now.between(low, high)) == inside
    for edge in range(122):  # each edge of whatever window there is among them
        assert levels_of(now.between(edge, 121)) == {price: q for price, q in model.items() if price >= edge}
        assert levels_of(now.between(0, edge)) == {price: q for price, q in model.items() if price <= edge}
    assert levels_of(now.scaled(10, 100)) == {price * 10: quantity * 100 for price, quantity in model.items()}


@given(KNOWN, BATCHES, BATCHES, st.booleans())
def test_an_older_side_stays_as_it_was(
    start: dict[int, int],
    before: list[list[tuple[int, int]]],
    after: list[list[tuple[int, int]]],
    best_last: bool,
) -> None:
    now, model = side(start), dict(start)
    for batch in before:
        apply_to(model, batch)
        now = merged(now, *columns(batch), best_last=best_last)
    later = now
    for batch in after:
        later = merged(later, *columns(batch), best_last=best_last)
    assert levels_of(now) == model


@pytest.mark.parametrize("best_last", [True, False])
def test_the_window_is_used_and_follows_the_best_price(best_last: bool) -> None:
    """A walk of the price: most merges touch the window alone, and the side never loses it for long."""
    rng = np.random.default_rng(7)
    towards = 1 if best_last else -1
    best = 10_000
    model = {best - towards * depth: 5 for depth in range(40)}
    now = merged(side(model), *columns([(best, 5)]), best_last=best_last)
    deep = 0
    for _ in range(2000):
        step = int(rng.integers(-3, 4)) * towards
        batch = [(best + step, int(rng.integers(1, 9))), (best - towards * int(rng.integers(10, 400)), 3)]
        if step * towards < 0:  # the price got worse: what was better is gone
            batch += [(price, 0) for price in model if (price - best - step) * towards > 0]
        best += step
        apply_to(model, [level for level in batch if level[1] or level[0] in model])
        now = merged(now, *columns(batch), best_last=best_last)
        near = now.near(1).price
        assert int(near[-1] if best_last else near[0]) == best
        deep += isinstance(now, DeepSide)
    assert levels_of(now) == model
    assert deep > 1500


def test_prices_too_far_apart_get_no_window() -> None:
    sparse = side({price * 1000: 1 for price in range(1, 50)})
    assert type(merged(sparse, *columns([(1000, 2)]), best_last=True)) is Side


def test_removing_what_is_not_there_leaves_the_window_where_it_is() -> None:
    now = merged(side(dict.fromkeys(range(100, 140), 1)), *columns([(139, 2)]), best_last=True)
    assert isinstance(now, DeepSide)
    after = merged(now, *columns([(5000, 0), (138, 7)]), best_last=True)
    assert isinstance(after, DeepSide)
    assert levels_of(after) == levels_of(now) | {138: 7}


def test_numpy_puts_in_order() -> None:
    """What a window relies on, and numpy shows but does not promise: of one place's values the last one stays."""
    rng = np.random.default_rng(1)
    at, values = rng.integers(-50, 150, 100_000), rng.integers(0, 2**62, 100_000)
    expected = np.zeros(100, np.int64)
    for place, value in zip(np.clip(at, 0, 99).tolist(), values.tolist(), strict=True):
        expected[place] = value
    found = np.zeros(100, np.int64)
    found.put(at, values, mode="clip")
    assert np.array_equal(found, expected)


def test_nothing_is_nothing() -> None:
    assert EMPTY.price.size == 0
    assert merged(EMPTY, *columns([]), best_last=True) is EMPTY
