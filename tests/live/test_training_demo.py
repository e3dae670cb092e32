"""From the simulator to a report: the signal is found, and nothing where there is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.soak
@pytest.mark.parametrize("seed", [1, 2])
def test_the_demo_finds_the_signal_and_nothing_without_it(tmp_path: Path, seed: int) -> None:
    command = [sys.executable, "-m", "training", "demo", "--data-dir", str(tmp_path), "--seed", str(seed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "signal 0.5: skill above persistence at horizons 1, 2, 5" in done.stdout
    assert "signal 0: no skill found" in done.stdout
