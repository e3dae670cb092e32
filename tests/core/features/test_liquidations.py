"""Forced orders against sums over all of them."""

from __future__ import annotations

import pytest

from tests.core.features.world import BASE, NS, World, flow, liquidations, series

FLOWS = World(41).flows(1000)


@pytest.mark.parametrize(("side", "sells"), [("long", True), ("short", False)])
@pytest.mark.parametrize(("name", "seconds"), [("30s", 30), ("60s", 60), ("15m", 900)])
def test_windows(side: str, sells: bool, name: str, seconds: int) -> None:
    found = series(FLOWS, *(f"liq_{side}_{what}_{name}" for what in ("count", "quantity", "notional")))
    columns = ("side_is_sell", "price", "quantity")
    orders = [list(zip(*(getattr(one.liquidations, name).tolist() for name in columns), strict=True)) for one in FLOWS]
    for at in range(0, 1000, 7):
        rows = [(q, q * p) for one in orders[max(0, at - seconds + 1) : at + 1] for s, p, q in one if s == sells]
        if at < seconds - 1:
            assert [one[at] for one in found] == [None] * 3
        else:
            wanted = [len(rows), sum(q for q, _ in rows), sum(n for _, n in rows)]
            assert [one[at] for one in found] == pytest.approx(wanted)


def test_largest_and_age() -> None:
    flows = [flow(BASE + at) for at in range(1, 1000)]
    flows[3] = flow(BASE + 4, liquidations=liquidations(BASE + 4, [(True, 100.0, 2.0), (False, 100.0, 7.0)]))
    flows[5] = flow(BASE + 6, liquidations=liquidations(BASE + 6, [(True, 100.0, 1.0)]))
    largest, age, short = series(flows, "liq_long_largest_15m", "liq_long_age_s", "liq_short_largest_15m")
    assert largest[898] is None  # the first 15 minutes are seen whole with epoch 900
    assert largest[899] == 200.0
    assert short[899] == 700.0
    assert largest[902] == 200.0
    assert largest[903] == 100.0  # 900 s after it was received
    assert age[2] is None
    assert age[7] == ((BASE + 8) * NS - ((BASE + 6) * NS - NS + 1)) / NS


def test_no_liquidation_is_zero_and_not_null() -> None:
    flows = [flow(BASE + at) for at in range(1, 40)]
    assert series(flows, "liq_long_notional_30s")[0][29:] == [0.0] * 10
