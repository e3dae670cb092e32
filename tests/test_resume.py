"""A session that begins without its journal knows from the store where the last one ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from collector.core.gaps import Gap, Unfilled
from collector.core.inputs import Resume, SessionStarted
from collector.core.market import Market as Core
from collector.core.sequencer import Position
from collector.resume import resume_from_store, resumes_of, with_stored
from storage_backends.contract.rows import arrow, row, rows, time_ns
from storage_backends.errors import TransientBackendError
from storage_backends.interface import Backend, Market
from tests.core.script import tables
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


@pytest.mark.parametrize("heard", [False, True])
def test_streams_of_which_the_store_has_no_end_are_in_a_gap_too(tmp_path: Path, heard: bool) -> None:
    """Klines share a table; what had never said anything has none. Those of an earlier session do not count."""
    store = open_local(tmp_path)
    said = [("session_started", ""), ("opened", "raw_trades"), ("session_started", ""), ("opened", "depth, kline_1m")]
    events = [
        row("events", number, kind=kind, detail=detail)
        for number, (kind, detail) in enumerate([*said, ("opened", "liquidations")])
    ]
    made = {"diffs": rows("diffs", range(5)), "events": events}
    if heard:
        made["klines"] = rows("klines", range(3))
    for name, some in made.items():
        store.write(name, MARKET, arrow(name, some), writer="w", content_hash="ab12cd34")
    resume = resume_from_store(store, MARKET)
    assert resume is not None
    assert resume.unheard == (("liquidations",) if heard else ("kline_1m", "liquidations"))
    channels = ("depth", "kline_1m", "liquidations", "raw_trades")
    started = SessionStarted(
        exchange=MARKET.exchange, symbol=MARKET.symbol, futures=True, channels=channels, resume=resume
    )
    ledger = Core(time_ns(10), started).drain()
    gaps = {gap["stream"]: gap for gap in tables(ledger)["gaps"]}
    assert gaps.keys() == {"depth", "kline_1m", "liquidations"}
    assert all(gap["reason"] == "restart" and gap["from_ns"] <= time_ns(4) for gap in gaps.values())


def store_trades(store: Backend, ids: list[int], content: str) -> None:
    made = [row("trades", one) | {"agg_trade_id": one} for one in ids]
    store.write("trades", MARKET, arrow("trades", made), writer="w", content_hash=content * 8)


def resumed(last_id: int, *unfilled: Unfilled) -> Resume:
    made = row("trades", last_id)
    return Resume({"trades": Position(last_id, made["recv_ns"], made["timestamp"])}, unfilled=list(unfilled))


@pytest.mark.parametrize(
    ("ids", "last_id"), [([], 5), ([3, 4, 5], 5), ([6, 7], 7), ([4, 5, 6, 7, 9], 7), ([7, 8], 5), ([6, 8], 6)]
)
def test_a_stream_goes_on_behind_what_a_backfill_stored(tmp_path: Path, ids: list[int], last_id: int) -> None:
    store = open_local(tmp_path)
    if ids:
        store_trades(store, ids, "a")
    before = resumed(5)
    position = with_stored(store, MARKET, before).positions["trades"]
    assert position.last_id == last_id
    assert before.positions["trades"].last_id == 5
    if last_id > 5:
        stored = row("trades", last_id)
        assert position.event_ms == stored["recv_ns"] // 1_000_000
        assert position.recv_ns >= stored["timestamp"] * 1_000_000


def test_gaps_lack_only_what_is_not_stored(tmp_path: Path) -> None:
    store = open_local(tmp_path)
    store_trades(store, [1, 2, 6, 7, 8, 20], "a")
    first, last = row("trades", 1), row("trades", 9)
    gap = Gap("g", 1, "trades", "restart", 5, 9, first["recv_ns"], last["recv_ns"], last["recv_ns"])
    whole = msgspec.structs.replace(gap, gap_id="h", from_id=6, to_id=8)
    resume = with_stored(store, MARKET, resumed(20, Unfilled(gap, [(9, 9)]), Unfilled(whole)))
    assert [(one.gap.gap_id, one.missing) for one in resume.unfilled] == [("g", [(5, 5)])]


def test_without_a_journal_gaps_that_are_not_healed_are_remembered(tmp_path: Path) -> None:
    store = open_local(tmp_path)
    store_trades(store, [1, 2, 4, 9], "a")
    common = {"stream": "trades", "reason": "disconnect", "from_ns": time_ns(1), "to_ns": time_ns(9)}
    gaps = [
        row("gaps", 1) | common | {"from_id": 3, "to_id": 5, "healed": False},
        row("gaps", 2) | common | {"from_id": 6, "to_id": 8, "healed": True},
        row("gaps", 3) | common | {"from_id": 7, "to_id": 7, "healed": False, "reason": "quarantine"},
    ]
    store.write("gaps", MARKET, arrow("gaps", gaps), writer="w", content_hash="ab12cd34")
    resume = resume_from_store(store, MARKET)
    assert resume is not None
    assert [one.missing for one in resume.unfilled] == [[(3, 3), (5, 5)]]


def test_a_backend_that_is_away_is_asked_once_at_start(caplog: pytest.LogCaptureFixture) -> None:
    asked = []

    class Away:
        def scan(self, table: str, market: Market, *_: object) -> None:
            asked.append(market)
            raise TransientBackendError("no answer")

        list_parts = scan

    markets = [Market("binance", f"COIN{number}USDT") for number in range(50)]
    known = {market: Resume({"trades": Position(7, 1, 1)}, {}, 5, 1, []) for market in markets}
    backend: Any = Away()
    assert resumes_of(backend, markets, known) == known
    assert asked == markets[:1]
    assert "is not looked at" in caplog.text
