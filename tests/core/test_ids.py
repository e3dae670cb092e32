"""Ranges of ids, against sets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from collector.core.ids import IdRanges

RANGES = st.lists(st.tuples(st.integers(0, 40), st.integers(-2, 10)).map(lambda one: (one[0], one[0] + one[1])))


def plain(ranges: IdRanges) -> set[int]:
    return {one for first, last in ranges for one in range(first, last + 1)}


@given(RANGES, st.integers(0, 50), st.integers(0, 10))
def test_ranges_are_a_set_of_integers(ranges: list[tuple[int, int]], start: int, length: int) -> None:
    model = {one for first, last in ranges for one in range(first, last + 1)}
    asked = set(range(start, start + length + 1))
    ids = IdRanges(ranges)
    assert plain(ids) == model
    assert ids.total == len(model)
    assert bool(ids) == bool(model)
    assert (ids.first, ids.last) == ((min(model), max(model)) if model else (None, None))
    assert ids.holds(start, start + length) == (asked <= model)
    assert ids.touches(start, start + length) == bool(asked & model)
    missing = ids.missing(start, start + length)
    assert plain(IdRanges(missing)) == asked - model
    assert missing == sorted(missing)


@given(RANGES, RANGES)
def test_order_does_not_matter_and_ranges_stay_apart(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    ids = IdRanges(one)
    for first, last in other:
        ids.add(first, last)
    assert ids == IdRanges(other + one)
    ends = list(ids)
    assert all(later[0] > earlier[1] + 1 for earlier, later in zip(ends, ends[1:], strict=False))  # noqa: RUF007
