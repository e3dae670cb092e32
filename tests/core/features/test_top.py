"""Prices, spread and queue imbalance, by hand, and against a book kept as a dictionary."""

from __future__ import annotations

import pytest

from tests.core.features.world import BASE, World, book, flow, series

BIDS = [(100.0, 3.0), (99.9, 1.0), (99.5, 2.0), (99.0, 4.0), (98.0, 5.0), (97.0, 100.0)]
ASKS = [(100.2, 1.0), (100.3, 2.0), (100.5, 3.0), (101.0, 1.5), (102.0, 2.5), (110.0, 50.0)]


def values(*names: str, **known: int) -> list[float | None]:
    return [one[0] for one in series([flow(BASE, book=book(BIDS, ASKS, **known))], *names)]


def test_by_hand() -> None:
    mid, spread, micro, one, five = values("mid", "spread_bps", "microprice", "imbalance_1", "imbalance_5")
    assert mid == pytest.approx(100.1)
    assert spread == pytest.approx(1e4 * 0.2 / 100.1)  # relative to mid, in bps: not 0.2, not percent
    # Three bids to one ask: the price leans to the ask. (100.2 * 3 + 100.0 * 1) / 4
    assert micro == pytest.approx(100.15)
    assert one == pytest.approx((3 - 1) / 4)
    assert five == pytest.approx((15 - 10) / 25)


def test_a_side_that_is_known_whole_may_be_short() -> None:
    assert values("imbalance_20") == [pytest.approx((115 - 60) / 175)]


def test_levels_beyond_the_known_depth_are_not_counted() -> None:
    assert values("imbalance_5", floor=980) == [pytest.approx(0.2)]  # 98.0 is the fifth bid, and known
    assert values("imbalance_5", floor=981) == [None]
    assert values("imbalance_5", ceiling=1019) == [None]
    assert values("imbalance_20", floor=970, ceiling=1100) == [None]


def test_one_sided() -> None:
    for bids, asks in (([], ASKS), (BIDS, []), ([], [])):
        names = ("mid", "spread_bps", "microprice", "imbalance_1", "imbalance_5")
        assert [one[0] for one in series([flow(BASE, book=book(bids, asks))], *names)] == [None] * 5


def test_against_a_dictionary_of_levels() -> None:
    flows = World(3).flows(60)
    found = zip(*series(flows, "imbalance_20", "imbalance_1_change_10s", "mid"), strict=True)
    tops = []
    for one, (twenty, change, mid) in zip(flows, found, strict=True):
        sides = [
            dict(zip(side.price.tolist(), side.quantity.tolist(), strict=True))
            for side in (one.book.bids, one.book.asks)
        ]
        bids = sorted(sides[0].items(), reverse=True)[:20]
        asks = sorted(sides[1].items())[:20]
        more, less = sum(q for _, q in bids), sum(q for _, q in asks)
        assert twenty == (more - less) / (more + less)
        assert mid == pytest.approx((bids[0][0] + asks[0][0]) / 20)
        tops.append((bids[0][1] - asks[0][1]) / (bids[0][1] + asks[0][1]))
        assert change == (None if len(tops) <= 10 else tops[-1] - tops[-11])


def test_values_are_exact_whatever_the_size_of_the_numbers() -> None:
    huge = [(1e11, 999_999_999.999)]
    one = flow(BASE, book=book(huge, [(1e11 + 0.1, 999_999_999.998)]))
    (imbalance,), (micro,) = series([one], "imbalance_1", "microprice")
    assert imbalance == pytest.approx(0.001 / 1_999_999_999.997, rel=1e-12)
    assert 1e11 <= micro <= 1e11 + 0.1
