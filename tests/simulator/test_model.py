"""The seeded market is consistent: its trades hit its book, its diffs rebuild it, its tickers tell the truth."""

from __future__ import annotations

import itertools
import json

import pytest

from collector.simulator.instruments import simulated
from collector.simulator.model import Fill, MarketModel
from collector.simulator.names import EXCHANGES, SPOT, USDM
from collector.simulator.seeded import STEP_MS, SeededMarket

START_MS = 1_768_054_365_000


@pytest.fixture(params=EXCHANGES)
def instrument(request):
    return simulated(request.param, 1)[0]


def run(instrument, steps, subscribed, *, depth=1200, seed=7, changes=30.0, orders=20.0):
    market = SeededMarket(instrument, seed, depth, changes, orders, START_MS)
    messages = []
    for number in range(1, steps + 1):
        messages += market.advance(START_MS + number * STEP_MS, subscribed)
    return market, messages


def test_the_same_seed_gives_the_same_sequence(instrument):
    wanted = {("depth", 100), ("bookTicker", 0), ("aggTrade", 0)}
    _, first = run(instrument, 100, wanted)
    _, again = run(instrument, 100, wanted)
    _, other = run(instrument, 100, wanted, seed=8)
    assert first == again
    assert first != other


def test_the_book_is_never_crossed_and_keeps_its_size(instrument):
    model = MarketModel(instrument, 3, 2000)
    for _ in range(3000):
        model.step(30, 1)
        assert model.best_bid < model.best_ask
    assert (model.best_bid, model.best_ask) == (max(model.bids), min(model.asks))
    assert min(model.bids) > 0
    for book in (model.bids, model.asks):
        assert 1000 < len(book) < 6000
        assert min(book.values()) > 0


def test_a_trade_takes_resting_quantity_at_the_best_price(instrument):
    model = MarketModel(instrument, 5, 300)
    fills = 0
    last_trade_id = model.last_trade_id
    for _ in range(500):
        before = {True: dict(model.bids), False: dict(model.asks)}
        best = {True: model.best_bid, False: model.best_ask}
        step = model.step(0, 0.5)
        eaten: dict[tuple[bool, int], int] = {}
        for event in step.events:
            if isinstance(event, Fill):
                fills += 1
                assert event.first_trade_id == last_trade_id + 1
                assert sum(event.parts) == event.lots
                assert min(event.parts) > 0
                last_trade_id = event.last_trade_id
                key = (event.buyer_is_maker, event.price)
                eaten[key] = eaten.get(key, 0) + event.lots
        for (bid, price), lots in eaten.items():
            left = (model.bids if bid else model.asks).get(price, 0)
            assert before[bid][price] - lots == left
            assert (step.bids if bid else step.asks)[price] == left
        for bid in (True, False):
            prices = [price for side, price in eaten if side is bid]
            assert not prices or (max(prices) if bid else min(prices)) == best[bid]
    assert fills > 100


@pytest.mark.parametrize("speed_ms", [0, 100, 250, 500, 1000])
def test_diffs_chain_and_rebuild_the_book_from_a_snapshot_taken_inside(instrument, speed_ms):
    wanted = {("depth", speed_ms)}
    market, _ = run(instrument, 61, wanted)
    snapshot = json.loads(market.depth(5000, 0))
    book = {side: dict(snapshot[side]) for side in ("bids", "asks")}
    diffs = []
    for number in range(62, 240):
        diffs += [json.loads(m.payload) for m in market.advance(START_MS + number * STEP_MS, wanted)]
    while market.model.last_id != diffs[-1]["u"]:
        number += 1
        diffs += [json.loads(m.payload) for m in market.advance(START_MS + number * STEP_MS, wanted)]
    last_id = snapshot["lastUpdateId"]
    assert diffs[0]["U"] <= last_id + 1 or diffs[0].get("pu") == last_id
    for before, after in itertools.pairwise(diffs):
        if instrument.exchange == SPOT:
            assert after["U"] == before["u"] + 1
        else:
            assert after["pu"] == before["u"]
            assert after["U"] > before["u"]
    for diff in diffs:
        assert diff["u"] > last_id
        for side, key in (("bids", "b"), ("asks", "a")):
            for price, quantity in diff[key]:
                book[side][price] = quantity
                if float(quantity) == 0:
                    del book[side][price]
    end = json.loads(market.depth(10**6, 0))
    assert book == {side: dict(end[side]) for side in ("bids", "asks")}
    if instrument.exchange == USDM:
        assert any(after["U"] != before["u"] + 1 for before, after in itertools.pairwise(diffs))


def test_tickers_tell_the_best_quotes_of_their_update(instrument):
    market, messages = run(instrument, 200, {("depth", 0), ("bookTicker", 0)})
    tickers = [json.loads(m.payload) for m in messages if m.channel == "bookTicker"]
    assert [t["u"] for t in tickers] == sorted({t["u"] for t in tickers})
    last, book = tickers[-1], json.loads(market.depth(1, 0))
    assert [[last["b"], last["B"]]] == book["bids"]
    assert [[last["a"], last["A"]]] == book["asks"]
    assert all(float(t["b"]) < float(t["a"]) for t in tickers)
    # After each diff the newest ticker not above its id shows the rebuilt best, as in the real captures.
    diffs = [json.loads(m.payload) for m in messages if m.channel == "depth"]
    first = SeededMarket(instrument, 7, 1200, 30.0, 20.0, START_MS)
    bids = {price: float(quantity) for price, quantity in json.loads(first.depth(5000, 0))["bids"]}
    checked = 0
    for diff in diffs:
        bids |= {price: float(quantity) for price, quantity in diff["b"]}
        best = max((float(price) for price, quantity in bids.items() if quantity), default=0)
        known = [t for t in tickers if t["u"] <= diff["u"]]
        if known:
            assert float(known[-1]["b"]) == best
            checked += 1
    assert checked > 50


def test_klines_add_up_to_the_trades(instrument):
    subscribed = {("kline_1m", 0), ("trade", 0), ("aggTrade", 0)}
    _, messages = run(instrument, 2 * 60 * 1000 // STEP_MS, subscribed, depth=200, changes=2.0, orders=3.0)
    bars = [json.loads(m.payload)["k"] for m in messages if m.channel == "kline_1m"]
    trades = [json.loads(m.payload) for m in messages if m.channel == "trade"]
    aggregates = [json.loads(m.payload) for m in messages if m.channel == "aggTrade"]
    closed = [bar for bar in bars if bar["x"]]
    assert len(closed) == 2
    full = closed[1]
    inside = [t for t in trades if full["t"] <= t["T"] + 1 <= full["T"]]
    assert (full["f"], full["L"], full["n"]) == (inside[0]["t"], inside[-1]["t"], len(inside))
    assert (full["o"], full["c"]) == (inside[0]["p"], inside[-1]["p"])
    assert float(full["h"]) == max(float(t["p"]) for t in inside)
    assert float(full["v"]) == pytest.approx(sum(float(t["q"]) for t in inside))
    assert float(full["q"]) == pytest.approx(sum(float(t["q"]) * float(t["p"]) for t in inside))
    assert float(full["V"]) == pytest.approx(sum(float(t["q"]) for t in inside if not t["m"]))
    assert [t["t"] for t in trades] == [i for a in aggregates for i in range(a["f"], a["l"] + 1)]
    assert [a["a"] for a in aggregates] == list(range(aggregates[0]["a"], aggregates[-1]["a"] + 1))


def test_futures_carry_the_fields_of_2026():
    instrument = simulated(USDM, 1)[0]
    subscribed = {("depth", 100), ("depth20", 100), ("bookTicker", 0), ("aggTrade", 0), ("markPrice", 1000)}
    _, messages = run(instrument, 200, subscribed | {("forceOrder", 0)})
    by_channel = {m.channel: json.loads(m.payload) for m in messages}
    assert set(by_channel) == {channel for channel, _ in subscribed} | {"forceOrder"}
    assert all(m["st"] == 1 for channel, m in by_channel.items() if channel != "forceOrder")
    assert all(by_channel[channel]["ps"] == "BTCUSDT" for channel in ("depth", "depth20", "bookTicker"))
    aggregates = [json.loads(m.payload) for m in messages if m.channel == "aggTrade"]
    assert all(float(a["nq"]) <= float(a["q"]) for a in aggregates)
    assert any(a["nq"] != a["q"] for a in aggregates)
