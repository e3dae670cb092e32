"""Batches for dense training: a label at every row of a stretch, instead of one at the end of each window.

A chunk is (first labelled row, count). It brings the R - 1 rows before its first label as context, so that each of its
labels sees exactly what it would see live; no chunk leaves its segment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from training.columns import BP
from training.config import CLASSIFICATION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from training.config import Config
    from training.dataset import Dataset

_MOST_ROWS = 256


def chunk_rows(batch_size: int) -> int:
    """Labels a chunk: a quarter of a batch, within bounds that keep the share of context small."""
    return max(1, min(_MOST_ROWS, max(64, batch_size // 4), batch_size))


def chunks(spans: NDArray[np.int64], size: int, rng: np.random.Generator | None = None) -> NDArray[np.int64]:
    """Divides labelled rows into chunks of at most `size`, (chunks, 2). Every row is in exactly one.

    With `rng`, where chunks begin and their order are drawn from it.
    """
    parts = []
    for start, stop in spans:
        first = int(rng.integers(size)) if rng is not None else 0
        edges = np.arange(start + first, stop, size)
        edges = np.unique(np.concatenate([[start], edges, [stop]]))
        parts.append(np.stack([edges[:-1], np.diff(edges)], axis=1))
    found = np.concatenate(parts) if parts else np.empty((0, 2), np.int64)
    return found if rng is None else found[rng.permutation(len(found))]


def load_inputs(dataset: Dataset, part: NDArray[np.int64], context: int) -> NDArray[np.float32]:
    """The inputs of some chunks and their context, (chunks, columns, context + rows); zeros behind a shorter chunk."""
    rows = context + int(part[:, 1].max())
    inputs = np.zeros((len(part), rows, dataset.inputs.shape[1]), np.float32)
    for at, (start, count) in enumerate(part):
        inputs[at, : context + count] = dataset.inputs[start - context : start + count]
    return inputs.transpose(0, 2, 1)


def load_labels(dataset: Dataset, part: NDArray[np.int64], config: Config) -> NDArray[np.float64]:
    """The labels of some chunks, (chunks, targets x horizons, rows); NaN behind a shorter chunk.

    Basis points of log-return from the row's own price; the price itself for `raw_level`; 0, 1, 2 for classes.
    """
    size = int(part[:, 1].max())
    horizons = np.array(config.horizons)
    labels = np.full((len(part), len(config.targets), len(horizons), size), np.nan)
    for at, (start, count) in enumerate(part):
        prices = np.asarray(dataset.prices[start : start + count + config.longest]).T
        if not config.raw_level:
            prices = np.log(prices)
        for number, horizon in enumerate(horizons):
            later = prices[:, horizon : horizon + count]
            labels[at, :, number, :count] = later if config.raw_level else BP * (later - prices[:, :count])
    if config.task == CLASSIFICATION:
        moves = labels
        labels = np.where(np.isnan(moves), np.nan, 1.0 + (moves > config.flat_bp) - (moves < -config.flat_bp))
    return labels.reshape(len(part), -1, size)


def in_turn(spans: NDArray[np.int64], rows: int = 65_536) -> Iterator[NDArray[np.int64]]:
    """The labelled rows in order as single chunks, for passes that read everything once."""
    for chunk in chunks(spans, rows):
        yield chunk[None]
