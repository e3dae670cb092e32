"""The heartbeat of `run`, and who asks for it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from collector.cli import main
from collector.health import HEARTBEAT, MAX_AGE_S, beat, dry_run_folder, problem
from collector.health import main as ask


def test_a_beat_is_young(tmp_path: Path) -> None:
    assert "no heartbeat" in (problem(tmp_path) or "")
    beat(tmp_path)
    assert problem(tmp_path) is None


@pytest.mark.parametrize("ago_s", [MAX_AGE_S + 5, -MAX_AGE_S - 5])
def test_an_old_beat_and_one_of_the_future_are_no_sign_of_life(tmp_path: Path, ago_s: float) -> None:
    beat(tmp_path)
    then_s = time.time() - ago_s
    os.utime(tmp_path / HEARTBEAT, (then_s, then_s))
    assert problem(tmp_path) is not None
    beat(tmp_path)
    assert problem(tmp_path) is None


def test_the_check_of_a_container_imports_next_to_nothing(tmp_path: Path) -> None:
    script = "import sys, collector.health as h; code = h.main(); print(len(sys.modules)); sys.exit(code)"

    def ask() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-S", "-c", script],
            env={"COLLECTOR_DATA_DIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[1])},
            capture_output=True,
            text=True,
            check=False,
        )

    assert ask().returncode == 1
    beat(tmp_path)
    healthy = ask()
    assert healthy.returncode == 0
    assert int(healthy.stdout) < 60


def test_the_check_of_a_dry_run_looks_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("COLLECTOR_DATA_DIR", str(tmp_path / "data"))
    Path(dry_run_folder()).mkdir()
    beat(dry_run_folder())
    for value, code in (("", 1), ("false", 1), ("1", 0), ("True", 0)):
        monkeypatch.setenv("COLLECTOR_DRY_RUN", value)
        assert ask() == code, value


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for code in (1, 0):
        with pytest.raises(SystemExit) as stop:
            main(["health", "--data-dir", str(tmp_path)])
        assert stop.value.code == code
        beat(tmp_path)
    assert "at work" in capsys.readouterr().out
