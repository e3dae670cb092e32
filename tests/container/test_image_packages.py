"""A run and commands that read what it stored, with no other packages than the image has."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from storage_backends.bigtable.options import BigtableOptions
from tests.bigtable_emulator import emulator_host, flags_of, options
from tests.container.image_only import foreign
from tests.live.conftest import simulate
from tests.live.harness import ROOT, Process, Simulator

__all__ = ["emulator_host", "options", "simulate"]

MODULE = "tests.container.image_only"


def _asked(*arguments: str) -> str:
    command = [sys.executable, "-m", MODULE, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout


def test_the_tests_have_more_than_the_image() -> None:
    assert {"pandas", "pytest", "torch"} <= foreign()
    assert not {"numpy", "pyarrow", "google", "grpc", "ccxt", "boto3"} & foreign()


def test_a_run_into_bigtable_needs_no_package_beyond_those_of_the_image(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path, options: BigtableOptions
) -> None:
    simulator = simulate("--symbols", "1")
    where = ("--data-dir", str(tmp_path), *flags_of(options))
    process = Process("run", "--url-root", simulator.url, "--raw", *where, module=MODULE)
    processes.append(process)
    process.wait_for("$")
    time.sleep(2)
    assert process.stop() == 0, process.output
    assert "everything is stored in" in process.lines[-1], process.output
    assert "backend away" not in process.output
    report = json.loads(_asked("verify", "--json", *where))
    assert report["ok"], report
    assert json.loads(_asked("book", "--json", "--at", "2100-01-01", *where))["bids"]
