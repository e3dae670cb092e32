"""The multi-tick book against plain arithmetic with decimals."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from itertools import accumulate
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.core.book import WHOLE_CEILING, WHOLE_FLOOR, Book
from collector.core.flow import NOTHING, EpochFlow, Liquidations, Quotes, Trades
from collector.core.multitick import MultiTick, ask_ladder, bid_ladder, default_ticks, wide
from collector.core.side import Side
from tests.core.script import tables

Levels = dict[int, int]


def side(levels: Levels) -> Side:
    prices = sorted(levels)
    return Side(np.array(prices, np.int64), np.array([levels[price] for price in prices], np.int64))


def book(
    bids: Levels, asks: Levels, floor: int = WHOLE_FLOOR, ceiling: int = WHOLE_CEILING, places: tuple[int, int] = (2, 3)
) -> Book:
    return Book(side(bids), side(asks), floor, ceiling, 1, *places)


def flow(one: Book | None) -> EpochFlow:
    nothing = (NOTHING[Trades], NOTHING[Quotes], None, NOTHING[Liquidations])
    return EpochFlow(5, one, 4, one is not None, None, *nothing, frozenset())  # type: ignore[arg-type]


def brute(
    levels: Levels, tick: Decimal, places: tuple[int, int], sign: int, rounding: str
) -> list[tuple[Decimal, Decimal, Decimal]]:
    """(price, quantity, notional) of each level that something rests in, best first."""
    found: dict[Decimal, tuple[Decimal, Decimal]] = {}
    for units, lots in levels.items():
        price, quantity = Decimal(units).scaleb(-places[0]), Decimal(lots).scaleb(-places[1])
        at = (price / tick).to_integral_value(rounding) * tick
        q, n = found.get(at, (Decimal(0), Decimal(0)))
        found[at] = q + quantity, n + price * quantity
    return [(at, *found[at]) for at in sorted(found, reverse=sign < 0)]


LEVELS = st.dictionaries(st.integers(1, 3000), st.integers(1, 10**9), min_size=1, max_size=60)
TICKS = st.sampled_from(["0.001", "0.01", "0.25", "0.3", "1", "7", "10", "1000"])


@settings(deadline=None, max_examples=150)
@given(LEVELS, LEVELS, TICKS, st.integers(1, 20), st.booleans(), st.sampled_from([(2, 3), (0, 0), (5, 8)]))
def test_ladders_are_exact(
    bids: Levels, asks: Levels, tick: str, levels: int, ceil: bool, places: tuple[int, int]
) -> None:
    asks = {price + 3000: lots for price, lots in asks.items()}
    one = book(bids, asks, places=places)
    width = Decimal(tick)
    for ladder, truth in (
        (bid_ladder(one, width, levels), brute(bids, width, places, -1, ROUND_FLOOR)),
        (
            ask_ladder(one, width, levels, "ceil" if ceil else "floor"),
            brute(asks, width, places, 1, ROUND_CEILING if ceil else ROUND_FLOOR),
        ),
    ):
        truth = truth[:levels]
        assert ladder.price == [float(price) for price, _, _ in truth]
        assert ladder.quantity == [float(quantity) for _, quantity, _ in truth]
        assert ladder.cum_quantity == [float(total) for total in accumulate(quantity for _, quantity, _ in truth)]
        assert ladder.cum_notional == [float(total) for total in accumulate(notional for _, _, notional in truth)]
        assert ladder.coverage == 1.0


@settings(deadline=None, max_examples=150)
@given(LEVELS, LEVELS, st.sampled_from([1, 7, 10, 100, 1000]), st.integers(1, 20), st.booleans(), st.integers(0, 2900))
def test_levels_beyond_what_is_known_are_left_out(
    bids: Levels, asks: Levels, tick: int, levels: int, ceil: bool, reach: int
) -> None:
    """Prices in whole units: a level is given if each price in it is known."""
    asks = {price + 3000: lots for price, lots in asks.items()}
    floor, ceiling = max(bids) - reach, min(asks) + reach
    one = book(bids, asks, max(floor, 1), ceiling, (0, 0))
    ladder = bid_ladder(one, Decimal(tick), levels)
    whole = {price // tick * tick for price in bids if price // tick * tick >= max(floor, 1)}
    assert ladder.price == [float(price) for price in sorted(whole, reverse=True)[:levels]]
    best = max(bids)
    wanted = best - max((best // tick - levels + 1) * tick, 0)
    assert ladder.coverage == pytest.approx(min(1.0, (best - max(floor, 1)) / wanted) if wanted else 1.0)
    up = ask_ladder(one, Decimal(tick), levels, "ceil" if ceil else "floor")
    if ceil:
        whole = {-(-price // tick) * tick for price in asks if -(-price // tick) * tick <= ceiling}
    else:
        whole = {price // tick * tick for price in asks if price // tick * tick + tick - 1 <= ceiling}
    assert up.price == [float(price) for price in sorted(whole)[:levels]]
    assert 0.0 <= (up.coverage or 0.0) <= 1.0


def test_a_bid_and_an_ask_are_never_in_one_level_unless_asked_for() -> None:
    one = book({9000750: 1000}, {9000760: 1000})
    assert bid_ladder(one, Decimal(10), 5).price == [90000.0]
    assert ask_ladder(one, Decimal(10), 5).price == [90010.0]
    assert ask_ladder(one, Decimal(10), 5, "floor").price == [90000.0]


def test_sums_beyond_64_bits_are_exact() -> None:
    huge = 10**15 - 1
    one = book({huge - 1: huge, huge - 2: huge}, {huge: huge}, places=(0, 0))
    ladder = bid_ladder(one, Decimal(10**15), 3)
    assert ladder.cum_notional == [float((2 * huge - 3) * huge)]
    assert ladder.quantity == [float(2 * huge)]


def rows_of(one: Book | None, *ticks: str, levels: int = 15) -> list[dict[str, Any]]:
    return tables(list(MultiTick(ticks, levels, "ceil").take(flow(one)))).get("multitick", [])


def test_rows_and_the_129_columns_that_people_know() -> None:
    one = book({9000100: 2000, 8999900: 1000}, {9000200: 1000, 9001500: 500}, places=(2, 3))
    small, large = rows_of(one, "10", "100")
    assert (small["tick"], large["tick"], small["epoch"], small["valid"]) == (10.0, 100.0, 5, True)
    assert (small["best_bid"], small["best_ask"], small["spread"]) == (90001.0, 90002.0, 1.0)
    assert small["spread_pct"] == pytest.approx(100 / 90001.5)
    assert small["imbalance"] == pytest.approx((3.0 - 1.5) / 4.5)
    assert small["depth_ratio"] == 2.0
    row = {name: [float(v) for v in value] if isinstance(value, list) else value for name, value in small.items()}
    columns = dict(wide(row, "BTCUSDT"))
    assert len(columns) == 129
    assert list(columns)[:11] == [
        "timestamp",
        "symbol",
        "tick_size",
        "best_bid",
        "best_ask",
        "spread",
        "spread_pct",
        "imbalance",
        "depth_ratio",
        "bid_price_1",
        "bid_qty_1",
    ]
    assert (columns["timestamp"], columns["symbol"], columns["tick_size"]) == (5000, "BTCUSDT", 10.0)
    assert (columns["bid_price_1"], columns["bid_qty_1"], columns["bid_cum_qty_2"]) == (90000.0, 2.0, 3.0)
    assert columns["bid_cum_usd_2"] == 2 * 90001.0 + 89999.0
    assert (columns["ask_price_1"], columns["ask_price_2"]) == (90010.0, 90020.0)
    assert np.isnan(columns["ask_price_3"])


def test_without_a_book_there_are_rows_without_levels_once_ticks_are_known() -> None:
    (row,) = rows_of(None, "10")
    assert (row["best_bid"], row["imbalance"], row["bid_price"], row["valid"]) == (None, None, [], False)
    assert rows_of(None) == []


def test_where_no_ticks_are_named_the_first_price_decides_for_good() -> None:
    made = MultiTick((), 15, "ceil")
    assert list(made.take(flow(None))) == []
    first = tables(list(made.take(flow(book({300000: 1}, {300100: 1})))))["multitick"]
    later = tables(list(made.take(flow(book({30: 1}, {31: 1})))))["multitick"]
    assert [row["tick"] for row in first] == [row["tick"] for row in later] == [1.0, 5.0, 10.0, 50.0, 100.0]


@pytest.mark.parametrize(
    ("price", "ticks"),
    [
        (60_000.0, ("10", "50", "100", "500", "1000")),
        (3_000.0, ("1", "5", "10", "50", "100")),
        (0.24, ("0.0001", "0.0005", "0.001", "0.005", "0.01")),
    ],
)
def test_default_ticks_suit_the_price(price: float, ticks: tuple[str, ...]) -> None:
    assert default_ticks(price) == ticks


def test_one_side_alone_says_nothing_about_both() -> None:
    (row,) = rows_of(book({100: 5}, {}), "1")
    assert (row["imbalance"], row["depth_ratio"], row["spread"], row["best_ask"]) == (None, None, None, None)
    assert len(row["bid_price"]) == 1
