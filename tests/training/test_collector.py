"""A model inside the collector: what it says in a replay is what the network says of the exported rows."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from collector.core.forecasts import Forecasts
from collector.core.inputs import SessionStarted
from collector.errors import CollectorError
from collector.model_file import ModelFile
from tests.live.captures import CAPTURES
from tests.stores import differing, open_local, rows
from tests.training.served import INPUTS, REPLAY, TARGET, exported, model_of, run
from training.forecast import outputs
from training.segments import labelled, row_numbers

ROOT = Path(__file__).parents[2]
MS = 1_000_000


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real minutes where they are at hand, made-up ones elsewhere."""
    real = CAPTURES / "usdm_btcusdt_20240718.gz"
    if real.exists():
        return real
    folder = tmp_path_factory.mktemp("capture")
    run("simulate", "--record", folder, "--record-s", 200, "--symbols", 1)
    (made,) = folder.glob("*.zst")
    return made


@pytest.fixture(scope="module")
def store(capture: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    run("replay", capture, "--data-dir", folder, *REPLAY)
    return folder


@pytest.mark.parametrize("dataset", TARGET)
def test_forecasts_of_a_replay_are_those_of_the_whole_network(
    dataset: str, capture: Path, store: Path, tmp_path: Path
) -> None:
    data = exported(store, tmp_path, dataset, INPUTS[dataset])
    model, config = model_of(data, tmp_path / "model.npz")
    context = config.network_field - 1
    spans = labelled(data.segments, context, 0)
    full = outputs(model, data, spans, context)
    assert np.abs(full).max() > 0.1
    run("replay", capture, "--data-dir", tmp_path / "again", *REPLAY, "--model", tmp_path / "model.npz")
    again = open_local(tmp_path / "again")
    (market,) = again.markets()
    found = rows(again, "forecasts", market)
    expected = data.time_ns[row_numbers(spans)] // MS
    assert [row["timestamp"] for row in found] == expected.tolist()
    assert len(found) > 100
    made = np.array([row["log_return_bp"] for row in found])
    assert np.abs(made - full).max() < 1e-5
    prices = np.array([[row["price"]] for row in found])
    assert np.array([row["forecast_price"] for row in found]) == pytest.approx(prices * np.exp(made / 1e4), rel=1e-12)
    period_ms = 100 if dataset == "book" else 1000
    assert {tuple(row["horizon_ms"]) for row in found} == {(period_ms, 5 * period_ms)}
    digest = hashlib.sha256((tmp_path / "model.npz").read_bytes()).hexdigest()
    assert {(row["model"], row["target"]) for row in found} == {(digest[:16], TARGET[dataset])}
    # Nothing else is another; which model it was is an event.
    assert set(differing(store, tmp_path / "again", market)) == {"forecasts", "events"}


def test_no_torch_in_the_process_and_a_step_takes_less_than_a_millisecond(
    capture: Path, store: Path, tmp_path: Path
) -> None:
    data = exported(store, tmp_path, "book", INPUTS["book"])
    # The network of the command that people know: 32 channels, 100 rows.
    model_of(data, tmp_path / "model.npz", channels=32, levels=4, kernel=4)
    words = ["replay", capture, "--data-dir", tmp_path / "out", *REPLAY, "--model", tmp_path / "model.npz"]
    code = f"""
import sys
from collector.cli import main
try:
    main({[str(word) for word in words]!r})
except SystemExit as end:
    assert not end.code, end.code
print(sorted({{name.partition(".")[0] for name in sys.modules}} & {{"torch", "onnx", "onnxruntime"}}))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")

    session = SessionStarted(exchange="binanceusdm", symbol="BTCUSDT", futures=True, book_grid_ms=100, book_depth=5)
    forecasts = Forecasts(ModelFile(tmp_path / "model.npz").open(session), pytest.fail)
    again = open_local(tmp_path / "out")
    took = []
    for row in rows(again, "books", again.markets()[0])[:1500]:
        began = time.thread_time_ns()
        forecasts.take(row["timestamp"] * MS, row, sound=row["valid"])
        took.append(time.thread_time_ns() - began)
    assert forecasts.drain()
    assert np.quantile(took, 0.99) < MS  # CPU time of this thread: other work on the machine does not count


def test_the_image_holds_what_a_model_needs(store: Path, tmp_path: Path) -> None:
    model_of(exported(store, tmp_path, "depth", INPUTS["depth"]), tmp_path / "model.npz")
    stage = (ROOT / "Dockerfile").read_text().partition("AS collector")[0]
    for sources, target in re.findall(r"^COPY (.+) (/app/\S+)$", stage, re.MULTILINE):
        into = tmp_path / target[1:]
        for source in sources.split():
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, into, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                into.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, into)
    path = str(tmp_path / "model.npz")
    code = f"from pathlib import Path; from collector.model_file import ModelFile; ModelFile(Path({path!r}))"
    code += "; import training; print(training.__file__)"
    environment = {**os.environ, "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, '.'); {code}"],
        cwd=tmp_path / "app", env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "app" / done.stdout.strip()).resolve() == tmp_path / "app" / "training" / "__init__.py"


@pytest.mark.parametrize(
    ("dataset", "options", "problem"),
    [
        ("book", (), r"reads rows of books: set --book-grid 100ms"),
        ("book", ("--book-grid", "250ms", "--book-depth", "5"), r"reads a row each 100 ms, and books has one each 250"),
        ("book", ("--book-grid", "100ms"), r"was trained on rows with depth 5, and this run has 25"),
        ("depth", ("--steps", "2"), r"needs ask_buckets_3, which this run does not compute"),
        ("depth", ("--step", "0.0001"), r"was trained on rows with step_pct 2e-05, and this run has 0.0001"),
        ("depth", ("--interval", "2"), r"reads a row each 1000 ms, and depth has one each 2000 ms; set --interval"),
        ("features", ("--features", "mid,spread_bps"), r"needs imbalance_1, microprice, which this run does not comp"),
        ("features", ("--features", "all"), r"was trained on rows with feature_set basic@\w+, and this run has all@"),
    ],
)
def test_rows_that_are_not_those_of_the_training_are_refused(
    dataset: str, options: tuple[str, ...], problem: str, capture: Path, store: Path, tmp_path: Path
) -> None:
    data = exported(store, tmp_path, dataset, INPUTS[dataset])
    model_of(data, tmp_path / "model.npz")
    for command in (("replay", capture), ("run", "--dry-run")):
        with pytest.raises(CollectorError, match=problem) as refused:
            run(*command, "--data-dir", tmp_path / "out", "--model", tmp_path / "model.npz", *options)
        assert refused.value.exit_code == 2
        assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_files_that_are_no_model_of_ours_are_refused(capture: Path, store: Path, tmp_path: Path) -> None:
    data = exported(store, tmp_path, "depth", INPUTS["depth"])
    good = tmp_path / "model.npz"
    model_of(data, good)
    damaged, text, newer = (tmp_path / name for name in ("damaged.npz", "text.npz", "newer.npz"))
    damaged.write_bytes(good.read_bytes()[:1000])
    text.write_text("not a model")
    with np.load(good) as stored:
        arrays = dict(stored)
    meta = json.loads(str(arrays["meta"]))
    np.savez(newer, **{**arrays, "meta": np.array(json.dumps({**meta, "format": 2}))})
    joined = tmp_path / "joined.npz"
    names = [["price", "return"], ["features.cvd", "level"]]
    np.savez(joined, **{**arrays, "meta": np.array(json.dumps({**meta, "columns": names}))})
    classes = tmp_path / "classes.npz"
    model_of(data, classes, task="classification")
    nan, shapes, npy, zipped = (tmp_path / name for name in ("nan.npz", "shapes.npz", "array.npy", "foreign.npz"))
    np.savez(nan, **{**arrays, "head.bias": np.full_like(arrays["head.bias"], np.nan)})
    np.savez(shapes, **{**arrays, "1.first.weight": arrays["1.first.weight"][:, :3]})
    np.save(npy, np.zeros(3))
    np.savez(zipped, x=np.zeros(3))
    listed = tmp_path / "listed.npz"
    np.savez(listed, **{**arrays, "meta": np.array("[1]")})
    problems = {
        nan: "is damaged: it does not give a finite number",
        shapes: "is damaged: ",
        npy: "is damaged or not written by",
        zipped: "is damaged or not written by",
        listed: "is damaged or not written by",
        damaged: "is damaged or not written by",
        text: "is damaged or not written by",
        newer: "is of format 2",
        classes: "gives classes",
        joined: "was trained on joined data sets",
        tmp_path / "missing.npz": "cannot be read: No such file",
    }
    for path, problem in problems.items():
        for command in (("replay", capture), ("run", "--dry-run")):
            with pytest.raises(CollectorError, match=problem) as refused:
                run(*command, "--data-dir", tmp_path / "out", "--model", path)
            assert refused.value.exit_code == 2
            assert str(refused.value).startswith(f"--model {path}: ")
    assert not (tmp_path / "out").exists()
