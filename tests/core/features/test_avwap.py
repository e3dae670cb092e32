"""The anchored VWAP against exact fractions, and the errors that others made."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from collector.core.inputs import AvwapAnchor
from tests.core.features.world import BASE, World, book, engine, flow, series, trades

FLOWS = World(21).flows(1000)


def exact(flows) -> tuple[float, float]:
    """AVWAP and sigma over all trades, in fractions."""
    rows = [
        (Fraction(p), Fraction(q))
        for one in flows
        for p, q in zip(one.trades.price.tolist(), one.trades.quantity.tolist(), strict=True)
    ]
    volume = sum(q for _, q in rows)
    price = sum(p * q for p, q in rows) / volume
    return float(price), math.sqrt(sum(q * (p - price) ** 2 for p, q in rows) / volume)


def test_from_the_start_of_a_quarter_of_an_hour() -> None:
    price, sigma, upper, lower = series(FLOWS, "avwap", "avwap_sigma", "avwap_upper_2", "avwap_lower_3")
    # The first epoch is BASE + 2, so the quarter that begins at BASE was not seen whole; the next begins at BASE + 900.
    assert price[:899] == [None] * 899
    since = FLOWS[899:]
    assert since[0].epoch == BASE + 901
    for at in (899, 900, 950, 999):
        wanted, spread = exact(FLOWS[899 : at + 1])
        assert price[at] == pytest.approx(wanted, rel=1e-14)
        assert sigma[at] == pytest.approx(spread, rel=1e-9)
        assert upper[at] == pytest.approx(wanted + 2 * spread)
        assert lower[at] == pytest.approx(wanted - 3 * spread)


def test_it_is_of_trades_and_not_of_bars() -> None:
    """Close times volume of the second would give 30."""
    rows = [(10.0, 9.0, False), (30.0, 1.0, False)]
    assert series([flow(BASE + 1, trades=trades(BASE + 1, rows))], "avwap") == [[12.0]]


def test_the_deviation_of_large_prices_does_not_cancel() -> None:
    rows = [(1e9, 1.0, False), (1e9 + 0.1, 1.0, True)] * 50
    sigma = series([flow(BASE + 1, trades=trades(BASE + 1, rows))], "avwap_sigma")[0][0]
    assert sigma == pytest.approx(0.05, rel=1e-6)


def test_the_deviation_is_of_the_microprice() -> None:
    around = book([(11.0, 3.0)], [(13.0, 1.0)])
    one = flow(BASE + 1, book=around, trades=trades(BASE + 1, [(12.0, 1.0, False)]))
    assert series([one], "avwap_deviation_bps")[0] == [pytest.approx(1e4 * (12.5 - 12) / 12)]


def test_an_anchor_by_hand_and_back() -> None:
    made = engine(["avwap"])
    rows = [made.values(one)[0] for one in FLOWS[:10]]
    assert rows == [None] * 10
    made.hear(AvwapAnchor("manual"))
    rows = [made.values(one)[0] for one in FLOWS[10:990]]
    assert rows[-1] == pytest.approx(exact(FLOWS[10:990])[0], rel=1e-14)  # quarters do not count now
    made.hear(AvwapAnchor("auto"))
    assert made.values(FLOWS[990]) == [None]
