"""Books on a time grid: each point once, also through stalls, and nothing of the future in it."""

from __future__ import annotations

import pytest

from collector.core.depth_rows import Standing
from collector.core.grid import MOST_NS, BookGrid
from collector.core.inputs import AnchorArrived, AnchorRequested, Opened, Tick
from collector.core.market import Market
from tests.core.everything import session
from tests.core.exchange import SECOND, START_NS, Exchange, text
from tests.core.script import Input, hand, tables

NOTHING = Standing(None, None, None, None, False)


class Grid:
    def __init__(self, grid_ms: int = 100) -> None:
        self.events: list[tuple[int, str, str]] = []
        self.grid = BookGrid(grid_ms, 5, START_NS, 5 * SECOND, lambda *event: self.events.append(event))

    def points(self, at_ns: int) -> list[int]:
        self.grid.reach(at_ns, NOTHING)
        return [row["timestamp"] - START_NS // 10**6 for row in tables(self.grid.drain()).get("books", [])]


def test_points_come_when_they_are_reached_and_once() -> None:
    one = Grid()
    assert one.points(START_NS + 99_999_999) == []
    assert one.points(START_NS + 100_000_000) == [100]
    assert one.points(START_NS + 100_000_001) == []
    assert one.points(START_NS + 450_000_000) == [200, 300, 400]
    assert one.grid.next_ns == START_NS + 500_000_000


def test_after_more_than_a_minute_of_nothing_the_rest_is_left_out_and_said() -> None:
    one = Grid(1000)
    found = one.points(START_NS + 3600 * SECOND)
    assert found == [at * 1000 for at in range(1, MOST_NS // SECOND + 2)]
    ((_, kind, detail),) = one.events
    assert kind == "grid_left_out"
    assert detail.startswith(f"{3600 - len(found)} grid points")
    assert one.points(START_NS + 3601 * SECOND) == [3_601_000]


@pytest.mark.parametrize("step_ns", [7_000_000, 130_000_000, 1_000_000_000])
def test_the_book_of_a_point_is_the_one_before_it(step_ns: int) -> None:
    exchange = Exchange(futures=True)
    market = Market(START_NS, session("binanceusdm", book_grid_ms=100, book_depth=3, channels=("depth",)))
    now, sent = START_NS, []
    hand(market, Input(now, Opened(1, ["depth"])))
    for number in range(60):
        now += step_ns
        hand(market, Input(now, text(exchange.diff(now))))
        sent.append((now, exchange.last_id))
        if number == 3:
            hand(market, Input(now, AnchorRequested("test")))
            hand(market, Input(now, AnchorArrived(now, "test", 1000)))
            hand(market, Input(now, exchange.snapshot()))
    hand(market, Input(now + SECOND, Tick()))
    rows = tables(market.drain())["books"]
    assert [row["timestamp"] for row in rows] == list(range(START_NS // 10**6 + 100, (now + SECOND) // 10**6 + 1, 100))
    checked = 0
    for row in rows:
        before = [ident for at, ident in sent if at < row["timestamp"] * 10**6]
        if row["last_update_id"] is None:
            continue
        checked += 1
        assert row["last_update_id"] == before[-1]
        bids, asks = exchange.truth[before[-1]]
        best = sorted(bids, reverse=True)[:3]
        assert [float(price) for price in row["bid_price"]] == [price / 100 for price in best]
        assert [float(quantity) for quantity in row["bid_quantity"]] == [bids[price] / 1000 for price in best]
        assert row["bid_volume_top"] == sum(bids[price] for price in best) / 1000
        bid, ask = row["bid_volume_top"], sum(asks[price] for price in sorted(asks)[:3]) / 1000
        assert row["volume_imbalance"] == pytest.approx((bid - ask) / (bid + ask))
        assert (row["depth"], row["grid_ms"]) == (3, 100)
    assert checked


def test_a_point_in_a_stall_is_valid_only_while_the_book_is_fresh() -> None:
    exchange = Exchange(futures=True)
    market = Market(START_NS, session("binanceusdm", book_grid_ms=1000, channels=("depth",)))
    now = START_NS + 1
    hand(market, Input(now, Opened(1, ["depth"])))
    hand(market, Input(now, text(exchange.diff(now))))
    hand(market, Input(now, exchange.snapshot()))
    hand(market, Input(now + 1, text(exchange.diff(now))))
    for second in range(1, 10):
        hand(market, Input(START_NS + second * SECOND, Tick()))
    assert [row["valid"] for row in tables(market.drain())["books"]] == [True] * 5 + [False] * 4
