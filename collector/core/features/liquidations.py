"""Forced orders by side. The exchange tells the latest of a second at most, so all of it are lower bounds."""

from __future__ import annotations

import math
from collections import deque

from collector.core.features.registry import Value, feature
from collector.core.features.workspace import LIQUIDATIONS, Signal, Workspace
from collector.core.flow import EpochFlow

WINDOWS = {"30s": 30, "60s": 60, "15m": 900}
_NS = 1_000_000_000


class Forced(Signal):
    """Liquidations of one side over the last `seconds`: `count`, `quantity` (base), `notional` (quote), `largest`."""

    inputs = frozenset({LIQUIDATIONS})

    def __init__(self, workspace: Workspace, longs: bool, seconds: int) -> None:
        self._longs = longs
        self._epochs = workspace.epochs(seconds)
        self._interval_s = workspace.interval_s

    def start(self) -> None:
        self._seen = 0
        self._orders: deque[tuple[int, float, float]] = deque()
        self._count()

    def _count(self) -> None:
        self.count = float(len(self._orders))
        self.quantity = math.fsum([quantity for _, quantity, _ in self._orders])
        self.notional = math.fsum([notional for _, _, notional in self._orders])
        self.largest = max((notional for _, _, notional in self._orders), default=0.0)

    def update(self, flow: EpochFlow) -> None:
        self._seen = min(self._seen + 1, self._epochs)
        orders, changed = self._orders, False
        while orders and orders[0][0] <= flow.epoch - self._epochs * self._interval_s:
            orders.popleft()
            changed = True
        forced = flow.liquidations
        if len(forced):
            mine = forced.side_is_sell == self._longs  # who sells closes a long
            quantity, price = forced.quantity[mine], forced.price[mine]
            orders.extend(
                (flow.epoch, *pair) for pair in zip(quantity.tolist(), (quantity * price).tolist(), strict=True)
            )
            changed = True
        if changed:
            self._count()

    @property
    def whole(self) -> bool:
        """Whether the window was seen from its start."""
        return self._seen == self._epochs


class SinceForced(Signal):
    """Seconds since the last liquidation of one side was received; None before the first."""

    inputs = frozenset({LIQUIDATIONS})

    def __init__(self, workspace: Workspace, longs: bool) -> None:
        self._longs = longs

    def start(self) -> None:
        self._last_ns: int | None = None
        self.value: Value = None

    def update(self, flow: EpochFlow) -> None:
        if len(flow.liquidations):
            mine = flow.liquidations.recv_ns[flow.liquidations.side_is_sell == self._longs]
            self._last_ns = int(mine[-1]) if len(mine) else self._last_ns
        self.value = None if self._last_ns is None else (flow.epoch * _NS - self._last_ns) / _NS


def _register() -> None:
    source = "sums over z and z ap of forced orders"
    for side, longs in (("long", True), ("short", False)):
        for name, seconds in WINDOWS.items():
            spans = {"source": source, "warmup_s": seconds, "memory_s": seconds}

            @feature(f"liq_{side}_count_{name}", "count", f"{side}s liquidated in the last {name}, at least",
                     (Forced, longs, seconds), **spans)  # fmt: skip
            def count(state: Forced) -> Value:
                return state.count if state.whole else None

            @feature(f"liq_{side}_quantity_{name}", "base currency", f"{side}s liquidated in the last {name}, at least",
                     (Forced, longs, seconds), **spans)  # fmt: skip
            def quantity(state: Forced) -> Value:
                return state.quantity if state.whole else None

            @feature(f"liq_{side}_notional_{name}", "quote currency",
                     f"{side}s liquidated in the last {name}, at their average prices, at least",
                     (Forced, longs, seconds), **spans)  # fmt: skip
            def notional(state: Forced) -> Value:
                return state.notional if state.whole else None

        @feature(f"liq_{side}_largest_15m", "quote currency", f"the largest {side} liquidated in the last 15m",
                 (Forced, longs, 900), source="maximum of z ap", warmup_s=900, memory_s=900)  # fmt: skip
        def largest(state: Forced) -> Value:
            return state.largest if state.whole else None

        @feature(f"liq_{side}_age_s", "s", f"time since the last {side} was liquidated", (SinceForced, longs),
                 source="T - recv_ns", warmup_s=1, memory_s=None)  # fmt: skip
        def age(state: SinceForced) -> Value:
            return state.value


_register()
