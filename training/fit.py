"""Training of one model on one fold with one seed: read it top to bottom.

A run is a function of configuration, data, fold and seed. Where it stands is in `last.pt`, written after each epoch, so
that a run that was killed and goes on ends with the same bits as one that was not.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from training import checkpoint
from training.batches import chunk_rows, chunks, load_inputs, load_labels
from training.config import CLASSES, CLASSIFICATION
from training.errors import TrainingError
from training.forecast import evidence_gain, forecast, judged
from training.log import both
from training.model import Forecaster
from training.segments import clip, labelled
from training.statistics import set_statistics

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from training.config import Config
    from training.dataset import Dataset
    from training.segments import Fold
    from training.world import World

_HUBER = 4.0  # in standard deviations: squared errors for all but the wildest moves
_WARM_UP = 0.05
_LAST_RATE = 0.05


def fit(
    config: Config,
    dataset: Dataset,
    fold: Fold,
    seed: int,
    folder: Path,
    world: World,
    *,
    resume: bool = False,
    log: Callable[[dict[str, Any]], None] | None = None,
    bars: bool = False,
    stop_after: int | None = None,
) -> None:
    """Leaves `best.pt`, the model of the best validation loss with its calibration, and `last.pt` in `folder`.

    Epoch 0 is the untrained model, which forecasts no move: a model that never beats it is not kept.

    Args:
        resume: go on from `last.pt` where there is one.
        stop_after: end after so many epochs as a kill would, for tests.

    Raises:
        TrainingError: too few rows for a part of the fold, or a checkpoint of something else.
    """
    log = log or both()
    context = config.network_field - 1
    spans = {
        name: labelled(clip(dataset.segments, span), context, config.longest) for name, span in fold._asdict().items()
    }
    _require_rows(spans, dataset, config)
    torch.manual_seed(seed)
    model = Forecaster(config)
    set_statistics(model, dataset, fold.train, config)
    model.to(world.device)
    optimizer = torch.optim.AdamW(model.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    identity = {
        "config": config.as_dict(),
        "columns": [list(column) for column in dataset.columns],
        "fingerprint": dataset.fingerprint,
        "fold": [list(span) for span in fold],
        "seed": seed,
    }
    last, best_path = folder / "last.pt", folder / "best.pt"
    epoch = step = bad = 0
    best = float("inf")
    if resume and last.exists():
        state = checkpoint.load(last)
        checkpoint.require_same(last, state, identity)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        epoch, step, bad, best = state["epoch"], state["step"], state["bad"], state["best"]
        torch.set_rng_state(state["rng"])
        if world.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_rng"], world.device)
    else:
        best = world.agree(validate(model, dataset, spans["validation"], config))
        if world.leads:
            checkpoint.save(best_path, {**identity, "model": model.state_dict(), "epoch": 0})
        log({"epoch": 0, "validation_loss": best})
    parallel = nn.parallel.DistributedDataParallel(model) if world.size > 1 else None
    size = chunk_rows(config.batch_size)
    per_batch = max(1, config.batch_size // size)
    steps = config.epochs * max(1, _labels(spans["train"]) // (size * per_batch))
    epochs = tqdm(total=config.epochs, initial=epoch, desc="epochs", disable=not (bars and world.leads), leave=False)
    while epoch < config.epochs and bad < config.patience:
        # The order is drawn from seed and epoch alone, so that going on needs no state of a loader.
        order = chunks(spans["train"], size, np.random.default_rng([seed, epoch]))
        batches = [order[at : at + per_batch] for at in range(0, len(order), per_batch)]
        began, losses, norms = time.perf_counter(), 0.0, 0.0
        model.train()
        progress = tqdm(batches, desc=f"epoch {epoch + 1}", disable=not (bars and world.leads), leave=False)
        for batch in progress:
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * _rate(step / steps)
            optimizer.zero_grad(set_to_none=True)
            loss = _batch_loss(parallel or model, model, dataset, batch, config, world)
            loss.backward()  # type: ignore[no-untyped-call]
            # After backward: before it there is nothing to clip, which is what some published scripts do.
            norms += float(nn.utils.clip_grad_norm_(model.parameters(), config.clip))
            optimizer.step()
            step += 1
            losses += float(loss.detach())
        epoch += 1
        took_s = time.perf_counter() - began
        value = world.agree(validate(model, dataset, spans["validation"], config))
        bad = 0 if value < best else bad + 1
        best = min(best, value)
        if world.leads:
            if bad == 0:
                checkpoint.save(best_path, {**identity, "model": model.state_dict(), "epoch": epoch})
            position = {"epoch": epoch, "step": step, "bad": bad, "best": best, "rng": torch.get_rng_state()}
            if world.device.type == "cuda":
                position["cuda_rng"] = torch.cuda.get_rng_state(world.device)
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            checkpoint.save(last, {**identity, **state, **position, "git_commit": checkpoint.git_commit()})
        log(
            {
                "epoch": epoch,
                "step": step,
                "train_loss": losses / len(batches),
                "validation_loss": value,
                "learning_rate": optimizer.param_groups[0]["lr"],
                "gradient_norm": norms / len(batches),
                "labels_per_s": _labels(spans["train"]) / took_s,
                "patience_left": config.patience - bad,
            }
        )
        epochs.update()
        epochs.set_postfix(validation=f"{value:.5f}", best=f"{best:.5f}")
        if stop_after is not None and epoch >= stop_after:
            epochs.close()
            return
    epochs.close()
    if world.leads:
        _calibrate(best_path, dataset, fold, config)
    world.wait()


def load_model(path: Path, config: Config) -> Forecaster:
    """The model of a checkpoint, on the CPU.

    Raises:
        TrainingError: damaged, or of other settings.
    """
    state = checkpoint.load(path)
    model = Forecaster(config)
    try:
        model.load_state_dict(state["model"])
    except (KeyError, RuntimeError) as error:
        raise TrainingError(f"{path}: does not fit the saved configuration ({error}); train again") from error
    return model.eval()


@torch.no_grad()
def validate(model: Forecaster, dataset: Dataset, spans: NDArray[np.int64], config: Config) -> float:
    """The mean loss over all labels of the spans."""
    model.eval()
    total = count = 0.0
    for chunk in chunks(spans, 4096):
        losses, number = _loss(model, model, dataset, chunk[None], config)
        total += float(losses)
        count += number
    return total / count


def _batch_loss(
    network: nn.Module, model: Forecaster, dataset: Dataset, batch: NDArray[np.int64], config: Config, world: World
) -> Tensor:
    """The mean loss of a batch; with several processes, this one's share of it.

    DistributedDataParallel averages gradients over processes, so a share counts as many times as there are processes:
    then two give what one gives, however unequal their shares.
    """
    mine = batch[world.rank :: world.size]
    total = int(batch[:, 1].sum()) * model.center.shape[0] // (len(CLASSES) if model.classes else 1)
    weight = world.size / total
    if not len(mine):
        mine, weight = batch[:1], 0.0
    reduced = config.precision == "bf16"
    with torch.autocast(world.device.type, torch.bfloat16) if reduced else nullcontext():
        losses, _ = _loss(network, model, dataset, mine, config)
    return losses * weight


def _loss(
    network: nn.Module, model: Forecaster, dataset: Dataset, part: NDArray[np.int64], config: Config
) -> tuple[Tensor, int]:
    """Sum of the losses of some chunks, and the number of labels. `network` is the model, or what wraps it."""
    context = config.network_field - 1
    device = model.center.device
    inputs = torch.from_numpy(np.ascontiguousarray(load_inputs(dataset, part, context))).to(device)
    labels = torch.from_numpy(load_labels(dataset, part, config)).to(device)
    made = network(inputs, normalised=True)[..., context:].float()
    there = ~torch.isnan(labels)
    if model.classes:
        odds = made.reshape(len(part), -1, len(CLASSES), made.shape[-1]).movedim(2, -1)
        losses = functional.cross_entropy(odds[there], labels[there].long(), reduction="sum")
        return losses, int(there.sum())
    wanted = ((labels - model.center) / model.scale).float()
    losses = functional.huber_loss(made[there], wanted[there], reduction="sum", delta=_HUBER)
    return losses, int(there.sum())


def _rate(part: float) -> float:
    """The learning rate as a share of its peak: a linear warm-up, then half a cosine."""
    if part < _WARM_UP:
        return part / _WARM_UP * (1 - _LAST_RATE) + _LAST_RATE
    done = min(1.0, (part - _WARM_UP) / (1 - _WARM_UP))
    return _LAST_RATE + (1 - _LAST_RATE) * 0.5 * (1 + float(np.cos(np.pi * done)))


def _calibrate(path: Path, dataset: Dataset, fold: Fold, config: Config) -> None:
    """Sets `gain` of the best model from the validation rows, once."""
    state = checkpoint.load(path)
    if config.task != CLASSIFICATION and not config.raw_level:
        model = load_model(path, config)
        model.gain.fill_(1.0)
        known = forecast(model, dataset, judged(dataset, fold.validation, config), config)
        gain = evidence_gain(known.made, known.real, config.purge)
        model.gain.copy_(torch.from_numpy(gain[:, None]))
        state["model"] = model.state_dict()
    checkpoint.save(path, state)


def _labels(spans: NDArray[np.int64]) -> int:
    return int((spans[:, 1] - spans[:, 0]).sum())


def _require_rows(spans: dict[str, NDArray[np.int64]], dataset: Dataset, config: Config) -> None:
    for name, found in spans.items():
        if not _labels(found):
            longest = int((dataset.segments[:, 1] - dataset.segments[:, 0]).max())
            raise TrainingError(
                f"too little data: no {name} row of a fold has {config.network_field} rows of inputs and "
                f"{config.longest} rows behind it in one segment (of {len(dataset):,} rows in {len(dataset.segments)} "
                f"segments, the longest {longest:,}); give more rows, or fewer --folds, --input-length or horizons"
            )
