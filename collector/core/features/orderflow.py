"""Order-flow imbalance: what arrives at and leaves the best levels.

Of one level: Cont, Kukanov, Stoikov (2014), "The price impact of order book events", eq. 4, over every change of the
best quotes. Of several: the same at each level by rank, normalised by the mean depth; Cont, Cucuringu, Zhang (2023),
"Cross-impact of order flow imbalance in equity markets", with equal weights in place of the principal component.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from collector.core.book import Book
from collector.core.features.registry import Value, feature
from collector.core.features.top import best_levels
from collector.core.features.workspace import BOOK, QUOTES, Signal, Workspace
from collector.core.flow import EpochFlow, Floats

_CKS = "Cont, Kukanov, Stoikov (2014), eq. 4"
_LEVELS = 10


class QuoteFlow(Signal):
    """What came to and left the best quotes in this epoch, in base currency. None before a first quote is known."""

    inputs = frozenset({QUOTES})

    def start(self) -> None:
        self._last: tuple[float, float, float, float] | None = None
        self._last_id = -1
        self.bid: Value = None
        self.ask: Value = None
        self.updates: Value = None

    def update(self, flow: EpochFlow) -> None:
        quotes = flow.quotes
        columns = [quotes.bid_price, quotes.bid_quantity, quotes.ask_price, quotes.ask_quantity]
        if len(quotes):
            ids = quotes.update_id
            newest = np.maximum.accumulate(ids)
            rising = ids > np.concatenate(((self._last_id,), newest[:-1]))
            if not rising.all():  # late ones say nothing of what changed when they came
                columns = [column[rising] for column in columns]
            self._last_id = max(self._last_id, int(newest[-1]))
        count = len(columns[0])
        if not count:
            known = None if self._last is None else 0.0
            self.bid = self.ask = self.updates = known
            return
        before = self._last
        bid, bid_size, ask, ask_size = (column.item(-1) for column in columns)
        self._last = (bid, bid_size, ask, ask_size)
        if before is None:
            return  # part of the epoch was not seen
        bid_price, bid_quantity, ask_price, ask_quantity = (
            np.concatenate(((past,), column)) for past, column in zip(before, columns, strict=True)
        )
        self.bid = float(_came(bid_price, bid_quantity).sum())
        self.ask = float(_came(-ask_price, ask_quantity).sum())
        self.updates = float(count)


def _came(price: Floats, quantity: Floats) -> Floats:
    """What each change of a best price and its quantity added; less is negative. Higher prices are better ones."""
    before, after = price[:-1], price[1:]
    return np.where(after >= before, quantity[1:], 0.0) - np.where(after <= before, quantity[:-1], 0.0)


class QuoteFlowSum(Signal):
    """OFI over the last `seconds`."""

    def __init__(self, workspace: Workspace, seconds: int) -> None:
        self._flow = workspace.signal(QuoteFlow)
        self._epochs = workspace.epochs(seconds)

    def start(self) -> None:
        self._past: deque[float] = deque(maxlen=self._epochs)

    def update(self, flow: EpochFlow) -> None:
        if self._flow.bid is not None and self._flow.ask is not None:
            self._past.append(self._flow.bid - self._flow.ask)

    @property
    def value(self) -> Value:
        """None before it spans `seconds`."""
        return math.fsum(self._past) if len(self._past) == self._epochs else None


class LevelFlow(Signal):
    """OFI by rank between this epoch's book and the one before, and the mean depth at each rank, in base currency."""

    inputs = frozenset({BOOK})

    def start(self) -> None:
        self._last: tuple[Floats, Floats, Floats, Floats] | None = None
        self.flows: Floats | None = None
        self.depths: Floats | None = None

    def update(self, flow: EpochFlow) -> None:
        assert flow.book is not None
        now = _ladder(flow.book)
        before, self._last = self._last, now
        if now is None or before is None:
            self.flows = self.depths = None
            return
        bid, bid_quantity, ask, ask_quantity = now
        bid_before, bid_quantity_before, ask_before, ask_quantity_before = before
        self.flows = (
            np.where(bid >= bid_before, bid_quantity, 0.0)
            - np.where(bid <= bid_before, bid_quantity_before, 0.0)
            - np.where(ask <= ask_before, ask_quantity, 0.0)
            + np.where(ask >= ask_before, ask_quantity_before, 0.0)
        )
        self.depths = (bid_quantity + ask_quantity + bid_quantity_before + ask_quantity_before) / 4

    def integrated(self, levels: int) -> Value:
        """The mean flow of the best `levels`, as a multiple of their mean depth."""
        if self.flows is None or self.depths is None:
            return None
        depth = float(self.depths[:levels].sum())
        return float(self.flows[:levels].sum()) / depth if depth else None


def _ladder(book: Book) -> tuple[Floats, Floats, Floats, Floats] | None:
    levels = best_levels(book, _LEVELS)
    if levels is None or len(levels[0]) < _LEVELS or len(levels[2]) < _LEVELS:
        return None
    price, quantity = float(10**book.price_places), float(10**book.quantity_places)
    return levels[0] / price, levels[1] / quantity, levels[2] / price, levels[3] / quantity


def _register() -> None:
    base = "base currency"

    @feature("ofi", base, "order-flow imbalance at the best quotes in this epoch: bid flow less ask flow", QuoteFlow,
             source=_CKS, warmup_s=2, memory_s=None, cheap=True)  # fmt: skip
    def ofi(flow: QuoteFlow) -> Value:
        return None if flow.bid is None or flow.ask is None else flow.bid - flow.ask

    for seconds in (10, 60):

        @feature(f"ofi_{seconds}s", base, f"order-flow imbalance at the best quotes over {seconds} s",
                 (QuoteFlowSum, seconds), source=_CKS, warmup_s=seconds + 1, memory_s=None)  # fmt: skip
        def ofi_sum(window: QuoteFlowSum) -> Value:
            return window.value

    for name, side in (("bid", "bid"), ("ask", "ask")):

        @feature(f"{name}_flow", base, f"what came to the best {side} in this epoch, less what left it", QuoteFlow,
                 source=_CKS + ", one side", warmup_s=2, memory_s=None)  # fmt: skip
        def side_flow(flow: QuoteFlow, name: str = name) -> Value:
            return flow.bid if name == "bid" else flow.ask

    @feature("quote_updates", "count", "changes of the best quotes in this epoch", QuoteFlow,
             source="messages of the best-quote stream", warmup_s=2, memory_s=None, cheap=True)  # fmt: skip
    def updates(flow: QuoteFlow) -> Value:
        return flow.updates

    for levels in (1, 5, 10):

        @feature(f"ofi_levels_{levels}", "mean depth", f"order-flow imbalance of the {levels} best levels between this "
                 "epoch's book and the one before, as a multiple of their mean depth", LevelFlow,
                 source="Cont, Cucuringu, Zhang (2023), equal weights", warmup_s=2, memory_s=2)  # fmt: skip
        def level_flow(flow: LevelFlow, levels: int = levels) -> Value:
            return flow.integrated(levels)


_register()
