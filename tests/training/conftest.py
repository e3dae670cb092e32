from __future__ import annotations

import pytest
import torch

from tests.training.samples import book_rows, dataset_of, small_config
from training.dataset import Dataset
from training.run import Run, open_run, train_all
from training.world import World

SIGNAL = 0.8


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Several threads would fight with the other test processes."""
    torch.set_num_threads(1)


@pytest.fixture
def alone() -> World:
    return World(0, 1, torch.device("cpu"))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Dataset]:
    """A run of two folds on rows with a signal and two holes, and its rows."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("trained")
    dataset = dataset_of(folder, book_rows(8000, signal=SIGNAL, holes=(3000, 7500)))
    config = small_config(folds=2, epochs=10, batch_size=128)
    world = World(0, 1, torch.device("cpu"))
    models = folder / "models"
    train_all(config, dataset, models, world, command="a test", source="rows", bars=False, say=lambda text: None)
    return open_run(models), dataset
