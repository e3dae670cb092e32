"""REST request weights and the budget that they are taken from (2026; `reference` figures of Binance's documentation).

The window is the UTC minute. Over the limit a request gets 429; who goes on gets 418 and stays banned for a while.
"""

from __future__ import annotations

from dataclasses import dataclass

from collector.simulator.names import SPOT, USDM

LIMITS = {SPOT: 6000, USDM: 2400}
_MINUTE_NS = 60 * 10**9
_PATIENCE = 10
"""Requests over the limit in one minute before the ban; the exchange does not publish its number."""
_BAN_NS = 120 * 10**9


def depth_weight(exchange: str, limit: int | None) -> int:
    """Weight of a depth request; None is a request that names no limit."""
    if exchange == SPOT:
        bands = ((100, 5), (500, 25), (1000, 50))
        return next((weight for most, weight in bands if (limit or 100) <= most), 250)
    if limit is None:
        return 1  # measured on the exchange: 500 levels for weight 1
    return {100: 5, 500: 10, 1000: 20}.get(limit, 2)


def klines_weight(exchange: str, limit: int | None) -> int:
    """Weight of a klines request; on futures the upper bounds are inclusive, as measured."""
    if exchange == SPOT:
        return 2
    bands = ((100, 1), (500, 2), (1000, 5))
    return 5 if limit is None else next((weight for most, weight in bands if limit <= most), 10)


_FIXED = {
    (SPOT, "aggTrades"): 4,
    (SPOT, "trades"): 25,
    (SPOT, "historicalTrades"): 25,
    (SPOT, "exchangeInfo"): 20,
    (USDM, "aggTrades"): 20,
    (USDM, "trades"): 5,
    (USDM, "historicalTrades"): 200,
    (USDM, "fundingRate"): 0,  # of a pool of its own
}


def fixed_weight(exchange: str, endpoint: str) -> int:
    """Weight of an endpoint that does not depend on parameters."""
    return _FIXED.get((exchange, endpoint), 1)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the budget says of a request. `status` is 200, 429 or 418."""

    used: int
    status: int
    retry_after_s: int = 0


class WeightBudget:
    """The used weight of one exchange's REST, for one client address."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._minute = -1
        self._used = 0
        self._over = 0
        self._banned_until_ns = 0

    def charge(self, now_ns: int, weight: int) -> Verdict:
        """Takes the weight of a request; refused requests cost too."""
        minute = now_ns // _MINUTE_NS
        if minute != self._minute:
            self._minute, self._used, self._over = minute, 0, 0
        self._used += weight
        if now_ns < self._banned_until_ns:
            return Verdict(self._used, 418, _seconds(self._banned_until_ns - now_ns))
        if self._used <= self.limit:
            return Verdict(self._used, 200)
        self._over += 1
        if self._over > _PATIENCE:
            self._banned_until_ns = now_ns + _BAN_NS
            return Verdict(self._used, 418, _seconds(_BAN_NS))
        return Verdict(self._used, 429, _seconds((minute + 1) * _MINUTE_NS - now_ns))


def _seconds(duration_ns: int) -> int:
    return -(-duration_ns // 10**9)
