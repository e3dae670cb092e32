"""FI-2010 (Ntakaris et al. 2018): limit order books of five stocks in Helsinki, the benchmark of DeepLOB and its kin.

Files `*_DecPre_CF_{7,8,9}.txt`, normalised, without auctions: 149 rows, a column for each event. Rows 0-39 are ten
levels of ask and bid prices and volumes; rows 144-148 are labels for k = 10, 20, 30, 50, 100 events: 1 up, 2
stationary, 3 down. The usual protocol (Zhang, Zohren, Roberts 2019): fit on the first 80 % of the training file of
CF_7, stop by the rest, test on the test files of CF_7, CF_8 and CF_9 together.

The files hold the stocks one after another, and the protocol does not say where one ends; as everybody does, windows
cross those few borders. The labels compare means over k events on both sides, which is why figures are high.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.errors import TrainingError
from training.metrics import f1_scores
from training.model import TCN

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

HORIZONS: Final = (10, 20, 30, 50, 100)
FEATURES: Final = 40
_ROWS: Final = 149
_FIT_PART: Final = 0.8
_CHUNK: Final = 256


@dataclass(frozen=True)
class Events:
    """`inputs` (events, 40) float32, `labels` (events, 5) of 0 up, 1 stationary, 2 down."""

    inputs: NDArray[np.float32]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Settings:
    """Of the network and its training."""

    channels: int = 32
    levels: int = 4
    kernel: int = 4
    dropout: float = 0.2
    learning_rate: float = 1e-3
    epochs: int = 30
    patience: int = 5
    batch_size: int = 4096
    seed: int = 0
    threads: int = 1
    device: str = "cpu"


def load(path: Path) -> Events:
    """Reads one file.

    Raises:
        TrainingError: not there, or not of this form.
    """
    try:
        table = np.loadtxt(path, np.float32, ndmin=2)
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path}: cannot be read as an FI-2010 file: {error}") from error
    if len(table) != _ROWS:
        raise TrainingError(f"{path}: has {len(table)} rows, an FI-2010 file has {_ROWS}; give the *_DecPre_CF_*.txt")
    labels = table[-len(HORIZONS) :].T
    if not np.isin(labels, (1, 2, 3)).all():
        raise TrainingError(f"{path}: rows 144-148 hold labels other than 1, 2 and 3; it is not an FI-2010 file")
    if not np.isfinite(table[:FEATURES]).all():
        raise TrainingError(f"{path}: holds inputs that are not finite")
    return Events(np.ascontiguousarray(table[:FEATURES].T), labels.astype(np.int64) - 1)


def find(folder: Path, kind: str, number: int) -> Path:
    """The file `*{kind}*_DecPre_CF_{number}.txt` in a folder or below; `kind` is Train or Test.

    Raises:
        TrainingError: none, or several.
    """
    found = sorted(folder.rglob(f"*{kind}*_DecPre_CF_{number}.txt"))
    if len(found) != 1:
        problem = f"holds {', '.join(path.name for path in found)}" if found else "holds none"
        raise TrainingError(
            f"--data-dir {folder}: wanted is one file *{kind}*_DecPre_CF_{number}.txt, and it {problem}"
        )
    return found[0]


def run(folder: Path, settings: Settings, say: Callable[[str], None]) -> dict[str, Any]:
    """The whole protocol: {"horizons": {k: {accuracy, f1_weighted, f1_macro, majority}}, …}.

    Raises:
        TrainingError: files are missing or damaged, or too short.
    """
    torch.set_num_threads(settings.threads)
    whole = load(find(folder, "Train", 7))
    tests = [load(find(folder, "Test", number)) for number in (7, 8, 9)]
    cut = int(len(whole.labels) * _FIT_PART)
    fit, stop = Events(whole.inputs[:cut], whole.labels[:cut]), Events(whole.inputs[cut:], whole.labels[cut:])
    network = _train(fit, stop, settings, say)
    context = network.receptive_field - 1
    made = np.concatenate([_choices(network, one, settings) for one in tests])
    real = np.concatenate([one.labels[context:] for one in tests])
    horizons = {}
    for at, horizon in enumerate(HORIZONS):
        shares = np.bincount(real[:, at], minlength=3) / len(real)
        scores = f1_scores(made[:, at], real[:, at].astype(np.float64))
        horizons[str(horizon)] = {
            "accuracy": float((made[:, at] == real[:, at]).mean()),
            "f1_weighted": float((scores * shares).sum()),
            "f1_macro": float(scores.mean()),
            "majority": float(shares.max()),
        }
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return {"events": len(real), "parameters": parameters, "horizons": horizons}


def _train(fit: Events, stop: Events, settings: Settings, say: Callable[[str], None]) -> TCN:
    torch.manual_seed(settings.seed)
    network = TCN(
        FEATURES,
        len(HORIZONS) * 3,
        channels=settings.channels,
        levels=settings.levels,
        kernel=settings.kernel,
        dropout=settings.dropout,
    ).to(settings.device)
    context = network.receptive_field - 1
    if min(len(fit.labels), len(stop.labels)) <= context:
        raise TrainingError(f"the training file is too short: {context + 1} events are needed for one forecast")
    optimizer = torch.optim.AdamW(network.parameters(), settings.learning_rate)
    rng = np.random.default_rng(settings.seed)
    best, bad = float("inf"), 0
    kept = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for epoch in range(1, settings.epochs + 1):
        network.train()
        starts = np.arange(context + int(rng.integers(_CHUNK)), len(fit.labels) - _CHUNK + 1, _CHUNK)
        starts = rng.permutation(starts) if len(starts) else np.array([context])
        per_batch = max(1, settings.batch_size // _CHUNK)
        for at in range(0, len(starts), per_batch):
            batch = starts[at : at + per_batch]
            inputs = np.stack([fit.inputs[start - context : start + _CHUNK].T for start in batch])
            labels = np.stack([fit.labels[start : start + _CHUNK] for start in batch])
            optimizer.zero_grad(set_to_none=True)
            loss = _loss(network(torch.from_numpy(inputs).to(settings.device))[..., context:], labels)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
        value = _stop_loss(network, stop, settings)
        say(f"epoch {epoch}: validation {value:.4f}")
        bad = 0 if value < best else bad + 1
        if not bad:
            best, kept = value, {name: tensor.clone() for name, tensor in network.state_dict().items()}
        if bad >= settings.patience:
            break
    network.load_state_dict(kept)
    return network.eval()


def _loss(made: Tensor, labels: NDArray[np.int64]) -> Tensor:
    """Cross entropy over all horizons; `made` (chunks, 15, events), `labels` (chunks, events, 5)."""
    odds = made.reshape(len(made), len(HORIZONS), 3, -1).movedim(2, -1)
    wanted = torch.from_numpy(labels).to(made.device).movedim(1, 2)
    return functional.cross_entropy(odds.reshape(-1, 3), wanted.reshape(-1))


@torch.no_grad()
def _stop_loss(network: TCN, events: Events, settings: Settings) -> float:
    network.eval()
    context = network.receptive_field - 1
    inputs = torch.from_numpy(np.ascontiguousarray(events.inputs.T)[None]).to(settings.device)
    return float(_loss(network(inputs)[..., context:], events.labels[None, context:]))


@torch.no_grad()
def _choices(network: TCN, events: Events, settings: Settings) -> NDArray[np.int64]:
    """The class of each event with a whole context, (events, 5)."""
    inputs = torch.from_numpy(np.ascontiguousarray(events.inputs.T)[None]).to(settings.device)
    odds = network(inputs)[0, :, network.receptive_field - 1 :].reshape(len(HORIZONS), 3, -1)
    chosen: NDArray[np.int64] = odds.argmax(1).T.cpu().numpy()
    return chosen
