"""Rows of table `forecasts`: what a trained model says at each row of the table that it was trained on.

The model is told of rows as they are made, so live and replay give the same. It forgets everything where a row is not
valid or a stream of its table lies in a gap, and says nothing until it has seen enough again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from collector.core.batch import Batch, Nested
from collector.core.records import Tell, rows_batch

_MS = 1_000_000
_PLAIN = ("timestamp", "model", "target", "price")


class RowModel(Protocol):
    """A model in one market's stream of rows.

    Attributes:
        table: whose rows it reads: depth, books or features.
        fingerprint: names its file.
        needed: what it reads of a row: a column, or a column and a place in its list.
        targets: the price columns that it forecasts.
        horizons_ms: how far ahead.
    """

    table: str
    fingerprint: str
    needed: Mapping[str, tuple[str, int | None]]
    targets: Sequence[str]
    horizons_ms: Sequence[float]

    def step(self, row: Mapping[str, float | None], time_ns: int) -> Sequence[tuple[Any, Any]] | None:
        """For each target its forecasts by horizon: basis points of log-return, and prices. None while not warm."""

    def reset(self) -> None:
        """Forgets all rows."""


class Forecasts:
    """Rows of forecasts until they are drained. `table` is the one whose rows it wants.

    `failure` says what went wrong in the model, if something did. From then on it is silent, and all else goes on.
    """

    def __init__(self, model: RowModel, tell: Tell) -> None:
        """`tell` makes an event."""
        self.table = model.table
        self.failure: str | None = None
        self._model = model
        self._tell = tell
        self._rows: list[tuple[Any, ...]] = []
        self._returns: list[Any] = []
        self._prices: list[Any] = []

    def take(self, time_ns: int, fields: Mapping[str, Any], *, sound: bool) -> None:
        """The next row of the table, in the order of time; `sound`: valid, and nothing of its period is missing."""
        if self.failure is not None:
            return
        model = self._model
        if not sound:
            model.reset()
            return
        row = {name: _picked(fields, *place) for name, place in model.needed.items()}
        try:
            made = model.step(row, time_ns)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            self.failure = repr(error)
            self._tell(time_ns, "model_failed", self.failure)
            return
        for target, (returns, prices) in zip(model.targets, made or (), strict=made is not None):
            if not (np.isfinite(returns).all() and np.isfinite(prices).all()):
                continue  # inputs so far from all that was seen in training that the network overflows
            self._rows.append((time_ns // _MS, model.fingerprint, target, row[target]))
            self._returns.append(returns)
            self._prices.append(prices)

    def drain(self) -> list[Batch]:
        """All rows since the last drain."""
        if not self._rows:
            return []
        columns = rows_batch("forecasts", _PLAIN, self._rows).columns
        horizons = self._model.horizons_ms
        counts = np.full(len(self._rows), len(horizons), np.int32)
        columns["horizon_ms"] = Nested(counts, np.tile(np.array(horizons, np.float64), len(self._rows)))
        columns["log_return_bp"] = Nested(counts, np.concatenate(self._returns))
        columns["forecast_price"] = Nested(counts, np.concatenate(self._prices))
        self._rows, self._returns, self._prices = [], [], []
        return [Batch("forecasts", columns)]


def _picked(fields: Mapping[str, Any], column: str, place: int | None) -> float | None:
    """A number of a row; None where it is null, or its list is shorter."""
    value = fields[column]
    if place is None or value is None:
        return None if value is None else float(value)
    return float(value[place]) if place < len(value) else None
