from __future__ import annotations

import asyncio

import pytest

from collector.clock import ManualClock
from collector.simulator.weights import klines_weight
from collector.sources.budget import MINUTE_NS, WeightBudget, weight_of

START_NS = 1_700_000_040 * 10**9  # a whole minute
assert START_NS % MINUTE_NS == 0


class Sleeper:
    """Moves the clock instead of waiting, and lets other tasks on."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.slept: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.advance(seconds)
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START_NS)


@pytest.fixture
def sleeper(clock: ManualClock) -> Sleeper:
    return Sleeper(clock)


@pytest.fixture
def budget(clock: ManualClock, sleeper: Sleeper) -> WeightBudget:
    return WeightBudget(100, clock, headroom=0.3, sleep=sleeper)


async def test_spends_the_allowance_then_waits_for_the_next_utc_minute(budget, clock, sleeper):
    clock.advance(20)
    for _ in range(7):
        await budget.take(10)
    assert sleeper.slept == []
    await budget.take(1)
    assert sleeper.slept == [40.25]
    assert budget.used == 1


async def test_a_new_minute_starts_from_nothing(budget, clock, sleeper):
    await budget.take(70)
    clock.advance(60)
    await budget.take(70)
    assert sleeper.slept == []


async def test_takes_over_what_the_exchange_counts(budget, clock, sleeper):
    await budget.take(5)
    budget.observe(200, {"x-mbx-used-weight-1m": "66"}, clock.now_ns())  # somebody else asks from our address
    assert budget.used == 66
    budget.observe(200, {"X-MBX-USED-WEIGHT-1M": "12"}, clock.now_ns())  # an older answer overtaken by a newer
    assert budget.used == 66
    await budget.take(5)
    assert sleeper.slept == [60.25]


async def test_a_count_of_the_minute_before_is_not_taken_over(budget, clock):
    sent_ns = clock.now_ns()
    clock.advance(60)
    budget.observe(200, {"X-MBX-USED-WEIGHT-1M": "99"}, sent_ns)
    assert budget.used == 0


@pytest.mark.parametrize(
    ("status", "headers", "pause_s"),
    [
        (429, {"Retry-After": "17"}, 17),
        (429, {}, 60),
        (418, {"retry-after": "200"}, 200),
        (418, {"Retry-After": "soon"}, 180),
        (429, {"Retry-After": "-3"}, 60),
    ],
)
async def test_a_refusal_pauses_every_request(budget, clock, sleeper, status, headers, pause_s):
    budget.observe(status, headers, clock.now_ns())
    assert budget.pause_s == pause_s
    await budget.take(1)
    assert sum(sleeper.slept) == pause_s
    assert budget.pause_s == 0


async def test_a_longer_pause_is_not_cut_by_a_shorter_one(budget, clock):
    budget.observe(418, {"Retry-After": "300"}, clock.now_ns())
    budget.observe(429, {"Retry-After": "1"}, clock.now_ns())
    assert budget.pause_s == 300


async def test_first_come_first_served_even_when_the_later_is_lighter(budget):
    order: list[str] = []

    async def ask(name: str, weight: int) -> None:
        await budget.take(weight)
        order.append(name)

    await budget.take(60)
    async with asyncio.TaskGroup() as tasks:
        for name, weight in (("heavy", 50), ("light", 1), ("last", 15)):
            tasks.create_task(ask(name, weight))
    assert order == ["heavy", "light", "last"]


async def test_a_waiter_that_gives_up_does_not_block_the_next(clock):
    waits = asyncio.Event()

    async def never(_: float) -> None:
        waits.set()
        await asyncio.Event().wait()

    budget = WeightBudget(100, clock, sleep=never)
    await budget.take(70)
    waiter = asyncio.create_task(budget.take(70))
    await waits.wait()
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    clock.advance(60)
    await asyncio.wait_for(budget.take(70), 1)


async def test_what_exceeds_the_allowance_goes_alone(budget, sleeper):
    await budget.take(1)
    await budget.take(500)
    assert sleeper.slept == [60.25]


@pytest.mark.parametrize(
    ("exchange", "limit", "weight"),
    [
        ("binance", 100, 5),
        ("binance", 101, 25),
        ("binance", 1000, 50),
        ("binance", 5000, 250),
        ("binance", None, 250),
        ("binanceusdm", 5, 2),
        ("binanceusdm", 100, 5),
        ("binanceusdm", 500, 10),
        ("binanceusdm", 1000, 20),
    ],
)
def test_depth_weights(exchange, limit, weight):
    assert weight_of(exchange, "depth", limit) == weight


@pytest.mark.parametrize(("exchange", "limit"), [("binance", 5001), ("binanceusdm", 1001), ("binance", 0)])
def test_depths_that_nobody_serves(exchange, limit):
    with pytest.raises(ValueError, match=str(limit)):
        weight_of(exchange, "depth", limit)


@pytest.mark.parametrize("exchange", ["binance", "binanceusdm"])
@pytest.mark.parametrize("limit", [1, 100, 101, 500, 501, 1000])
def test_klines_weigh_what_the_exchange_counts(exchange: str, limit: int) -> None:
    assert weight_of(exchange, "klines", limit) == klines_weight(exchange, limit)


async def test_what_can_wait_goes_by_its_share_of_the_minute(budget, clock, sleeper):
    for _ in range(3):
        await budget.take_spare(10, 0.5)  # 35 of the allowance of 70
    assert sleeper.slept == []
    await budget.take_spare(10, 0.5)
    assert sleeper.slept == [60.25]
    assert budget.used == 10


async def test_who_can_wait_stands_in_nobodys_way(clock):
    woken = asyncio.Event()

    async def sleep(seconds: float) -> None:
        await woken.wait()
        clock.advance(seconds)

    budget = WeightBudget(100, clock, headroom=0.3, sleep=sleep)
    await budget.take(30)
    waiting = asyncio.create_task(budget.take_spare(10, 0.5))
    await asyncio.sleep(0)
    assert not waiting.done()
    async with asyncio.timeout(1):
        for _ in range(4):
            await budget.take(10)  # all that the minute has, while the other waits
    assert budget.used == 70
    woken.set()
    await waiting
    assert budget.used == 10
