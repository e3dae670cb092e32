"""Kyle's lambda against NumPy's least squares, VPIN against one trade after the other."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from tests.core.features.world import BASE, World, book, flow, series, trades


def test_kyle_against_least_squares() -> None:
    flows = World(51).flows(600)
    found = series(flows, "kyle_lambda", "kyle_t", "kyle_n")
    mids = {one.epoch: (one.book.bids.price[-1] + one.book.asks.price[0]) / 20 for one in flows}
    ends = [epoch for epoch in mids if epoch % 5 == 0]
    signed = {}
    for one in flows:
        end = -(-one.epoch // 5) * 5
        sign = np.where(one.trades.is_buyer_maker, -1, 1)
        signed[end] = signed.get(end, 0.0) + float((sign * one.trades.price * one.trades.quantity).sum())
    for at, one in enumerate(flows):
        done = [end for end in ends[1:] if end <= one.epoch][-60:]
        if len(done) < 30:
            assert found[0][at] is None
            continue
        x = np.array([signed[end] / 1e6 for end in done])
        y = np.array([1e4 * math.log(mids[end] / mids[end - 5]) for end in done])
        slope, rest = np.linalg.lstsq(x[:, None], y, rcond=None)[:2]
        error = math.sqrt(rest[0] / (len(x) - 1) / (x @ x))
        assert found[0][at] == pytest.approx(slope[0])
        assert found[1][at] == pytest.approx(slope[0] / error)
        assert found[2][at] == len(done)


def test_kyle_finds_the_impact_that_was_put_in() -> None:
    """2 bps per million: every 5 s somebody buys or sells for up to 100,000, and mid follows at once."""
    chance, mid, flows = random.Random(2), 100_000.0, []
    for at in range(1, 400):
        rows = []
        if at % 5 == 1:
            signed = chance.uniform(-1e5, 1e5)
            mid *= math.exp(2e-4 * signed / 1e6)
            rows = [(1.0, abs(signed), signed < 0)]
        around = book([(round(mid, 1) - 0.1, 1.0)], [(round(mid, 1) + 0.1, 1.0)])
        flows.append(flow(BASE + at, book=around, trades=trades(BASE + at, rows)))
    slope, t = series(flows, "kyle_lambda", "kyle_t")
    assert slope[-1] == pytest.approx(2.0, rel=0.02)
    assert t[-1] > 50


def slow_vpin(flows) -> list[float | None]:
    minutes: dict[int, float] = {}
    size, volume, buys = None, 0.0, 0.0
    past: list[float] = []
    found: list[float | None] = []
    for one in flows:
        whole = [end for end in sorted(minutes) if end < one.epoch and end - 60 >= flows[0].epoch - 10]
        usual = sum(minutes[end] for end in whole[-60:]) / 60 if len(whole) >= 60 else None
        for quantity, maker in zip(one.trades.quantity.tolist(), one.trades.is_buyer_maker.tolist(), strict=True):
            left = quantity
            while usual is not None and left > 1e-12:
                size = size or usual
                part = min(left, size - volume)
                volume, left = volume + part, left - part
                buys += 0.0 if maker else part
                if size - volume < 1e-9:
                    past.append(abs(buys - (size - buys)) / size)
                    size, volume, buys = None, 0.0, 0.0
        end = -(-one.epoch // 60) * 60
        minutes[end] = minutes.get(end, 0.0) + float(one.trades.quantity.sum())
        found.append(sum(past[-50:]) / 50 if len(past) >= 50 else None)
    return found


def test_vpin() -> None:
    flows = World(52, 10).flows(800)
    found, wanted = series(flows, "vpin", interval_s=10)[0], slow_vpin(flows)
    known = [at for at, value in enumerate(wanted) if value is not None]
    assert len(known) > 50
    assert found[: known[0] - 1] == [None] * (known[0] - 1)
    assert found[known[0] + 1 :] == pytest.approx(wanted[known[0] + 1 :], rel=1e-6)


@pytest.mark.parametrize(("maker", "wanted"), [(lambda i: False, 1.0), (lambda i: bool(i % 2), 0.0)])
def test_vpin_of_one_side_is_one_and_of_both_is_zero(maker, wanted: float) -> None:
    flows = [
        flow(BASE + at * 10, trades=trades(BASE + at * 10, [(1.0, 1.0, maker(i)) for i in range(10)]))
        for at in range(1, 700)
    ]
    assert series(flows, "vpin", interval_s=10)[0][-1] == pytest.approx(wanted, abs=1e-12)
