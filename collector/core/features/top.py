"""The best levels of the book: prices, spread, queue imbalance.

Everything is computed from integers, so each value is the exact one, rounded once.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from collector.core.book import WHOLE_CEILING, WHOLE_FLOOR, Book
from collector.core.features.registry import Value, feature
from collector.core.features.workspace import BOOK, Signal, Workspace
from collector.core.flow import EpochFlow

_IMBALANCE = "Cont, Kukanov, Stoikov (2014), The price impact of order book events; (Qb - Qa) / (Qb + Qa)"


class Top(Signal):
    """Best bid and ask in integer units; `mid` in quote currency. All None without both sides."""

    inputs = frozenset({BOOK})

    def start(self) -> None:
        self.book: Book | None = None
        self.mid: float | None = None
        self.microprice: float | None = None
        self.bid = self.ask = self.bid_quantity = self.ask_quantity = 0

    def update(self, flow: EpochFlow) -> None:
        book = flow.book
        assert book is not None
        bids, asks = book.bids.near(1), book.asks.near(1)
        if not len(bids.price) or not len(asks.price):
            self.start()
            return
        self.book = book
        bid, ask = int(bids.price[-1]), int(asks.price[0])
        bid_quantity, ask_quantity = int(bids.quantity[-1]), int(asks.quantity[0])
        self.bid, self.ask, self.bid_quantity, self.ask_quantity = bid, ask, bid_quantity, ask_quantity
        unit = float(10**book.price_places)
        self.mid = (bid / unit + ask / unit) / 2  # as table `depth` has it
        total = bid_quantity + ask_quantity
        self.microprice = (ask * bid_quantity + bid * ask_quantity) / (total * 10**book.price_places)


class Ladder(Signal):
    """The sums of the best `levels` of each side, in integer units; None where the book is not known as deep."""

    inputs = frozenset({BOOK})

    def __init__(self, workspace: Workspace, levels: int) -> None:
        self._levels = levels

    def start(self) -> None:
        self.sums: tuple[int, int] | None = None

    def update(self, flow: EpochFlow) -> None:
        assert flow.book is not None
        levels = best_levels(flow.book, self._levels)
        self.sums = None if levels is None else (int(levels[1].sum()), int(levels[3].sum()))


def best_levels(book: Book, levels: int) -> tuple[Any, Any, Any, Any] | None:
    """Prices and quantities of the best bids and of the best asks, best first; None unless all of them are known.

    A side that is known to its end may have fewer than `levels`, but not none.
    """
    bids, asks = book.bids.near(levels), book.asks.near(levels)
    bid_price, ask_price = bids.price[: -levels - 1 : -1], asks.price[:levels]
    if not len(bid_price) or not len(ask_price):
        return None
    if book.bid_floor != WHOLE_FLOOR and (len(bid_price) < levels or bid_price[-1] < book.bid_floor):
        return None
    if book.ask_ceiling != WHOLE_CEILING and (len(ask_price) < levels or ask_price[-1] > book.ask_ceiling):
        return None
    return bid_price, bids.quantity[: -levels - 1 : -1], ask_price, asks.quantity[:levels]


class Tick(Signal):
    """The step of prices, in integer units and in quote currency: what all prices near the top are multiples of."""

    inputs = frozenset({BOOK})

    def start(self) -> None:
        self.units = 0
        self._book: Book | None = None

    def update(self, flow: EpochFlow) -> None:
        self._book = flow.book
        self.units = 0

    def find(self) -> int:
        """In integer units of the book; computed only when somebody asks."""
        if not self.units and self._book is not None:
            bids, asks = self._book.bids.near(50), self._book.asks.near(50)
            near = np.concatenate((bids.price[-50:], asks.price[:50]))
            self.units = int(np.gcd.reduce(near)) if len(near) else 0
        return self.units

    def find_quote(self) -> float | None:
        """In quote currency; None when the book is empty."""
        units = self.find()
        return units / 10**self._book.price_places if units and self._book is not None else None


@feature(
    "mid",
    "quote currency",
    "middle of best bid and best ask",
    Top,
    source="(a + b) / 2",
    warmup_s=1,
    memory_s=1,
    cheap=True,
)
def _mid(top: Top) -> Value:
    return top.mid


@feature(
    "spread_bps",
    "bps of mid",
    "best ask minus best bid",
    Top,
    source="1e4 (a - b) / mid",
    warmup_s=1,
    memory_s=1,
    cheap=True,
)
def _spread(top: Top) -> Value:
    return None if top.mid is None else 20_000 * (top.ask - top.bid) / (top.ask + top.bid)


@feature(
    "microprice",
    "quote currency",
    "best prices, each weighted by the quantity of the other side",
    Top,
    source="(a Qb + b Qa) / (Qa + Qb)",
    warmup_s=1,
    memory_s=1,
    cheap=True,
)
def _microprice(top: Top) -> Value:
    return top.microprice


@feature(
    "imbalance_1",
    "-1 to 1",
    "queue imbalance of the best level; 1: bids only",
    Top,
    source=_IMBALANCE,
    warmup_s=1,
    memory_s=1,
    cheap=True,
)
def _imbalance_1(top: Top) -> Value:
    return _imbalance(top)


def _imbalance(top: Top) -> Value:
    if top.mid is None:
        return None
    return (top.bid_quantity - top.ask_quantity) / (top.bid_quantity + top.ask_quantity)


def _register_depths() -> None:
    for levels in (5, 20):

        @feature(
            f"imbalance_{levels}",
            "-1 to 1",
            f"queue imbalance of the {levels} best levels of the whole book",
            (Ladder, levels),
            source=_IMBALANCE,
            warmup_s=1,
            memory_s=1,
            cheap=True,
        )
        def read(ladder: Ladder) -> Value:
            if ladder.sums is None:
                return None
            bids, asks = ladder.sums
            return (bids - asks) / (bids + asks)


class ImbalanceChange(Signal):
    """How much `imbalance_1` changed over `seconds`."""

    def __init__(self, workspace: Workspace, seconds: int) -> None:
        self._top = workspace.signal(Top)
        self._epochs = workspace.epochs(seconds)

    def start(self) -> None:
        self._past: deque[Value] = deque(maxlen=self._epochs + 1)

    def update(self, flow: EpochFlow) -> None:
        self._past.append(_imbalance(self._top))

    @property
    def value(self) -> Value:
        """None before it spans `seconds`, or where one end is not known."""
        if len(self._past) <= self._epochs:
            return None
        first, last = self._past[0], self._past[-1]
        return None if first is None or last is None else last - first


def _register_changes() -> None:
    for seconds in (10, 30):

        @feature(
            f"imbalance_1_change_{seconds}s",
            "-2 to 2",
            f"imbalance_1 now, less that of {seconds} s ago",
            (ImbalanceChange, seconds),
            source="I(t) - I(t - N)",
            warmup_s=seconds + 1,
            memory_s=seconds + 1,
        )
        def read(change: ImbalanceChange) -> Value:
            return change.value


_register_depths()
_register_changes()
