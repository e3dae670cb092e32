"""Volatility against slow sums, by hand, and against a random walk whose volatility is known."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from collector.core.features.bars import Bar
from collector.core.features.volatility import range_terms
from tests.core.features.bars import at_epochs, slow_bars
from tests.core.features.world import BASE, World, book, flow, series, trades

FLOWS = World(31).flows(1900)


def test_ewma() -> None:
    mids = np.array([(one.book.bids.price[-1] + one.book.asks.price[0]) / 20 for one in FLOWS])
    squares = np.diff(np.log(mids)) ** 2
    for name, half_life in (("vol_ewma_fast", 60), ("vol_ewma_slow", 600)):
        found = series(FLOWS, name)[0]
        assert found[2 * half_life - 1] is None
        for at in (2 * half_life, 1500, 1899):
            top = bottom = 0.0
            for age in range(min(at, 10 * half_life)):
                weight = 0.5 ** (age / half_life)
                top += weight * squares[at - 1 - age]
                bottom += weight
            assert found[at] == pytest.approx(math.sqrt(top / bottom))


def test_ewma_of_constant_steps_is_that_step() -> None:
    """1 bp up and down each second is 1 bp per sqrt(s), whatever the weights."""
    flows = []
    for at in range(1, 300):
        mid = 10_000.0 + at % 2
        flows.append(flow(BASE + at, book=book([(mid - 0.1, 1.0)], [(mid + 0.1, 1.0)])))
    assert series(flows, "vol_ewma_fast")[0][-1] == pytest.approx(1e-4, rel=1e-3)


def test_an_interval_of_ten_seconds_gives_the_same_unit() -> None:
    chance = random.Random(1)
    mids = [10_000.0]
    for _ in range(4000):
        mids.append(mids[-1] + chance.choice([-1.0, 1.0]))
    found = []
    for interval in (1, 10):
        flows = [
            flow(BASE + at, book=book([(mids[at] - 0.1, 1.0)], [(mids[at] + 0.1, 1.0)]))
            for at in range(interval, 4000, interval)
        ]
        found.append(series(flows, "vol_ewma_slow", interval_s=interval)[0][-1])
    assert found[0] == pytest.approx(1e-4, rel=0.02)
    assert found[1] == pytest.approx(found[0], rel=0.3)


def test_range_estimators_by_hand() -> None:
    """o = 100, h = 104, l = 98, c = 102."""
    parkinson, garman_klass, rogers_satchell = range_terms(Bar(60, 100, 104, 98, 102, 1, 1, 0, 1, 0))
    assert parkinson == pytest.approx(math.log(104 / 98) ** 2 / (4 * math.log(2)))
    assert parkinson == pytest.approx(0.00127359, rel=1e-5)
    assert garman_klass == pytest.approx(0.00176557 - 0.38629436 * 0.00039214, rel=1e-4)
    assert rogers_satchell == pytest.approx(0.01941809 * 0.03922071 + 0.04000533 * 0.02020271, rel=1e-5)


def test_range_estimators_over_bars() -> None:
    bars = slow_bars(FLOWS, 60)
    ends = [bar.end for bar in bars]
    o, h, low, c = (np.log([bar[k] for bar in bars]) for k in (1, 2, 3, 4))
    terms = {
        "vol_parkinson": (h - low) ** 2 / (4 * math.log(2)),
        "vol_garman_klass": 0.5 * (h - low) ** 2 - (2 * math.log(2) - 1) * (c - o) ** 2,
        "vol_rogers_satchell": (h - c) * (h - o) + (low - c) * (low - o),
    }
    for name, values in terms.items():
        wanted = [
            math.sqrt(max(0.0, float(np.mean(values[max(0, at - 59) : at + 1]))) / 60) if at >= 19 else None
            for at in range(len(bars))
        ]
        assert series(FLOWS, name)[0] == pytest.approx(at_epochs(FLOWS, ends, wanted)), name


def test_range_estimators_find_the_volatility_of_a_random_walk() -> None:
    """Two trades a second, 120 steps a bar: biased low by some ten percent of the variance, as the module says."""
    chance = random.Random(5)
    sigma, price, flows = 2e-4, 1000.0, []
    for at in range(1, 4000):
        rows = []
        for _ in range(2):
            price *= math.exp(chance.gauss(0, sigma / math.sqrt(2)))
            rows.append((price, 1.0, False))
        flows.append(flow(BASE + at, trades=trades(BASE + at, rows)))
    for name in ("vol_parkinson", "vol_garman_klass", "vol_rogers_satchell"):
        assert 0.85 * sigma < series(flows, name)[0][-1] < 1.02 * sigma, name


def test_blend_follows_the_volume() -> None:
    fast, slow, blend, volume = series(FLOWS, "vol_ewma_fast", "vol_ewma_slow", "vol_blend", "rvol_1m")
    for at in range(1200, 1900, 50):
        weight = min(0.9, max(0.2, 0.5 + (volume[at] - 1) / 2))
        assert blend[at] == pytest.approx(weight * fast[at] + (1 - weight) * slow[at])
