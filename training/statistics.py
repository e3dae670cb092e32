"""What the model must know of the training rows: mean and spread of inputs and labels. Of no other rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from training.batches import in_turn, load_labels
from training.config import CLASSIFICATION
from training.errors import TrainingError
from training.segments import clip, labelled

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from training.config import Config
    from training.dataset import Dataset
    from training.model import Forecaster
    from training.segments import Span


def set_statistics(model: Forecaster, dataset: Dataset, train: Span, config: Config) -> None:
    """Fills the buffers of the model from the rows of `train`.

    Raises:
        TrainingError: too few rows, or a price that never moves in them.
    """
    inside = clip(dataset.segments, train)
    mean, std = _moments(np.asarray(dataset.inputs[start:stop]).T for start, stop in _pieces(inside))
    # A column that does not vary carries nothing; dividing by its rounding noise would carry that.
    std[std <= 1e-6 * np.maximum(1.0, np.abs(mean))] = 1.0
    model.mean.copy_(torch.from_numpy(mean[:, None]))
    model.std.copy_(torch.from_numpy(std[:, None]))
    if config.task == CLASSIFICATION:
        return
    spans = labelled(inside, config.network_field - 1, config.longest)
    center, scale = _moments(load_labels(dataset, part, config)[0] for part in in_turn(spans))
    if not (scale > 0).all():
        raise TrainingError(
            f"--targets {' '.join(config.targets)}: does not move within the longest horizon in the training rows; "
            "nothing to learn"
        )
    model.scale.copy_(torch.from_numpy(scale[:, None]))
    if config.raw_level:
        model.center.copy_(torch.from_numpy(center[:, None]))


def _pieces(segments: NDArray[np.int64]) -> Iterable[tuple[int, int]]:
    for part in in_turn(segments):
        start, count = part[0]
        yield int(start), int(start + count)


def _moments(parts: Iterable[NDArray[np.floating]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation along the last axis over all parts (Chan, Golub, LeVeque 1983)."""
    count, mean, squares = 0, np.float64(0), np.float64(0)
    for part in parts:
        values = part.astype(np.float64)
        number = values.shape[-1]
        middle = values.mean(-1)
        shift = middle - mean
        count += number
        squares = squares + ((values - middle[:, None]) ** 2).sum(-1) + shift**2 * (count - number) * number / count
        mean = mean + shift * number / count
    if count < 2:
        raise TrainingError("too few training rows with a whole context and label; give more data, or fewer --folds")
    return np.asarray(mean), np.sqrt(np.asarray(squares) / count)
