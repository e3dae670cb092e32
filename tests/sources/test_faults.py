"""The feed on an exchange that misbehaves."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import zlib

import pytest

DEPTH = "btcusdt@depth@100ms"
TRADES = "btcusdt@aggTrade"


def opens(sink) -> int:
    return len(sink.named("opened"))


def connection_of(harness, channel: str) -> int:
    """The newest connection of a channel."""
    return [number for _, number, streams, _ in harness.sink.named("opened") if streams[0].channel == channel][-1]


def check_bookkeeping(harness, exchange) -> None:
    """Each opened was closed exactly once, and what was sent is what the sink got, connection by connection."""
    opened = [(number, tuple(streams)) for _, number, streams, _ in harness.sink.named("opened")]
    closed = [(number, tuple(streams)) for _, number, streams, _ in harness.sink.named("closed")]
    assert sorted(opened) == sorted(closed)
    assert len(set(opened)) == len(opened)


async def test_a_closed_connection_comes_back_and_others_are_not_touched(harness, exchange):
    await harness.run(streams=("depth", "aggTrade"))
    before = [await exchange.send(DEPTH) for _ in range(50)]
    await exchange.carrier(DEPTH).close(code=1001)
    await harness.until(lambda: opens(harness.sink) == 3)
    after = [await exchange.send(DEPTH) for _ in range(50)]
    trades = [await exchange.send(TRADES) for _ in range(3)]
    depth = connection_of(harness, "depth")
    await harness.until(lambda: len(harness.sink.frames[depth]) == 50)
    await harness.until(lambda: trades in harness.sink.frames.values())
    assert harness.sink.reasons() == ["disconnect"]
    assert "closing code 1001" in harness.sink.named("event")[0][3]
    assert before in harness.sink.frames.values()
    assert harness.sink.frames[depth] == after
    assert depth == 3
    await harness.stop()
    check_bookkeeping(harness, exchange)


async def test_an_aborted_connection_comes_back(harness, exchange):
    await harness.run()
    exchange.carrier(DEPTH)._req.transport.abort()
    await harness.until(lambda: opens(harness.sink) == 2)
    sent = [await exchange.send(DEPTH) for _ in range(5)]
    await harness.until(lambda: harness.sink.frames[2] == sent)
    assert harness.sink.reasons() == ["disconnect"]


async def test_frames_that_make_no_sense_change_nothing(harness, exchange):
    await harness.run()
    strange = [
        '{"e":"depthUpdate","s":"BTCU',
        "hello",
        "",
        "[]",
        "null",
        "NaN",
        '{"id":null}',
        '{"e":"unheardOf","s":"BTCUSDT"}',
        '{"stream":5}',
        "[" * 50_000,
        '{"a":' * 1000,
        "\ufeff\x00",
    ]
    for text in strange:
        await exchange.send(DEPTH, text)
        await exchange.send(DEPTH)
    await harness.until(lambda: len(harness.sink.frames[1]) == 2 * len(strange))
    assert harness.sink.frames[1] == exchange.sent[DEPTH]
    assert opens(harness.sink) == 1


async def test_a_sink_that_raises_does_not_end_the_receiving(harness, exchange, caplog):
    await harness.run()
    harness.sink.raises = True
    await exchange.send(DEPTH)
    await harness.until(lambda: len(harness.sink.frames[1]) == 1)
    harness.sink.raises = False
    await exchange.send(DEPTH)
    await harness.until(lambda: len(harness.sink.frames[1]) == 2)
    assert "could not be handled" in caplog.text


async def test_a_frame_over_the_limit_closes_and_comes_back(harness, exchange):
    await harness.run()
    sent = [await exchange.send(DEPTH) for _ in range(3)]
    with contextlib.suppress(ConnectionError):
        await exchange.carrier(DEPTH).send_str("x" * 11_000_000)
    await harness.until(lambda: opens(harness.sink) == 2)
    assert harness.sink.reasons() == ["oversize"]
    assert harness.sink.frames[1] == sent


async def test_a_compressed_frame_that_nobody_agreed_to_is_not_unpacked(harness, exchange):
    await harness.run()
    sent = [await exchange.send(DEPTH) for _ in range(3)]
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b"".join(packer.compress(b"0" * (1 << 20)) for _ in range(256)) + packer.flush()
    head = b"\xc1\x7f" + len(bomb).to_bytes(8, "big")  # FIN, RSV1 (permessage-deflate), text
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    exchange.carrier(DEPTH)._req.transport.write(head + bomb)
    await harness.until(lambda: opens(harness.sink) == 2)
    assert harness.sink.reasons() == ["disconnect"]
    assert harness.sink.frames[1] == sent
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10, "KiB: 256 MiB were not made of it"


@pytest.mark.parametrize(
    "refusal",
    [{"error": {"code": 2, "msg": "Invalid request: invalid stream"}}, {"code": 2, "msg": "Invalid request"}],
)
async def test_a_refused_subscription_is_tried_again(harness, exchange, refusal):
    exchange.refuse_subscriptions = [refusal, refusal]
    await harness.run()
    assert harness.sink.kinds() == ["rejected", "rejected"]
    assert "Invalid request" in harness.sink.named("event")[0][3]
    sent = [await exchange.send(DEPTH)]
    await harness.until(lambda: harness.sink.frames[3] == sent)


@pytest.mark.parametrize(
    "text",
    ['{"e":"serverShutdown","E":1770000000000}', '{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}'],
)
async def test_an_announced_shutdown_is_not_waited_for(harness, exchange, text):
    await harness.run("binance")
    await exchange.send(DEPTH)
    await exchange.carrier(DEPTH).send_str(text)
    await harness.until(lambda: harness.sink.reasons() == ["shutdown"])
    assert opens(harness.sink) == 2
    assert harness.sink.kinds() == ["shutdown"]


async def test_data_that_overtakes_the_acknowledgement_is_not_lost(harness, exchange):
    exchange.acknowledge = False
    await harness.run(opened=False)
    await harness.until(lambda: exchange.requests["SUBSCRIBE"] == 1)
    exchange.subscribed[exchange.connections[-1]] = [DEPTH]
    sent = [await exchange.send(DEPTH), await exchange.send(DEPTH)]
    await exchange.carrier(DEPTH).send_str('{"id":1,"result":null}')
    await harness.until(lambda: harness.sink.frames[1] == sent)
    await harness.stop()
    assert [name for name, _ in harness.sink.calls if name in {"opened", "closed"}] == ["opened", "closed"]


async def test_a_subscription_that_is_never_acknowledged_is_given_up(harness, exchange):
    exchange.acknowledge = False
    await harness.run(opened=False)
    await harness.until(lambda: exchange.requests["SUBSCRIBE"] == 1)
    exchange.acknowledge = True
    harness.clock.push(21)
    await harness.until(lambda: opens(harness.sink) == 1)
    assert harness.sink.kinds() == ["unacknowledged"]
    assert harness.sink.reasons() == []


async def test_an_exchange_that_is_gone_is_tried_until_it_is_back(harness, exchange):
    await harness.run()
    port = exchange.url.rpartition(":")[2]
    await exchange.stop()
    await harness.until(lambda: harness.sink.kinds().count("connect_failed") >= 3)
    exchange.connections.clear()
    await exchange.start(int(port))
    await harness.until(lambda: opens(harness.sink) == 2)
    sent = [await exchange.send(DEPTH)]
    number = connection_of(harness, "depth")
    await harness.until(lambda: harness.sink.frames[number] == sent)


async def test_connection_attempts_are_rationed(harness, exchange):
    exchange.refuse_subscriptions = [{"error": {"code": 2, "msg": "no"}}] * 10
    await harness.run(opened=False, max_connects_per_5min=3)
    await harness.until(lambda: harness.sink.kinds().count("rejected") == 3)
    await asyncio.sleep(0.1)
    assert len(exchange.connections) == 4  # one to prove the URL
    harness.clock.push(301)
    await harness.until(lambda: harness.sink.kinds().count("rejected") == 6)


# -- silence


async def test_a_quiet_market_is_left_alone(harness, exchange):
    await harness.run(streams=("depth", "aggTrade"), last_seen=lambda stream: None)
    for _ in range(8):
        harness.clock.push(40)
        await exchange.carrier(DEPTH).ping()
        await exchange.carrier(TRADES).ping()
        await asyncio.sleep(0.05)
    assert exchange.requests["depth"] >= 2
    assert exchange.requests["aggTrades"] >= 2
    assert harness.sink.reasons() == []
    assert opens(harness.sink) == 2


async def test_a_quiet_market_is_asked_about_ever_more_rarely(harness, exchange):
    await harness.run(last_seen=lambda stream: None, dead_after_s=1e9)
    for _ in range(40):  # twenty minutes
        harness.clock.push(31)
        await asyncio.sleep(0.025)
    assert 4 <= exchange.requests["depth"] <= 10


async def test_a_stream_that_never_speaks_while_the_market_moves_is_dead(harness, exchange):
    await harness.run()
    harness.clock.push(31)
    await harness.until(lambda: exchange.requests["depth"] == 1)
    exchange.rest_book = {**exchange.rest_book, "bids": [["10.5", "3"]]}
    await harness.pushing(1, lambda: opens(harness.sink) == 2)
    assert exchange.requests["depth"] == 2
    assert harness.sink.reasons() == ["silent"]
    assert "btcusdt@depth@100ms said nothing for 4" in harness.sink.named("event")[-1][3]


async def test_one_dead_stream_on_a_live_connection(harness, exchange):
    quotes = {"BTCUSDT": (10.0, 1.0, 11.0, 1.0), "ETHUSDT": (9.0, 1.0, 11.0, 1.0)}
    await harness.run(markets=("BTCUSDT", "ETHUSDT"), last_seen=lambda stream: quotes[stream.symbol])
    await exchange.send("ethusdt@depth@100ms")
    await exchange.send(DEPTH)
    await harness.until(lambda: len(harness.sink.frames[1]) == 2)
    for _ in range(4):  # BTC goes on, ETH does not, and REST says that ETH's best bid is 10 now
        harness.clock.push(10)
        await exchange.send(DEPTH)
        await asyncio.sleep(0.05)
    await harness.pushing(1, lambda: opens(harness.sink) == 2)
    assert exchange.requests["depth"] == 1
    assert harness.sink.reasons() == ["silent"]
    assert harness.sink.named("event")[-1][3].startswith("depth connection 1: ethusdt@depth@100ms said nothing")


@pytest.mark.parametrize(
    ("channel", "ours", "dead"),
    [
        ("aggTrade", 6, True),
        ("aggTrade", 7, False),
        ("aggTrade", 8, False),
        ("trade", 8, True),
        ("trade", 9, False),
    ],
)
async def test_trades_are_judged_by_their_ids(harness, exchange, channel, ours, dead):
    await harness.run(streams=(channel,), last_seen=lambda stream: ours)
    await exchange.send(f"btcusdt@{channel}")
    await harness.until(lambda: harness.sink.frames[1])
    harness.clock.push(121)
    await harness.until(lambda: exchange.requests["aggTrades"] == 1)
    if dead:
        await harness.pushing(1, lambda: harness.sink.reasons() == ["silent"])
    else:
        await asyncio.sleep(0.05)
        harness.clock.push(4)
        await asyncio.sleep(0.05)
        assert harness.sink.reasons() == []


async def test_a_stream_that_speaks_while_it_is_suspected_is_alive(harness, exchange):
    await harness.run(last_seen=lambda stream: (9.0, 1.0, 11.0, 1.0))
    await exchange.send(DEPTH)
    await harness.until(lambda: harness.sink.frames[1])
    harness.clock.push(31)
    await harness.until(lambda: exchange.requests["depth"] == 1)
    await exchange.send(DEPTH)
    await harness.until(lambda: len(harness.sink.frames[1]) == 2)
    harness.clock.push(4)
    await asyncio.sleep(0.1)
    assert harness.sink.reasons() == []


async def test_a_failing_probe_proves_nothing(harness, exchange):
    exchange.answers["depth"] = [(500, b"", {}), (200, b'{"bids":3}', {}), (200, b"<html>", {})]
    await harness.run(last_seen=lambda stream: (9.0, 1.0, 11.0, 1.0))
    await exchange.send(DEPTH)
    await harness.until(lambda: harness.sink.frames[1])
    for probes in (1, 2, 3):
        harness.clock.push(31)
        await harness.until(lambda probes=probes: harness.sink.kinds().count("probe_failed") == probes)
    assert harness.sink.reasons() == []


async def test_a_connection_without_any_sign_of_life_is_dropped(harness, exchange):
    await harness.run(streams=("forceOrder",))
    harness.clock.push(149)
    await exchange.carrier("btcusdt@forceOrder").ping()
    await asyncio.sleep(0.1)
    harness.clock.push(149)
    await asyncio.sleep(0.1)
    assert harness.sink.reasons() == []
    harness.clock.push(2)
    await harness.until(lambda: opens(harness.sink) == 2)
    assert harness.sink.reasons() == ["dead"]


async def test_a_stepped_wall_clock_is_no_silence(harness, exchange, monkeypatch):
    import time

    await harness.run(streams=("depth", "aggTrade"))
    real = time.time
    for step_s in (3600, -3600):
        monkeypatch.setattr(time, "time", lambda step_s=step_s: real() + step_s)
        await asyncio.sleep(0.1)
    assert harness.sink.reasons() == []
    assert opens(harness.sink) == 2


# -- REST


@pytest.mark.parametrize("status", [429, 418])
async def test_a_limit_stops_every_request_until_it_is_over(harness, exchange, status):
    feed = await harness.run(markets=("BTCUSDT", "ETHUSDT"))
    await harness.until(lambda: harness.sink.named("clock_measured"))
    exchange.answers["depth"] = [(status, b'{"code":-1003,"msg":"Too many requests"}', {"Retry-After": "30"})]
    feed.request_anchor("BTCUSDT", "first")
    await harness.until(lambda: "anchor_failed" in harness.sink.kinds())
    assert f"HTTP {status}" in harness.sink.named("event")[0][3]
    feed.request_anchor("ETHUSDT", "first")
    harness.clock.push(25)
    await asyncio.sleep(0.1)
    assert exchange.requests["depth"] == 1
    sent = await exchange.send(DEPTH)  # the stream goes on meanwhile
    await harness.until(lambda: sent in harness.sink.frames[1])
    harness.clock.push(6)
    await harness.until(lambda: len(harness.sink.named("anchor")) == 2)
    assert harness.sink.reasons() == []


@pytest.mark.parametrize(
    "answer",
    [
        (500, b"", {}),
        (503, b"<html>busy</html>", {}),
        (200, b"<html>", {}),
        (200, b"", {}),
        (400, b'{"code":-1121,"msg":"Invalid symbol."}', {}),
    ],
)
async def test_a_snapshot_that_fails_is_an_event_and_is_fetched_again(harness, exchange, answer):
    exchange.answers["depth"] = [answer]
    feed = await harness.run()
    feed.request_anchor("BTCUSDT", "first")
    await harness.until(lambda: "anchor_failed" in harness.sink.kinds())
    assert harness.sink.named("event")[0][1] == "BTCUSDT"
    harness.clock.push(4)
    await harness.until(lambda: harness.sink.named("anchor"))
    assert [reason for _, _, reason in harness.sink.named("anchor_requested")] == ["first", "first"]


async def test_a_snapshot_that_was_too_old_is_fetched_again_but_not_at_once(harness, exchange):
    feed = await harness.run()
    feed.request_anchor("BTCUSDT", "first")
    await harness.until(lambda: len(harness.sink.named("anchor")) == 1)
    assert feed.request_anchor("BTCUSDT", "stale")
    await asyncio.sleep(0.1)
    assert exchange.requests["depth"] == 1
    harness.clock.push(3)
    await harness.until(lambda: len(harness.sink.named("anchor")) == 2)
    first, second = harness.sink.named("anchor_requested")
    assert second[0] - first[0] >= 3_000_000_000
    assert second[2] == "stale"


async def test_the_first_snapshots_share_the_budget_and_tell_their_progress(harness, exchange):
    exchange.symbols = [f"C{number}USDT" for number in range(100)]
    progress: list[tuple[int, int]] = []
    feed = await harness.run(
        markets=("*/USDT:USDT",), on_progress=lambda *args: progress.append(args), weight_headroom=0.5
    )
    for market in feed.markets:
        feed.request_anchor(market.symbol, "first")
    await harness.until(lambda: exchange.requests["depth"] >= 55)
    await asyncio.sleep(0.1)
    # 1200 of weight in a minute, of which the listing and the clock took a few, or two minutes' worth at a boundary.
    assert 55 <= exchange.requests["depth"] < 100 or feed._budget.used < 60 * 20
    harness.clock.push(61)
    await harness.until(lambda: len(harness.sink.named("anchor")) == 100)
    assert progress == [(count, 100) for count in range(1, 101)]
