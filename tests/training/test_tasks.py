"""Tasks of others: copy memory is solved, FI-2010 files are read and judged as published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from training import fi2010
from training.bai2018 import Settings, adding, copy_memory, run_adding, run_copy_memory
from training.errors import TrainingError
from training.metrics import f1_scores


def test_copy_memory_of_100_is_solved_within_400_steps():
    settings = Settings(
        length=100, channels=16, levels=4, kernel=8, dropout=0.0, learning_rate=1e-2, steps=400, seed=1111
    )
    outcome = run_copy_memory(settings)
    assert outcome.recall == 1.0
    assert outcome.loss < outcome.memoryless / 100
    assert outcome.receptive_field > 110


def test_samples_are_those_of_the_paper():
    generator = torch.Generator().manual_seed(0)
    inputs, wanted = copy_memory(5, 30, generator)
    assert inputs.shape == (5, 1, 50)
    assert wanted.shape == (5, 50)
    assert inputs[:, 0, :10].equal(wanted[:, -10:].float())
    assert set(inputs[0, 0, 10:39].tolist()) == {0.0}
    assert inputs[0, 0, 39:].tolist() == [9.0] * 11
    numbers, sums = adding(50, 40, generator)
    assert numbers[:, 1].sum(1).tolist() == [2.0] * 50
    assert float(sums.mean()) == pytest.approx(1.0, abs=0.2)
    short = Settings(length=10, channels=4, levels=2, kernel=3, dropout=0.0, learning_rate=1e-2, steps=5)
    assert run_adding(short).memoryless == pytest.approx(1 / 6)


def write_file(path: Path, events: int, seed: int) -> None:
    """A made file whose labels follow from its first input, but for k = 100, which is noise."""
    rng = np.random.default_rng(seed)
    table = rng.standard_normal((149, events))
    table[144:148] = np.digitize(table[0], [-0.5, 0.5]) + 1
    table[148] = rng.integers(1, 4, events)
    np.savetxt(path, table, fmt="%.4f")


def test_fi2010_files_are_trained_on_and_judged(tmp_path):
    write_file(tmp_path / "Train_Dst_NoAuction_DecPre_CF_7.txt", 3000, 1)
    for number in (7, 8, 9):
        write_file(tmp_path / f"Test_Dst_NoAuction_DecPre_CF_{number}.txt", 400, number)
    settings = fi2010.Settings(
        channels=8, levels=1, kernel=2, epochs=25, learning_rate=1e-2, dropout=0.0, batch_size=512
    )
    result = fi2010.run(tmp_path, settings, lambda text: None)
    assert result["events"] == 3 * (400 - 2)
    for horizon in ("10", "20", "30", "50"):
        assert result["horizons"][horizon]["f1_weighted"] > 0.85
        assert result["horizons"][horizon]["majority"] < 0.5
    assert result["horizons"]["100"]["f1_macro"] < 0.45


def test_files_of_another_form_are_refused(tmp_path):
    with pytest.raises(TrainingError, match=r"wanted is one file \*Train\*_DecPre_CF_7.txt, and it holds none"):
        fi2010.run(tmp_path, fi2010.Settings(), print)
    short = tmp_path / "Train_DecPre_CF_7.txt"
    np.savetxt(short, np.ones((40, 5)))
    with pytest.raises(TrainingError, match="has 40 rows"):
        fi2010.load(short)
    np.savetxt(short, np.zeros((149, 5)))
    with pytest.raises(TrainingError, match="labels other than 1, 2 and 3"):
        fi2010.load(short)
    short.write_text("words\n")
    with pytest.raises(TrainingError, match="cannot be read"):
        fi2010.load(short)


def test_f1_is_scikit_learns():
    made, real = np.array([0, 1, 2, 2, 0, 0]), np.array([0.0, 2, 2, 2, 1, 0])
    assert f1_scores(made, real) == pytest.approx([0.8, 0.0, 0.8])
