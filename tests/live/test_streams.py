"""Every stream of both exchanges, through faults: nothing lost in silence, and a replay gives the same rows."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from storage_backends.interface import Market
from tests.live.harness import Process, Simulator, collector, live
from tests.live.invariant import check_promise
from tests.stores import differing, open_local, rows

FUTURES, SPOT = Market("binanceusdm", "BTCUSDT"), Market("binance", "BTCUSDT")
STREAMS = "depth,aggTrade,trade,bookTicker,depth5,markPrice,forceOrder,kline_1m,kline_1s"
OPTIONS = (
    "--streams",
    STREAMS,
    "--open-interest-interval",
    "1",
    "--bars",
    "1s,5s",
    "--tick-sizes",
    "auto",
    "--no-heal",
)
GRID = (
    "--no-heal",
    "--book-grid",
    "100ms",
    "--order-book-snapshot",
    "--order-book-limit",
    "100",
    "--order-book-interval",
    "2",
)
FAULTS = (
    "drop:stream=markPrice",
    "duplicate:stream=depth5,n=2",
    "reorder:stream=bookTicker",
    "duplicate:stream=markPrice",
    "duplicate:stream=kline_1s",
    "drop:stream=aggTrade,n=2",
    "garbage:n=1",
    "drop:stream=depth",
    "abort:stream=kline_1m",
    "close:stream=markPrice",
    "abort:stream=depth5",
    "close:stream=aggTrade,code=1008",
    "abort:stream=forceOrder",
)
MANY = ("trades", "raw_trades", "book_ticker", "klines", "partial_depth", "polled_books", "bars", "books", "multitick")


def test_all_streams_through_faults_and_replay(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    simulator = simulate("--symbols", "1")
    exchanges = ("binanceusdm", "binance")
    process = live(simulator, tmp_path / "live", "--raw", *OPTIONS, *GRID, exchanges=exchanges)
    processes.append(process)
    time.sleep(2.5)
    for fault in FAULTS:
        for market in (FUTURES, SPOT):
            simulator.fault(f"{fault},market={market.exchange}")
        time.sleep(0.5)
    time.sleep(5)
    assert process.stop() == 0, process.output
    collector("replay", *sorted((tmp_path / "live" / "raw").glob("*/*.zst")), "--data-dir", tmp_path / "again")
    audit = json.loads(collector("verify", "--json", "--data-dir", tmp_path / "live", check=False).stdout)
    assert audit["ok"], [report["problems"] for report in audit["markets"]]
    for report in audit["markets"]:
        compared = {table: found["compared"] for table, found in report["tables"].items()}
        assert all(compared[table] for table in ("depth", "books", "multitick", "partial_depth", "bars")), compared
    store = open_local(tmp_path / "live")
    for market in (FUTURES, SPOT):
        assert differing(tmp_path / "live", tmp_path / "again", market) == {}
        check_promise(simulator, tmp_path / "live", market)
        found = {table: rows(store, table, market) for table in MANY}
        assert all(found.values()), {table: len(some) for table, some in found.items()}
        check_partial_books(found["partial_depth"], found["books"])
        gaps = {row["stream"]: row for row in rows(store, "gaps", market)}
        assert {"trades", "depth5", "kline_1m"} <= gaps.keys()
        assert gaps["depth5"]["from_id"] is None
        assert gaps["depth5"]["to_ns"] > gaps["depth5"]["from_ns"]
        statements = [row for row in rows(store, "gaps", market) if row["stream"] == "trades"]
        lost = [row for row in {row["gap_id"]: row for row in statements}.values() if not row["healed"]]
        assert lost
        for gap in lost:
            assert [row["complete"] for row in found["bars"] if covers(row, gap)].count(True) == 0, gap
        events = rows(store, "events", market)
        assert not [event for event in events if event["kind"] == "internal_error"]
    marks = rows(store, "mark_price", FUTURES)
    assert {row["event_time"] % 1000 for row in marks} == {0}
    assert "mark_price" in {row["stream"] for row in rows(store, "gaps", FUTURES)}
    assert rows(store, "liquidations", FUTURES)
    assert rows(store, "open_interest", FUTURES)
    assert rows(store, "mark_price", SPOT) == []
    check_bars(rows(store, "klines", SPOT), rows(store, "bars", SPOT))


def covers(bar: dict[str, Any], gap: dict[str, Any]) -> bool:
    """Whether the gap lies inside the bar; both clocks are this machine's."""
    begun, ended = bar["open_time"] * 10**6, (bar["open_time"] + bar["interval_ms"]) * 10**6
    return bool(begun <= gap["from_ns"] and gap["to_ns"] is not None and gap["to_ns"] <= ended)


def check_bars(klines: list[dict[str, Any]], bars: list[dict[str, Any]]) -> None:
    """Complete bars are the exchange's klines, whose arithmetic is the simulator's own."""
    closed = {row["open_time"]: row for row in klines if row["closed"] and row["interval"] == "1s"}
    ours = {row["open_time"]: row for row in bars if row["complete"] and row["interval"] == "1s"}
    common = closed.keys() & ours.keys()
    assert len(common) >= 4
    for at in common:
        for mine, theirs in (("open", "open"), ("high", "high"), ("low", "low"), ("close", "close")):
            assert ours[at][mine] == closed[at][theirs], at
        assert ours[at]["volume"] == closed[at]["volume"]
        assert ours[at]["quote_volume"] == closed[at]["quote_volume"]
        assert ours[at]["buy_volume"] == closed[at]["taker_buy_volume"]
        assert ours[at]["trades"] == closed[at]["trades"]


def check_partial_books(partial: list[dict[str, Any]], books: list[dict[str, Any]]) -> None:
    """At equal ids the exchange's best levels are those of the rebuilt book."""
    by_id = {row["last_update_id"]: row for row in books if row["valid"]}
    common = [(row, by_id[row["last_update_id"]]) for row in partial if row["last_update_id"] in by_id]
    assert len(common) >= 10
    for theirs, ours in common:
        for side in ("bid", "ask"):
            assert ours[f"{side}_price"][:5] == theirs[f"{side}_price"]
            assert ours[f"{side}_quantity"][:5] == theirs[f"{side}_quantity"]


def test_a_listed_market_joins_and_a_delisted_one_ends_with_a_gap(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    simulator = simulate("--symbols", "2")
    simulator.fault("unlist:symbol=ETHUSDT")
    process = live(simulator, tmp_path, "-s", "[BE]T[CH]USDT", "--listing-interval", "1")
    processes.append(process)
    simulator.fault("list:symbol=ETHUSDT")
    time.sleep(4)
    simulator.fault("delist:symbol=ETHUSDT")
    time.sleep(3)
    assert process.stop() == 0, process.output
    store, joined = open_local(tmp_path), Market("binanceusdm", "ETHUSDT")
    events = [row["kind"] for row in rows(store, "events", joined)]
    assert {"listed", "opened", "in_step", "closed"} <= set(events)
    assert rows(store, "trades", joined)
    assert any(row["valid"] for row in rows(store, "depth", joined))
    ended = {row["stream"]: row for row in rows(store, "gaps", joined) if row["reason"] == "delisted"}
    assert ended.keys() == {"depth", "trades", "book_ticker"}
    assert all(row["to_ns"] is None for row in ended.values())
    others = rows(store, "gaps", Market("binanceusdm", "BTCUSDT"))
    assert not [row for row in others if row["reason"] == "delisted"]
