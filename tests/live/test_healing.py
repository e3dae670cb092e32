"""Trades that were lost on the way come back by REST, while everything else goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from collector.audit.gaps import read_gaps
from storage_backends.interface import Market
from tests.live.harness import Process, Simulator, collector, live
from tests.live.invariant import stored_ids
from tests.stores import differing, open_local, rows

FUTURES, SPOT = Market("binanceusdm", "BTCUSDT"), Market("binance", "BTCUSDT")
TABLES = {"trades": "agg_trade_id", "raw_trades": "trade_id"}
EVERYTHING = ("--symbol", "BTC/USDT", "--streams", "depth,aggTrade,trade,bookTicker", "--bars", "1s,5s")


def wait_until_healed(data_dir: Path, market: Market, at_least: int, timeout_s: float = 30.0) -> None:
    """Until the store says of so many gaps of trades that they are healed, and of none that it is not."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        gaps = [gap for gap in read_gaps(open_local(data_dir), market) if gap.stream in TABLES]
        if len(gaps) >= at_least and all(gap.healed for gap in gaps):
            return
        time.sleep(0.2)
    raise AssertionError(f"not healed within {timeout_s} s: {gaps}")


def check_continuous(data_dir: Path, market: Market) -> None:
    for table, column in TABLES.items():
        ids = stored_ids(data_dir, market, table, column)
        assert sorted(ids) == list(range(min(ids), min(ids) + len(ids))), f"{table}: a hole, or an id stored twice"


def test_lost_trades_come_back_and_a_replay_gives_the_same_rows(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    simulator = simulate("--symbols", "1", "--trades", "30")
    data_dir = tmp_path / "live"
    options = (*EVERYTHING, "--raw", "--flush-interval", "0.5")
    for session in range(2):
        process = live(simulator, data_dir, *options, exchanges=("binanceusdm", "binance"))
        processes.append(process)
        time.sleep(1)
        for fault in ("drop:stream=aggTrade,n=4", "drop:stream=trade,n=4"):
            for market in (FUTURES, SPOT):
                simulator.fault(f"{fault},market={market.exchange}")
        time.sleep(1)
        simulator.fault("abort")
        for market in (FUTURES, SPOT):
            wait_until_healed(data_dir, market, 3 + 4 * session)
        assert process.stop() == 0, process.output
    collector("replay", *sorted((data_dir / "raw").glob("*/*.zst")), "--data-dir", tmp_path / "again")
    for market in (FUTURES, SPOT):
        check_continuous(data_dir, market)
        assert differing(data_dir, tmp_path / "again", market) == {}
        gaps = [gap for gap in read_gaps(open_local(data_dir), market) if gap.stream in TABLES]
        assert {gap.reason for gap in gaps} >= {"sequence", "disconnect", "restart"}
        assert {gap.healed_by for gap in gaps} <= {"rest", "continuity"}
        assert {row["source"] for row in rows(open_local(data_dir), "trades", market)} == {"ws", "rest"}
    report = json.loads(collector("verify", "--json", "--data-dir", data_dir).stdout)
    assert report["ok"], report
    for found in report["markets"]:
        for table in TABLES:
            assert (found["chains"][table]["explained"], found["chains"][table]["unexplained"]) == (0, 0)


def test_an_exchange_that_refuses_for_a_while_only_delays_it(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    simulator = simulate("--symbols", "1", "--trades", "30")
    process = live(simulator, tmp_path, "--flush-interval", "0.5")
    processes.append(process)
    time.sleep(0.5)
    for status in ("429,retry_after=0.5", "503"):
        simulator.fault(f"rest:path=aggTrades,n=1,status={status}")
    simulator.fault("drop:stream=aggTrade,n=9")
    wait_until_healed(tmp_path, FUTURES, 1)
    assert process.stop() == 0, process.output
    store = open_local(tmp_path)
    failed = [row["detail"] for row in rows(store, "events", FUTURES) if row["kind"] == "heal_failed"]
    assert [("429" in one, "503" in one) for one in failed] == [(True, False), (False, True)]
    depth = rows(store, "depth", FUTURES)
    assert [row["valid"] for row in depth[2:]] == [True] * len(depth[2:]), "the book never waited"
    stored = {row["agg_trade_id"]: row for row in rows(store, "trades", FUTURES)}
    theirs = simulator.get("/fapi/v1/aggTrades", symbol="BTCUSDT", fromId=str(min(stored)), limit="1000")
    assert list(stored) == list(range(min(stored), min(stored) + len(stored)))
    assert {row["source"] for row in stored.values()} == {"ws", "rest"}
    for one in theirs[: len(stored)]:
        mine = stored[one["a"]]
        assert (mine["price"], mine["quantity"]) == (float(one["p"]), float(one["q"]))
        assert (mine["first_id"], mine["last_id"], mine["timestamp"]) == (one["f"], one["l"], one["T"])
        assert (mine["is_buyer_maker"], mine["normal_quantity"]) == (one["m"], float(one["nq"]))


def test_healing_can_be_left_to_others(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    simulator = simulate("--symbols", "1", "--trades", "30")
    process = live(simulator, tmp_path, "--no-heal")
    processes.append(process)
    time.sleep(0.5)
    simulator.fault("drop:stream=aggTrade,n=3")
    time.sleep(4)
    assert process.stop() == 0, process.output
    (gap,) = read_gaps(open_local(tmp_path), FUTURES)
    assert (gap.stream, gap.healed) == ("trades", False)
    assert {row["source"] for row in rows(open_local(tmp_path), "trades", FUTURES)} == {"ws"}
    assert "rest binanceusdm aggTrades" not in simulator.get("/stat")["counters"]
