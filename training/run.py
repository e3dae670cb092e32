"""A whole training run: data, folds, seeds, baselines, and what is left in the output folder.

models/
    run.json           configuration, command, folds and their times, data, code
    dataset/           the rows as read (`dataset`)
    fold0-seed0/       best.pt, last.pt (`fit`)
    fold0-seed0/baselines.npz
    log.jsonl          one object an epoch
    model.npz model.onnx   the first seed's model of the last fold, which has seen most
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from training import artifacts, checkpoint
from training.baselines import fit_baselines
from training.columns import Column
from training.config import Config, from_dict
from training.dataset import Dataset, open_dataset
from training.errors import TrainingError
from training.files import read_json, write_json
from training.fit import fit, load_model
from training.log import both, jsonl_log, say_epochs
from training.segments import Fold, Span, walk_forward

if TYPE_CHECKING:
    from collections.abc import Callable

    from training.model import Forecaster
    from training.world import World

RUN: Final = "run.json"


@dataclass(frozen=True)
class Run:
    """What `train_all` left, as far as evaluation needs it."""

    folder: Path
    config: Config
    columns: tuple[Column, ...]
    period_ns: int
    fingerprint: str
    times: list[dict[str, list[int]]]
    """Per fold: first and last time, ns, of train, validation and test."""
    details: dict[str, Any]

    @property
    def dataset_folder(self) -> Path:
        """The rows that the model was trained on."""
        return Path(self.details["dataset"])

    def model(self, fold: int, seed: int) -> Forecaster:
        """The model of a fold and seed, on the CPU. Raises TrainingError when it is missing or damaged."""
        return load_model(self.folder / name_of(fold, seed) / "best.pt", self.config)

    def held_out(self, dataset: Dataset, fold: int) -> Span:
        """The rows of `dataset` that judge a fold's model: those in the time of its test part.

        For the last fold, whose model is the one that serves, later rows count too.
        """
        first, last = self.times[fold]["test"]
        start = int(dataset.time_ns.searchsorted(first))
        stop = len(dataset) if fold == self.config.folds - 1 else int(dataset.time_ns.searchsorted(last, "right"))
        return Span(start, max(start, stop))


def name_of(fold: int, seed: int) -> str:
    return f"fold{fold}-seed{seed}"


def train_all(
    config: Config,
    dataset: Dataset,
    folder: Path,
    world: World,
    *,
    command: str,
    source: str,
    resume: bool = False,
    bars: bool = True,
    say: Callable[[str], None] = print,
) -> None:
    """Trains every fold and seed in turn and writes the artifacts.

    Raises:
        TrainingError: too little data, a price that never moves, or with `resume` other settings than before.
    """
    folds = walk_forward(len(dataset), config.folds, config.purge)
    if world.leads:
        _write_run(config, dataset, folder, folds, command, source)
        if not resume:
            (folder / "log.jsonl").unlink(missing_ok=True)
    world.wait()
    for number, fold in enumerate(folds):
        for seed in config.seeds:
            name = name_of(number, seed)
            place = folder / name
            place.mkdir(parents=True, exist_ok=True)
            log = both(jsonl_log(folder / "log.jsonl", {"fold": number, "seed": seed}), say_epochs(say, name))
            fit(
                config,
                dataset,
                fold,
                seed,
                place,
                world,
                resume=resume,
                log=log if world.leads else both(),
                bars=bars,
            )
            if world.leads:
                model = load_model(place / "best.pt", config)
                fit_baselines(model, dataset, fold, config, place / "baselines.npz")
    if world.leads:
        write_artifacts(folder, load_model(folder / name_of(config.folds - 1, config.seeds[0]) / "best.pt", config))
    world.wait()


def write_artifacts(folder: Path, model: Forecaster) -> None:
    """`model.npz` and `model.onnx`."""
    run = open_run(folder)
    meta = artifacts.describe(run.config, open_dataset(run.dataset_folder))
    weights = artifacts.weights_of(model)
    artifacts.write_npz(folder / "model.npz", weights, meta)
    artifacts.write_onnx(folder / "model.onnx", weights, meta)


def open_run(folder: Path) -> Run:
    """What a training run left.

    Raises:
        TrainingError: nothing, or not by this version.
    """
    saved = read_json(folder / RUN, "trained model")
    try:
        return Run(
            folder,
            from_dict(saved["config"]),
            tuple(Column(*column) for column in saved["columns"]),
            saved["period_ns"],
            saved["fingerprint"],
            saved["folds"],
            saved,
        )
    except (KeyError, TypeError) as error:
        raise TrainingError(f"{folder / RUN}: was not written by this version ({error}); train again") from error


def _write_run(config: Config, dataset: Dataset, folder: Path, folds: list[Fold], command: str, source: str) -> None:
    times = []
    for fold in folds:
        spans = {}
        for name, span in fold._asdict().items():
            if span.stop <= span.start:
                raise TrainingError(
                    f"too little data: {len(dataset):,} rows leave no {name} row once {config.purge} rows are purged "
                    f"between the parts of {config.folds} folds; give more rows, or fewer --folds or a shorter horizon"
                )
            spans[name] = [int(dataset.time_ns[span.start]), int(dataset.time_ns[span.stop - 1])]
        times.append(spans)
    write_json(
        folder / RUN,
        {
            "command": command,
            "source": source,
            "dataset": str(dataset.folder),
            "config": dataclasses.asdict(config),
            "columns": [list(column) for column in dataset.columns],
            "period_ns": dataset.period_ns,
            "fingerprint": dataset.fingerprint,
            "counts": dataset.counts,
            "rows": len(dataset),
            "segments": len(dataset.segments),
            "folds": times,
            "receptive_field": config.receptive_field,
            "git_commit": checkpoint.git_commit(),
        },
    )
