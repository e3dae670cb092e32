"""REST answers, limits, weights and errors as Binance's."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise

import pytest

from collector.clock import ManualClock
from collector.simulator.names import SPOT, USDM
from collector.simulator.weights import WeightBudget, depth_weight

MINUTE_NS = 60 * 10**9


@pytest.mark.parametrize(
    ("exchange", "limit", "weight"),
    [
        *[(SPOT, *pair) for pair in [(None, 5), (100, 5), (101, 25), (500, 25), (501, 50), (1000, 50), (5000, 250)]],
        *[(USDM, *pair) for pair in [(None, 1), (5, 2), (50, 2), (100, 5), (500, 10), (1000, 20)]],
    ],
)
def test_depth_weights(exchange, limit, weight):
    assert depth_weight(exchange, limit) == weight


def test_the_budget_is_per_utc_minute_and_ends_in_a_ban():
    budget = WeightBudget(100)
    clock = ManualClock(1_000_000 * MINUTE_NS)
    assert budget.charge(clock.now_ns(), 100).status == 200
    clock.advance(50)
    refused = budget.charge(clock.now_ns(), 1)
    assert (refused.status, refused.used, refused.retry_after_s) == (429, 101, 10)
    clock.advance(10)
    assert budget.charge(clock.now_ns(), 1).used == 1
    for _ in range(11):
        last = budget.charge(clock.now_ns(), 100)
    assert last.status == 418
    assert last.retry_after_s == 120
    clock.advance(119)
    assert budget.charge(clock.now_ns(), 1).status == 418
    clock.advance(1)
    assert budget.charge(clock.now_ns(), 1).status == 200


async def test_used_weight_headers_and_refusal(simulating):
    async with simulating() as (simulator, client):
        simulator._exchanges[USDM].rest.budget.limit = 25
        status, headers, _ = await client.get("/fapi/v1/depth", symbol="BTCUSDT", limit=1000)
        assert (status, headers["X-MBX-USED-WEIGHT-1M"]) == (200, "20")
        status, headers, _ = await client.get("/fapi/v1/depth", symbol="NOTHING", limit=100)
        assert (status, headers["X-MBX-USED-WEIGHT-1M"]) == (400, "25")
        status, headers, body = await client.get("/fapi/v1/ping")
        assert (status, body["code"]) == (429, -1003)
        assert 1 <= int(headers["Retry-After"]) <= 60
        assert (await client.get("/api/v3/ping"))[0] == 200


@pytest.mark.parametrize(
    ("path", "params", "code"),
    [
        ("/fapi/v1/depth", {"symbol": "NOTHING"}, -1121),
        ("/api/v3/depth", {"symbol": "NOTHING"}, -1121),
        ("/api/v3/depth", {}, -1102),
        ("/fapi/v1/depth", {"symbol": "BTCUSDT", "limit": 30}, -4021),
        ("/api/v3/depth", {"symbol": "BTCUSDT", "limit": "many"}, -1100),
        ("/fapi/v1/aggTrades", {"symbol": "BTCUSDT", "fromId": 1, "startTime": 1}, -1128),
        ("/fapi/v1/aggTrades", {"symbol": "BTCUSDT", "startTime": 1}, -4166),
        ("/api/v3/exchangeInfo", {"symbol": "NOTHING"}, -1121),
    ],
)
async def test_errors_have_the_exchanges_form(simulating, path, params, code):
    async with simulating() as (_, client):
        status, _, body = await client.get(path, **params)
        assert (status, body["code"]) == (400, code)
        assert isinstance(body["msg"], str)


async def test_depth_gives_the_levels_asked_for(simulating):
    async with simulating(depth=1500) as (_, client):
        for path, limit in (("/api/v3", 7), ("/api/v3", 1000), ("/fapi/v1", 5), ("/fapi/v1", 1000)):
            _, _, body = await client.get(path + "/depth", symbol="BTCUSDT", limit=limit)
            assert len(body["bids"]) == len(body["asks"]) == limit
            assert ("E" in body) == (path == "/fapi/v1")
        _, _, body = await client.get("/fapi/v1/depth", symbol="BTCUSDT")
        assert len(body["bids"]) == 500


async def test_exchange_info_has_its_real_size(simulating):
    async with simulating(symbols=3) as (_, client):
        _, _, spot = await client.get("/api/v3/exchangeInfo")
        _, _, usdm = await client.get("/fapi/v1/exchangeInfo")
        _, _, coin = await client.get("/dapi/v1/exchangeInfo")
        _, _, one = await client.get("/api/v3/exchangeInfo", symbols='["ETHUSDT"]')
    assert len({entry["symbol"] for entry in spot["symbols"]}) == 3400
    assert len({entry["symbol"] for entry in usdm["symbols"]}) == 600
    assert [entry["symbol"] for entry in usdm["symbols"][:3]] == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
    assert coin["symbols"] == []
    assert [entry["symbol"] for entry in one["symbols"]] == ["ETHUSDT"]
    assert len(json.dumps(spot)) > 8_000_000
    ticks = [f["tickSize"] for f in usdm["symbols"][0]["filters"] if f["filterType"] == "PRICE_FILTER"]
    assert ticks == ["0.10"]


async def test_agg_trades_page_by_id(simulating):
    async with simulating(trades=400) as (simulator, client):
        market = simulator.source(SPOT).markets["BTCUSDT"]
        while len(market.history) < 120:  # noqa: ASYNC110 - the market tells no one
            await asyncio.sleep(0.05)
        _, _, newest = await client.get("/api/v3/aggTrades", symbol="BTCUSDT", limit=10)
        assert len(newest) == 10
        first = market.history[0]["a"]
        rows, from_id = [], first
        while len(rows) < 100:
            _, _, page = await client.get("/api/v3/aggTrades", symbol="BTCUSDT", fromId=from_id, limit=30)
            assert page[0]["a"] == from_id
            rows += page
            from_id = page[-1]["a"] + 1
        assert [row["a"] for row in rows] == list(range(first, first + len(rows)))
        start = rows[40]["T"]
        _, _, timed = await client.get("/api/v3/aggTrades", symbol="BTCUSDT", startTime=start, endTime=start + 50)
        assert timed
        assert all(start <= row["T"] <= start + 50 for row in timed)


async def test_time_and_futures_figures(simulating):
    async with simulating() as (simulator, client):
        now_ms = simulator.clock.now_ns() // 10**6
        for prefix in ("/api/v3", "/fapi/v1"):
            assert 0 <= (await client.get(prefix + "/time"))[2]["serverTime"] - now_ms < 5000
        assert float((await client.get("/fapi/v1/openInterest", symbol="BTCUSDT"))[2]["openInterest"]) > 0
        assert float((await client.get("/fapi/v1/premiumIndex", symbol="BTCUSDT"))[2]["markPrice"]) > 0
        filler = (await client.get("/fapi/v1/exchangeInfo"))[2]["symbols"][-1]["symbol"]
        assert (await client.get("/fapi/v1/depth", symbol=filler))[2]["bids"] == []


async def test_single_trades_page_by_id_and_make_up_the_aggregates(simulating):
    async with simulating(past_s=600, past_orders=200) as (_, client):
        _, _, aggregates = await client.get("/api/v3/aggTrades", symbol="BTCUSDT", limit=50)
        first = aggregates[0]["f"]
        _, _, trades = await client.get("/api/v3/historicalTrades", symbol="BTCUSDT", fromId=first, limit=1000)
        assert [trade["id"] for trade in trades[:50]] == list(range(first, first + 50))
        of_first = [trade for trade in trades if first <= trade["id"] <= aggregates[0]["l"]]
        assert sum(float(trade["qty"]) for trade in of_first) == pytest.approx(float(aggregates[0]["q"]))
        status, _, body = await client.get("/fapi/v1/historicalTrades", symbol="BTCUSDT", fromId=first)
        assert (status, body["code"]) == (401, -2014)


async def test_futures_trades_reach_back_two_days(simulating):
    async with simulating(past_s=3 * 86_400, past_orders=300) as (simulator, client):
        history = simulator.source(USDM).markets["BTCUSDT"].history
        reach_ms = simulator.clock.now_ns() // 10**6 - 48 * 3_600_000
        old, new = history[0]["a"], next(row["a"] for row in history if row["T"] > reach_ms + 60_000)
        status, _, body = await client.get("/fapi/v1/aggTrades", symbol="BTCUSDT", fromId=old)
        assert (status, body["code"]) == (400, -4166)
        assert (await client.get("/fapi/v1/aggTrades", symbol="BTCUSDT", fromId=new))[2][0]["a"] == new
        spot = simulator.source(SPOT).markets["BTCUSDT"].history[0]["a"]
        assert (await client.get("/api/v3/aggTrades", symbol="BTCUSDT", fromId=spot))[2][0]["a"] == spot


async def test_klines_are_those_of_the_trades_without_holes(simulating):
    async with simulating(past_s=7200, past_orders=300) as (_, client):
        _, headers, rows = await client.get("/fapi/v1/klines", symbol="BTCUSDT", interval="1m", limit=100)
        assert headers["X-MBX-USED-WEIGHT-1M"] == "1"
        assert len(rows) == 100
        assert {later[0] - row[0] for row, later in pairwise(rows)} == {60_000}
        start, end = rows[10][0], rows[40][0]
        _, _, inside = await client.get(
            "/fapi/v1/klines", symbol="BTCUSDT", interval="1m", startTime=start, endTime=end, limit=1500
        )
        assert inside == rows[10:41]
        _, _, trades = await client.get("/fapi/v1/aggTrades", symbol="BTCUSDT", limit=1000)
        for row in rows[:-2]:
            own = [trade for trade in trades if row[0] <= trade["T"] <= row[6]]
            assert float(row[5]) == pytest.approx(sum(float(trade["q"]) for trade in own))
            assert row[8] == sum(trade["l"] - trade["f"] + 1 for trade in own)
        assert (await client.get("/fapi/v1/klines", symbol="BTCUSDT", interval="7m"))[2]["code"] == -1120


async def test_funding_rates_page_by_time(simulating):
    async with simulating() as (_, client):
        _, _, newest = await client.get("/fapi/v1/fundingRate", symbol="BTCUSDT", limit=3)
        _, _, again = await client.get("/fapi/v1/fundingRate", symbol="BTCUSDT", startTime=newest[0]["fundingTime"])
        assert again == newest
        assert (await client.get("/api/v3/fundingRate", symbol="BTCUSDT"))[0] == 404
