"""One row at a time, all rows at once, NumPy, ONNX: the same numbers; and silence until warm."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from tests.training.samples import BOOK, book_rows, dataset_of
from training.dataset import Dataset
from training.forecast import outputs
from training.run import Run
from training.segments import labelled, row_numbers
from training.stepper import ModelError, Stepper

MS = 1_000_000


def stream(stepper: Stepper, rows: dict) -> dict[int, np.ndarray]:
    """Forecasts by row number; rows that are not valid reset, as a collector does."""
    found = {}
    for at, time_ms in enumerate(rows["timestamp"]):
        row = {name: rows[name][at] for name in BOOK}
        made = stepper.step(row, int(time_ms) * MS)
        if made is not None:
            found[at] = made
    return found


def test_stream_full_numpy_and_onnx_agree(trained: tuple[Run, Dataset], tmp_path: Path):
    run, _ = trained
    rows = book_rows(600, signal=0.8, seed=7, holes=(200, 410))
    rows["spread"][300] = np.nan
    dataset = dataset_of(tmp_path, rows)
    context = run.config.network_field - 1
    spans = labelled(dataset.segments, context, 0)
    full = outputs(run.model(run.config.folds - 1, 0), dataset, spans, context)
    assert np.abs(full).max() > 0.02

    streamed = stream(Stepper(run.folder / "model.npz"), rows)
    number = {int(ns): at for at, ns in enumerate(rows["timestamp"] * MS)}
    expected = [number[int(ns)] for ns in dataset.time_ns[row_numbers(spans)]]
    # Exactly the same rows speak: nothing in the first R - 1 rows, nor after a hole or a missing value until warm.
    assert list(streamed) == expected
    silent = run.config.receptive_field - 1
    assert min(streamed) == silent
    assert {row for row in streamed if 200 <= row < 410} == set(range(200 + silent, 410)) - set(
        range(300, 301 + context)
    )
    assert np.abs(np.array(list(streamed.values())) - full).max() < 1e-5

    session = onnxruntime.InferenceSession(run.folder / "model.onnx")
    for start, stop in dataset.segments:
        made = session.run(None, {"inputs": np.array(dataset.inputs[start:stop]).T[None]})[0][0, :, context:].T
        mine = full[[at for at, row in enumerate(row_numbers(spans)) if start <= row < stop]]
        assert np.abs(made - mine).max() < 1e-5
    meta = json.loads(session.get_modelmeta().custom_metadata_map["meta"])
    assert [column[0] for column in meta["columns"]] == list(BOOK)


def test_a_window_gives_what_the_stream_gives(trained: tuple[Run, Dataset]):
    run, dataset = trained
    context = run.config.network_field - 1
    model = run.model(0, 0)
    whole = outputs(model, dataset, np.array([[500, 540]]), context)
    for at in range(500, 540, 13):
        alone = outputs(model, dataset, np.array([[at, at + 1]]), context)
        assert np.abs(alone - whole[at - 500]).max() < 1e-5


def test_a_step_is_fast(trained: tuple[Run, Dataset]):
    run, _ = trained
    stepper = Stepper(run.folder / "model.npz")
    rows = book_rows(1500)
    took = []
    for at, time_ms in enumerate(rows["timestamp"]):
        row = {name: rows[name][at] for name in BOOK}
        began = time.thread_time_ns()
        stepper.step(row, int(time_ms) * MS)
        took.append(time.thread_time_ns() - began)
    assert np.quantile(took, 0.99) < MS  # CPU time of this thread: other work on the machine does not count


def test_serving_loads_numpy_only(trained: tuple[Run, Dataset]):
    run, _ = trained
    code = f"""
import sys
from training.stepper import Stepper
Stepper({str(run.folder / "model.npz")!r})
loaded = {{name.partition(".")[0] for name in sys.modules}}
print(sorted(loaded & {{"torch", "pyarrow", "pandas", "onnx", "click", "storage_backends", "collector"}}))
"""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_prices_are_given_back(trained: tuple[Run, Dataset]):
    stepper = Stepper(trained[0].folder / "model.npz")
    made = stepper.prices(np.array([1.0, -2.0]), {"mid_price": 60_000.0})
    assert made == pytest.approx([60_006.0, 59_988.0], abs=0.01)


def test_rows_without_a_column_and_files_that_are_no_model_are_refused(trained: tuple[Run, Dataset], tmp_path: Path):
    model = trained[0].folder / "model.npz"
    with pytest.raises(ModelError, match="needs volume_imbalance, which the rows do not have"):
        Stepper(model).require(BOOK[:-1])
    Stepper(model).require([*BOOK, "more"])
    damaged = tmp_path / "damaged.npz"
    damaged.write_bytes(model.read_bytes()[:2000])
    for path in (damaged, tmp_path / "missing.npz"):
        with pytest.raises(ModelError, match=path.name):
            Stepper(path)
    (tmp_path / "text.npz").write_text("not a model")
    with pytest.raises(ModelError, match=r"text\.npz"):
        Stepper(tmp_path / "text.npz")
