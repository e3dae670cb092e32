"""`verify` on a store that holds every table: nothing is said of a sound one, whatever happened while it was collected,
and a row that was altered or taken away is named with table, market and time."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collector.audit.report import MarketReport
from collector.audit.verify import verify_market
from collector.core.market import Market as Core
from collector.store import StoreWriter
from collector.times import show_ns
from storage_backends.interface import Market
from storage_backends.schema import TABLES
from tests.audit.altered import alter
from tests.core.everything import START_NS, Everything, session
from tests.core.script import hand
from tests.stores import open_local, rows

SECONDS = 84
Row = dict[str, Any]


def build(folder: Path, exchange: str, seed: int, seconds: float = SECONDS, faults: float = 0.0) -> Path:
    core = Core(START_NS, session(exchange, features="basic"))
    made = Everything(exchange, seed, seconds, faults, changes=3, damage=b"x")
    for given in made.inputs:
        hand(core, given)
    backend = open_local(folder)
    writer = StoreWriter(backend, "test", ("--data-dir", "here"))
    writer.add(exchange, "BTCUSDT", core.drain())
    writer.flush()
    backend.close()
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folders = {name: build(tmp_path_factory.mktemp(name) / "store", name, 7) for name in ("binance", "binanceusdm")}
    return folders.__getitem__


@pytest.fixture
def store(built: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    return lambda exchange: shutil.copytree(built(exchange), tmp_path / exchange)


def verify(folder: Path, exchange: str, **window: int) -> MarketReport:
    return verify_market(open_local(folder), Market(exchange, "BTCUSDT"), **window)


@pytest.mark.parametrize("exchange", ["binance", "binanceusdm"])
def test_a_sound_store_has_no_problems_and_much_is_compared(built: Callable[[str], Path], exchange: str) -> None:
    report = verify(built(exchange), exchange)
    assert report.problems == []
    compared = {name: check.compared for name, check in report.tables.items()}
    assert compared["depth"] > 60
    assert compared["books"] > 10
    assert compared["multitick"] > 20
    assert compared["bars"] > 70
    assert compared["klines"] >= 1 if exchange == "binanceusdm" else compared["klines"] > 50
    assert compared["partial_depth"] > 100
    assert compared["polled_books"] >= 1
    assert compared["features"] > 60
    assert all(check.rows for check in report.tables.values())


@pytest.mark.parametrize("seed", range(4))
def test_faults_of_the_exchange_and_the_network_are_no_problems(seed: int, tmp_path: Path) -> None:
    """Messages that are lost, late, repeated or damaged, and connections that are lost: gaps tell of it all."""
    exchange = ("binance", "binanceusdm")[seed % 2]
    report = verify(build(tmp_path, exchange, seed, 45, faults=0.01), exchange)
    # Ids of quotes have holes, so nothing tells of one that the exchange left out.
    assert [problem for problem in report.problems if "differs from book_ticker" not in problem] == []
    assert sum(count.gaps for count in report.gaps.values()) > 3
    assert report.tables["depth"].compared > 5


def change(name: str, value: Callable[[Any], Any]) -> Callable[[Row], None]:
    def how(row: Row) -> None:
        row[name] = value(row[name])

    return how


def entry(name: str, value: Callable[[float], float], at: int = 0) -> Callable[[Row], None]:
    def how(row: Row) -> None:
        row[name][at] = value(row[name][at])

    return how


def both(*hows: Callable[[Row], None]) -> Callable[[Row], None]:
    def how(row: Row) -> None:
        for one in hows:
            one(row)

    return how


more: Callable[[Any], Any] = lambda value: value + 1  # noqa: E731


def traded(row: Row) -> bool:
    return bool(row["complete"]) and row["trades"] > 2


def final(row: Row) -> bool:
    """And begun after trades were connected."""
    return bool(row["closed"]) and row["trades"] > 2 and row["open_time"] > START_NS // 10**6


def valid(row: Row) -> bool:
    return bool(row["valid"])


def compared(row: Row) -> bool:
    """Of a table that is compared with the rebuilt book every fifth second."""
    second = row["epoch"] if "epoch" in row else row["timestamp"] / 1000
    return bool(row["valid"]) and second % 5 == 0


def anything(row: Row) -> bool:
    return True


def later(row: Row) -> bool:
    """Of a time at which there is a book to compare with."""
    return bool(row["recv_ns"] > START_NS + 5 * 10**9)


ALTERED: list[tuple[str, Callable[[Row], bool], Callable[[Row], None], str]] = [
    ("depth", valid, both(change("best_bid", lambda p: p - 1), change("price", lambda p: p - 0.5)), "best_bid is"),
    ("depth", valid, change("price", more), "price is not the middle"),
    ("depth", valid, entry("ask_buckets", more, 2), "ask_buckets[2] is"),
    ("depth", anything, change("bid_coverage", lambda _: 1.5), "bid_coverage is not within"),
    ("books", compared, entry("bid_price", lambda price: price - 0.01, 1), "bid_price[1] is"),
    ("books", compared, entry("ask_price", lambda price: price + 50, 0), "the first ask level is not the best one"),
    ("books", valid, entry("ask_quantity", more, 3), "ask_volume_top is not the sum"),
    ("books", valid, change("volume_imbalance", lambda _: 0.123), "volume_imbalance is not"),
    ("books", valid, change("spread", more), "spread is not"),
    ("books", valid, change("bid_quantity", lambda some: some[:-1]), "bid_price and bid_quantity differ in length"),
    (
        "multitick",
        compared,
        entry("bid_cum_notional", lambda some: some * (1 + 1e-9)),
        "bid_cum_notional[0] is",
    ),
    ("multitick", valid, entry("ask_quantity", more, 1), "ask_cum_quantity is not the sum"),
    ("multitick", valid, change("imbalance", lambda _: 0.123), "imbalance is not"),
    ("multitick", valid, change("depth_ratio", more), "depth_ratio is not"),
    ("multitick", valid, entry("ask_price", lambda price: price + 0.1, -1), "ask_price is no multiple"),
    ("partial_depth", later, entry("bid_quantity", more, 1), "bid_quantity[1] is"),
    ("polled_books", later, entry("ask_quantity", more, 2), "levels differ from the rebuilt book"),
    ("polled_books", anything, change("request_ns", lambda ns: ns + 10**10), "the answer came before"),
    ("bars", traded, change("close", lambda price: price), ""),
    ("bars", traded, both(change("volume", more), change("buy_volume", more), change("delta", more)), "volume is"),
    ("bars", traded, change("quote_volume", more), "quote_volume is"),
    ("bars", traded, change("trades", more), "trades is"),
    ("bars", traded, both(change("low", lambda price: price - 1)), "low is"),
    ("bars", traded, change("delta", more), "delta is not buy_volume less"),
    ("bars", traded, change("empty", lambda _: True), "empty and trades contradict"),
    ("klines", final, change("high", lambda price: price + 1), "high is"),
    ("klines", final, change("volume", more), "volume is"),
    ("klines", final, change("close_time", more), "close_time is not the end"),
    ("klines", final, change("taker_buy_volume", lambda _: -1.0), "taker_buy_volume is not within"),
    ("mark_price", anything, change("mark_price", lambda _: 0.0), "mark_price is not above 0"),
    ("liquidations", anything, change("filled_quantity", lambda some: some * 2), "more was filled than ordered"),
    ("liquidations", anything, change("side", lambda _: "HOLD"), "side is neither"),
    ("trades", anything, change("last_id", lambda _: 0), "last_id is below"),
    ("features", valid, change("mid", more), "mid is"),
]


@pytest.mark.parametrize(
    ("table", "where", "how", "what"), ALTERED, ids=[f"{table}: {what}" for table, _, _, what in ALTERED]
)
def test_a_row_that_was_altered_is_named(
    store: Callable[[str], Path],
    table: str,
    where: Callable[[Row], bool],
    how: Callable[[Row], None],
    what: str,
) -> None:
    folder = store("binanceusdm")
    altered = alter(folder, table, where, how)
    about = TABLES[table]
    time = show_ns(altered[about.time] * about.ns_per_unit)
    problems = verify(folder, "binanceusdm").problems
    if not what:  # nothing was altered
        assert problems == []
        return
    wanted = f"{table} of binanceusdm BTCUSDT at {time}: "
    assert any(problem.startswith(wanted) and what in problem for problem in problems), problems


@pytest.mark.parametrize("table", ["books", "multitick", "features", "bars", "depth"])
def test_a_row_that_is_gone_is_named(store: Callable[[str], Path], table: str) -> None:
    folder = store("binanceusdm")
    seen: list[Row] = []

    def thirtieth(row: Row) -> bool:
        seen.append(row)
        return len(seen) == 30

    gone = alter(folder, table, thirtieth, None)
    about = TABLES[table]
    problems = verify(folder, "binanceusdm").problems
    if table == "depth":
        assert problems == ["epochs: 1 holes that no gap explains"]
        return
    time = show_ns(gone[about.time] * about.ns_per_unit)
    (problem,) = problems
    assert problem.startswith(f"{table} of binanceusdm BTCUSDT at {time}: the row is missing, up to ")


@pytest.mark.parametrize("at", [0, -1])
def test_features_that_are_gone_at_an_end_of_a_session_are_named(store: Callable[[str], Path], at: int) -> None:
    folder = store("binanceusdm")
    epoch = rows(open_local(folder), "features", Market("binanceusdm", "BTCUSDT"))[at]["epoch"]
    alter(folder, "features", lambda row: bool(row["epoch"] == epoch), None)
    (problem,) = verify(folder, "binanceusdm").problems
    time = show_ns(epoch * 10**9)
    assert problem.startswith(
        f"features of binanceusdm BTCUSDT at {time}: rows are missing up to {show_ns(epoch * 10**9)}"
    )


def test_a_hole_that_a_gap_or_an_event_tells_of_is_none(store: Callable[[str], Path]) -> None:
    folder = store("binanceusdm")
    last_ms, *gone, _ = times(folder)[29:35]
    alter(folder, "books", lambda row: row["timestamp"] in gone, None, all_of_them=True)
    assert len(verify(folder, "binanceusdm").problems) == 1

    def left_out(row: Row) -> None:
        row.update(kind="grid_left_out", time_ns=gone[-1] * 10**6, sequence=0)
        row["detail"] = f"4 grid points after {last_ms} are left out: nothing came for so long"

    alter(folder, "events", lambda row: row["kind"] == "in_step", left_out)
    report = verify(folder, "binanceusdm")
    assert report.problems == []
    assert report.tables["books"].explained_holes == 1


def times(folder: Path) -> list[int]:
    return [row["timestamp"] for row in rows(open_local(folder), "books", Market("binanceusdm", "BTCUSDT"))]


def test_many_wrong_rows_are_counted_and_the_first_told(store: Callable[[str], Path]) -> None:
    folder = store("binanceusdm")
    alter(folder, "mark_price", anything, change("mark_price", lambda _: -1.0), all_of_them=True)
    report = verify(folder, "binanceusdm")
    *told, counted = report.problems
    assert len(told) == 3
    count = len(rows(open_local(folder), "mark_price", Market("binanceusdm", "BTCUSDT")))
    assert report.tables["mark_price"].wrong == count
    assert counted == f"mark_price of binanceusdm BTCUSDT: {count - 3} more"


def test_a_window_is_audited_as_the_whole_is(built: Callable[[str], Path], store: Callable[[str], Path]) -> None:
    """Its borders cut bars, books and sessions, which is no fault of theirs."""
    window = {"start_ns": START_NS + 20_300_000_000, "end_ns": START_NS + 47_700_000_000}
    report = verify(built("binanceusdm"), "binanceusdm", **window)
    assert report.problems == []
    assert report.tables["bars"].compared > 20
    folder = store("binanceusdm")
    alter(
        folder,
        "bars",
        lambda row: traded(row) and row["open_time"] > START_NS // 10**6 + 30_000,
        change("trades", more),
    )
    assert len(verify(folder, "binanceusdm", **window).problems) == 1


def test_quality_and_forecasts_hold_by_themselves(tmp_path: Path) -> None:
    import pyarrow as pa

    backend, market = open_local(tmp_path), Market("binanceusdm", "BTCUSDT")
    at = START_NS // 10**9
    lags = {"lag_p50_ms": 1.0, "lag_p95_ms": 2.0, "lag_p99_ms": 3.0, "late_ms": 0.0}
    good = [
        {"epoch": at, "ok": True, "grade": "ok", "reasons": "", **lags},
        {"epoch": at + 1, "ok": False, "grade": "bad", "reasons": "depth_down", **lags},
    ]
    bad = [
        {"epoch": at + 2, "ok": True, "grade": "bad", "reasons": "", **lags},
        {"epoch": at + 3, "ok": True, "grade": "ok", "reasons": "", **lags, "lag_p95_ms": 5.0},
        {"epoch": at + 4, "ok": False, "grade": "degraded", "reasons": "", **lags},
    ]
    forecast = {"model": "0f1e2d3c4b5a6978", "target": "price", "price": 100.0}
    forecast |= {"horizon_ms": [100.0, 500.0], "log_return_bp": [0.0, 1.0], "forecast_price": [100.0, 100.010000500016]}
    forecasts = [
        {**forecast, "timestamp": at * 1000},
        {**forecast, "timestamp": at * 1000 + 100, "forecast_price": [100.0, 100.2]},
    ]
    for table, made in (("quality", good + bad), ("forecasts", forecasts)):
        written = pa.Table.from_pylist(made, schema=TABLES[table].schema)
        backend.write(table, market, written, writer="test", content_hash="0" * 8)
    problems = verify_market(backend, market).problems
    assert [re.sub(r" at .*?: ", ": ", problem) for problem in problems] == [
        "forecasts of binanceusdm BTCUSDT: forecast_price is not price times exp(log_return_bp / 10000)",
        "quality of binanceusdm BTCUSDT: ok and grade contradict each other",
        "quality of binanceusdm BTCUSDT: ok and reasons contradict each other",
        "quality of binanceusdm BTCUSDT: percentiles of the lag do not rise",
    ]
