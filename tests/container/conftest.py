"""A `docker` on PATH that does nothing but write down how it was called, and answer as a test asks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
_FAKE = Path(__file__).with_name("fake_docker.py")


class Outcome(NamedTuple):
    """Of one call of run.sh."""

    code: int
    out: str
    err: str
    calls: list[list[str]]

    def docker(self, *beginning: str) -> list[list[str]]:
        """Calls of docker that begin so."""
        return [call for call in self.calls if call[: len(beginning)] == list(beginning)]

    def started(self) -> list[str]:
        """The one `docker run --detach`."""
        (call,) = [call for call in self.docker("run") if "--detach" in call]
        return call


class Runner:
    """run.sh in a folder of its own, with the fake docker."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self.answers: dict[str, object] = {}
        self.env: dict[str, str] = {}
        self._log = folder / "calls"
        self._bin = folder / "bin"
        self._bin.mkdir()
        fake = self._bin / "docker"
        fake.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{_FAKE}" "$@"\n')
        fake.chmod(0o755)
        self.folder.mkdir()
        for name in ("run.sh", "infra", "Dockerfile", ".dockerignore", "requirements-collector.lock"):
            source = ROOT / name
            (shutil.copytree if source.is_dir() else shutil.copy2)(source, self.folder / name)
        for name in ("collector", "storage_backends"):
            (self.folder / name).mkdir()
            (self.folder / name / "code.py").write_text("1\n")
        shutil.copy2(ROOT / "collector/config.py", self.folder / "collector/config.py")

    def without_docker(self) -> None:
        """As on a machine that never had it: PATH holds the tools of run.sh and no docker."""
        (self._bin / "docker").unlink()
        for tool in ("bash", "dirname", "cat", "env"):
            (self._bin / tool).symlink_to(str(shutil.which(tool)))
        self.env["PATH"] = str(self._bin)

    def __call__(self, *arguments: str) -> Outcome:
        self._log.write_text("")
        env = {
            "PATH": f"{self._bin}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "FAKE_LOG": str(self._log),
            "FAKE_ANSWERS": json.dumps(self.answers),
            "DEPTH_COLLECTOR_FIRST_LINES_S": "1",
            **self.env,
        }
        done = subprocess.run(
            ["./run.sh", *arguments], cwd=self.folder, env=env, capture_output=True, text=True, check=False, timeout=60
        )
        calls = [json.loads(line) for line in self._log.read_text().splitlines()]
        return Outcome(done.returncode, done.stdout, done.stderr, calls)


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    return Runner(tmp_path)
