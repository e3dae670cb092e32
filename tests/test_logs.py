"""Logs as JSON lines: stable names of events, and no secrets."""

from __future__ import annotations

import ast
import importlib
import json
import logging
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collector.logs import JsonLines, Text, event_name, without_secrets
from tests.live.harness import Process

ROOT = Path(__file__).parents[1]
LIST = Path(__file__).with_name("log_events.txt")
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}


def calls() -> Iterator[tuple[str, str]]:
    """Where something is logged, and the name of its event."""
    for path in sorted((ROOT / "collector").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS):
                continue
            if not (isinstance(node.func.value, ast.Name) and node.func.value.id == "log"):
                continue
            named = any(one.arg == "extra" for one in node.keywords)
            text = node.args[0]
            assert isinstance(text, ast.Constant), f"{path}:{node.lineno}: a text made at run time has no stable event"
            yield f"{path.relative_to(ROOT)}:{node.lineno}", "" if named else event_name(text.value)


def test_events_keep_their_names() -> None:
    # In a process of its own: CPython 3.11 may refuse to parse after a RecursionError, which other tests provoke.
    code = "import tests.test_logs as here; print(*(name for _, name in here.calls() if name))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    found = set(done.stdout.split())
    known = set(LIST.read_text().split())
    assert known <= found, f"a name changed or went: mend {LIST.name} if it should have"


def record(message: str, *values: object, **more: object) -> logging.LogRecord:
    return logging.getLogger("collector.here").makeRecord(
        "collector.here", logging.WARNING, __file__, 1, message, values, None, "somewhere", more
    )


def test_a_line_has_an_event_that_values_do_not_change() -> None:
    lines = [json.loads(JsonLines().format(record("%s: %d rows wait", name, 7))) for name in ("a", "b")]
    assert [line["event"] for line in lines] == ["rows_wait", "rows_wait"]
    assert lines[0]["message"] == "a: 7 rows wait"
    assert lines[0]["level"] == "WARNING"
    assert lines[0]["time"].endswith("+00:00")
    assert json.loads(JsonLines().format(record("%s", "x", event="named")))["event"] == "named"


@pytest.mark.parametrize(
    "text",
    [
        "https://user:hunter22@host/path",
        "GET /x?apiKey=hunter22&symbol=A",
        '{"api_key": "hunter22"}',
        "Authorization: hunter22",
        "Authorization: Bearer hunter22",
        "sent Bearer hunter22",
        "password=hunter22",
    ],
)
def test_secrets_are_masked(text: str) -> None:
    assert "hunter22" not in without_secrets(text)
    assert "hunter22" not in JsonLines().format(record("failed: %s", text))
    assert "hunter22" not in Text().format(record("failed: %s", text))


@pytest.mark.parametrize(
    "command",
    ["run", "serve", "simulate", "backfill", "replay", "compact", "copy", "doctor", "features recompute"],
)
def test_every_long_command_has_the_options(command: str) -> None:
    name, *rest = command.split()
    module: Any = importlib.import_module(f"collector.commands.{name}")
    found = getattr(module, name)
    for one in rest:
        found = found.commands[one]
    assert {"log_level", "log_format"} <= {parameter.name for parameter in found.params}


def test_a_server_writes_json_lines_too(tmp_path: Path) -> None:
    server = Process("serve", "--log-format", "json", "--data-dir", str(tmp_path), "--http-port", "0")
    try:
        port = int(server.wait_for("answering on").split()[2].rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"no request\r\n\r\n")
            line = json.loads(server.wait_for("Invalid HTTP request"))
        assert (line["level"], line["event"]) == ("WARNING", "invalid_http_request_received")
    finally:
        server.stop()
        server.kill()


def test_run_writes_json_lines(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where a folder should be")
    done = subprocess.run(
        [sys.executable, "-m", "collector", "run", "--log-format", "json", "--log-level", "INFO", "--dry-run",
         "--duration", "0.2", "--url-root", "http://127.0.0.1:9", "--data-dir", str(tmp_path / "other")],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert lines
    assert all(line["event"] and line["message"] for line in lines)
