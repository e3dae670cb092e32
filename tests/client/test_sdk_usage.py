"""What SDK_USAGE.md shows runs."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collector.client import StorageEngine, get_local_client
from tests.audit.sample import MARKET, Sample
from tests.client.test_remote import Server, sshd
from tests.serve.conftest import KEY, clock, sample, served, with_key

__all__ = ["clock", "sample", "served", "sshd"]

PAGE = Path(__file__).parents[2] / "SDK_USAGE.md"


def test_every_snippet(
    sample: Sample,
    served: Callable[..., tuple[str, int]],
    sshd: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(sample.folder, tmp_path / "data")
    engine = StorageEngine(tmp_path / "data")
    for table in engine.backend.tables(MARKET):
        engine.maintain_hot_snapshot(table, MARKET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    host, port = served(**with_key())
    user = sshd.client(tmp_path / "data")._place().remote.user
    here = {
        "http://127.0.0.1:8000": f"http://{host}:{port}",
        "your key, if there is one": KEY,
        'remote_host="collector.example.org",': f'remote_host="127.0.0.1", remote_port={sshd.port},',
        'remote_user="collector",': f'remote_user="{user}", known_hosts="{sshd.folder}/known_hosts",',
        "~/.ssh/id_ed25519": str(sshd.folder / "key"),
        "/srv/collector/data": str(tmp_path / "data"),
    }
    text = PAGE.read_text()
    for said, meant in here.items():
        assert said in text
        text = text.replace(said, meant)
    known: dict[str, Any] = {}
    snippets = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(snippets) == 8
    for snippet in snippets:
        exec(compile(snippet, str(PAGE), "exec"), known)
    for name in ("trades", "depth", "bars", "any_table", "window", "latest", "gaps", "frame"):
        assert len(known[name]) > 0, name
    assert get_local_client("data").get_gaps("BTC/USDT", start_time="2023-11-14", healed=False) == known["gaps"]
    assert known["frame"]["valid"].all()
    assert known["book"]["bids"][0][0] < known["book"]["asks"][0][0]
    assert list((tmp_path / "copy" / "trades").rglob("part-*"))
