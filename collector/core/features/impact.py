"""What trades do to the price: Kyle's lambda, and how one-sided the volume is: VPIN."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from collector.core.features.bars import Bars, EpochTrades
from collector.core.features.registry import Value, feature
from collector.core.features.top import Top
from collector.core.features.windows import mean
from collector.core.features.workspace import TRADES, Signal, Workspace
from collector.core.flow import EpochFlow

KYLE_BUCKET_S, KYLE_BUCKETS, KYLE_LEAST = 5, 60, 30
VPIN_BUCKETS, VPIN_BUCKET_MINUTES, VPIN_LEARN_MINUTES = 50, 1, 60
_MILLION = 1e6


class KyleLambda(Signal):
    """Least squares of Δp = λ x over buckets of five seconds: `slope` in bps per million of quote currency, its
    `t` statistic, and the number of buckets `n`. Δp: log return of the mid price; x: taker buys less taker sells."""

    def __init__(self, workspace: Workspace) -> None:
        self._top = workspace.signal(Top)
        self._trades = workspace.signal(EpochTrades)
        self._interval_s = workspace.interval_s

    def start(self) -> None:
        self.slope: Value = None
        self.t: Value = None
        self.n: Value = None
        self._signed: float | None = None
        self._mid: float | None = None
        self._pairs: deque[tuple[float, float]] = deque(maxlen=KYLE_BUCKETS)

    def update(self, flow: EpochFlow) -> None:
        if KYLE_BUCKET_S % self._interval_s:
            return
        if self._signed is not None:
            self._signed += self._trades.buy_quote - self._trades.sell_quote
        if flow.epoch % KYLE_BUCKET_S:
            return
        mid = self._top.mid
        if self._signed is not None and self._mid is not None and mid is not None:
            self._pairs.append((self._signed / _MILLION, 1e4 * math.log(mid / self._mid)))
            self._fit()
        self._signed, self._mid = 0.0, mid

    def _fit(self) -> None:
        pairs = self._pairs
        self.slope = self.t = self.n = None
        squares = math.fsum([x * x for x, _ in pairs])
        if len(pairs) < KYLE_LEAST or not squares:
            return
        self.slope = math.fsum([x * y for x, y in pairs]) / squares
        rest = math.fsum([(y - self.slope * x) ** 2 for x, y in pairs]) / (len(pairs) - 1)
        self.n = float(len(pairs))
        self.t = self.slope / math.sqrt(rest / squares) if rest else None


class Vpin(Signal):
    """Mean of |buys - sells| / V over the last fifty buckets of equal volume V, with the true side of each trade.

    V is the mean volume of a minute over the last hour, taken anew for each bucket as it begins. A trade that crosses
    the end of a bucket is split between both.
    """

    inputs = frozenset({TRADES})

    def __init__(self, workspace: Workspace) -> None:
        self._minutes = workspace.signal(Bars, 60)

    def start(self) -> None:
        self.value: Value = None
        self._volumes: deque[float] = deque(maxlen=VPIN_LEARN_MINUTES)
        self._size: float | None = None
        self._filled = self._bought = 0.0
        self._past: deque[float] = deque(maxlen=VPIN_BUCKETS)

    def update(self, flow: EpochFlow) -> None:
        trades = flow.trades
        if len(trades) and self._next_size() is not None:
            volume = np.cumsum(trades.quantity)
            bought = np.cumsum(np.where(trades.is_buyer_maker, 0.0, trades.quantity))
            self._fill(np.concatenate(((0.0,), volume)), np.concatenate(((0.0,), bought)))
        if self._minutes.afresh:
            self._volumes.clear()
        self._volumes.extend([bar.volume for bar in self._minutes.closed])

    def _next_size(self) -> float | None:
        if self._size is None and len(self._volumes) == VPIN_LEARN_MINUTES:
            self._size = VPIN_BUCKET_MINUTES * mean(self._volumes) or None
        return self._size

    def _fill(self, volume: np.ndarray, bought: np.ndarray) -> None:
        """Fills buckets with an epoch's running sums of volume and of buys, which start at 0."""
        at = taken = 0.0
        total, total_bought = volume.item(-1), bought.item(-1)
        while True:
            size = self._next_size()
            assert size is not None
            ends = at + size - self._filled
            if ends > total:
                break
            bought_there = float(np.interp(ends, volume, bought))
            buys = self._bought + bought_there - taken
            self._past.append(abs(2 * buys - size) / size)
            at, taken = ends, bought_there
            self._filled = self._bought = 0.0
            self._size = None
        self._filled += total - at
        self._bought += total_bought - taken
        self.value = mean(self._past) if len(self._past) == VPIN_BUCKETS else None


def _register() -> None:
    kyle = {"source": "Kyle (1985); OLS of dp = lambda x + e without a constant", "memory_s": None,
            "warmup_s": KYLE_BUCKET_S * (KYLE_LEAST + 1) - 1}  # fmt: skip

    @feature("kyle_lambda", "bps per million of quote currency", "price impact of signed volume: 5 s buckets, 5 min",
             KyleLambda, **kyle)  # fmt: skip
    def slope(state: KyleLambda) -> Value:
        return state.slope

    @feature("kyle_t", "t statistic", "how far kyle_lambda is from 0", KyleLambda, **kyle)
    def t_statistic(state: KyleLambda) -> Value:
        return state.t

    @feature("kyle_n", "count", "buckets that kyle_lambda is made of", KyleLambda, **kyle)
    def buckets(state: KyleLambda) -> Value:
        return state.n

    @feature("vpin", "0 to 1", "one-sidedness of the volume over 50 buckets of one minute's usual volume", Vpin,
             source="Easley, Lopez de Prado, O'Hara (2012), with true taker sides",
             warmup_s=60 * (VPIN_LEARN_MINUTES + 2 * VPIN_BUCKETS), memory_s=None)  # fmt: skip
    def vpin(state: Vpin) -> Value:
        return state.value


_register()
