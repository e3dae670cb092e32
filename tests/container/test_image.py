"""The image itself, for five minutes: built from the Dockerfile, run by run.sh, stopped, started again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.soak
@pytest.mark.parametrize("backend", ["local", "bigtable"])
def test_fifty_markets_in_a_quarter_of_a_cpu_and_a_gigabyte(backend: str) -> None:
    done = subprocess.run(
        [sys.executable, "benchmarks/container.py", "--json", "--backend", backend],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert done.stdout, f"without a Docker engine this needs root, Debian, mmdebstrap and runc\n{done.stderr}"
    figures = json.loads(done.stdout)
    assert figures["faults"] == [], done.stdout + done.stderr
    assert figures["epochs"] == figures["valid"]
