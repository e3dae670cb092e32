"""A connection is replaced before it ends, and nobody waits for anything."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from collector.sources.subscription import OVERLAP_S

DEPTH = "btcusdt@depth@100ms"
HOUR_S = 3600.0
PATIENT: dict[str, Any] = {"dead_after_s": 1e6, "silence_s": {"depth": 1e6}}  # though the clock leaps
SHUTDOWN = '{"e":"serverShutdown","E":1770000000000}'


def opened(harness) -> list[tuple[int, int | None]]:
    return [(number, replaces) for _, number, _, replaces in harness.sink.named("opened")]


def closed(harness) -> list[tuple[int, str]]:
    return [(number, reason) for _, number, _, reason in harness.sink.named("closed")]


async def test_after_23_hours_another_one_takes_over(harness, exchange):
    harness.sink.in_step = False
    await harness.run(**PATIENT)
    first = exchange.carrier(DEPTH)
    harness.clock.push(22.4 * HOUR_S)
    await asyncio.sleep(0.05)
    await exchange.send(DEPTH)
    assert opened(harness) == [(1, None)]
    harness.clock.push(0.2 * HOUR_S)  # the test's random numbers are the lowest: half an hour early
    await harness.until(lambda: opened(harness) == [(1, None), (2, 1)])
    assert closed(harness) == [], "both deliver until the new one is in step"
    for websocket in (first, exchange.carrier(DEPTH)):
        await websocket.send_str('{"e":"depthUpdate","s":"BTCUSDT","u":9,"b":[],"a":[]}')
    await harness.until(lambda: len(harness.sink.frames[1]) == 2 and len(harness.sink.frames[2]) == 1)
    harness.sink.in_step = True
    await harness.until(lambda: closed(harness) == [(1, "rotated")])
    await harness.until(lambda: first.closed)
    assert harness.sink.kinds() == []
    harness.clock.push(22.6 * HOUR_S)
    await harness.until(lambda: opened(harness)[2:] == [(3, 2)])
    await harness.until(lambda: closed(harness)[1:] == [(2, "rotated")])


async def test_a_quiet_stream_does_not_keep_the_old_one_for_ever(harness, exchange):
    harness.sink.in_step = False
    await harness.run(rotate_after_s=100.0)
    harness.clock.push(100)
    await harness.until(lambda: opened(harness) == [(1, None), (2, 1)])
    harness.clock.push(OVERLAP_S - 2)
    await asyncio.sleep(0.1)
    assert closed(harness) == []
    harness.clock.push(3)
    await harness.until(lambda: closed(harness) == [(1, "rotated")])


async def test_an_announced_shutdown_brings_a_replacement_at_once(harness, exchange):
    harness.sink.in_step = False
    await harness.run("binance", check_interval_s=600.0)  # nothing but the announcement can start it
    await exchange.send(DEPTH)
    first = exchange.carrier(DEPTH)
    for _ in range(2):
        await first.send_str(SHUTDOWN)
    await harness.until(lambda: opened(harness) == [(1, None), (2, 1)])
    assert harness.sink.kinds() == ["shutdown"]
    assert closed(harness) == []
    await first.close()  # as the exchange does some seconds later
    await harness.until(lambda: closed(harness) == [(1, "shutdown")])
    sent = [await exchange.send(DEPTH)]
    await harness.until(lambda: harness.sink.frames[2] == sent)
    assert harness.sink.kinds() == ["shutdown"]


async def test_a_replacement_that_is_refused_is_tried_again_and_harms_nothing(harness, exchange):
    await harness.run(rotate_after_s=100.0)
    exchange.refuse_subscriptions = [{"error": {"code": 2, "msg": "no"}}]
    harness.clock.push(100)
    await harness.until(lambda: harness.sink.kinds() == ["rejected"])
    await harness.until(lambda: closed(harness) == [(1, "rotated")])
    assert opened(harness) == [(1, None), (3, 1)]


async def test_the_old_one_is_lost_while_the_replacement_dials(harness, exchange):
    await harness.run(rotate_after_s=100.0)
    first = exchange.carrier(DEPTH)
    exchange.acknowledge = False
    harness.clock.push(100)
    await harness.until(lambda: exchange.requests["SUBSCRIBE"] == 2)
    await first.close()
    await harness.until(lambda: closed(harness) == [(1, "disconnect")])
    second = exchange.connections[-1]
    exchange.subscribed[second] = [DEPTH]
    await second.send_str('{"id":2,"result":null}')
    await harness.until(lambda: opened(harness) == [(1, None), (2, None)])
    sent = [await exchange.send(DEPTH)]
    await harness.until(lambda: harness.sink.frames[2] == sent)


async def test_the_replacement_is_lost_and_the_old_one_goes_on(harness, exchange):
    harness.sink.in_step = False
    await harness.run(rotate_after_s=100.0)
    first = exchange.carrier(DEPTH)
    harness.clock.push(100)
    await harness.until(lambda: len(opened(harness)) == 2)
    await exchange.carrier(DEPTH).close()
    await harness.until(lambda: closed(harness) == [(2, "disconnect")])
    await first.send_str('{"e":"depthUpdate","s":"BTCUSDT","u":9,"b":[],"a":[]}')
    await harness.until(lambda: len(harness.sink.frames[1]) == 1)
    await harness.until(lambda: opened(harness)[2:] == [(3, 1)])


async def test_replacements_count_as_connection_attempts(harness, exchange):
    await harness.run(rotate_after_s=100.0, max_connects_per_5min=1, **PATIENT)
    harness.clock.push(101)
    await asyncio.sleep(0.1)
    assert len(opened(harness)) == 1
    harness.clock.push(200)
    await harness.until(lambda: closed(harness) == [(1, "rotated")])


@pytest.mark.parametrize("acknowledge", [True, False])
async def test_stopping_meanwhile_leaves_nothing_behind(harness, exchange, acknowledge):
    harness.sink.in_step = False
    await harness.run(rotate_after_s=100.0)
    exchange.acknowledge = acknowledge
    harness.clock.push(100)
    await harness.until(lambda: exchange.requests["SUBSCRIBE"] == 2)
    if acknowledge:
        await harness.until(lambda: len(opened(harness)) == 2)
    await harness.stop()
    assert sorted(closed(harness)) == [(number, "stopped") for number, _ in opened(harness)]
    assert [task for task in asyncio.all_tasks() if "Connection.run" in repr(task)] == []
