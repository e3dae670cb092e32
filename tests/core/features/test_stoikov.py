"""Stoikov's microprice against sums over all paths, and what symmetry demands."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from collector.core.features.stoikov import BUCKETS, adjustments
from tests.core.features.world import BASE, book, flow, series


def by_paths(states: list[int], mids: list[float]) -> dict[int, float]:
    """The mean move of mid over its next six moves from each state, by following all paths, step by step."""
    seen: dict[int, Counter[tuple[int, float]]] = {}
    for x, y, move in zip(states, states[1:], np.diff(mids).tolist(), strict=False):
        mirror = [s // BUCKETS * BUCKETS + BUCKETS - 1 - s % BUCKETS for s in (x, y)]
        seen.setdefault(x, Counter())[y, move] += 1
        seen.setdefault(mirror[0], Counter())[mirror[1], -move] += 1
    found = {}
    for start in seen:
        weights, total = {(start, 6): 1.0}, 0.0
        while sum(weights.values()) > 1e-9:
            onward: dict[tuple[int, int], float] = {}
            for (state, left), weight in weights.items():
                steps = seen.get(state, Counter())
                for (to, move), count in steps.items():
                    chance = weight * count / (steps.total() + 1)
                    total += chance * move
                    after = left - (move != 0)
                    if after:
                        onward[to, after] = onward.get((to, after), 0.0) + chance
            weights = onward
        found[start] = total
    return found


def sample(count: int, seed: int = 1) -> tuple[list[int], list[float]]:
    """Mid tends to rise where bids are more than asks."""
    chance = random.Random(seed)
    states, mids = [5], [100.0]
    for _ in range(count):
        bucket = states[-1] % BUCKETS
        up, down = 0.04 * bucket, 0.04 * (BUCKETS - 1 - bucket)
        drawn = chance.random()
        mids.append(mids[-1] + (0.5 if drawn < up else -0.5 if drawn < up + down else 0.0))
        states.append(BUCKETS * chance.choice([0, 0, 1]) + min(9, max(0, bucket + chance.choice([-2, -1, 0, 1, 2]))))
    return states, mids


def test_against_all_paths() -> None:
    states, mids = sample(400)
    table = adjustments(np.array(states), np.array(mids))
    for state, wanted in by_paths(states, mids).items():
        assert table[state] == pytest.approx(wanted, abs=1e-6)


def test_it_is_antisymmetric_and_rises_with_imbalance() -> None:
    states, mids = sample(30_000)
    table = adjustments(np.array(states), np.array(mids))[:BUCKETS]
    assert table == pytest.approx(-table[::-1])
    assert (np.diff(table) > 0).all()


def test_a_market_that_stands_still_adds_nothing() -> None:
    assert adjustments(np.array([3] * 50), np.full(50, 100.0)) == pytest.approx(np.zeros(20))


def test_of_a_book() -> None:
    """Mid goes up by a step after each second in which bids are nine times the asks, and down after the reverse."""
    chance, price, flows = random.Random(3), 1000, []
    for at in range(1, 900):
        up = chance.random() < 0.5
        sizes = (9.0, 1.0) if up else (1.0, 9.0)
        around = book(
            [(price / 10, sizes[0]), ((price - 1) / 10, 1.0)], [((price + 1) / 10, sizes[1]), ((price + 2) / 10, 1.0)]
        )
        flows.append((up, flow(BASE + at, book=around)))
        price += 1 if up else -1
    micro, mid = series([one for _, one in flows], "microprice_stoikov", "mid")
    assert micro[598] is None
    for (up, _), fair, middle in list(zip(flows, micro, mid, strict=True))[660:]:
        assert fair - middle == pytest.approx(0.1 if up else -0.1, abs=0.01)
