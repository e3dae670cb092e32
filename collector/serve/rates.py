"""How often somebody may ask: a bucket of tokens for each key and address."""

from __future__ import annotations

import collections

_REMEMBERED = 10_000


class Rates:
    """Buckets of `burst` tokens that fill at `per_s`. Of many askers the longest silent are forgotten."""

    def __init__(self, per_s: float, burst: int) -> None:
        self._per_s = per_s
        self._burst = burst
        self._buckets: collections.OrderedDict[str, tuple[float, float]] = collections.OrderedDict()

    def wait_s(self, asker: str, now_s: float) -> float:
        """Takes a token of `asker`; the seconds until there will be one if there is none, else 0."""
        tokens, since_s = self._buckets.pop(asker, (float(self._burst), now_s))
        tokens = min(float(self._burst), tokens + (now_s - since_s) * self._per_s)
        wait_s = 0.0 if tokens >= 1 else (1 - tokens) / self._per_s
        self._buckets[asker] = (tokens - 1 if tokens >= 1 else tokens, now_s)
        if len(self._buckets) > _REMEMBERED:
            self._buckets.popitem(last=False)
        return wait_s
