"""Features across markets: a pure second stage over the rows of one epoch.

The basis compares a future with the spot market of the same symbol on the same venue. It needs both markets' `depth`
rows of one epoch and nothing else; where one was not collected, or its book is not valid or older than a second, the
value is None. A replay or recomputation of one market alone has no other, so there it is always None.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from collector.core.batch import Batch
from collector.core.features.registry import REGISTRY, Feature, Value

SPOT_OF = {"binanceusdm": "binance"}
"""Exchanges of futures, and where their spot markets with the same symbols are."""

FRESH_MS = 1000
NAME = "basis_bps"
_LONGEST_S = 120


class Quoted(NamedTuple):
    """What a `depth` row says: mid price in quote currency, age of the book, and whether it is valid."""

    mid: float | None
    age_ms: int | None
    valid: bool


def basis_bps(future: Quoted | None, spot: Quoted | None) -> Value:
    """1e4 (F - S) / S of two mid prices of one epoch; None unless both are valid and at most a second old."""
    for one in (future, spot):
        if one is None or one.mid is None or not one.valid or one.age_ms is None or one.age_ms > FRESH_MS:
            return None
    assert future is not None
    assert spot is not None
    assert future.mid is not None
    assert spot.mid is not None
    return 1e4 * (future.mid - spot.mid) / spot.mid


def quoted(depth: dict[str, Any]) -> dict[int, Quoted]:
    """By epoch, from the columns of `depth` rows."""
    columns = (depth[name] for name in ("epoch", "price", "book_age_ms", "valid"))
    return {epoch: Quoted(*rest) for epoch, *rest in zip(*columns, strict=True)}


Key = tuple[str, str]
"""Exchange and symbol."""


def across(features: str) -> bool:
    """Whether a choice of features, as in `SessionStarted`, has one that needs several markets."""
    if features in ("", "none"):
        return False
    from collector.core.features.catalog import choose_features

    return any(one.across for one in choose_features(features).features)


class Across:
    """Fills in `basis_bps` of markets that are drained in turn, in any rhythm.

    Rows of a future wait until its spot market, if that has joined, has reached their epoch; `settle` lets go what
    waits. A spot market that is silent for long has no fresh book, so its futures wait no longer than `_LONGEST_S`.
    """

    def __init__(self) -> None:
        self._joined: set[Key] = set()
        self._future_of: dict[Key, Key] = {}
        self._quoted: dict[Key, dict[int, Quoted]] = {}
        self._waiting: dict[Key, list[Batch]] = {}

    def join(self, market: Key) -> None:
        """Tells of a market from whose rows, or for which, values are computed. May be called again."""
        self._joined.add(market)
        exchange, symbol = market
        if exchange in SPOT_OF:
            self._future_of[SPOT_OF[exchange], symbol] = market

    def take(self, market: Key, batches: Iterable[Batch]) -> list[tuple[Key, Batch]]:
        """What one market gave; gives what can be handed on, of this market and of others."""
        future = self._future_of.get(market, market)
        spot = SPOT_OF.get(future[0], ""), future[1]
        if not {future, spot} <= self._joined:
            return [(market, batch) for batch in batches]
        given: list[tuple[Key, Batch]] = []
        known = self._quoted.setdefault(market, {})
        for batch in batches:
            if batch.table == "depth":
                known.update(quoted(batch.columns))
            if batch.table == "features" and market == future:
                self._waiting.setdefault(market, []).append(batch)
            else:
                given.append((market, batch))
        return given + self._release(future, settle=False)

    def settle(self) -> list[tuple[Key, Batch]]:
        """Everything that still waits; what its spot market has not told by now is None."""
        return [one for future in list(self._waiting) for one in self._release(future, settle=True)]

    def _release(self, future: Key, *, settle: bool) -> list[tuple[Key, Batch]]:
        theirs = self._quoted.setdefault((SPOT_OF[future[0]], future[1]), {})
        ours = self._quoted.setdefault(future, {})
        reached = max(max(theirs, default=-1), max(ours, default=-1) - _LONGEST_S)
        waiting, given = self._waiting.pop(future, []), []
        while waiting and (settle or _last(waiting[0]) <= reached):
            batch = waiting.pop(0)
            epochs: Any = batch.columns["epoch"]
            values = [basis_bps(ours.get(epoch), theirs.get(epoch)) for epoch in epochs]
            given.append((future, Batch(batch.table, {**batch.columns, NAME: values})))
        if waiting:
            self._waiting[future] = waiting
        done = _last(given[-1][1]) if given else reached - _LONGEST_S
        for known in (theirs, ours):
            for epoch in [epoch for epoch in known if epoch <= done]:
                del known[epoch]
        return given


def _last(batch: Batch) -> int:
    epochs: Any = batch.columns["epoch"]
    return int(epochs[-1])


def _no_reader(workspace: object) -> Any:
    raise TypeError(f"{NAME} is computed from rows of two markets")


REGISTRY.add(
    Feature(
        name=NAME,
        unit="bps of spot",
        doc="mid price of the future above that of spot, both at most 1 s old; null where one of them is not collected",
        source="1e4 (F - S) / S",
        warmup_s=1,
        memory_s=1,
        cheap=True,
        across=True,
        open=_no_reader,
    )
)
