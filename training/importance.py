"""Permutation importance: how much skill is lost when one input tells of another time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from training.batches import load_inputs, load_labels
from training.segments import clip, labelled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.dataset import Dataset
    from training.run import Run

_MOST_ROWS = 20_000


class Importance(NamedTuple):
    """Skill lost, averaged over horizons, when the columns of a group are exchanged for those of other rows."""

    name: str
    columns: int
    lost: float


@torch.no_grad()
def permutation_importance(run: Run, dataset: Dataset) -> list[Importance]:
    """For the serving model on its held-out rows, most important first; numbered columns of one name go together.

    A column is rolled by a third of the rows, so that it keeps its own course and loses only its bearing on the rest.
    """
    config = run.config
    fold = config.folds - 1
    context = config.network_field - 1
    spans = labelled(clip(dataset.segments, run.held_out(dataset, fold)), context, config.longest)
    if config.task != "regression" or config.raw_level or not len(spans):
        return []
    start, stop = max(spans, key=lambda span: int(span[1] - span[0]))
    piece = np.array([[start, min(int(stop - start), _MOST_ROWS)]])
    inputs = load_inputs(dataset, piece, context)
    real = load_labels(dataset, piece, config)[0]
    model = run.model(fold, config.seeds[0])

    def skill(given: NDArray[np.float32]) -> float:
        made = model(torch.from_numpy(np.ascontiguousarray(given)))[0, :, context:].double().numpy()
        return float(np.mean(1 - ((made - real) ** 2).sum(1) / np.maximum((real**2).sum(1), 1e-300)))

    groups: dict[str, list[int]] = {}
    for at, name in enumerate(dataset.names):
        groups.setdefault(re.sub(r"_\d+$", "", name), []).append(at)
    whole = skill(inputs)
    found = []
    for name, places in groups.items():
        moved = inputs.copy()
        moved[:, places] = np.roll(inputs[:, places], inputs.shape[-1] // 3, axis=-1)
        found.append(Importance(name, len(places), whole - skill(moved)))
    return sorted(found, key=lambda one: -one.lost)
