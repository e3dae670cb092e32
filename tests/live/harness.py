"""A simulator and collectors as processes of their own, driven over loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
START_S = 30.0


class Process:
    """A child with its output collected line by line; ended by `stop` or `kill`, at the latest by the fixture."""

    def __init__(
        self, *command: str, module: str = "collector", cwd: Path | None = None, env: dict[str, str] | None = None
    ) -> None:
        self.lines: list[str] = []
        self._child = subprocess.Popen(
            [sys.executable, "-m", module, *command],
            cwd=cwd or ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.pid = self._child.pid
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, text: str, timeout_s: float = START_S) -> str:
        """The first line with `text`."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            for line in list(self.lines):
                if text in line:
                    return line
            if self._child.poll() is not None and not self._reader.is_alive():
                break
            time.sleep(0.02)
        raise AssertionError(f"{text!r} did not come; output so far:\n{self.output}")

    def wait(self, timeout_s: float = 40.0) -> int:
        """The exit code, once the process ends by itself."""
        code = self._child.wait(timeout_s)
        self._reader.join(5)
        return code

    def signal(self, number: int) -> None:
        self._child.send_signal(number)

    def stop(self, timeout_s: float = 35.0) -> int:
        """SIGTERM, and the exit code."""
        if self._child.poll() is None:
            self._child.terminate()
        return self.wait(timeout_s)

    def kill(self) -> None:
        """SIGKILL."""
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGKILL)
        self._child.wait(10)
        self._reader.join(5)
        assert self._child.stdout is not None
        self._child.stdout.close()

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            self.lines.append(line.rstrip("\n"))


class Simulator(Process):
    """`collector simulate`."""

    def __init__(self, *options: str) -> None:
        super().__init__("simulate", "--port", "0", *options)
        self.url = self.wait_for("ready").split()[1]

    def fault(self, spec: str) -> None:
        """Does something to the collectors, as `--fault` describes it."""
        request = urllib.request.Request(
            f"{self.url}/control", json.dumps({"fault": spec}).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()

    def get(self, path: str, **query: str) -> Any:
        with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(query)}", timeout=10) as answer:
            return json.load(answer)


def collector(*arguments: str | Path, check: bool = True, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
    """Runs a command of the collector to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "collector", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    if check:
        assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def live(
    simulator: Simulator,
    data_dir: Path,
    *options: str,
    exchanges: Sequence[str] = ("binanceusdm",),
    shim: str | None = None,
    env: dict[str, str] | None = None,
) -> Process:
    """A collector on the simulator, with a fault of `tests.live.shim` built in; has printed a line with a price."""
    chosen = [part for exchange in exchanges for part in ("--exchange", exchange)]
    arguments = ("run", *chosen, "--url-root", simulator.url, "--data-dir", str(data_dir), *options)
    if shim is None:
        process = Process(*arguments, env=env)
    else:
        process = Process(shim, *arguments, module="tests.live.shim", env=env)
    process.wait_for("$")
    return process
