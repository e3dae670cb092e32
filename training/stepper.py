"""A trained model one row at a time: the same numbers as the whole network, from NumPy alone.

    stepper = Stepper("models/model.npz")
    forecast = stepper.step({"mid_price": 60000.05, …}, time_ns)

It gives nothing for the first R - 1 rows and, after a gap, until it has seen R rows again. Imports NumPy only, so that
a collector does not pay for torch.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from training.columns import BP, Column, prepare

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray


_ZIP = (zipfile.BadZipFile, zlib.error, NotImplementedError)


class ModelError(ValueError):
    """The file is not a model, or not one for these columns. The message says what to do."""


class _Conv:
    """A causal convolution that remembers what it needs of the past in a ring."""

    def __init__(self, weight: NDArray[np.float32], bias: NDArray[np.float32], dilation: int = 1) -> None:
        outputs, inputs, kernel = weight.shape
        self._matrix = np.ascontiguousarray(weight.transpose(0, 2, 1).reshape(outputs, kernel * inputs))
        self._bias = bias
        self._ring = np.zeros(((kernel - 1) * dilation + 1, inputs), np.float32)
        self._taps = np.arange(kernel) * dilation + 1  # behind the newest comes the oldest
        self._at = 0

    def reset(self) -> None:
        self._ring[:] = 0

    def step(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        size = len(self._ring)
        self._ring[self._at] = x
        window = self._ring[(self._at + self._taps) % size]
        self._at = (self._at + 1) % size
        y: NDArray[np.float32] = self._matrix @ window.ravel() + self._bias
        return y


class Stepper:
    """A model of `model.npz`, in one market's stream of rows.

    Raises (constructor):
        ModelError: not readable, or of another format.
    """

    def __init__(self, path: str | Path) -> None:
        try:
            with np.load(path, allow_pickle=False) as stored:
                weights = {name: stored[name] for name in stored.files}
            meta: dict[str, Any] = json.loads(str(weights.pop("meta")))
            if meta["format"] != 1:
                raise ModelError(f"model {path}: is of format {meta['format']}, this version reads 1; train again")
            self._build(weights, meta)
        except OSError as error:
            raise ModelError(f"model {path}: cannot be read: {error}") from error
        except ModelError:
            raise
        except ValueError as error:
            # NumPy's advice about a file of another kind is to load it unsafely.
            why = "it is no file of NumPy" if "pickle" in str(error) else str(error)
            raise ModelError(f"model {path}: is damaged or not written by `training train`: {why}") from error
        except (LookupError, TypeError, AttributeError, AssertionError, EOFError, *_ZIP) as error:
            raise ModelError(f"model {path}: is damaged or not written by `training train`: {error}") from error

    def _build(self, weights: dict[str, NDArray[np.float32]], meta: dict[str, Any]) -> None:
        self.columns = tuple(Column(*column) for column in meta["columns"])
        self.targets: tuple[str, ...] = tuple(meta["targets"])
        self.horizons: tuple[int, ...] = tuple(meta["horizons"])
        self.task: str = meta["task"]
        self.period_ns: int = meta["period_ns"]
        self.receptive_field: int = meta["receptive_field"]
        self.needed = tuple(dict.fromkeys([*(column.name for column in self.columns), *self.targets]))
        """The names that every row must have."""
        self.settings: dict[str, Any] | None = meta.get("settings")
        """How the rows that it was trained on were made, by table, as an export notes; None where nothing was noted."""
        self._raw_level: bool = meta["raw_level"]
        self._names = [column.name for column in self.columns]
        self._clamp, self._field = np.float32(meta["clamp"]), meta["network_field"]
        self._mean, self._std = weights["mean"][:, 0], weights["std"][:, 0]
        self._factor, self._center = (weights["gain"] * weights["scale"])[:, 0], weights["center"][:, 0]
        self._blocks: list[tuple[_Conv, _Conv, _Conv | None]] = []
        for number in range(meta["levels"]):
            first, second, around = (
                _Conv(weights[f"{number}.{name}.weight"], weights[f"{number}.{name}.bias"], dilation)
                if f"{number}.{name}.weight" in weights
                else None
                for name, dilation in (("first", 2**number), ("second", 2**number), ("around", 1))
            )
            assert first is not None
            assert second is not None
            self._blocks.append((first, second, around))
        self._head = _Conv(weights["head.weight"], weights["head.bias"])
        self.reset()

    def require(self, names: Iterable[str]) -> None:
        """Whether rows of these columns will do.

        Raises:
            ModelError: naming the columns that are missing.
        """
        missing = sorted(set(self.needed) - set(names))
        if missing:
            raise ModelError(
                f"the model needs {', '.join(missing)}, which the rows do not have; train on their columns"
            )

    def reset(self) -> None:
        """Forgets all rows, as after a gap."""
        self._warm = 0
        self._last_ns: int | None = None
        self._before = np.full((1, len(self.targets)), np.nan)
        for block in self._blocks:
            for conv in block:
                if conv is not None:
                    conv.reset()

    def step(self, row: Mapping[str, float | None], time_ns: int) -> NDArray[np.float64] | None:
        """The forecast at a row; None while not warm, and for a row that misses a value, which counts as a gap.

        Args:
            row: columns of the source by name, prices in quote currency; see `needed`.
            time_ns: the row's time. A step that is not one period, within half of one, is a gap.

        Returns:
            (targets x horizons), target by target: basis points of log-return from the row's own price; for
            classification three probabilities each: down, flat, up.
        """
        if self._last_ns is not None and abs(time_ns - self._last_ns - self.period_ns) > self.period_ns / 2:
            self.reset()
        values = np.array([[row[name] for name in self._names]], np.float64)
        prices = np.array([[row[name] for name in self.targets]], np.float64)
        if not (np.isfinite(prices).all() and (prices > 0).all()):
            self.reset()
            return None
        inputs = prepare(self.columns, self.targets, values, prices, self._before)[0]
        self._last_ns, self._before = time_ns, prices
        if not np.isfinite(inputs).all():
            self._forget_network()  # the price is known, so that the next row has a return
            return None
        made = self._network(inputs)
        self._warm += 1
        if self._warm < self._field:
            return None
        return self._in_use(made.astype(np.float64), prices[0])

    def prices(self, forecast: NDArray[np.float64], row: Mapping[str, float | None]) -> NDArray[np.float64]:
        """A forecast in basis points as prices, (targets x horizons)."""
        now = np.array([row[name] for name in self.targets], np.float64)
        made: NDArray[np.float64] = np.repeat(now, len(self.horizons)) * np.exp(forecast / BP)
        return made

    def _forget_network(self) -> None:
        last_ns, before = self._last_ns, self._before
        self.reset()
        self._last_ns, self._before = last_ns, before

    def _network(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        x = np.clip((inputs - self._mean) / self._std, -self._clamp, self._clamp)
        for first, second, around in self._blocks:
            y = np.maximum(first.step(x), 0)
            y = np.maximum(second.step(y), 0)
            x = np.maximum(y + (x if around is None else around.step(x)), 0)
        return self._head.step(x) * self._factor + self._center

    def _in_use(self, made: NDArray[np.float64], prices: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.task == "classification":
            odds = made.reshape(-1, 3)
            odds = np.exp(odds - odds.max(1, keepdims=True))
            made = (odds / odds.sum(1, keepdims=True)).ravel()
        if self._raw_level:
            now = np.repeat(prices, len(self.horizons))
            made = BP * np.log(np.maximum(made, now * np.exp(-100.0)) / now)
        return made
