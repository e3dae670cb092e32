"""The command line: the form that people know works, and wrong usage is one clear line and exit code 2."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.training.samples import BOOK, book_rows, write
from training.cli import COMMANDS, main, training

ROOT = Path(__file__).parents[2]
QUICK = ("--epochs", "1", "--folds", "1", "--channels", "4", "--no-progress")


@pytest.fixture
def call(capsys, tmp_path, monkeypatch):
    """Runs a command in an empty folder: exit code, output, errors."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        told = capsys.readouterr()
        return stop.value.code, told.out, told.err

    return run


def test_the_usual_command_line_then_evaluate_predict_and_report(call, tmp_path):
    path = write(tmp_path / "book.parquet", book_rows(2600, signal=0.8))
    code, out, err = call(
        *("train", "--parquet-path", path, "--features", *BOOK, "--targets", "mid_price", "--input-length", "100"),
        *("--forecast-horizon", "10", "--batch-size", "512", "--output-dir", "models", *QUICK),
    )
    assert (code, err) == (0, "")
    assert "receptive field: 92 rows" in out
    assert "persistence" in out
    made = {item.name for item in (tmp_path / "models").iterdir()}
    files = {"run.json", "log.jsonl", "evaluation.json", "model.npz", "model.onnx", "dataset", "fold0-seed0"}
    assert files <= made

    code, out, _ = call("evaluate", "--model-dir", "models", "--parquet-path", path, "--json")
    told = json.loads(out)
    assert code == 0
    assert list(told["horizons"]) == [str(horizon) for horizon in range(1, 11)]
    assert {"r2_skill", "low", "high", "corr", "direction"} <= set(told["horizons"]["1"])
    assert set(told["baselines"]) == {"persistence", "last_imbalance", "ridge"}
    assert told == json.loads((tmp_path / "models" / "evaluation.json").read_text())

    code, out, _ = call("predict", "--model-dir", "models", "--parquet-path", path, "--output", "made.parquet")
    made = pq.read_table(tmp_path / "made.parquet").to_pandas()
    assert code == 0
    assert len(made) == 2600 - 91
    assert np.allclose(made.mid_price_h10, made.mid_price * np.exp(made.mid_price_h10_bp / 1e4))

    code, _, _ = call("report", "--model-dir", "models", "--output", "report.html")
    page = (tmp_path / "report.html").read_text()
    assert code == 0
    assert page.count("<svg") == 7
    assert "<script" not in page
    assert "src=" not in page
    assert "TCN − ridge" in page
    ids = [part.partition('"')[0] for part in page.split(' id="')[1:]]
    assert len(ids) == len(set(ids))


def test_resume_of_a_finished_run_and_of_another(call, tmp_path):
    path = write(tmp_path / "book.parquet", book_rows(1500, signal=0.8))
    usual = ("train", "--parquet-path", path, "--features", *BOOK, "--input-length", "20", *QUICK)
    assert call(*usual)[0] == 0
    model = (tmp_path / "models" / "model.npz").read_bytes()
    assert call(*usual, "--resume")[0] == 0
    assert (tmp_path / "models" / "model.npz").read_bytes() == model
    code, _, err = call(*usual[:4], *BOOK[:-1], *usual[4 + len(BOOK) :], "--resume")
    assert code == 2
    assert "--resume" in err
    code, _, err = call(*usual, "--resume", "--batch-size", "64")
    assert code == 2
    assert err.count("\n") == 1
    # What was there is not touched by a refusal.
    assert (tmp_path / "models" / "model.npz").read_bytes() == model
    assert json.loads((tmp_path / "models" / "run.json").read_text())["config"]["batch_size"] == 512

    fewer = {name: values for name, values in book_rows(1500).items() if name != "spread"}
    other = write(tmp_path / "fewer.parquet", fewer)
    code, _, err = call("evaluate", "--model-dir", "models", "--parquet-path", other)
    assert code == 2
    assert "--features spread: is not a column" in err
    slower = {**book_rows(1500), "timestamp": 1_768_054_365_000 + 1000 * np.arange(1500)}
    code, _, err = call("evaluate", "--model-dir", "models", "--parquet-path", write(tmp_path / "s.parquet", slower))
    assert code == 2
    assert "each 1000 ms" in err
    (tmp_path / "models" / "fold0-seed0" / "best.pt").write_bytes(b"nonsense")
    code, _, err = call("evaluate", "--model-dir", "models", "--parquet-path", path)
    assert code == 2
    assert "is damaged" in err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["train"], "--parquet-path: give a Parquet file"),
        (["train", "--parquet-path", "none.parquet"], "none.parquet: is no Parquet file"),
        (["train", "--parquet-path", "book.parquet", "--features", "best_bit_price"], "did you mean best_bid_price?"),
        (["train", "--parquet-path", "book.parquet", "--targets", "mid"], "--targets mid: is not a column"),
        (["train", "--parquet-path", "book.parquet", "--input-length", "5"], "--input-length 5"),
        (["train", "--parquet-path", "book.parquet", "--levels", "5"], "the receptive field is 188"),
        (["train", "--parquet-path", "book.parquet", "--forecast-horizon", "300"], "too little data"),
        (["train", "--parquet-path", "book.parquet", "--time-column", "when"], "--time-column when"),
        (["train", "--parquet-path", "book.parquet", "--device", "abacus", *QUICK], "--device abacus"),
        (["train", "--parquet-path", "gaps.parquet", *QUICK], "too little data"),
        (["train", "--parquet-path", "invalid.parquet", *QUICK], "all of 300 rows are invalid"),
        (["train", "--parquet-path", "nan.parquet", *QUICK], "spread has no value in any valid row of 300"),
        (["train", "--parquet-path", "still.parquet", *QUICK], "does not move"),
        (["evaluate", "--model-dir", "nowhere", "--parquet-path", "book.parquet"], "holds no trained model"),
        (["export", "--dataset", "depth", "--data-dir", "nowhere"], "--data-dir nowhere: does not exist"),
        (["export", "--data-dir", "."], "--dataset: give one or more"),
        (["export", "--dataset", "depth", "--data-dir", "."], "which holds nothing"),
        (["export", "--dataset", "depth", "--backend", "floppy"], "--backend floppy"),
        (["fi2010", "--data-dir", "."], "_DecPre_CF_7.txt"),
        (["train", "--epocs", "3"], "--epochs"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(call, tmp_path, arguments, problem):
    rows = book_rows(300)
    write(tmp_path / "book.parquet", rows)
    gaps = {**rows, "timestamp": rows["timestamp"] + 10_000 * (np.arange(300) // 20)}
    write(tmp_path / "gaps.parquet", gaps)
    write(tmp_path / "invalid.parquet", {**rows, "valid": np.zeros(300, bool)})
    write(tmp_path / "nan.parquet", {**rows, "spread": np.full(300, np.nan)})
    still = {name: np.full(300, 5.0) if "price" in name else values for name, values in rows.items()}
    write(tmp_path / "still.parquet", {**still, "timestamp": rows["timestamp"]})
    if arguments[-1] in QUICK:
        arguments = [*arguments, "--input-length", "20", "--forecast-horizon", "2"]
    code, out, err = call(*arguments)
    assert code == 2, (out, err)
    assert problem in err
    assert err.count("\n") == 1
    assert err.startswith("training: ")


def test_help_imports_no_heavy_library():
    code = (
        "import sys\nfrom training.cli import main\n"
        "try:\n main(['--help'])\nexcept SystemExit:\n pass\n"
        "print(sorted(set(sys.modules) & {'torch', 'pyarrow', 'matplotlib', 'apache_beam', 'onnx', 'collector'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("[]")
    assert all(name in done.stdout for name in COMMANDS)


def test_training_imports_nothing_of_the_collector():
    for path in (ROOT / "training").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "import collector" not in text
        assert "from collector" not in text


def test_every_command_has_help(call):
    import click

    for name in COMMANDS:
        command = training.get_command(click.Context(training), name)
        assert command is not None
        assert command.help
        undocumented = [one.name for one in command.params if isinstance(one, click.Option) and not one.opts]
        assert undocumented == []
