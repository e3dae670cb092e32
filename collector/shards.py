"""Which of several collectors takes which market: each asks the same function, and none asks the others."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shard:
    """Collector number `index` of `count`."""

    index: int = 0
    count: int = 1

    def takes(self, exchange: str, symbol: str) -> bool:
        """Whether the market is this collector's."""
        return shard_of(exchange, symbol, self.count) == self.index


def shard_of(exchange: str, symbol: str, count: int) -> int:
    """The collector, 0 to count - 1, of a market.

    Rendezvous hashing (Thaler and Ravishankar, 1998): every collector draws a number from the market's name and its
    own, and the highest has it. One more collector takes its share from all the others, and nothing else moves.
    """
    name = f"{exchange}:{symbol}"
    return max(range(count), key=lambda index: hashlib.blake2b(f"{name}#{index}".encode(), digest_size=8).digest())


ALONE = Shard()
"""The only collector."""
