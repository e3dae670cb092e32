"""Tools that the checks of infra need: found on this machine, or fetched once into `.cache`, or said to be missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "infra"
INFRA = ROOT / "infra"


def tool(name: str, package: str | None = None, timeout_s: float = 240) -> str:
    """Path of a program; from an environment of its own if `package` has it and the machine does not.

    A tool that cannot be had is a skip that says so: what was not checked stands in the test report.
    """
    found = shutil.which(name)
    if found is not None:
        return found
    if package is None:
        pytest.skip(f"NOT CHECKED: {name} is not installed here, and no package index has it")
    return str(environment(package, timeout_s=timeout_s) / name)


def environment(*packages: str, timeout_s: float = 240) -> Path:
    """The `bin` of a throw-away environment with these packages; made once."""
    folder = CACHE / packages[0].split("=")[0]
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
            subprocess.run(
                [str(folder / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", *packages],
                check=True,
                capture_output=True,
                text=True,
                timeout=timeout_s,
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            shutil.rmtree(folder, ignore_errors=True)
            pytest.skip(f"NOT CHECKED: {' '.join(packages)} could not be installed: {error}")
        (folder / "complete").touch()
    return folder / "bin"


def run(*command: str, cwd: Path = ROOT, env: dict[str, str] | None = None, timeout_s: float = 300) -> str:
    """Output of a command that must succeed."""
    done = subprocess.run(
        command, cwd=cwd, env=env or dict(os.environ), capture_output=True, text=True, timeout=timeout_s, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def scripts() -> Sequence[Path]:
    """Every shell script of the repository."""
    return sorted([ROOT / "run.sh", ROOT / ".ci/run", *INFRA.rglob("*.sh"), *(ROOT / "benchmarks").glob("*.sh")])
