"""A wildcard is followed: what is listed joins, what is gone ends, and a silent exchange ends nothing."""

from __future__ import annotations

import pytest

from collector.clock import SystemClock
from collector.shards import Shard, shard_of
from collector.simulator.faults import parse_fault
from collector.simulator.server import Simulator, SimulatorConfig


@pytest.fixture
async def simulator():
    async with Simulator(SimulatorConfig(symbols=3, depth=50), SystemClock()) as running:
        yield running


@pytest.mark.parametrize("venue", ["binanceusdm", "binance"])
async def test_markets_join_and_end(harness, simulator, venue):
    sink = harness.sink
    simulator.apply(parse_fault("unlist:symbol=ETHUSDT"))
    await harness.run(venue, ("[BE]T[CH]USDT",), ("aggTrade", "depth"), url_root=simulator.url, listing_interval_s=0.2)
    assert "ETHUSDT" not in {market.symbol for market in harness.feed.markets}
    simulator.apply(parse_fault("list:symbol=ETHUSDT"))
    await harness.until(lambda: sink.named("listed"))
    _, market, streams = sink.named("listed")[0]
    assert market.symbol == "ETHUSDT"
    assert {stream.channel for stream in streams} == {"aggTrade", "depth"}
    await harness.until(lambda: any("ETHUSDT" in str(text) for frames in sink.frames.values() for text in frames))
    assert harness.feed.request_anchor("ETHUSDT", "first")
    await harness.until(lambda: any(call[1] == "ETHUSDT" for call in sink.named("anchor")))
    simulator.apply(parse_fault("delist:symbol=ETHUSDT"))
    await harness.until(lambda: len([call for call in sink.named("closed") if call[3] == "delisted"]) >= 2)
    ended = [stream.symbol for call in sink.named("closed") if call[3] == "delisted" for stream in call[2]]
    assert set(ended) == {"ETHUSDT"}
    assert len(sink.named("listed")) == 1


async def test_a_market_that_joins_is_listened_to_once_it_has_begun(harness, simulator):
    sink = harness.sink
    simulator.apply(parse_fault("unlist:symbol=ETHUSDT"))
    await harness.run("binanceusdm", ("[BE]T[CH]USDT",), ("aggTrade",), url_root=simulator.url, listing_interval_s=0.05)
    sink.may_listen.clear()
    simulator.apply(parse_fault("list:symbol=ETHUSDT"))
    await harness.until(lambda: sink.named("listed"))
    asked = simulator.hub.counters["rest binanceusdm exchangeInfo"]
    await harness.until(lambda: simulator.hub.counters["rest binanceusdm exchangeInfo"] >= asked + 4)
    assert len(sink.named("opened")) == 1
    assert len(simulator.hub.connections) == 1
    sink.may_listen.set()
    await harness.until(lambda: len(sink.named("opened")) == 2)


async def test_an_exchange_that_lists_nothing_ends_nothing(harness, simulator):
    sink = harness.sink
    await harness.run("binanceusdm", ("BTCUSD?",), ("aggTrade",), url_root=simulator.url, listing_interval_s=0.1)
    for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT"):
        simulator.apply(parse_fault(f"delist:symbol={symbol}"))
    await harness.until(lambda: [call for call in sink.named("event") if call[2] == "listing_failed"])
    assert not [call for call in sink.named("closed") if call[3] == "delisted"]


async def test_named_markets_alone_are_not_followed(harness, simulator):
    await harness.run("binanceusdm", ("BTC/USDT",), ("aggTrade",), url_root=simulator.url, listing_interval_s=0.05)
    asked = simulator.hub.counters["rest binanceusdm exchangeInfo"]
    await harness.until(lambda: sum(map(len, harness.sink.frames.values())) > 5)
    assert simulator.hub.counters["rest binanceusdm exchangeInfo"] == asked


async def test_a_market_of_another_shard_does_not_join(harness, simulator):
    """ETHUSDT falls to another one of five collectors than BTCUSDT does."""
    mine = shard_of("binanceusdm", "BTCUSDT", 5)
    assert shard_of("binanceusdm", "ETHUSDT", 5) != mine
    simulator.apply(parse_fault("unlist:symbol=ETHUSDT"))
    await harness.run(
        "binanceusdm",
        ("[BE]T[CH]USDT",),
        ("aggTrade",),
        url_root=simulator.url,
        listing_interval_s=0.05,
        shard=Shard(mine, 5),
    )
    simulator.apply(parse_fault("list:symbol=ETHUSDT"))
    asked = simulator.hub.counters["rest binanceusdm exchangeInfo"]
    await harness.until(lambda: simulator.hub.counters["rest binanceusdm exchangeInfo"] >= asked + 3)
    assert not harness.sink.named("listed")
