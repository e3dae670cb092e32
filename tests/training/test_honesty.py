"""No skill where there is none, nearly all of it where it was planted, and nothing from the future."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.training.conftest import SIGNAL
from tests.training.samples import book_rows, dataset_of, possible_skill, small_config
from training.dataset import Dataset
from training.evaluate import evaluate, held_out, table
from training.forecast import evidence_gain
from training.run import Run, open_run, train_all


def judged(tmp_path, alone, rows, **changes):
    dataset = dataset_of(tmp_path, rows)
    models = tmp_path / "models"
    train_all(small_config(**changes), dataset, models, alone, command="", source="", bars=False, say=lambda text: None)
    run = open_run(models)
    return evaluate(run, dataset, held_out(run, dataset))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_on_a_random_walk_the_interval_covers_zero(tmp_path, alone, seed):
    result = judged(tmp_path, alone, book_rows(6000, seed=seed), folds=2, epochs=6)
    for horizon in result["horizons"].values():
        assert horizon["low"] <= 0 <= horizon["high"]
    assert result["verdict"].startswith("no skill found")


def test_a_planted_signal_is_found_to_most_of_what_is_possible(trained: tuple[Run, Dataset]):
    run, dataset = trained
    result = evaluate(run, dataset, held_out(run, dataset))
    first = result["horizons"]["1"]
    possible = possible_skill(SIGNAL)
    assert 0.85 * possible <= first["r2_skill"] <= 1.15 * possible
    assert 0 < first["low"] < first["r2_skill"] < first["high"]
    assert first["corr"] == pytest.approx(np.sqrt(possible), abs=0.05)
    assert first["direction"] > 0.55
    # The signal is a line through the last imbalance: both linear baselines must find it too.
    for name in ("ridge", "last_imbalance"):
        assert result["baselines"][name]["1"]["r2_skill"] > 0.8 * possible
    assert result["baselines"]["persistence"]["1"]["r2_skill"] == 0.0
    assert "skill above persistence at horizons 1, 3" in result["verdict"]
    assert set(result["versus_ridge"]["1"]) == {"r2_skill", "low", "high"}
    assert any("0." in line for line in table(result))


def test_the_future_changes_no_forecast_and_no_statistic(tmp_path, alone):
    rows = book_rows(3000, signal=0.5)
    other = {name: values.copy() for name, values in rows.items()}
    for name, values in book_rows(3000, signal=0.5, seed=9).items():
        if name != "timestamp":
            other[name][2500:] = values[2500:] * (1.01 if "price" in name else 3)
    made = []
    for name, columns in (("one", rows), ("other", other)):
        folder = tmp_path / name
        folder.mkdir()
        dataset = dataset_of(folder, columns)
        # Two folds: the first one's rows end before the change.
        config = small_config(folds=2, epochs=2)
        train_all(config, dataset, folder / "m", alone, command="", source="", bars=False, say=lambda text: None)
        run = open_run(folder / "m")
        made.append((run.model(0, 0).state_dict(), held_out(run, dataset)[0].made))
    for name, tensor in made[0][0].items():
        assert tensor.equal(made[1][0][name]), name
    assert np.array_equal(made[0][1][:, : 2250 - 1500 - 30], made[1][1][:, : 2250 - 1500 - 30])


def test_held_out_rows_are_those_after_training(trained: tuple[Run, Dataset]):
    run, dataset = trained
    for part in held_out(run, dataset):
        train_end = run.times[part.fold]["validation"][1]
        first = int(dataset.time_ns[part.rows[0] - run.config.network_field + 1])
        assert first - train_end > (run.config.purge - 1) * dataset.period_ns


def test_raw_level_and_classes_are_judged_in_the_same_terms(tmp_path, alone):
    (tmp_path / "raw").mkdir()
    (tmp_path / "classes").mkdir()
    rows = book_rows(4000, signal=0.8)
    dataset = dataset_of(tmp_path / "raw", rows, raw_level=True)
    folder = tmp_path / "raw" / "m"
    train_all(
        small_config(raw_level=True), dataset, folder, alone, command="", source="", bars=False, say=lambda text: None
    )
    run = open_run(folder)
    assert run.columns[0].kind == "level"
    raw = evaluate(run, dataset, held_out(run, dataset))
    # The old recipe loses to "the price stays", and we say so.
    assert raw["horizons"]["1"]["r2_skill"] < -1
    assert raw["verdict"].startswith("no skill found")

    classes = judged(tmp_path / "classes", alone, rows, task="classification", flat_bp=0.05, epochs=6)
    first = classes["horizons"]["1"]
    assert first["accuracy"] > first["majority"]
    assert sum(first["shares"]) == pytest.approx(1)
    assert classes["baselines"]["majority"]["1"]["accuracy"] == first["majority"]
    assert classes["verdict"].startswith("accuracy above the commonest class")


def test_a_gain_needs_evidence():
    rng = np.random.default_rng(0)
    real = rng.standard_normal((5000, 3))
    made = np.stack([0.3 * real[:, 0] + rng.standard_normal(5000), rng.standard_normal(5000), np.zeros(5000)], axis=1)
    gain = evidence_gain(made, real, 50)
    assert 0.2 < gain[0] < 0.4
    assert gain[1:].tolist() == [0, 0]


def test_several_seeds_are_each_told(tmp_path, alone):
    result = judged(tmp_path, alone, book_rows(2500, signal=0.8), seeds=(0, 1), epochs=2)
    skills = [one["1"]["r2_skill"] for one in result["by_seed"].values()]
    assert len(set(skills)) == 2
    assert result["horizons"]["1"]["r2_skill"] == pytest.approx(np.mean(skills))


def test_a_file_of_another_time_has_no_held_out_rows(trained: tuple[Run, Dataset], tmp_path):
    from training.errors import TrainingError

    run, _ = trained
    rows = book_rows(500)
    rows["timestamp"] = rows["timestamp"] - 86_400_000
    earlier = dataset_of(tmp_path, rows)
    with pytest.raises(TrainingError, match="holds no row after the training rows"):
        held_out(run, earlier)
    assert dataclasses.is_dataclass(run)
