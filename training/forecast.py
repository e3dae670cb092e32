"""Forecasts of a trained model for stretches of rows, and their calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from training.batches import chunks, load_inputs, load_labels
from training.columns import BP
from training.segments import clip, labelled, row_numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.config import Config
    from training.dataset import Dataset
    from training.model import Forecaster
    from training.segments import Span

_ROWS = 4096
_MOST_ROWS = 200_000
_EVIDENCE = 2.0


class Forecasts(NamedTuple):
    """`rows` that have a whole context and all labels; `made` and `real` are (rows, outputs) and (rows, labels).

    Regression: basis points of log-return, whatever the model forecasts inside. Classification: `made` has the
    probabilities (three in turn for each label), `real` 0, 1 or 2.
    """

    rows: NDArray[np.int64]
    made: NDArray[np.float64]
    real: NDArray[np.float64]


@torch.no_grad()
def outputs(model: Forecaster, dataset: Dataset, spans: NDArray[np.int64], context: int) -> NDArray[np.float64]:
    """What the model gives at the rows of `spans`, (rows, outputs); each row must have `context` rows before it."""
    model.eval()
    device = model.mean.device
    found = []
    for chunk in chunks(spans, _ROWS):
        inputs = torch.from_numpy(np.ascontiguousarray(load_inputs(dataset, chunk[None], context)))
        found.append(model(inputs.to(device))[0, :, context:].T.double().cpu().numpy())
    return np.concatenate(found) if found else np.empty((0, len(model.center)))


def in_basis_points(
    made: NDArray[np.float64], dataset: Dataset, rows: NDArray[np.int64], config: Config
) -> NDArray[np.float64]:
    """Raw-level outputs (prices) as log-returns from each row's own price; other outputs as they are."""
    if not config.raw_level:
        return made
    now = np.repeat(np.asarray(dataset.prices[rows]), len(config.horizons), axis=1)
    # A level model can give a price of 0 or less; a move of -1e6 bp says so without breaking the arithmetic.
    moves: NDArray[np.float64] = BP * np.log(np.maximum(made, now * np.exp(-100.0)) / now)
    return moves


def probabilities(made: NDArray[np.float64]) -> NDArray[np.float64]:
    """Odds as probabilities: softmax over each three outputs."""
    odds = made.reshape(len(made), -1, 3)
    odds = np.exp(odds - odds.max(-1, keepdims=True))
    chances: NDArray[np.float64] = (odds / odds.sum(-1, keepdims=True)).reshape(made.shape)
    return chances


def judged(dataset: Dataset, span: Span, config: Config) -> NDArray[np.int64]:
    """The stretches of `span` that forecasts are judged on: rows with a whole context and all labels inside it.

    Of more than 200,000 such rows, stretches of 4096 spread evenly over them, so that memory stays bounded.
    """
    spans = labelled(clip(dataset.segments, span), config.network_field - 1, config.longest)
    pieces = chunks(spans, _ROWS)
    rows = int(pieces[:, 1].sum())
    if rows <= _MOST_ROWS:
        return spans
    chosen = pieces[:: -(-rows // _MOST_ROWS)]
    return np.stack([chosen[:, 0], chosen.sum(1)], axis=1)


def forecast(model: Forecaster, dataset: Dataset, spans: NDArray[np.int64], config: Config) -> Forecasts:
    """Forecasts for all rows of `spans`, which `judged` gives."""
    context = config.network_field - 1
    rows = row_numbers(spans)
    made = outputs(model, dataset, spans, context)
    made = probabilities(made) if model.classes else in_basis_points(made, dataset, rows, config)
    return Forecasts(rows, made, real_moves(dataset, spans, config))


def real_moves(dataset: Dataset, spans: NDArray[np.int64], config: Config) -> NDArray[np.float64]:
    """What came, (rows, targets x horizons): basis points, or classes."""
    import dataclasses

    as_returns = dataclasses.replace(config, raw_level=False)
    parts = [load_labels(dataset, chunk[None], as_returns)[0].T for chunk in chunks(spans, 65_536)]
    return np.concatenate(parts) if parts else np.empty((0, len(config.targets) * len(config.horizons)))


def evidence_gain(made: NDArray[np.float64], real: NDArray[np.float64], block: int) -> NDArray[np.float64]:
    """By how much to multiply forecasts, per output: the slope of what came on what was said, at most 1.

    0 unless the slope is more than two standard errors above 0, with errors correlated within `block` rows: a model
    that shows nothing on validation rows says nothing.
    """
    power = (made**2).sum(0)
    power[power == 0] = np.inf
    slope = (made * real).sum(0) / power
    scores = made * (real - slope * made)
    padded = np.concatenate([scores, np.zeros((-len(scores) % block, scores.shape[1]))])
    sums = padded.reshape(-1, block, scores.shape[1]).sum(1)
    error = np.sqrt((sums**2).sum(0)) / power
    return np.where(slope > _EVIDENCE * error, np.clip(slope, 0.0, 1.0), 0.0)
