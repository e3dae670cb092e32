"""Tools that the checks of infra need: found on this machine, or fetched once into `.cache`, or said to be missing."""

from __future__ import annotations

import fcntl
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
_MIRRORS = ("/usr/share/terraform", "/usr/local/share/terraform", "/opt", str(Path.home() / ".terraform.d"))


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
    """The `bin` of a throw-away environment with these packages; made once, by whichever process comes first."""
    folder = CACHE / packages[0].split("=")[0]
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            try:
                _install(folder, packages, timeout_s)
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
                shutil.rmtree(folder, ignore_errors=True)
                pytest.skip(f"NOT CHECKED: {' '.join(packages)} could not be installed: {error}")
            (folder / "complete").touch()
    return folder / "bin"


def _install(folder: Path, packages: Sequence[str], timeout_s: float) -> None:
    """By uv, whose installation of the largest of them takes a second of CPU where pip's takes half a minute."""
    uv = CACHE / "uv/bin/uv"
    if not uv.exists():
        subprocess.run([sys.executable, "-m", "venv", str(CACHE / "uv")], check=True, capture_output=True)
        pip = [str(CACHE / "uv/bin/pip"), "install", "--quiet", "--disable-pip-version-check", "uv>=0.9"]
        subprocess.run(pip, check=True, capture_output=True, timeout=timeout_s)
    subprocess.run([str(uv), "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    install = [str(uv), "pip", "install", "--quiet", "--python", str(folder / "bin/python"), *packages]
    subprocess.run(install, check=True, capture_output=True, timeout=timeout_s)


def run(*command: str, cwd: Path = ROOT, env: dict[str, str] | None = None, timeout_s: float = 900) -> str:
    """Output of a command that must succeed."""
    done = subprocess.run(
        command, cwd=cwd, env=env or dict(os.environ), capture_output=True, text=True, timeout=timeout_s, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def refused(script: str, env: dict[str, str], *arguments: str) -> str:
    """What a script says when it cannot."""
    done = subprocess.run([script, *arguments], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    return done.stderr


def scripts() -> Sequence[Path]:
    """Every shell script of the repository."""
    return sorted([ROOT / "run.sh", ROOT / ".ci/run", *INFRA.rglob("*.sh"), *(ROOT / "benchmarks").glob("*.sh")])


def terraform_environment(folder: Path) -> dict[str, str]:
    """For Terraform with the AWS provider of a mirror on this machine, or else from where Terraform finds it."""
    env = {**os.environ, "TF_DATA_DIR": str(folder / "data"), "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}
    env.pop("TF_CLI_CONFIG_FILE", None)
    mirrored = next((one for place in _MIRRORS for one in Path(place).glob("**/terraform-provider-aws_*")), None)
    if mirrored is not None:
        (folder / "rc").write_text(
            f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirrored.parents[5]}"\n  }}\n}}\n'
        )
        env["TF_CLI_CONFIG_FILE"] = str(folder / "rc")
    return env


def terraform(env: dict[str, str], folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Terraform in that folder; `init` of one whose provider cannot be had is a skip that says so."""
    done = subprocess.run(
        [tool("terraform"), f"-chdir={folder}", *arguments, "-no-color"],
        env=env,
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
    if arguments[0] == "init" and done.returncode:
        pytest.skip(f"NOT CHECKED: a provider of {folder.name} cannot be had here: {done.stderr[-300:]}")
    return done
