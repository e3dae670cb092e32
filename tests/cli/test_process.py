"""The process that a command runs in: what it imports, and how it ends at a signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.call import Call

ROOT = Path(__file__).parents[2]


def test_a_dry_run_imports_neither_clouds_nor_torch_nor_parquet() -> None:
    code = (
        "import sys, collector.cli, collector.pipeline\n"
        "collector.cli.options()\n"  # as a start with settings in the environment does: all commands are imported
        "from collector.sources.lazy_ccxt import load\n"
        "load('binanceusdm')\n"
        "heavy = {'torch', 'pyarrow', 'pandas', 'boto3', 'botocore', 'google.cloud', 'grpc'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_ctrl_c_while_modules_are_imported_shows_no_traceback() -> None:
    code = (
        "import os, runpy, signal, sys\n"
        "class Press:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'click': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Press())\n"
        "runpy.run_module('collector', run_name='__main__')"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def test_the_first_process_of_a_container_ends_at_a_signal(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        call("--version")
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        monkeypatch.setattr(os, "getpid", lambda: 1)
        call("--version")
        with pytest.raises(SystemExit) as stop:
            signal.raise_signal(signal.SIGTERM)
        assert stop.value.code == 128 + signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, before)
