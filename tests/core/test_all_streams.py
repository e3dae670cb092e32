"""Every stream at once: rows do not depend on drains, and a faultless session agrees with itself."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.core.bars import DELAY_MS
from collector.simulator.klines import Kline
from tests.core.everything import START_MS, START_NS, Everything, session
from tests.core.script import run, tables
from tests.core.test_market import differing

EXCHANGES = ("binanceusdm", "binance")


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 10**9), st.sampled_from(EXCHANGES))
def test_rows_do_not_depend_on_drains_with_all_streams_and_faults(seed: int, exchange: str) -> None:
    everything = Everything(exchange, seed, 6, faults=0.05)
    chance = random.Random(seed)
    once = tables(run(session(exchange), everything.inputs, start_ns=START_NS))
    often = tables(run(session(exchange), everything.inputs, lambda _: chance.random() < 0.2, start_ns=START_NS))
    assert differing(once, often) == []
    assert not any(row["kind"] == "internal_error" for row in once["events"])
    expected = {"bars", "books", "multitick", "klines", "partial_depth", "polled_books"}
    assert expected <= once.keys()


class Faultless:
    """One long session of an exchange that does all right, and its rows."""

    def __init__(self, exchange: str) -> None:
        self.everything = Everything(exchange, 7, 130)
        self.rows = tables(run(session(exchange), self.everything.inputs, lambda n: n % 500 == 0, start_ns=START_NS))


@pytest.fixture(scope="module", params=EXCHANGES)
def faultless(request: pytest.FixtureRequest) -> Faultless:
    return Faultless(request.param)


def test_nothing_is_lost_or_invented(faultless: Faultless) -> None:
    sent = faultless.everything.sent
    rows = faultless.rows
    counts = {channel: sum(message.channel == channel for message in sent) for channel in {m.channel for m in sent}}
    klines = counts["kline_1m"] + counts.get("kline_1s", 0)
    assert len(rows["diffs"]) == counts["depth"]
    assert len(rows["partial_depth"]) == counts["depth5"]
    assert len(rows["trades"]) == counts["aggTrade"]
    assert len(rows["klines"]) == klines
    assert len(rows.get("mark_price", [])) == counts.get("markPrice", 0)
    assert len(rows.get("liquidations", [])) == counts.get("forceOrder", 0)
    assert "gaps" not in rows
    assert {row["kind"] for row in rows["events"]} == {"session_started", "opened", "in_step", "session_stopped"}


def test_bars_are_the_exchanges_klines(faultless: Faultless) -> None:
    """The simulator's klines are made by its own arithmetic, in ticks and lots."""
    intervals = {"1m": 60_000, "1s": 1000}
    closed = {(row["interval"], row["open_time"]): row for row in faultless.rows["klines"] if row["closed"]}
    bars = {(row["interval"], row["open_time"]): row for row in faultless.rows["bars"] if row["complete"]}
    common = closed.keys() & bars.keys()
    assert len(common) >= (100 if any(name == "1s" for name, _ in closed) else 1)
    for key in common:
        bar, kline = bars[key], closed[key]
        pairs = {
            "open": "open",
            "high": "high",
            "low": "low",
            "close": "close",
            "volume": "volume",
            "quote_volume": "quote_volume",
            "buy_volume": "taker_buy_volume",
            "trades": "trades",
        }
        assert {name: bar[name] for name in pairs} == {name: kline[other] for name, other in pairs.items()}, key
        assert bar["interval_ms"] == intervals[bar["interval"]]
        assert bar["empty"] == (kline["first_id"] is None)
        assert bar["recv_ns"] >= (bar["open_time"] + bar["interval_ms"] + DELAY_MS) * 1_000_000
    assert all(row["late_trades"] == 0 for row in faultless.rows["bars"])


def test_bars_of_one_interval_follow_on_each_other(faultless: Faultless) -> None:
    for interval in ("1s", "5s", "1m"):
        bars = [row for row in faultless.rows["bars"] if row["interval"] == interval]
        steps = {after["open_time"] - before["open_time"] for before, after in itertools.pairwise(bars)}
        assert len(steps) <= 1
        incomplete = [row for row in bars if not row["complete"]]
        assert incomplete == bars[: len(incomplete)], "those that began before the trades were connected"
        assert all(row["open_time"] <= START_MS + 1000 for row in incomplete)


def test_partial_books_are_the_top_of_the_rebuilt_book(faultless: Faultless) -> None:
    by_id = {row["last_update_id"]: row for row in faultless.rows["books"] if row["valid"]}
    compared = 0
    for row in faultless.rows["partial_depth"]:
        book = by_id.get(row["last_update_id"])
        if book is None:
            continue
        compared += 1
        for side in ("bid", "ask"):
            assert book[f"{side}_price"][:5] == row[f"{side}_price"]
            assert book[f"{side}_quantity"][:5] == row[f"{side}_quantity"]
    assert compared > 500


def test_polled_books_are_the_rebuilt_book(faultless: Faultless) -> None:
    by_id = {row["last_update_id"]: row for row in faultless.rows["books"] if row["valid"]}
    for row in faultless.rows["polled_books"]:
        book = by_id.get(row["last_update_id"])
        assert row["limit"] == 20
        if book is not None:
            assert book["bid_price"] == row["bid_price"][:10]


def test_a_grid_point_knows_nothing_that_came_at_it_or_later(faultless: Faultless) -> None:
    diffs = sorted((row["recv_ns"], row["last_id"]) for row in faultless.rows["diffs"])
    rows = faultless.rows["books"]
    assert [row["timestamp"] for row in rows] == list(range(START_MS + 100, rows[-1]["timestamp"] + 1, 100))
    at = 0
    last: tuple[int | None, int | None] = (None, None)
    for row in rows:
        while at < len(diffs) and diffs[at][0] < row["timestamp"] * 1_000_000:
            last = diffs[at]
            at += 1
        assert row["recv_ns"] == last[0]
        if row["last_update_id"] is not None:
            assert row["last_update_id"] == last[1]
    assert sum(row["valid"] for row in rows) > len(rows) - 20


def test_the_grid_and_the_multi_tick_book_agree_with_the_depth_row_of_the_same_instant(faultless: Faultless) -> None:
    at: dict[int, Any] = {row["timestamp"]: row for row in faultless.rows["books"]}
    by_tick = {(row["epoch"], row["tick"]): row for row in faultless.rows["multitick"]}
    for depth in faultless.rows["depth"]:
        book, fine = at[depth["epoch"] * 1000], by_tick[depth["epoch"], 0.25]
        assert (book["best_bid_price"], book["best_ask_price"]) == (depth["best_bid"], depth["best_ask"])
        assert (book["mid_price"], book["valid"]) == (depth["price"], depth["valid"])
        assert book["last_update_id"] == depth["last_update_id"]
        assert (fine["best_bid"], fine["best_ask"], fine["valid"]) == (
            depth["best_bid"],
            depth["best_ask"],
            depth["valid"],
        )


def test_the_simulators_kline_is_not_ours() -> None:
    assert Kline.__module__ == "collector.simulator.klines"
