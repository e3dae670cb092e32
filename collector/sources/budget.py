"""The request weight that Binance grants an address: per host family, per UTC minute.

Weights and limits are those of the exchange's REST pages as of 2026; futures were measured to count by the UTC minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collector.clock import Clock

Sleep = Callable[[float], Awaitable[None]]

MINUTE_NS = 60_000_000_000
# Our minute and the exchange's begin apart by the clock offset; waiting a little into ours keeps within theirs.
_INTO_MINUTE_NS = 250_000_000
_DEFAULT_PAUSE_S = {429: 60.0, 418: 180.0}

LIMITS: Mapping[str, int] = {"binance": 6000, "binanceusdm": 2400}

_SPOT = {"exchangeInfo": 20, "time": 1, "ping": 1, "aggTrades": 4, "trades": 25, "historicalTrades": 25, "klines": 2}
_FUTURES = {
    "exchangeInfo": 1,
    "time": 1,
    "ping": 1,
    "aggTrades": 20,
    "trades": 5,
    "openInterest": 1,
    "fundingRate": 0,  # of a pool of its own: 500 requests in five minutes
}
_FUTURES_KLINES = ((100, 1), (500, 2), (1000, 5), (1500, 10))
_SPOT_DEPTH = ((100, 5), (500, 25), (1000, 50), (5000, 250))
_FUTURES_DEPTH = ((50, 2), (100, 5), (500, 10), (1000, 20))


def weight_of(exchange: str, path: str, limit: int | None = None) -> int:
    """Weight of one request to `path`; `limit` matters for `depth`, and for `klines` of futures.

    Raises:
        ValueError: the exchange does not serve a depth of `limit` levels, or as many klines.
        KeyError: `path` is not in the table.
    """
    if path == "klines" and exchange != "binance":
        return next(weight for most, weight in _FUTURES_KLINES if (1000 if limit is None else limit) <= most)
    if path != "depth":
        return (_SPOT if exchange == "binance" else _FUTURES)[path]
    steps = _SPOT_DEPTH if exchange == "binance" else _FUTURES_DEPTH
    asked = steps[-1][0] if limit is None else limit
    for most, weight in steps:
        if 1 <= asked <= most:
            return weight
    raise ValueError(f"{exchange} does not serve {asked} levels, but 1 to {steps[-1][0]}")


class WeightBudget:
    """Lets requests through in the order in which they asked, within `limit` a minute less some headroom.

    What the exchange says (used weight, a pause until it forgives) overrides the own count, so that other processes
    behind the same address are allowed for. All times come from `clock`; `sleep` is replaced in tests.
    """

    def __init__(self, limit: int, clock: Clock, *, headroom: float = 0.3, sleep: Sleep = asyncio.sleep) -> None:
        if not 0 <= headroom < 1:
            raise ValueError(f"headroom must lie in [0, 1), not {headroom}")
        self.limit = limit
        self.allowance = int(limit * (1 - headroom))
        self._clock = clock
        self._sleep = sleep
        self._turn = asyncio.Lock()  # wakes its waiters in the order in which they came
        self._minute = 0
        self._used = 0
        self._blocked_until_ns = 0

    async def take(self, weight: int) -> None:
        """Waits until `weight` fits into the present minute and no pause is in force, then books it."""
        async with self._turn:
            while (wait_ns := self._wait_ns(weight)) > 0:
                await self._sleep(wait_ns / 1e9)
            self._used += weight

    async def take_spare(self, weight: int, share: float) -> None:
        """As `take`, for a request that can wait: goes only while `share` of the allowance is not used up.

        Waits outside the queue, so that it never stands in front of a request that cannot wait.
        """
        while True:
            async with self._turn:
                wait_ns = self._wait_ns(weight, int(self.allowance * share))
                if wait_ns <= 0:
                    self._used += weight
                    return
            await self._sleep(wait_ns / 1e9)

    def observe(self, status: int, headers: Mapping[str, str], sent_ns: int) -> None:
        """Takes over what a response says: the used weight of the minute it was sent in, and 429 or 418 as a pause."""
        now_ns = self._clock.now_ns()
        self._roll(now_ns)
        lowered = {name.lower(): value for name, value in headers.items()}
        used = lowered.get("x-mbx-used-weight-1m", "")
        if used.isdigit() and sent_ns // MINUTE_NS == self._minute:
            self._used = max(self._used, int(used))
        if status in _DEFAULT_PAUSE_S:
            pause_s = _seconds(lowered.get("retry-after"), _DEFAULT_PAUSE_S[status])
            self._blocked_until_ns = max(self._blocked_until_ns, now_ns + round(pause_s * 1e9))

    @property
    def used(self) -> int:
        """Weight booked in the present minute."""
        self._roll(self._clock.now_ns())
        return self._used

    @property
    def pause_s(self) -> float:
        """How long the exchange still wants to hear nothing; 0 when it does not."""
        return max(0, self._blocked_until_ns - self._clock.now_ns()) / 1e9

    def _roll(self, now_ns: int) -> None:
        minute = now_ns // MINUTE_NS
        if minute != self._minute:
            self._minute = minute
            self._used = 0

    def _wait_ns(self, weight: int, ceiling: int | None = None) -> int:
        now_ns = self._clock.now_ns()
        self._roll(now_ns)
        if now_ns < self._blocked_until_ns:
            return self._blocked_until_ns - now_ns
        # A request heavier than the whole allowance would wait for ever; it goes alone instead.
        if self._used == 0 or self._used + weight <= (self.allowance if ceiling is None else ceiling):
            return 0
        return (self._minute + 1) * MINUTE_NS + _INTO_MINUTE_NS - now_ns


def _seconds(text: str | None, default: float) -> float:
    try:
        seconds = float(text) if text is not None else default
    except ValueError:
        return default
    return seconds if 0 <= seconds <= 7 * 86_400 else default
