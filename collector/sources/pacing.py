"""How fast to try again: back-off with full jitter, and a ceiling on connection attempts."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

    from collector.clock import Clock
    from collector.sources.budget import Sleep


class Backoff:
    """Delays drawn from [0, min(cap, first · 2ⁿ)): full jitter, so that many clients do not come back together."""

    def __init__(self, first_s: float, cap_s: float, rng: random.Random) -> None:
        self._first_s = first_s
        self._cap_s = cap_s
        self._rng = rng
        self._failures = 0

    def next_s(self) -> float:
        """The delay after one more failure, in seconds."""
        ceiling_s = min(self._cap_s, self._first_s * 2.0 ** min(self._failures, 32))
        self._failures += 1
        return self._rng.uniform(0, ceiling_s)

    def reset(self) -> None:
        """Forgets the failures so far, after a success that lasted."""
        self._failures = 0


class ConnectLimiter:
    """At most `most` attempts in any `window_s`, first come, first served.

    Binance cuts an address off at 300 attempts in 5 minutes; half of that leaves room for others behind it.
    """

    def __init__(self, most: int, window_s: float, clock: Clock, sleep: Sleep = asyncio.sleep) -> None:
        if most < 1:
            raise ValueError(f"at least one connection attempt must be allowed, not {most}")
        self._most = most
        self._window_ns = round(window_s * 1e9)
        self._clock = clock
        self._sleep = sleep
        self._turn = asyncio.Lock()
        self._attempts_ns: deque[int] = deque()

    async def take(self) -> None:
        """Waits until one more attempt fits into the window, then counts it."""
        async with self._turn:
            while True:
                now_ns = self._clock.now_ns()
                while self._attempts_ns and self._attempts_ns[0] <= now_ns - self._window_ns:
                    self._attempts_ns.popleft()
                if len(self._attempts_ns) < self._most:
                    break
                await self._sleep((self._attempts_ns[0] + self._window_ns - now_ns) / 1e9)
            self._attempts_ns.append(now_ns)
