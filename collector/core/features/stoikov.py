"""Stoikov's microprice: where the mid price goes on average, given queue imbalance and spread.

Stoikov (2018), "The micro-price: a high frequency estimator of future prices". States are ten buckets of
Qb / (Qb + Qa) times a spread of one price step or more. Over the steps from epoch to epoch in the last hour, every one
counted together with its mirror image:

    Q[x, y]  chance to go from x to y while mid stays      T[x, y]  the same while mid moves
    G1 = (1 - Q)^-1 R,  R[x] = mean move of mid in one step,  B = (1 - Q)^-1 T,  microprice = mid + sum of B^i G1

Estimated anew every minute from what was seen before it, so nothing looks ahead. One imagined step without a move that
leads nowhere is added to each state, so that a state that was hardly seen says little.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from collector.core.features.registry import Value, feature
from collector.core.features.top import Tick, Top
from collector.core.features.windows import Window
from collector.core.features.workspace import Signal, Workspace
from collector.core.flow import EpochFlow, Floats

BUCKETS, SPREADS = 10, 2
_WINDOW_S, _LEAST_S, _EVERY_S = 3600, 600, 60
_TERMS = 6
_STATES = BUCKETS * SPREADS


def adjustments(states: Any, mids: Floats) -> Floats:
    """What to add to mid in each state, in the unit of `mids`. Both series run from epoch to epoch.

    State = BUCKETS * (spread in steps, at most SPREADS, - 1) + imbalance bucket.
    """
    before, after, moved = states[:-1], states[1:], np.diff(mids)
    moves = np.zeros(_STATES)
    still, away = np.zeros((_STATES, _STATES)), np.zeros((_STATES, _STATES))
    for x, y, move in ((before, after, moved), (_mirror(before), _mirror(after), -moved)):
        np.add.at(moves, x, move)
        quiet = move == 0
        np.add.at(still, (x[quiet], y[quiet]), 1.0)
        np.add.at(away, (x[~quiet], y[~quiet]), 1.0)
    counts = (still + away).sum(axis=1, keepdims=True) + 1
    inverse = np.linalg.inv(np.eye(_STATES) - still / counts)
    first = inverse @ (moves / counts[:, 0])
    onward = inverse @ (away / counts)
    total: Floats = first.copy()
    term = first
    for _ in range(_TERMS - 1):
        term = onward @ term
        total += term
    return total


def _mirror(states: Any) -> Any:
    spread, bucket = np.divmod(states, BUCKETS)
    return spread * BUCKETS + BUCKETS - 1 - bucket


class Microprice(Signal):
    """The microprice in quote currency; None before ten minutes."""

    def __init__(self, workspace: Workspace) -> None:
        self._top = workspace.signal(Top)
        self._tick = workspace.signal(Tick)
        self._size = workspace.epochs(_WINDOW_S)
        self._least = workspace.epochs(_LEAST_S)
        self._every = workspace.epochs(_EVERY_S)

    def start(self) -> None:
        self._states, self._mids = Window(self._size), Window(self._size)
        self._table: Floats | None = None
        self._age = 0
        self.value: Value = None

    def update(self, flow: EpochFlow) -> None:
        top = self._top
        tick = self._tick.find()
        if top.mid is None or not tick:
            self.start()
            return
        bucket = min(BUCKETS - 1, BUCKETS * top.bid_quantity // (top.bid_quantity + top.ask_quantity))
        state = BUCKETS * (min(SPREADS, max(1, (top.ask - top.bid) // tick)) - 1) + bucket
        self._states.push(state)
        self._mids.push(top.mid)
        self._age += 1
        if len(self._mids) >= self._least and (self._table is None or self._age >= self._every):
            self._age = 0
            self._table = adjustments(self._states.values.astype(np.int64), self._mids.values)
        self.value = None if self._table is None else top.mid + self._table.item(state)


@feature("microprice_stoikov", "quote currency", "where mid is expected to go, given imbalance and spread", Microprice,
         source="Stoikov (2018), SSRN 2970694", warmup_s=_LEAST_S, memory_s=None)  # fmt: skip
def _microprice(state: Microprice) -> Value:
    return state.value
