"""An exchange in a few lines: a book that moves by itself, the messages about it, and snapshots."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any

Level = tuple[int, int]
SECOND = 1_000_000_000
START_NS = 1_700_000_000 * SECOND


@dataclass
class Exchange:
    """Prices in hundredths, quantities in thousandths. `truth[u]` is the book after update `u`."""

    futures: bool
    seed: int = 1
    depth: int = 40
    last_id: int = 1000
    trade_id: int = 500
    bids: dict[int, int] = field(default_factory=dict)
    asks: dict[int, int] = field(default_factory=dict)
    truth: dict[int, tuple[dict[int, int], dict[int, int]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        for offset in range(self.depth):
            self.bids[10_000 - offset] = self._chance.randint(1, 9000)
            self.asks[10_003 + offset] = self._chance.randint(1, 9000)
        self._remember()

    def diff(self, now_ns: int) -> dict[str, Any]:
        """The next depth message."""
        chance, before = self._chance, self.last_id
        first = before + (chance.randint(1, 5) if self.futures else 1)
        self.last_id = first + chance.randint(0, 6)
        changed: tuple[list[Level], list[Level]] = ([], [])
        for _ in range(chance.randint(0, 5)):
            book, own, sign, best = chance.choice(
                [(self.bids, changed[0], -1, 10_000), (self.asks, changed[1], 1, 10_003)]
            )
            price = best + sign * chance.randint(0, self.depth + 5)
            quantity = chance.choice([0, chance.randint(1, 9000)])
            own.append((price, quantity))  # zero for a level that is not there is normal
            book[price] = quantity
            if not quantity:
                del book[price]
        self._remember()
        message = {
            "e": "depthUpdate",
            "E": now_ns // 1_000_000,
            "s": "BTCUSDT",
            "U": first,
            "u": self.last_id,
            "b": levels(changed[0]),
            "a": levels(changed[1]),
        }
        return message | ({"T": now_ns // 1_000_000, "pu": before} if self.futures else {})

    def trade(self, now_ns: int) -> dict[str, Any]:
        """The next aggTrade."""
        self.trade_id += 1
        at, first = now_ns // 1_000_000, self.trade_id * 3
        return {
            "e": "aggTrade",
            "E": at,
            "s": "BTCUSDT",
            "a": self.trade_id,
            "p": f"{self._chance.randint(9990, 10010) / 100:.2f}",
            "q": f"{self._chance.randint(1, 5000) / 1000:.3f}",
            "f": first,
            "l": first + 2,
            "T": at,
            "m": self._chance.random() < 0.5,
        }

    def ticker(self) -> dict[str, Any]:
        """The best quotes of now."""
        bid, ask = max(self.bids), min(self.asks)
        return {
            "u": self.last_id,
            "s": "BTCUSDT",
            "b": f"{bid / 100:.2f}",
            "B": f"{self.bids[bid] / 1000:.3f}",
            "a": f"{ask / 100:.2f}",
            "A": f"{self.asks[ask] / 1000:.3f}",
        }

    def snapshot(self, limit: int = 1000, at: int | None = None) -> bytes:
        """The REST answer for the book of now, or after an earlier update."""
        at = self.last_id if at is None else at
        bids, asks = self.truth[at]
        body = {
            "lastUpdateId": at,
            "bids": levels(sorted(bids.items(), reverse=True)[:limit]),
            "asks": levels(sorted(asks.items())[:limit]),
        }
        return text(body).encode()

    def _remember(self) -> None:
        self.truth[self.last_id] = (dict(self.bids), dict(self.asks))


def levels(pairs: list[Level]) -> list[list[str]]:
    return [[f"{price / 100:.2f}", f"{quantity / 1000:.3f}"] for price, quantity in pairs]


def text(message: dict[str, Any]) -> str:
    return json.dumps(message, separators=(",", ":"))
