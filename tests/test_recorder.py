"""From a feed's calls to markets: no market in another's way, and nothing lost where one fails."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from collector.clock import ManualClock
from collector.core.batch import Batch
from collector.core.depth import Depth
from collector.core.depth_rows import DepthRows
from collector.core.diffs import DiffChunk
from collector.core.inputs import SessionStarted, Tick
from collector.core.market import Market as Core
from collector.core.tapes import Tape
from collector.live_market import LiveMarket
from collector.recorder import Recorder
from collector.replay import Replay
from collector.sources.capture_writer import CaptureWriter
from collector.sources.feed import Stream
from tests.core.exchange import SECOND, START_NS, Exchange, text
from tests.core.script import tables

NAMES = {"depth": "btcusdt@depth@100ms", "trades": "btcusdt@aggTrade"}


def streams(symbol: str) -> list[Stream]:
    return [Stream(symbol, channel, f"{symbol.lower()}@{channel}") for channel in ("depth", "aggTrade")]


class Feed:
    """Two markets on one connection, driven by hand."""

    def __init__(self, folder: Path | None = None) -> None:
        self.asked: list[tuple[str, str]] = []
        self.exchanges = {
            symbol: Exchange(futures=True, seed=number) for number, symbol in enumerate(("AUSDT", "BUSDT"))
        }
        self.clock = ManualClock(START_NS)
        self.markets = {
            symbol: LiveMarket(
                SessionStarted(
                    exchange="binanceusdm", symbol=symbol, futures=True, channels=("depth", "trades"), resume=None
                ),
                symbol,
                NAMES,
                START_NS,
                None if folder is None else CaptureWriter(folder, "binanceusdm", symbol, self.clock),
            )
            for symbol in self.exchanges
        }
        self.recorder = Recorder(self.markets, lambda symbol, reason: self.asked.append((symbol, reason)))
        self.rows: dict[str, list[Batch]] = {symbol: [] for symbol in self.exchanges}
        self.recorder.opened(START_NS, 1, [*streams("AUSDT"), *streams("BUSDT")])

    @property
    def now(self) -> int:
        return self.clock.now_ns()

    def diff(self, symbol: str, **changes: Any) -> int:
        self.clock.advance(0.1)
        message = self.exchanges[symbol].diff(self.now) | {"s": symbol} | changes
        assert self.recorder.frame(self.now, 1, text(message)) == Stream(symbol, "depth", "")
        return int(message["u"])

    def trade(self, symbol: str) -> int:
        self.clock.advance(0.01)
        message = self.exchanges[symbol].trade(self.now) | {"s": symbol}
        self.recorder.frame(self.now, 1, text(message))
        return int(message["a"])

    def anchor(self, symbol: str, body: bytes | None = None) -> None:
        self.recorder.anchor_requested(self.now, symbol, "test")
        self.clock.advance(0.01)
        body = self.exchanges[symbol].snapshot() if body is None else body
        self.recorder.anchor(self.now, symbol, self.now, "test", 1000, body)

    def drained(self, symbol: str) -> dict[str, list[dict[str, Any]]]:
        self.rows[symbol] += self.markets[symbol].drain()
        return tables(self.rows[symbol])


class Bug(Exception):
    """Something that nobody thought of."""


def break_once(monkeypatch: pytest.MonkeyPatch, owner: type, method: str) -> None:
    original = getattr(owner, method)
    left = [1]

    def broken(self: Any, *arguments: Any, **named: Any) -> Any:
        if left:
            left.pop()
            raise Bug
        return original(self, *arguments, **named)

    monkeypatch.setattr(owner, method, broken)


@pytest.mark.parametrize("method", ["message", "anchor", "apply"])
def test_a_market_that_fails_keeps_its_rows_and_begins_anew(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    feed = Feed()
    feed.diff("AUSDT")
    kept = [feed.diff("BUSDT"), feed.diff("BUSDT")]
    break_once(monkeypatch, Core, method)
    match method:
        case "message":
            feed.diff("BUSDT")
        case "anchor":
            feed.anchor("BUSDT")
        case _:
            feed.markets["BUSDT"].apply(feed.now, Tick())
    later = feed.diff("BUSDT")
    rows = feed.drained("BUSDT")
    assert [row["last_id"] for row in rows["diffs"]] == [*kept, later]
    assert "internal_error" in [row["kind"] for row in rows["events"]]
    (gap,) = {row["gap_id"]: row for row in rows["gaps"] if row["stream"] == "depth"}.values()
    assert (gap["reason"], gap["from_id"]) == ("restart", kept[-1] + 1)
    assert gap["healed"] == (method != "message")
    assert "gaps" not in feed.drained("AUSDT")


def test_a_market_that_cannot_be_drained_loses_what_lies_in_its_gap_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    feed = Feed()
    stored = feed.diff("BUSDT")
    feed.drained("BUSDT")
    lost = [feed.diff("BUSDT"), feed.diff("BUSDT")]
    original = Depth.settle

    def broken(self: Depth) -> None:
        if any(entry.message.u == lost[0] for entry in self._pending):
            raise Bug
        original(self)

    monkeypatch.setattr(Depth, "settle", broken)
    feed.drained("BUSDT")
    later = feed.diff("BUSDT")
    rows = feed.drained("BUSDT")
    assert [row["last_id"] for row in rows["diffs"]] == [stored, later]
    gap = [row for row in rows["gaps"] if row["stream"] == "depth"][-1]
    assert gap["from_id"] == stored + 1
    assert lost[-1] <= gap["to_id"] < later


@pytest.mark.parametrize(("owner", "method"), [(DiffChunk, "__init__"), (DepthRows, "drain"), (Tape, "_take")])
def test_a_fault_that_does_not_come_twice_loses_nothing_unsaid(
    monkeypatch: pytest.MonkeyPatch, owner: type, method: str
) -> None:
    """Wherever rows were when it happened: they are given after all, or the gap reaches back to before them."""
    feed = Feed()
    first = feed.diff("BUSDT"), feed.trade("BUSDT")
    feed.drained("BUSDT")
    between = feed.diff("BUSDT"), feed.trade("BUSDT")
    break_once(monkeypatch, owner, method)
    if owner is DiffChunk:
        feed.anchor("BUSDT")
    feed.drained("BUSDT")
    last = feed.diff("BUSDT"), feed.trade("BUSDT")
    rows = feed.drained("BUSDT")
    assert "internal_error" in [row["kind"] for row in rows["events"]]
    for stream, table, key in (("depth", "diffs", "last_id"), ("trades", "trades", "agg_trade_id")):
        number = stream == "trades"
        gap = [row for row in rows["gaps"] if row["stream"] == stream][-1]
        stored = {row[key] for row in rows[table]}
        assert {first[number], last[number]} <= stored
        assert between[number] in stored or gap["from_id"] <= between[number] <= gap["to_id"]


def test_events_of_the_moment_in_which_a_market_begins_anew_keep_their_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two rows of one key would be one in a scan."""
    feed = Feed(tmp_path)
    feed.diff("BUSDT")
    for drained in (True, False):
        feed.recorder.event(feed.now, "BUSDT", "before", "of the same time")
        if drained:
            feed.drained("BUSDT")
        with monkeypatch.context() as patched:
            break_once(patched, Core, "apply")
            feed.markets["BUSDT"].apply(feed.now, Tick())
    live = feed.drained("BUSDT")
    kinds = [row["kind"] for row in live["events"]]
    assert (kinds.count("before"), kinds.count("internal_error")) == (2, 2)
    assert len({(row["time_ns"], row["sequence"]) for row in live["events"]}) == len(kinds)
    for market in feed.markets.values():
        market.close()
    found: list[Batch] = []
    template = SessionStarted(exchange="binance", symbol="", futures=False)
    replay = Replay(template, ("BUSDT",), lambda exchange, symbol, batches: found.extend(batches))
    replay.run(sorted(tmp_path.glob("*.zst")))
    replayed = [row for row in tables(found)["events"] if row["kind"] != "session_stopped"]
    assert replayed == live["events"]


def test_failures_are_logged_with_their_cause(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    feed = Feed()
    break_once(monkeypatch, Core, "message")
    with caplog.at_level(logging.ERROR):
        feed.diff("AUSDT")
    assert caplog.records[0].exc_info is not None
    assert caplog.records[0].exc_info[0] is Bug


def test_what_names_no_market_goes_to_one_of_its_connection() -> None:
    feed = Feed()
    assert feed.recorder.frame(feed.now, 1, b"\xff{") is None
    assert feed.recorder.frame(feed.now, 1, '{"s":"BUSDT","e":"unheard of"}') is None
    texts = {
        symbol: [row["text"] for row in feed.drained(symbol)["events"] if row["kind"] == "quarantine"]
        for symbol in feed.markets
    }
    assert texts == {"AUSDT": [b"\xff{"], "BUSDT": [b'{"s":"BUSDT","e":"unheard of"}']}


def test_an_event_of_a_market_that_is_not_collected_any_more_is_no_failure() -> None:
    feed = Feed()
    feed.recorder.event(feed.now, "CUSDT", "dead_letter", "of an earlier session")
    feed.recorder.event(feed.now, "AUSDT", "dead_letter", "of this one")
    assert [row["kind"] for row in feed.drained("AUSDT")["events"]].count("dead_letter") == 1
    assert "dead_letter" not in [row["kind"] for row in feed.drained("BUSDT")["events"]]


@pytest.mark.parametrize("raw", [False, True])
def test_a_snapshot_that_is_none_is_asked_for_again(tmp_path: Path, raw: bool) -> None:
    feed = Feed(tmp_path if raw else None)
    feed.diff("AUSDT")
    feed.asked.clear()
    feed.anchor("AUSDT", b"<html>\nBad Gateway")
    assert feed.asked == [("AUSDT", "quarantine")]
    feed.anchor("AUSDT")
    feed.diff("AUSDT")
    feed.drained("AUSDT")
    assert feed.markets["AUSDT"].market.in_step


def test_the_capture_of_a_session_replays_to_the_same_rows(tmp_path: Path) -> None:
    feed = Feed(tmp_path)
    for number in range(40):
        feed.diff("AUSDT")
        if number in (3, 20):
            feed.anchor("AUSDT")
        if number == 10:
            feed.diff("AUSDT", b=[["100.00", "abc"]])
        if number == 12:
            feed.anchor("AUSDT", b" " + feed.exchanges["AUSDT"].snapshot() + b"\n")
        if number == 14:
            feed.recorder.frame(feed.now, 1, '{"s":"AUSDT",\n"broken')
            feed.anchor("AUSDT", b"<html>")
        if number == 16:
            feed.diff("AUSDT", pu=None)
        if number % 7 == 0:
            feed.drained("AUSDT")
    feed.clock.advance(1)
    feed.recorder.stop(feed.now, "stopped")
    live = feed.drained("AUSDT")
    for market in feed.markets.values():
        market.close()
    found: list[Batch] = []
    template = SessionStarted(exchange="binance", symbol="", futures=False)
    replay = Replay(template, ("AUSDT",), lambda exchange, symbol, batches: found.extend(batches))
    replay.run(sorted(tmp_path.glob("*.zst")))
    assert tables(found) == live
    assert {"diffs", "depth", "snapshots", "gaps", "events"} <= set(live)
    assert feed.now - START_NS < 60 * SECOND
