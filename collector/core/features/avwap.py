"""Volume-weighted average price since an anchor, from exact sums over trades, with bands.

Anchors: the start of each quarter of an hour (UTC, by receipt), or whenever one is set by hand, from the next epoch on.
A quarter that was not seen from its start has none. Sums run over p - p0, with p0 the first price since the anchor, so
that the variance does not cancel.
"""

from __future__ import annotations

import math

from collector.core.features.registry import Value, feature
from collector.core.features.top import Top
from collector.core.features.workspace import TRADES, Signal, Workspace
from collector.core.flow import EpochFlow

QUARTER_S = 900
_SOURCE = "sum of p q / sum of q since the anchor, over trades"


class Avwap(Signal):
    """`price` and `sigma` (the volume-weighted deviation of prices) in quote currency; None before a trade."""

    inputs = frozenset({TRADES})

    def __init__(self, workspace: Workspace) -> None:
        self._interval_s = workspace.interval_s
        self._manual = False  # a choice of people, which a gap does not undo

    def start(self) -> None:
        self._anchored = False
        self._begin()

    def anchor(self, *, manual: bool) -> None:
        """Begins anew with the next epoch; without `manual`, quarters of an hour count again."""
        self._manual = manual
        self._anchored = manual
        self._begin()

    def _begin(self) -> None:
        self.price: Value = None
        self.sigma: Value = None
        self._first: float | None = None
        self._volume = self._sum = self._squares = 0.0

    def update(self, flow: EpochFlow) -> None:
        if not self._manual and (flow.epoch - self._interval_s) % QUARTER_S < self._interval_s:
            self._anchored = True
            self._begin()
        trades = flow.trades
        if not self._anchored or not len(trades):
            return
        if self._first is None:
            self._first = trades.price.item(0)
        away = trades.price - self._first
        weighted = away * trades.quantity
        self._volume += float(trades.quantity.sum())
        self._sum += float(weighted.sum())
        self._squares += float((weighted * away).sum())
        if not self._volume:
            return
        shift = self._sum / self._volume
        self.price = self._first + shift
        self.sigma = math.sqrt(max(0.0, self._squares / self._volume - shift * shift))

    def deviation_bps(self, top: Top) -> Value:
        """How far the microprice lies above the AVWAP."""
        if self.price is None or top.microprice is None:
            return None
        return 1e4 * (top.microprice - self.price) / self.price


def _register() -> None:
    spans = {"warmup_s": QUARTER_S, "memory_s": None}

    @feature("avwap", "quote currency", "average price of the volume traded since the anchor", Avwap,
             source=_SOURCE, **spans)  # fmt: skip
    def avwap(state: Avwap) -> Value:
        return state.price

    @feature("avwap_sigma", "quote currency", "volume-weighted deviation of prices since the anchor", Avwap,
             source="sqrt(sum of q p^2 / sum of q - AVWAP^2)", **spans)  # fmt: skip
    def sigma(state: Avwap) -> Value:
        return state.sigma

    @feature("avwap_deviation_bps", "bps", "microprice above AVWAP", Avwap, Top,
             source="1e4 (microprice - AVWAP) / AVWAP", **spans)  # fmt: skip
    def deviation(state: Avwap, top: Top) -> Value:
        return state.deviation_bps(top)

    for width in (1, 2, 3):
        for name, sign in (("upper", 1), ("lower", -1)):

            @feature(f"avwap_{name}_{width}", "quote currency",
                     f"AVWAP {'plus' if sign > 0 else 'less'} {width} avwap_sigma", Avwap,
                     source="AVWAP ± k sigma", **spans)  # fmt: skip
            def band(state: Avwap, away: int = sign * width) -> Value:
                return None if state.price is None or state.sigma is None else state.price + away * state.sigma


_register()
