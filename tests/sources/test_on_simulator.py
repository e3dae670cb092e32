"""The feed against the simulator: what was sent on a connection arrives without a hole, through faults."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from collector.clock import SystemClock
from collector.simulator.faults import parse_fault
from collector.simulator.server import Simulator, SimulatorConfig

EXCHANGES = ("binance", "binanceusdm")


@pytest.fixture
async def simulator():
    async with Simulator(SimulatorConfig(symbols=2, depth=1200, levels=5, trades=20), SystemClock()) as running:
        yield running


def depth_messages(sink, connection: int) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for text in sink.frames[connection]:
        try:
            message = json.loads(text)
        except ValueError:
            continue
        if message.get("e") == "depthUpdate":
            found.setdefault(message["s"], []).append(message)
    return found


def depth_count(sink) -> int:
    return sum(len(messages) for number in sink.frames for messages in depth_messages(sink, number).values())


def check_chains(harness, simulator, venue: str) -> int:
    """Within each connection no id is missing, and none was made up. The number of depth messages."""
    sent = {
        symbol: set(simulator.hub.ledger.sent(venue, symbol, "depth", 100)["sent"])
        for symbol in {market.symbol for market in harness.feed.markets}
    }
    count = 0
    for connection in harness.sink.frames:
        for symbol, messages in depth_messages(harness.sink, connection).items():
            assert {message["u"] for message in messages} <= sent[symbol]
            for before, after in pairwise(messages):
                assert after.get("pu", after["U"] - 1) == before["u"], (connection, symbol)
            count += len(messages)
    return count


def check_openings(harness) -> None:
    opened = sorted(number for _, number, _, _ in harness.sink.named("opened"))
    assert opened == sorted(number for _, number, _, _ in harness.sink.named("closed"))
    assert len(opened) == len(set(opened))


@pytest.mark.parametrize("venue", EXCHANGES)
async def test_through_every_fault_of_a_connection(harness, simulator, venue):
    sink = harness.sink
    await harness.run(venue, ("BTC/USDT", "ETH/USDT"), ("depth", "aggTrade"), url_root=simulator.url)
    feed = harness.feed
    for symbol in ("BTCUSDT", "ETHUSDT"):
        feed.request_anchor(symbol, "first")
    await harness.until(lambda: len(sink.named("anchor")) == 2)
    faults = ["close:stream=depth", "abort:stream=depth", "huge:stream=depth", "garbage:n=2", "unknown:n=2"]
    if venue == "binance":
        faults.append("shutdown:stream=depth")
    reopened = 2
    for spec in faults:
        before = depth_count(sink)
        simulator.apply(parse_fault(spec.replace(":", f":market={venue},", 1)))
        if spec.partition(":")[0] not in {"garbage", "unknown"}:
            reopened += 1
        await harness.until(lambda: len(sink.named("opened")) == reopened)  # noqa: B023  awaited within the turn
        await harness.until(lambda: depth_count(sink) >= before + 8)  # noqa: B023
    expected = ["disconnect", "disconnect", "oversize", "shutdown"][: reopened - 2]
    assert sink.reasons() == expected
    await harness.stop()
    assert check_chains(harness, simulator, venue) >= 8 * len(faults)
    check_openings(harness)


@pytest.mark.parametrize("venue", EXCHANGES)
async def test_one_frozen_stream_on_a_live_connection(harness, simulator, venue):
    sink = harness.sink
    await harness.run(venue, ("BTC/USDT", "ETH/USDT"), ("depth",), url_root=simulator.url)
    await harness.until(lambda: set(depth_messages(sink, 1)) == {"BTCUSDT", "ETHUSDT"})
    simulator.apply(parse_fault(f"freeze:market={venue},symbol=ETHUSDT,stream=depth"))
    # BTC goes on every 100 ms, a few seconds of the pushed clock, so that only ETH is ever silent for thirty.
    await harness.pushing(0.6, lambda: sink.reasons() == ["silent"])
    assert "ethusdt@depth@100ms said nothing" in sink.named("event")[-1][3]
    await harness.until(lambda: len(sink.named("opened")) == 2)
    assert check_chains(harness, simulator, venue) > 10


async def test_a_refused_subscription_and_refused_snapshots(harness, simulator):
    sink = harness.sink
    simulator.apply(parse_fault("reject:market=binanceusdm,n=1"))
    for spec in ("rest:path=depth,status=503,n=1", "stale_snapshot:n=1"):
        simulator.apply(parse_fault(spec))
    await harness.run("binanceusdm", ("BTC/USDT",), ("depth",), url_root=simulator.url)
    assert sink.kinds() == ["rejected"]
    harness.feed.request_anchor("BTCUSDT", "first")
    await harness.until(lambda: "anchor_failed" in sink.kinds())
    harness.clock.push(4)
    await harness.until(lambda: sink.named("anchor"))
    simulator.apply(parse_fault("rest:path=depth,status=429,n=1,retry_after=20"))
    harness.clock.push(4)
    harness.feed.request_anchor("BTCUSDT", "stale")
    await harness.until(lambda: sink.kinds().count("anchor_failed") == 2)
    assert len(sink.named("anchor")) == 1
    harness.clock.push(21)
    await harness.until(lambda: len(sink.named("anchor")) == 2)
    body = json.loads(sink.named("anchor")[-1][5])
    assert len(body["bids"]) == 1000
    assert check_chains(harness, simulator, "binanceusdm") >= 0


@pytest.mark.parametrize("venue", EXCHANGES)
async def test_every_channel_delivers(harness, simulator, venue):
    streams = ["depth", "aggTrade", "bookTicker", "trade", "depth20", "kline_1m"]
    if venue == "binanceusdm":
        streams.append("markPrice")
    await harness.run(venue, ("BTC/USDT",), tuple(streams), url_root=simulator.url)
    await harness.until(lambda: len(harness.sink.frames) == len(streams), within_s=8)
