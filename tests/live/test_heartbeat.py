"""A container asks for the heartbeat: it is there while `run` collects, and grows old when it hangs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from collector.health import HEARTBEAT, problem
from tests.live.harness import ROOT, Process, Simulator, live


def wait_until_healthy(folder: Path, max_age_s: float) -> None:
    ends_s = time.monotonic() + 20
    while problem(folder, max_age_s) is not None:
        assert time.monotonic() < ends_s
        time.sleep(0.1)


def test_a_heartbeat_while_it_collects_and_none_while_it_is_frozen(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    process = live(simulate("--symbols", "1"), tmp_path)
    processes.append(process)
    wait_until_healthy(tmp_path, 10)
    process.signal(signal.SIGSTOP)
    time.sleep(0.1)
    frozen_ns = (tmp_path / HEARTBEAT).stat().st_mtime_ns
    time.sleep(2.1)
    assert (tmp_path / HEARTBEAT).stat().st_mtime_ns == frozen_ns
    assert problem(tmp_path, max_age_s=2) is not None
    process.signal(signal.SIGCONT)
    wait_until_healthy(tmp_path, 1.9)
    assert process.stop() == 0, process.output


def test_a_dry_run_has_a_heartbeat_and_leaves_the_data_alone(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLLECTOR_DRY_RUN", "1")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    data = tmp_path / "data"
    data.mkdir()
    process = live(simulate("--symbols", "1"), data)
    processes.append(process)

    def healthy() -> bool:
        env = {**os.environ, "COLLECTOR_DATA_DIR": str(data), "PYTHONPATH": str(ROOT)}
        return not subprocess.run([sys.executable, "-m", "collector.health"], env=env, check=False).returncode

    ends_s = time.monotonic() + 20
    while not healthy():
        assert time.monotonic() < ends_s, process.output
        time.sleep(0.2)
    assert process.stop() == 0, process.output
    assert not list(data.iterdir())
