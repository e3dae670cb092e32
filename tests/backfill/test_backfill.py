"""Backfills from the simulated exchange."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collector.audit.gaps import read_gaps
from collector.audit.verify import verify_market
from collector.backfill.archive import ArchiveError
from collector.backfill.run import LOCK_FILE
from collector.core.ids import IdRanges
from collector.errors import ConfigurationError
from collector.simulator.faults import make_fault
from collector.sources.errors import FeedError
from storage_backends import disk
from storage_backends.interface import Market
from tests.backfill.conftest import Filled, day_of, write_archive
from tests.live.invariant import stored_ids
from tests.stores import rows

SPOT, FUTURES = Market("binance", "BTCUSDT"), Market("binanceusdm", "BTCUSDT")
COLUMN = {"trades": "agg_trade_id", "raw_trades": "trade_id"}
ID, TIME = {"trades": "a", "raw_trades": "id"}, {"trades": "T", "raw_trades": "time"}

Filling = Callable[..., Any]


def expected(filled: Filled, market: Market, table: str, start_ns: int, end_ns: int) -> list[int]:
    return [row[ID[table]] for row in filled.theirs(market, table) if start_ns <= row[TIME[table]] * 1_000_000 < end_ns]


def stored(filled: Filled, market: Market, table: str) -> list[int]:
    """Of the files themselves, so that an id that is stored twice shows."""
    return sorted(stored_ids(filled.data_dir, market, table, COLUMN[table]))


@pytest.mark.parametrize(("market", "table"), [(SPOT, "trades"), (FUTURES, "trades"), (SPOT, "raw_trades")])
async def test_brings_exactly_the_trades_of_the_range(filling: Filling, market: Market, table: str) -> None:
    async with filling(past_orders=3000) as filled:
        start_ns, end_ns = filled.hours_ago(40), filled.hours_ago(3)
        outcome = await filled.fill(table, market, start_ns, end_ns)
        wanted = expected(filled, market, table, start_ns, end_ns)
        assert len(wanted) > 1500
        assert stored(filled, market, table) == wanted
        assert (outcome.rest, outcome.known, outcome.good) == (len(wanted), 0, True)
        theirs = {row[ID[table]]: row for row in filled.theirs(market, table)}
        for row in rows(filled.store, table, market):
            own = theirs[row[COLUMN[table]]]
            assert row["source"] == "rest"
            assert row["price"] == float(own["p" if table == "trades" else "price"])
            assert row["timestamp"] == own[TIME[table]]


async def test_asks_for_nothing_that_is_stored(filling: Filling) -> None:
    async with filling(past_orders=2000) as filled:
        await filled.fill("trades", SPOT, filled.hours_ago(30), filled.hours_ago(20))
        await filled.fill("trades", SPOT, filled.hours_ago(10), filled.hours_ago(5))
        first = stored(filled, SPOT, "trades")
        holes = [gap for gap in read_gaps(filled.store, SPOT) if not gap.healed]
        assert [gap.reason for gap in holes] == ["not collected"], "what lies between is told"
        outcome = await filled.fill("trades", SPOT, filled.hours_ago(40))
        assert outcome.known == len(first)
        wanted = expected(filled, SPOT, "trades", filled.hours_ago(40), filled.now_ns)
        assert outcome.rest == len(wanted) - len(first)
        assert stored(filled, SPOT, "trades") == wanted
        assert outcome.healed == 1
        assert all(gap.healed for gap in read_gaps(filled.store, SPOT))
        before = filled.asked()
        again = await filled.fill("trades", SPOT, filled.hours_ago(40))
        assert (again.rest, again.known) == (0, len(wanted))
        asked = filled.asked()["rest binance aggTrades"] - before["rest binance aggTrades"]
        assert asked == 3, "where it begins, what comes after its end, and the newest"
        assert verify_market(filled.store, SPOT).problems == []


async def test_holes_inside_are_filled_alone(filling: Filling) -> None:
    async with filling(past_orders=1500) as filled:
        start_ns = filled.hours_ago(30)
        wanted = expected(filled, SPOT, "trades", start_ns, filled.now_ns)
        all_rows = filled.simulator.source("binance").agg_trades("BTCUSDT")
        asked: list[tuple[int, int]] = []
        lost = {*wanted[10:20], wanted[200], *wanted[400:420]}
        await filled.fill("trades", SPOT, start_ns)
        kept = [row for row in rows(filled.store, "trades", SPOT) if row["agg_trade_id"] not in lost]
        assert len(all_rows) >= len(kept)
        other = Filled(filled.simulator, filled.data_dir.parent / "holes")
        put(other, kept)
        rest = filled.simulator._exchanges["binance"].rest
        answer = rest._agg_trades

        def listen(symbol: str, query: Any, now_ms: int) -> Any:
            if "fromId" in query:
                asked.append((int(query["fromId"]), int(query["limit"])))
                assert "startTime" not in query
            return answer(symbol, query, now_ms)

        rest._agg_trades = listen  # type: ignore[method-assign]
        outcome = await other.fill("trades", SPOT, start_ns)
        assert asked == [(wanted[10], 10), (wanted[200], 1), (wanted[400], 20)]
        assert outcome.rest == len(lost)
        assert stored(other, SPOT, "trades") == wanted


def put(filled: Filled, kept: list[dict[str, Any]]) -> None:
    import pyarrow as pa

    from storage_backends.schema import TABLES

    table = pa.Table.from_pylist(kept, schema=TABLES["trades"].schema)
    filled.store.write("trades", SPOT, table, writer="test", content_hash="0" * 64)


async def test_a_run_that_was_cut_off_goes_on(filling: Filling) -> None:
    async with filling(past_orders=4000) as filled:
        start_ns = filled.hours_ago(40)
        came = 0

        def stop_midway(count: int) -> None:
            nonlocal came
            came += count
            if came > 1500:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            await filled.fill("trades", SPOT, start_ns, done=stop_midway, max_rows=700)
        part = stored(filled, SPOT, "trades")
        wanted = expected(filled, SPOT, "trades", start_ns, filled.now_ns)
        assert 0 < len(part) < len(wanted)
        outcome = await filled.fill("trades", SPOT, start_ns)
        assert outcome.known == len(part)
        assert stored(filled, SPOT, "trades") == wanted


async def test_what_futures_no_longer_give_is_said_and_comes_from_archives(filling: Filling, tmp_path: Path) -> None:
    async with filling(past_orders=3000) as filled:
        start_ns = filled.hours_ago(70)
        outcome = await filled.fill("trades", FUTURES, start_ns)
        assert not outcome.good
        (lost,) = outcome.out_of_reach
        assert lost.from_ms == -(-start_ns // 1_000_000)
        assert 47.9 < (filled.now_ns / 1e6 - (lost.to_ms or 0)) / 3_600_000 < 48
        assert "BTCUSDT-aggTrades-YYYY-MM-DD.zip" in str(lost)
        theirs = [row for row in filled.theirs(FUTURES, "trades") if row["T"] * 1_000_000 >= start_ns]
        by_day: dict[str, list[dict[str, Any]]] = {}
        for row in filled.theirs(FUTURES, "trades"):
            by_day.setdefault(day_of(row["T"]), []).append(row)
        days = sorted(by_day)
        for day in days[:-1]:
            lines = [
                f"{r['a']},{r['p']},{r['q']},{r['f']},{r['l']},{r['T']},{str(r['m']).lower()}" for r in by_day[day]
            ]
            write_archive(tmp_path / "files", f"BTCUSDT-aggTrades-{day}", lines)
        outcome = await filled.fill("trades", FUTURES, start_ns, archive=tmp_path / "files")
        assert outcome.good, outcome
        assert outcome.archive == len(theirs) - outcome.known
        assert stored(filled, FUTURES, "trades") == [row["a"] for row in theirs]
        sources = {row["source"] for row in rows(filled.store, "trades", FUTURES)}
        assert sources == {"rest", "archive"}
        assert verify_market(filled.store, FUTURES).problems == []


async def test_archives_alone_need_no_exchange(filling: Filling, tmp_path: Path) -> None:
    async with filling(past_orders=500) as filled:
        theirs = filled.theirs(SPOT, "trades")
        day = day_of(theirs[250]["T"])
        of_day = [row for row in theirs if day_of(row["T"]) == day]
        lines = [f"{r['a']},{r['p']},{r['q']},{r['f']},{r['l']},{r['T']}000,{r['m']},True" for r in of_day]
        lost, lines[20:22] = lines[20:22], []
        write_archive(tmp_path / "files", f"BTCUSDT-aggTrades-{day}", lines)
        outcome = await filled.fill("trades", SPOT, 0, archive=tmp_path / "files", rest=False)
        assert filled.asked() == {}
        assert outcome.archive == len(of_day) - len(lost)
        (gap,) = read_gaps(filled.store, SPOT)
        assert (gap.from_id, gap.to_id) == (of_day[20]["a"], of_day[21]["a"])
        assert verify_market(filled.store, SPOT).problems == []
        write_archive(tmp_path / "files", f"BTCUSDT-aggTrades-{day}", ["not,a,trade"])
        with pytest.raises(ArchiveError):
            await filled.fill("trades", SPOT, 0, archive=tmp_path / "files", rest=False)


@pytest.mark.parametrize("market", [SPOT, FUTURES])
async def test_klines_are_the_exchanges_and_only_those_that_are_over(filling: Filling, market: Market) -> None:
    async with filling(past_orders=600) as filled:
        start_ns = filled.hours_ago(30)
        await filled.fill("klines", market, filled.hours_ago(20), filled.hours_ago(10))
        outcome = await filled.fill("klines", market, start_ns)
        await filled.fill("klines", market, start_ns, interval="1h")
        found = rows(filled.store, "klines", market)
        now_ms = filled.simulator.clock.now_ns() // 10**6
        for interval, length_ms in (("1m", 60_000), ("1h", 3_600_000)):
            mine = [row for row in found if row["interval"] == interval]
            times = [row["open_time"] for row in mine]
            assert times == list(range(times[0], times[-1] + 1, length_ms))
            assert 0 <= times[0] - start_ns / 1e6 < length_ms
            assert times[-1] + length_ms <= now_ms < times[-1] + 3 * length_ms
        assert outcome.known == 600
        theirs = {row[0]: row for row in filled.simulator.source(market.exchange).klines("BTCUSDT", "1m")}
        for row in found:
            if row["interval"] == "1m":
                own = theirs[row["open_time"]]
                texts = [row[name] for name in ("open", "high", "low", "close", "volume")]
                assert texts == [float(text) for text in own[1:6]]
                assert (row["quote_volume"], row["trades"], row["closed"]) == (float(own[7]), own[8], True)
        again = await filled.fill("klines", market, start_ns)
        assert again.rest <= 1


async def test_funding_rates_are_fetched_once(filling: Filling) -> None:
    async with filling() as filled:
        week = 24 * 7
        await filled.fill("funding", FUTURES, filled.hours_ago(week), filled.hours_ago(week / 2))
        outcome = await filled.fill("funding", FUTURES, filled.hours_ago(2 * week))
        times = [row["funding_time"] for row in rows(filled.store, "funding", FUTURES)]
        assert len(times) == len(set(times)) == 42
        assert outcome.known + outcome.rest == 42
        assert outcome.known in (10, 11)
        assert (await filled.fill("funding", FUTURES, filled.hours_ago(2 * week))).rest == 0


async def test_keeps_to_its_part_of_the_weight(filling: Filling) -> None:
    async with filling(past_orders=2000) as filled:
        budget = filled.simulator._exchanges["binance"].rest.budget
        budget.limit = 8
        with pytest.raises(TimeoutError):  # at 4 a request, two answers and a wait for the next minute
            async with asyncio.timeout(3):
                await filled.fill("trades", SPOT, filled.hours_ago(40), headroom=1 - 8 / 6000)
        assert "rest binance refused 429" not in filled.simulator.hub.counters
        assert 1 <= filled.asked()["rest binance aggTrades"] <= 2


async def test_faults_that_pass_are_waited_out(filling: Filling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collector.backfill.rest.Backoff.next_s", lambda self: 0.01)
    async with filling(past_orders=300) as filled:
        for status, retry_after in (("429", 0.2), ("418", 0.2), ("503", None)):
            fault = make_fault("rest", {"path": "aggTrades", "status": status})
            fault.retry_after = retry_after
            filled.simulator.apply(fault)
        outcome = await filled.fill("trades", SPOT, filled.hours_ago(40))
        assert outcome.good
        assert stored(filled, SPOT, "trades") == expected(filled, SPOT, "trades", filled.hours_ago(40), filled.now_ns)
        filled.simulator.apply(make_fault("rest", {"path": "aggTrades", "status": "403"}))
        with pytest.raises(FeedError, match="403"):
            await filled.fill("trades", SPOT, filled.hours_ago(40))


async def test_what_cannot_be_right_is_said(filling: Filling) -> None:
    async with filling() as filled:
        with pytest.raises(ConfigurationError, match="NOPEUSDT: is not listed on binance"):
            await filled.fill("trades", Market("binance", "NOPEUSDT"), filled.hours_ago(1))
        with disk.held_alone(filled.data_dir / LOCK_FILE), pytest.raises(ConfigurationError, match="another backfill"):
            await filled.fill("trades", SPOT, filled.hours_ago(1))


async def test_leaves_what_a_collector_commits_meanwhile_to_it(
    filling: Filling, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal that takes rows between two looks: what is not among the known is not missing."""
    async with filling(past_orders=2000) as filled:
        start_ns = filled.hours_ago(20)
        ids = expected(filled, SPOT, "trades", start_ns, filled.now_ns)
        committed = [ids[len(ids) // 2]]

        def waiting(*_: object) -> IdRanges:
            known = IdRanges()
            known.add(ids[0], committed[-1])
            committed.append(ids[-1])
            return known

        monkeypatch.setattr("collector.backfill.trades.live_position", lambda *_: committed[-1])
        monkeypatch.setattr("collector.backfill.trades.waiting_ids", waiting)
        outcome = await filled.fill("trades", SPOT, start_ns)
        assert (outcome.known, outcome.rest) == (len(ids) // 2 + 1, 0)
        assert stored(filled, SPOT, "trades") == []
