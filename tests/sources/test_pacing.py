from __future__ import annotations

import random

from collector.clock import ManualClock
from collector.sources.pacing import Backoff, ConnectLimiter


class Ceiling(random.Random):
    def uniform(self, a: float, b: float) -> float:
        assert a == 0
        return b


def test_backoff_doubles_up_to_its_cap_and_starts_afresh():
    backoff = Backoff(1.0, 60.0, Ceiling())
    assert [backoff.next_s() for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    backoff.reset()
    assert backoff.next_s() == 1


def test_backoff_survives_any_number_of_failures():
    backoff = Backoff(1.0, 60.0, Ceiling())
    assert {backoff.next_s() for _ in range(5000)} <= {1, 2, 4, 8, 16, 32, 60}


def test_jitter_is_full():
    draws = [Backoff(1.0, 60.0, random.Random(seed)).next_s() for seed in range(200)]
    assert min(draws) < 0.05
    assert max(draws) > 0.95


async def test_connection_attempts_stay_under_the_ceiling_in_any_window():
    clock = ManualClock(10**18)
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.advance(seconds)

    limiter = ConnectLimiter(3, 300.0, clock, sleep)
    times: list[float] = []
    for _ in range(9):
        await limiter.take()
        times.append((clock.now_ns() - 10**18) / 1e9)
        clock.advance(10)
    assert slept == [270.0, 270.0]
    assert all(later - earlier >= 300 for earlier, later in zip(times, times[3:], strict=False))
