"""`run.sh audit`, by pip-audit itself, against a database of known faults on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.infra.conftest import ROOT

pytestmark = pytest.mark.infra


class Database(ThreadingHTTPServer):
    """As OSV's: a package and a version go in, faults come out."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1/query"
        self.faulty: set[str] = set()
        self.asked: set[str] = set()
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    server: Database

    def do_POST(self) -> None:
        name = json.loads(self.rfile.read(int(self.headers["content-length"])))["package"]["name"]
        self.server.asked.add(name)
        fault = {"id": "PYSEC-2026-1", "summary": "a known fault", "affected": [], "aliases": []}
        body = json.dumps({"vulns": [fault]} if name in self.server.faulty else {}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Questions are kept, not printed."""


@pytest.fixture
def database() -> Iterator[Database]:
    server = Database()
    yield server
    server.shutdown()
    server.server_close()


def audit(url: str, sbom: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "AUDIT_OSV_URL": url, "NO_PROXY": "127.0.0.1"}
    return subprocess.run(
        ["infra/audit.sh", sys.executable, str(sbom)], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )


def test_a_known_fault_is_named_and_everything_is_asked_for(database: Database, tmp_path: Path) -> None:
    good = audit(database.url, tmp_path / "sbom.json")
    assert good.returncode == 0, good.stdout + good.stderr
    assert good.stdout.count("no known faults") == 3
    assert {"ccxt", "pyarrow", "boto3", "pytest", "torch"} <= database.asked
    listed = {one["name"] for one in json.loads((tmp_path / "sbom.json").read_text())["components"]}
    assert {"ccxt", "pyarrow"} <= listed
    assert "pytest" not in listed
    database.faulty = {"ccxt"}
    bad = audit(database.url, tmp_path / "sbom.json")
    assert bad.returncode == 1
    assert "ccxt" in bad.stdout
    assert "PYSEC-2026-1" in bad.stdout


def test_a_database_that_does_not_answer_is_no_good_news(tmp_path: Path) -> None:
    done = audit("http://127.0.0.1:9/v1/query", tmp_path / "sbom.json")
    assert done.returncode == 3
    assert "NOT AUDITED" in done.stdout
    assert "says nothing of the packages" in done.stderr
    assert (tmp_path / "sbom.json").exists()
