"""A session that begins without its journal knows from the store where the last one ended."""

from __future__ import annotations

from pathlib import Path

from collector.resume import resume_from_store
from storage_backends.contract_rows import arrow, row, rows, time_ns
from storage_backends.interface import Market
from tests.stores import open_local

MARKET = Market("binanceusdm", "BTCUSDT")


def test_nothing_stored(tmp_path: Path) -> None:
    assert resume_from_store(open_local(tmp_path), MARKET) is None


def test_ends_and_open_gaps(tmp_path: Path) -> None:
    store = open_local(tmp_path)
    gaps = [
        row("gaps", 1, stream="depth", to_ns=None),
        row("gaps", 2, stream="trades", to_ns=None, revision=1),
        row("gaps", 2, stream="trades", to_ns=time_ns(3), revision=2),
    ]
    for name, made in {"diffs": rows("diffs", range(5)), "depth": rows("depth", range(7)), "gaps": gaps}.items():
        store.write(name, MARKET, arrow(name, made), writer="w", content_hash="ab12cd34")
    resume = resume_from_store(store, MARKET)
    assert resume is not None
    assert resume.positions.keys() == {"depth"}
    assert resume.positions["depth"].last_id == row("diffs", 4)["last_id"]
    assert resume.positions["depth"].event_ms == time_ns(4) // 1_000_000
    assert resume.last_epoch == row("depth", 6)["epoch"]
    assert resume.open_gaps.keys() == {"depth"}
    assert resume.last_ns == time_ns(4)
