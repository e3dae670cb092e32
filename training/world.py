"""The processes of one training run: one, or as many as `torchrun` started."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from training.errors import TrainingError

if TYPE_CHECKING:
    import torch

    from training.config import Config


@dataclass(frozen=True)
class World:
    """This process among the others, and the device that it computes on."""

    rank: int
    size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            import torch.distributed as dist

            dist.barrier()

    def agree(self, value: float) -> float:
        """The leader's value, in every process."""
        if self.size == 1:
            return value
        import torch
        import torch.distributed as dist

        # Through a tensor of 64 bits: each process must take the same decision from the same number.
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.broadcast(shared, 0)
        return float(shared)


def enter(config: Config) -> World:
    """Sets threads, picks the device and meets the other processes.

    Raises:
        TrainingError: a device that is not there.
    """
    import torch

    torch.set_num_threads(config.threads)
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    name = config.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        if device.type == "cuda":
            device = torch.device("cuda", device.index or int(os.environ.get("LOCAL_RANK", "0")))
            torch.cuda.set_device(device)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise TrainingError(f"--device {config.device}: cannot be used here ({error})".partition("\n")[0]) from error
    if size > 1 and not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return World(rank, size, device)


def leave() -> None:
    """Parts from the other processes; nothing happens for one alone."""
    import torch

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
