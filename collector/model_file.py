"""`--model`: a file that `python -m training train` wrote, and whether it fits what a session computes.

NumPy runs it (`training.stepper`); torch is not needed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from collector.core.inputs import SessionStarted
from collector.errors import ConfigurationError

if TYPE_CHECKING:
    from training.stepper import Stepper

Needed = dict[str, tuple[str, int | None]]

_OPTION_OF = {"depth": "--interval", "books": "--book-grid", "features": "--interval"}


class ModelFile:
    """A model as it was when it was read; the file may change afterwards.

    Raises (constructor):
        ConfigurationError: the file is not there, damaged, or of a kind that the collector does not run.

    Attributes:
        fingerprint: the first 16 digits of the file's SHA-256.
    """

    def __init__(self, path: Path) -> None:
        from training.stepper import ModelError, Stepper

        self.path = path
        try:
            self.fingerprint = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
            self._stepper = Stepper(path)
        except OSError as error:
            raise ConfigurationError("--model", path, f"cannot be read: {error.strerror}") from error
        except ModelError as error:
            raise ConfigurationError("--model", path, str(error).removeprefix(f"model {path}: ")) from error
        if self._stepper.task != "regression":
            raise self._error("gives classes, and the collector stores log-returns; train with --task regression")
        if any("." in name for name in self._stepper.needed):
            raise self._error("was trained on joined data sets; train on one: depth, book or features")
        self._try()

    def _try(self) -> None:
        """Lets it speak once: arrays that do not fit each other, or are not finite, show then."""
        stepper, row = deepcopy(self._stepper), dict.fromkeys(self._stepper.needed, 1.0)
        try:
            made = [stepper.step(row, at * stepper.period_ns) for at in range(stepper.receptive_field + 1)][-1]
            prices = None if made is None else stepper.prices(made, row)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise self._error(f"is damaged: {error}") from error
        shape = (len(self._stepper.targets) * len(self._stepper.horizons),)
        if made is None or prices is None or made.shape != shape or not np.isfinite(made).all():
            raise self._error("is damaged: it does not give a finite number for each target and horizon")

    def open(self, session: SessionStarted) -> Model:
        """The model for one market in one session.

        Raises:
            ConfigurationError: the session does not compute its rows, or computes them in another way.
        """
        table = self._table(session)
        needed = {name: place for name, place in _columns(table, session).items() if name in self._stepper.needed}
        return Model(deepcopy(self._stepper), table, self.fingerprint, needed)

    def _table(self, session: SessionStarted) -> str:
        """The table whose rows the model reads."""
        wanted = set(self._stepper.needed)
        periods_ms = {"depth": session.interval_s * 1000, "features": session.interval_s * 1000}
        if session.book_grid_ms is not None:
            periods_ms["books"] = session.book_grid_ms
        missing = {table: sorted(wanted - set(_columns(table, session))) for table in periods_ms}
        fitting = [table for table, lacks in missing.items() if not lacks]
        if not fitting:
            raise self._error(self._what_lacks(missing, session))
        table, period_ms = fitting[0], self._stepper.period_ns / 1e6
        if periods_ms[table] != period_ms:
            raise self._error(
                f"reads a row each {period_ms:g} ms, and {table} has one each {periods_ms[table]:g} ms; "
                f"set {_OPTION_OF[table]}"
            )
        self._check_settings(table, session)
        return table

    def _what_lacks(self, missing: dict[str, list[str]], session: SessionStarted) -> str:
        table = min(missing, key=lambda name: len(missing[name]))
        lacks = missing[table]
        shown = ", ".join(lacks[:5]) + (f" and {len(lacks) - 5} more" if len(lacks) > 5 else "")
        if session.book_grid_ms is None:
            grid = SessionStarted(exchange="", symbol="", futures=False, book_grid_ms=100, book_depth=1000)
            if set(self._stepper.needed) <= set(_columns("books", grid)):
                return f"reads rows of books: set --book-grid {self._stepper.period_ns / 1e6:g}ms"
        return f"needs {shown}, which this run does not compute (nearest is table {table}); see --features, --streams"

    def _check_settings(self, table: str, session: SessionStarted) -> None:
        """The same column means something else under other settings."""
        trained = (self._stepper.settings or {}).get(table, {})  # files of others say nothing of themselves
        for name, now in _settings(table, session).items():
            if name in trained and trained[name] != now:
                raise self._error(f"was trained on rows with {name} {trained[name]}, and this run has {now}")

    def _error(self, mend: str) -> ConfigurationError:
        return ConfigurationError("--model", self.path, mend)


class Model:
    """A model in one market's stream of rows; a `collector.core.forecasts.RowModel`."""

    def __init__(self, stepper: Stepper, table: str, fingerprint: str, needed: Needed) -> None:
        self.table = table
        self.fingerprint = fingerprint
        self.needed: Mapping[str, tuple[str, int | None]] = needed
        self.targets: Sequence[str] = stepper.targets
        self.horizons_ms: Sequence[float] = [one * stepper.period_ns / 1e6 for one in stepper.horizons]
        self._stepper = stepper

    def step(self, row: Mapping[str, float | None], time_ns: int) -> list[tuple[Any, Any]] | None:
        made = self._stepper.step(row, time_ns)
        if made is None:
            return None
        prices = self._stepper.prices(made, row)
        shape = (len(self.targets), -1)
        return list(zip(made.reshape(shape), prices.reshape(shape), strict=True))

    def reset(self) -> None:
        self._stepper.reset()


def _columns(table: str, session: SessionStarted) -> Needed:
    """The columns that an export gives of a table's rows, and where each is found in a row."""
    if table == "depth":
        plain = ["best_bid", "best_ask", "price", "bid_coverage", "ask_coverage"]
        return _named(plain, ["bid_buckets", "ask_buckets"], session.steps)
    if table == "books":
        plain = ["best_bid_price", "best_ask_price", "mid_price", "spread"]
        plain += ["bid_volume_top", "ask_volume_top", "volume_imbalance"]
        ladder = ["bid_price", "bid_quantity", "ask_price", "ask_quantity"]
        return _named(plain, ladder, session.book_depth)
    if session.features in ("", "none"):
        return {}
    from collector.core.features.catalog import choose_features
    from collector.core.features.engine import FeatureEngine

    engine = FeatureEngine(choose_features(session.features), session.interval_s, session.channels)
    return _named([*engine.names, "num_features"], [], 0)


def _named(plain: Sequence[str], lists: Sequence[str], size: int) -> Needed:
    spread = {f"{name}_{at}": (name, at) for name in lists for at in range(size)}
    return {**{name: (name, None) for name in plain}, **spread}


def _settings(table: str, session: SessionStarted) -> dict[str, Any]:
    """What an export notes of how rows were made, see `training.flatten.SETTINGS`."""
    if table == "depth":
        return {"step_pct": session.step, "num_steps": session.steps, "ref": session.reference}
    if table == "books":
        return {"depth": session.book_depth, "grid_ms": session.book_grid_ms}
    from collector.core.features.catalog import choose_features

    return {"feature_set": choose_features(session.features).label}
