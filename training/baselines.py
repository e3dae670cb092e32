"""What a network has to beat: no move, a line through the last imbalance, and ridge on a few lags.

All are fitted on the training rows of a fold; ridge's penalty is chosen on its validation rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from training.batches import chunks, load_labels
from training.config import CLASSES, CLASSIFICATION
from training.files import replacing
from training.model import CLAMP
from training.segments import clip, labelled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from training.config import Config
    from training.dataset import Dataset
    from training.model import Forecaster
    from training.segments import Fold

    Floats = NDArray[np.float64]

LAGS: Final = 10
_MOST_ROWS: Final = 300_000
_PENALTIES: Final = 10.0 ** np.arange(-5, 3)
_PAIRS: Final = (("bid_volume_top", "ask_volume_top"), ("bid_buckets_0", "ask_buckets_0"))


@dataclass(frozen=True)
class Linear:
    """A linear model on `lags` rows of normalised inputs.

    `weights` (lags x inputs + 1, outputs), the last row the constant; inputs are `features` times `signs`.
    """

    weights: Floats
    lags: int
    features: NDArray[np.int64]
    signs: Floats

    def outputs(self, inputs: Floats) -> Floats:
        """(rows, outputs) for normalised inputs (lags - 1 + rows, features)."""
        return _design(inputs, self) @ self.weights


def imbalance_columns(names: tuple[str, ...]) -> tuple[list[int], list[float]]:
    """The columns that tell the imbalance of the book, and their signs; empty when none do."""
    bare = [name.rpartition(".")[2] for name in names]
    for at, name in enumerate(bare):
        if "imbalance" in name:
            return [at], [1.0]
    for bid, ask in _PAIRS:
        if bid in bare and ask in bare:
            return [bare.index(bid), bare.index(ask)], [1.0, -1.0]  # logarithms: the log-ratio
    return [], []


def fit_baselines(model: Forecaster, dataset: Dataset, fold: Fold, config: Config, path: Path) -> None:
    """Fits both linear models and writes them to `path`. The model lends its normalisation."""
    fitted = {"ridge": _fit(_every(dataset, config), model, dataset, fold, config)}
    found, signs = imbalance_columns(dataset.names)
    if found:
        empty = Linear(np.empty((0, 0)), 1, np.array(found, np.int64), np.array(signs))
        fitted["last_imbalance"] = _fit(empty, model, dataset, fold, config)
    arrays: dict[str, Any] = {
        f"{name}.{field}": np.asarray(getattr(linear, field))
        for name, linear in fitted.items()
        for field in ("weights", "lags", "features", "signs")
    }
    with replacing(path) as unfinished, unfinished.open("wb") as file:
        np.savez(file, **arrays)


def load_baselines(path: Path) -> dict[str, Linear]:
    """What `fit_baselines` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        names = sorted({key.partition(".")[0] for key in stored.files})
        return {
            name: Linear(
                stored[f"{name}.weights"],
                int(stored[f"{name}.lags"]),
                stored[f"{name}.features"],
                stored[f"{name}.signs"],
            )
            for name in names
        }


def baseline_outputs(
    linear: Linear, model: Forecaster, dataset: Dataset, spans: NDArray[np.int64], config: Config
) -> Floats:
    """What a linear model gives at the rows of `spans`: basis points, or scores of classes."""
    found = [linear.outputs(inputs) for inputs, _ in _pieces(linear, model, dataset, spans, config, 1)]
    return np.concatenate(found) if found else np.empty((0, linear.weights.shape[1]))


def _every(dataset: Dataset, config: Config) -> Linear:
    count = len(dataset.columns)
    lags = min(LAGS, config.network_field)
    return Linear(np.empty((0, 0)), lags, np.arange(count), np.ones(count))


def _fit(shape: Linear, model: Forecaster, dataset: Dataset, fold: Fold, config: Config) -> Linear:
    import dataclasses

    spans = {
        name: labelled(clip(dataset.segments, span), config.network_field - 1, config.longest)
        for name, span in fold._asdict().items()
    }
    gram: Any = 0.0
    cross: Any = 0.0
    count = 0
    for design, labels in _designs(shape, model, dataset, spans["train"], config):
        gram, cross, count = gram + design.T @ design, cross + design.T @ labels, count + len(design)
    values, vectors = np.linalg.eigh(gram / count)
    turned = vectors.T @ (cross / count)
    candidates = [vectors @ (turned / (np.maximum(values, 0) + penalty)[:, None]) for penalty in _PENALTIES]
    errors = np.zeros(len(candidates))
    for design, labels in _designs(shape, model, dataset, spans["validation"], config):
        errors += [((design @ weights - labels) ** 2).sum() for weights in candidates]
    return dataclasses.replace(shape, weights=candidates[int(errors.argmin())])


def _designs(
    shape: Linear, model: Forecaster, dataset: Dataset, spans: NDArray[np.int64], config: Config
) -> Iterator[tuple[Floats, Floats]]:
    rows = int((spans[:, 1] - spans[:, 0]).sum())
    stride = -(-rows // _MOST_ROWS)
    for inputs, labels in _pieces(shape, model, dataset, spans, config, stride):
        if config.task == CLASSIFICATION:
            classes = labels[:, :, None] == np.arange(len(CLASSES))
            labels = classes.reshape(len(labels), -1).astype(np.float64)
        yield _design(inputs, shape), labels


def _pieces(
    shape: Linear, model: Forecaster, dataset: Dataset, spans: NDArray[np.int64], config: Config, stride: int
) -> Iterator[tuple[Floats, Floats]]:
    """Normalised inputs with their lags, and labels in basis points or classes, of every `stride`-th piece."""
    import dataclasses

    mean, std = model.mean.cpu().numpy()[:, 0], model.std.cpu().numpy()[:, 0]
    as_returns = dataclasses.replace(config, raw_level=False)
    for start, count in chunks(spans, 2048)[::stride]:
        rows = dataset.inputs[start - shape.lags + 1 : start + count]
        inputs = np.clip((np.asarray(rows) - mean) / std, -CLAMP, CLAMP).astype(np.float64)
        labels = load_labels(dataset, np.array([[start, count]]), as_returns)[0].T
        yield inputs, labels


def _design(inputs: Floats, shape: Linear) -> Floats:
    chosen = inputs[:, shape.features] * shape.signs
    if len(shape.features) == 2 and shape.lags == 1:  # the pair of an imbalance is one number
        chosen = chosen.sum(1, keepdims=True)
    count = len(inputs) - shape.lags + 1
    lagged = [chosen[shape.lags - 1 - lag : shape.lags - 1 - lag + count] for lag in range(shape.lags)]
    return np.concatenate([*lagged, np.ones((count, 1))], axis=1)
