"""`collector features` and the option that chooses them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from collector.commands.features import schema_text
from collector.core.features.catalog import REGISTRY
from collector.features.options import chosen_features
from storage_backends.schema.features import COLUMNS_FILE
from tests.core.exchange import SECOND, START_NS
from tests.features.sample import collect, script, stored


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    stored(tmp_path, collect(script(3, futures=True), "mid", futures=True))
    return tmp_path


def command(*args: str, code: int = 0) -> str:
    """Runs it as a process would; gives what it says."""
    from click.testing import CliRunner

    from collector.cli import collector
    from collector.errors import CollectorError

    done = CliRunner().invoke(collector, ["features", *args])
    if isinstance(done.exception, CollectorError):
        assert done.exception.exit_code == code
        return str(done.exception)
    assert done.exit_code == code, done.output
    return done.output


SPAN = ("--from", str(START_NS // SECOND), "--to", str(START_NS // SECOND + 1000))


def test_the_columns_are_up_to_date() -> None:
    text = COLUMNS_FILE.read_text(encoding="utf-8")
    assert schema_text(text) == (text, 0), "write it anew: python -m collector features --write-schema"


def test_new_columns_come_at_the_end_and_old_ones_stay() -> None:
    before = "name,unit,doc,since\nspread_bps,old,old,1\ngone,m,of long ago,2\n"
    text, added = schema_text(before)
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [line["name"] for line in lines[:2]] == ["spread_bps", "gone"]
    assert lines[0]["doc"] == REGISTRY["spread_bps"].doc
    assert lines[1]["doc"] == "of long ago"
    assert {line["since"] for line in lines[2:]} == {"3"}
    assert added == len(REGISTRY) - 1


def test_list() -> None:
    text = command()
    assert "imbalance_20" in text
    listed = json.loads(command("--json"))
    assert [one["name"] for one in listed] == [one.name for one in REGISTRY]
    by_name = {one["name"]: one for one in listed}
    assert by_name["kyle_lambda"]["inputs"] == ["book", "trades"]
    assert by_name["basis_bps"]["inputs"] == ["depth of two markets"]
    assert by_name["mid"] | {"basic": True} == by_name["mid"]
    assert by_name["vol_ewma_fast"]["warmup_s"] == 121


def test_recompute_into_a_file(folder: Path) -> None:
    import pyarrow.csv
    import pyarrow.parquet

    for suffix in ("parquet", "csv"):
        out = folder / f"again.{suffix}"
        text = command("recompute", *SPAN, "--features", "mid,cvd", "--out", str(out), "--data-dir", str(folder))
        assert "rows of custom@" in text
        read = pyarrow.csv.read_csv if suffix == "csv" else pyarrow.parquet.read_table
        assert "cvd" in read(out).column_names
    assert len(list((folder / "features").rglob("*.parquet"))) == 1  # what live stored, and no more


def test_recompute_over_a_short_run_up(folder: Path) -> None:
    text = command("recompute", *SPAN, "--features", "mid", "--run-up", "5", "--data-dir", str(folder), "--json")
    assert json.loads(text)["rows"]


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_plot(folder: Path, suffix: str) -> None:
    out = folder / f"picture.{suffix}"
    assert "epochs drawn" in command("plot", *SPAN, "--features", "mid", "--out", str(out), "--data-dir", str(folder))
    assert out.read_bytes()[:5] in (b"\x89PNG\r", b"<?xml")


def test_gaps_are_gaps() -> None:
    import numpy as np

    from collector.features.plot import runs, spread_out

    epochs = np.array([10, 11, 12, 15])
    rows = [{"epoch": 10, "x": 1.0}, {"epoch": 11, "x": None}, {"epoch": 15, "x": 3.0}, {"epoch": 99, "x": 9.0}]
    found = spread_out(epochs, rows, "x")
    assert list(runs(np.isnan(found))) == [(1, 4)]
    assert list(runs(np.array([True, False, True]))) == [(0, 0), (2, 2)]
    assert np.array_equal(found, [1, np.nan, np.nan, np.nan, np.nan, 3], equal_nan=True)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("recompute", *SPAN, "--features", "imbalance_02"), "did you mean imbalance_20"),
        (("recompute", "--from", "1700000100", "--to", "1700000000"), "must be later than --from"),
        (("recompute", *SPAN, "--out", "x.txt"), "must end in .parquet or .csv"),
        (("plot", *SPAN, "--out", "x.gif"), "must end in .png or .svg"),
        (("plot", "--from", "1600000000", "--to", "1600000100"), "nothing of this market is stored"),
        (("plot", *SPAN, "--symbol", "ETHUSDT"), "is not in this store"),
    ],
)
def test_what_cannot_be_right(folder: Path, args: tuple[str, ...], said: str) -> None:
    assert said in command(*args, "--data-dir", str(folder), code=2)
    assert not list(Path().glob("x.*"))


def test_nothing_in_that_time(folder: Path) -> None:
    text = command("recompute", "--from", "1600000000", "--to", "1600000100", "--data-dir", str(folder))
    assert "no epochs are stored" in text


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from collector.errors import ConfigurationError

    monkeypatch.setitem(sys.modules, "talipp", None)
    with pytest.raises(ConfigurationError, match=r"needs talipp.*pip install"):
        chosen_features("ema_20")
    assert chosen_features("basic").features  # and does without it
