"""`simulate` as a person runs it, and the page that tells how."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from collector.simulator.faults import KINDS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "simulator.md"
COMMAND = [sys.executable, "-c", "from collector.commands.simulate import simulate; simulate()"]


@contextmanager
def running(*arguments: str):
    """The simulator in a process of its own; gives the process and its URL."""
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("ready http://127.0.0.1:"), line + process.stderr.read()
        yield process, line.split()[1]
    finally:
        process.kill()
        process.communicate(timeout=10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_ready_serves_and_ends_well_on_a_signal(number):
    with running("--symbols", "1", "--depth", "200", "--fault", "close@3") as (process, url):
        with urllib.request.urlopen(url + "/stat") as answer:
            assert json.load(answer)["waiting"] == ["close@3"]
        process.send_signal(number)
        assert process.wait(10) == 0
        assert process.stderr.read() == ""


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--fault", "explode"], "no kind 'explode'"),
        (["--capture", "nowhere.gz"], "nowhere.gz: No such file"),
        (["--symbols", "0"], "--symbols"),
        (["--speed", "-1"], "--speed"),
        (["--port", "1"], "cannot listen on 203.0.113.1:1"),
    ],
)
def test_a_bad_value_is_named_and_exits_with_2(arguments, told):
    if "--port" in arguments:
        arguments = [*arguments, "--host", "203.0.113.1"]
    done = subprocess.run([*COMMAND, *arguments], check=False, capture_output=True, text=True, timeout=20, cwd=ROOT)
    assert done.returncode == 2, done.stderr
    assert told in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_help_lists_every_fault():
    done = subprocess.run([*COMMAND, "--help"], check=False, capture_output=True, text=True, timeout=20, cwd=ROOT)
    assert done.returncode == 0
    assert [kind for kind in KINDS if not re.search(rf"^ *{kind} ", done.stdout, re.MULTILINE)] == []


def test_the_page_names_every_fault_and_its_snippet_works():
    page = PAGE.read_text()
    assert [kind for kind in KINDS if f"`{kind}`" not in page] == []
    [snippet] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    with running("--symbols", "1") as (_, url):
        assert '"http://127.0.0.1:8765"' in snippet
        script = snippet.replace("http://127.0.0.1:8765", url)
        done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert all(re.fullmatch(r"\[[\d.]+, [\d.]+\] \[[\d.]+, [\d.]+\]", line) for line in lines), lines
