"""A real collector on real sockets, with small exchanges of other protocols than Binance's."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from pathlib import Path

from collector.audit.gaps import id_cover, read_gaps
from collector.sources.capture import RAW_STREAM, read_capture
from storage_backends.interface import Market
from tests.live.harness import Process, collector
from tests.live.invariant import stored_ids
from tests.stores import differing, open_local, rows
from tests.venues.server import VenueServer


def run(exchange: str, server: VenueServer, data_dir: Path, processes: list[Process], *options: str) -> Process:
    process = Process("run", "--exchange", exchange, "--url-root", server.url, "--data-dir", str(data_dir), *options)
    processes.append(process)
    process.wait_for("$")
    return process


def check_replay(folder: Path, market: Market) -> None:
    collector("replay", *sorted((folder / "live" / "raw").glob("*/*.zst")), "--data-dir", folder / "again")
    assert differing(folder / "live", folder / "again", market) == {}


def test_bybit_is_exact_through_every_fault(processes: list[Process], tmp_path: Path) -> None:
    market, live = Market("bybit-swap", "BTCUSDT"), tmp_path / "live"
    with VenueServer("bybit") as server:
        process = run("bybit-swap", server, live, processes, "--raw", "--anchor-limit", "50")
        server.lose_deltas(1)
        time.sleep(0.7)
        server.say('{"topic":"orderbook.50.BTCUSDT","type":"delta","ts":1,"data":{"s":"BTCUSDT"')
        server.say('{"topic":"something.else","data":{}}')
        time.sleep(0.3)
        server.abort()
        time.sleep(2.5)
        before = len(server.sent_updates)
        server.restart()
        time.sleep(1.2)
        counted_anew = len(server.sent_updates) - before
        assert process.stop() == 0, process.output
    store = open_local(live)
    gaps = read_gaps(store, market)
    reasons = sorted(gap.reason for gap in gaps if gap.stream == "depth")
    assert reasons == ["disconnect", "sequence", "snapshot"], gaps
    stored, cover = stored_ids(live, market, "diffs", "last_id"), id_cover(gaps, "depth")
    assert len(stored) == len(set(stored))
    assert all(one in set(stored) or cover.holds(one, one) for one in range(min(stored), max(stored)))
    assert sum(one > max(gap.to_id or 0 for gap in gaps) for one in stored) >= counted_anew - 1 > 10
    named = [row["venue_id"] for row in rows(store, "raw_trades", market)]
    assert len(named) == len(set(named)) > 50
    assert set(named) <= set(server.sent_trades)
    assert "unsubscribe orderbook.50.BTCUSDT" in server.subscriptions
    assert [row["kind"] for row in rows(store, "events", market)].count("quarantine") == 2
    assert [row["limit"] for row in rows(store, "snapshots", market)] == [50] * 4
    check_replay(tmp_path, market)
    report = json.loads(collector("verify", "--json", "--data-dir", live).stdout)
    assert report["ok"], report
    assert 0 <= len(stored) - report["markets"][0]["book"]["rebuilt"] <= 10, "only the diffs between loss and snapshot"


def test_a_silent_book_is_subscribed_anew_and_its_neighbours_keep_their_connection(
    processes: list[Process], tmp_path: Path
) -> None:
    with VenueServer("bybit") as server:
        process = run("bybit", server, tmp_path, processes, "--anchor-limit", "50", "--silence", "1")
        server.lose_deltas(1000)
        time.sleep(2.5)
        assert "unsubscribe orderbook.50.BTCUSDT" in server.subscriptions
        assert process.stop() == 0, process.output
    market = Market("bybit", "BTCUSDT")
    assert [gap.reason for gap in read_gaps(open_local(tmp_path), market)] == ["snapshot"]
    kinds = [row["kind"] for row in rows(open_local(tmp_path), "events", market)]
    assert "silent" in kinds
    assert "closed" not in kinds


def test_any_other_exchange_goes_through_ccxt(processes: list[Process], tmp_path: Path) -> None:
    market, live = Market("okx", "BTC-USDT"), tmp_path / "live"
    with VenueServer("okx") as server:
        process = run("okx", server, live, processes, "--raw", "--symbol", "BTC/USDT")
        time.sleep(1)
        server.say("neither JSON nor pong")
        server.say('{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":[{"asks":5}]}')
        time.sleep(0.5)
        server.abort()
        time.sleep(3.2)
        assert process.stop() == 0, process.output
    store = open_local(live)
    depth = rows(store, "depth", market)
    assert [row["epoch"] for row in depth] == list(range(depth[0]["epoch"], depth[0]["epoch"] + len(depth)))
    assert sum(row["valid"] for row in depth) >= 3
    assert all(row["best_bid"] < row["best_ask"] for row in depth if row["valid"])
    assert all(row["recv_ns"] < row["epoch"] * 10**9 for row in depth if row["recv_ns"])
    trades = [str(row["trade_id"]) for row in rows(store, "raw_trades", market)]
    assert len(trades) == len(stored_ids(live, market, "raw_trades", "trade_id")) > 50
    assert set(trades) <= set(server.sent_trades)
    (gap,) = [gap for gap in read_gaps(store, market) if gap.stream == "raw_trades"]
    numbers = [int(trade) for trade in trades]
    assert gap.reason == "disconnect"
    assert sum(after != before + 1 for before, after in pairwise(numbers)) == 1, "one hole, and it is the gap"
    kinds = [row["kind"] for row in rows(store, "events", market)]
    assert {"unified", "closed", "disconnect"} <= set(kinds)
    raw = [line for file in (live / "raw").glob("*/*.zst") for line in read_capture(file) if line.stream == RAW_STREAM]
    assert any(line.data == b'"neither JSON nor pong"' for line in raw)
    assert any(b'"action":"snapshot"' in line.data for line in raw)
    check_replay(tmp_path, market)
    assert json.loads(collector("verify", "--json", "--data-dir", live).stdout)["ok"]
    shown = collector("gaps", "--data-dir", live, "--symbol", "BTC-USDT").stdout
    assert "None" not in shown


def test_a_market_that_is_not_there(tmp_path: Path) -> None:
    with VenueServer("okx") as server:
        done = collector(
            "run", "--exchange", "okx", "--url-root", server.url, "--symbol", "BTC/EUR", "--dry-run", check=False
        )
    assert done.returncode == 2
    assert "BTC/EUR" in done.stderr
    assert "BTC/USDT" in done.stderr
