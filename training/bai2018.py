"""Two tasks of Bai, Kolter, Koltun 2018 ("An Empirical Evaluation of Generic Convolutional and Recurrent Networks for
Sequence Modeling", sections 4.2 and A), which tell whether the network learns what it should.

**Copy memory.** Ten symbols of 1…8, T - 1 zeros, then eleven nines; the last ten outputs are to be the ten symbols.
**Adding problem.** T numbers in [0, 1] and a second row that marks two of them; the last output is to be their sum.
Samples are drawn anew for each step instead of from a table of 50,000.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.model import TCN

if TYPE_CHECKING:
    from collections.abc import Callable

SYMBOLS: Final = 10
_CLASSES: Final = 10
_CLIP: Final = 1.0


@dataclass(frozen=True)
class Settings:
    """Of one task. The network's are those of the paper's table 2; optimiser, rate and steps are ours."""

    length: int
    channels: int
    levels: int
    kernel: int
    dropout: float
    learning_rate: float
    steps: int
    batch_size: int = 32
    seed: int = 1111
    threads: int = 1


@dataclass(frozen=True)
class Outcome:
    """`loss` and `recall` (copy memory: the share of the ten symbols that come back) on held-out samples."""

    loss: float
    recall: float | None
    memoryless: float
    receptive_field: int
    parameters: int
    steps: int
    cpu_s: float


def copy_memory(count: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Inputs (count, 1, length + 20) and classes (count, length + 20)."""
    symbols = torch.randint(1, 9, (count, SYMBOLS), generator=generator)
    rest = torch.cat([torch.zeros(length - 1), torch.full((SYMBOLS + 1,), 9.0)]).expand(count, -1)
    wanted = torch.cat([torch.zeros(count, length + SYMBOLS, dtype=torch.long), symbols], 1)
    return torch.cat([symbols.float(), rest], 1)[:, None], wanted


def adding(count: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Inputs (count, 2, length) and sums (count,)."""
    inputs = torch.rand(count, 2, length, generator=generator)
    marked = torch.rand(count, length, generator=generator).argsort(1)[:, :2]
    inputs[:, 1] = torch.zeros(count, length).scatter_(1, marked, 1.0)
    return inputs, (inputs[:, 0] * inputs[:, 1]).sum(1)


def run_copy_memory(settings: Settings, say: Callable[[str], None] | None = None) -> Outcome:
    """Trains on copy memory for a fixed number of steps."""
    # Without memory: certain zeros, and a guess among eight for each symbol.
    memoryless = SYMBOLS * float(torch.log(torch.tensor(8.0))) / (settings.length + 2 * SYMBOLS)
    network = _network(settings, 1, _CLASSES)

    def loss(made: Tensor, wanted: Tensor) -> Tensor:
        return functional.cross_entropy(made, wanted)

    def recall(made: Tensor, wanted: Tensor) -> float:
        return float((made.argmax(1)[:, -SYMBOLS:] == wanted[:, -SYMBOLS:]).float().mean())

    return _run(settings, network, copy_memory, loss, recall, memoryless, say)


def run_adding(settings: Settings, say: Callable[[str], None] | None = None) -> Outcome:
    """Trains on the adding problem for a fixed number of steps."""

    def loss(made: Tensor, wanted: Tensor) -> Tensor:
        return functional.mse_loss(made[:, 0, -1], wanted)

    # Without memory: always 1, the mean; the variance of a sum of two uniform numbers is 1/6.
    return _run(settings, _network(settings, 2, 1), adding, loss, None, 1 / 6, say)


def _network(settings: Settings, inputs: int, outputs: int) -> TCN:
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    return TCN(
        inputs,
        outputs,
        channels=settings.channels,
        levels=settings.levels,
        kernel=settings.kernel,
        dropout=settings.dropout,
    )


def _run(
    settings: Settings,
    network: TCN,
    draw: Callable[[int, int, torch.Generator], tuple[Tensor, Tensor]],
    loss: Callable[[Tensor, Tensor], Tensor],
    recall: Callable[[Tensor, Tensor], float] | None,
    memoryless: float,
    say: Callable[[str], None] | None,
) -> Outcome:
    generator = torch.Generator().manual_seed(settings.seed)
    held_out = draw(256, settings.length, torch.Generator().manual_seed(settings.seed + 1))
    optimizer = torch.optim.Adam(network.parameters(), settings.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, total_steps=settings.steps)
    began = time.process_time()

    def judge(step: int) -> Outcome:
        network.eval()
        with torch.no_grad():
            made = network(held_out[0])
        parameters = sum(parameter.numel() for parameter in network.parameters())
        return Outcome(
            loss=float(loss(made, held_out[1])),
            recall=None if recall is None else recall(made, held_out[1]),
            memoryless=memoryless,
            receptive_field=network.receptive_field,
            parameters=parameters,
            steps=step,
            cpu_s=time.process_time() - began,
        )

    for step in range(1, settings.steps + 1):
        network.train()
        inputs, wanted = draw(settings.batch_size, settings.length, generator)
        optimizer.zero_grad(set_to_none=True)
        value = loss(network(inputs), wanted)
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), _CLIP)
        optimizer.step()
        schedule.step()
        if say is not None and step % max(1, settings.steps // 20) == 0:
            so_far = judge(step)
            shown = "" if so_far.recall is None else f"  recall {so_far.recall:.4f}"
            say(f"step {step}: loss {so_far.loss:.3e} (memoryless {memoryless:.3e}){shown}  {so_far.cpu_s:.0f} CPU s")
    return judge(settings.steps)
