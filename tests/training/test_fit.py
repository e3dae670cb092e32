"""A run is a function of its settings: resumed or on two processes, it ends with the same model."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.samples import BOOK, book_rows, dataset_of, small_config, write
from training import checkpoint
from training.errors import TrainingError
from training.fit import fit
from training.log import read_log
from training.segments import walk_forward
from training.world import enter

ROOT = Path(__file__).parents[2]


def run(config, dataset, folder, world, **more):
    folder.mkdir(exist_ok=True)
    [fold] = walk_forward(len(dataset), 1, config.purge)
    fit(config, dataset, fold, config.seeds[0], folder, world, **more)


def same(one: Path, other: Path) -> bool:
    """Whether two checkpoints hold the same bits in every tensor."""
    a, b = checkpoint.load(one)["model"], checkpoint.load(other)["model"]
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_resumed_run_ends_with_the_same_bits(tmp_path, alone):
    dataset = dataset_of(tmp_path, book_rows(3000, signal=0.5))
    config = small_config(dropout=0.2, epochs=4)
    run(config, dataset, tmp_path / "whole", alone)
    run(config, dataset, tmp_path / "stopped", alone, stop_after=2)
    assert not same(tmp_path / "whole" / "last.pt", tmp_path / "stopped" / "last.pt")
    torch.manual_seed(999)  # nothing of this process may matter
    run(config, dataset, tmp_path / "stopped", alone, resume=True)
    assert same(tmp_path / "whole" / "last.pt", tmp_path / "stopped" / "last.pt")
    assert same(tmp_path / "whole" / "best.pt", tmp_path / "stopped" / "best.pt")
    state = checkpoint.load(tmp_path / "whole" / "last.pt")
    assert state["epoch"] == 4
    assert set(state) >= {"optimizer", "rng", "step", "config", "columns", "fingerprint", "git_commit"}
    # A finished run that is resumed changes nothing.
    run(config, dataset, tmp_path / "stopped", alone, resume=True)
    assert same(tmp_path / "whole" / "best.pt", tmp_path / "stopped" / "best.pt")


def test_resuming_something_else_is_refused(tmp_path, alone):
    dataset = dataset_of(tmp_path, book_rows(2000))
    config = small_config(epochs=1)
    run(config, dataset, tmp_path / "run", alone)
    before = (tmp_path / "run" / "last.pt").read_bytes()
    (tmp_path / "other").mkdir()
    with pytest.raises(TrainingError, match=r"--resume: .*made with config"):
        run(small_config(epochs=2), dataset, tmp_path / "run", alone, resume=True)
    fewer = dataset_of(tmp_path / "other", book_rows(2000), BOOK[:-1])
    with pytest.raises(TrainingError, match=r"--resume: .*made with (config|columns)"):
        run(small_config(epochs=1, features=BOOK[:-1]), fewer, tmp_path / "run", alone, resume=True)
    later = dataset_of(tmp_path / "other", book_rows(2001))
    with pytest.raises(TrainingError, match=r"--resume: .*made with fingerprint"):
        run(config, later, tmp_path / "run", alone, resume=True)
    assert (tmp_path / "run" / "last.pt").read_bytes() == before


def test_a_damaged_checkpoint_is_told(tmp_path):
    path = tmp_path / "last.pt"
    checkpoint.save(path, {"model": {"weight": torch.arange(1000.0)}, "epoch": 3})
    assert checkpoint.load(path)["epoch"] == 3
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1  # one bit inside a tensor
    path.write_bytes(content)
    with pytest.raises(TrainingError, match="is damaged"):
        checkpoint.load(path)
    path.write_bytes(content[:100])
    with pytest.raises(TrainingError, match="is damaged"):
        checkpoint.load(path)
    with pytest.raises(TrainingError, match="train first"):
        checkpoint.load(tmp_path / "none.pt")
    assert [file.name for file in tmp_path.iterdir()] == ["last.pt"]


def test_the_log_has_a_line_an_epoch_and_patience_ends_a_run(tmp_path, alone):
    from training.log import jsonl_log

    dataset = dataset_of(tmp_path, book_rows(2000))
    config = small_config(epochs=30, patience=2)
    run(config, dataset, tmp_path / "run", alone, log=jsonl_log(tmp_path / "log.jsonl", {"fold": 0, "seed": 0}))
    records = read_log(tmp_path / "log.jsonl")
    epochs = [record["epoch"] for record in records]
    assert epochs == list(range(len(records)))
    assert len(epochs) < 31
    assert records[-1]["patience_left"] == 0
    assert {"train_loss", "validation_loss", "learning_rate", "gradient_norm", "labels_per_s"} <= set(records[-1])


def test_bf16_and_a_device_that_is_not_there(tmp_path, alone):
    dataset = dataset_of(tmp_path, book_rows(1500))
    run(small_config(epochs=1, precision="bf16"), dataset, tmp_path / "run", alone)
    with pytest.raises(TrainingError, match="--device nonsense"):
        enter(small_config(device="nonsense"))


def test_two_processes_train_what_one_trains(tmp_path):
    path = write(tmp_path / "rows.parquet", book_rows(2500, signal=0.5))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *("-m", "training", "train", "--parquet-path", str(path), "--features", *BOOK, "--horizons", "1", "3"),
        *(
            "--input-length",
            "20",
            "--levels",
            "2",
            "--kernel",
            "3",
            "--channels",
            "8",
            "--dropout",
            "0",
            "--folds",
            "1",
        ),
        *("--epochs", "2", "--no-progress", "--device", "cpu", "--batch-size", "300", "--output-dir"),
    ]
    shared = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    shared["GLOO_SOCKET_IFNAME"] = "lo"
    both = [
        subprocess.Popen(
            [sys.executable, *command, str(tmp_path / "two")],
            cwd=ROOT,
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    told = [process.communicate(timeout=150) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert told[1][0] == ""  # the second one is silent
    done = subprocess.run(
        [sys.executable, *command, str(tmp_path / "one")], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "receptive field: 14 rows" in done.stdout
    one = checkpoint.load(tmp_path / "one" / "fold0-seed0" / "last.pt")["model"]
    two = checkpoint.load(tmp_path / "two" / "fold0-seed0" / "last.pt")["model"]
    for name, tensor in one.items():
        assert np.abs(tensor.numpy() - two[name].numpy()).max() < 1e-5, name
    saved = json.loads((tmp_path / "one" / "evaluation.json").read_text())
    assert set(saved["horizons"]) == {"1", "3"}
