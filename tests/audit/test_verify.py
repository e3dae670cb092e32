"""`verify` says nothing of a store that keeps its promise, and names what was taken from it or changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from collector.audit.report import MarketReport
from collector.audit.verify import verify_market
from collector.core.inputs import SessionStarted
from collector.replay import Replay
from collector.store import StoreWriter
from storage_backends.interface import Market
from tests.audit.sample import MARKET, Sample
from tests.core.exchange import SECOND, START_NS
from tests.stores import open_local, rows

CAPTURES = Path(os.environ.get("CAPTURE_DIR", Path(__file__).parents[2].parent / "shared" / "data"))


def verify(sample: Sample) -> MarketReport:
    return verify_market(sample.store, MARKET)


def test_a_sound_store_has_no_problems(sample: Sample) -> None:
    report = verify(sample)
    assert report.problems == []
    book, depth = report.book, report.chains["depth"]
    assert (depth.rows, depth.explained, depth.unexplained) == (280, 1, 0)
    assert report.chains["trades"].explained == 1
    assert book.compared == book.equal > 200
    assert book.anchors >= 2
    assert book.anchor_levels > 50
    assert (report.epochs.rows, report.epochs.unexplained_holes) == (30, 0)
    assert 20 < report.epochs.valid < 29
    assert {stream: count.gaps for stream, count in report.gaps.items()} == {"depth": 1, "trades": 1, "book_ticker": 1}


@pytest.mark.parametrize(("table", "named"), [("diffs", "depth: 1 breaks"), ("trades", "trades: 1 breaks")])
def test_a_file_that_is_gone(sample: Sample, table: str, named: str) -> None:
    sample.files(table)[1].unlink()
    (problem,) = verify(sample).problems
    assert problem.startswith(named)


@pytest.mark.parametrize(("table", "key"), [("diffs", "last_id"), ("trades", "agg_trade_id")])
def test_a_single_row_that_is_gone(sample: Sample, table: str, key: str) -> None:
    file = sample.files(table)[1]
    gone: list[dict[str, Any]] = []

    def without_the_third(row: dict[str, Any]) -> dict[str, Any] | None:
        gone.append(row)
        return None if len(gone) == 3 else row

    sample.change(file, without_the_third)
    report = verify(sample)
    (found,) = [chain for chain in report.chains.values() if chain.unexplained]
    assert report.problems
    assert found.breaks[0][1] == gone[2][key]


def test_an_epoch_file_that_is_gone(sample: Sample) -> None:
    sample.files("depth")[1].unlink()
    report = verify(sample)
    assert report.problems == ["epochs: 1 holes that no gap explains"]
    first = START_NS // SECOND
    assert report.epochs.holes == [(first + 5, first + 11)]


def test_a_price_that_was_changed(sample: Sample) -> None:
    done: list[int] = []

    def better_bid(row: dict[str, Any]) -> dict[str, Any]:
        if not done and row["bid_price"]:
            done.append(row["last_id"])
            row["bid_price"][0], row["bid_quantity"][0] = 100.01, 1.0
        return row

    sample.change(sample.files("diffs")[1], better_bid)
    report = verify(sample)
    assert done
    assert any("differs from book_ticker" in problem for problem in report.problems)
    assert report.book.examples[0]["last_id"] == done[0]
    assert any("differ from anchors" in problem for problem in report.problems)


def test_a_quantity_deep_in_the_book_that_was_changed(sample: Sample) -> None:
    """Quotes say nothing of it; the next snapshot does."""
    diffs = rows(sample.store, "diffs", MARKET)
    compared = rows(sample.store, "snapshots", MARKET)[-1]["last_update_id"]
    newest: dict[float, int] = {}
    for row in diffs:
        if row["last_id"] <= compared:
            for price, quantity in zip(row["ask_price"], row["ask_quantity"], strict=True):
                newest[price] = row["last_id"] if quantity and price > 100.1 else 0
    price, changed = max(newest.items(), key=lambda item: item[1])

    def more(row: dict[str, Any]) -> dict[str, Any]:
        if row["last_id"] == changed:
            row["ask_quantity"][len(row["ask_price"]) - 1 - row["ask_price"][::-1].index(price)] += 100
        return row

    for file in sample.files("diffs"):
        sample.change(file, more)
    assert verify(sample).problems == ["book: 1 levels differ from anchors"]


def test_a_gap_that_says_too_little(sample: Sample) -> None:
    for file in sample.files("gaps"):
        sample.change(file, lambda row: {**row, "to_id": row["to_id"] and row["to_id"] - 1})
    report = verify(sample)
    assert {name for name, chain in report.chains.items() if chain.unexplained} == {"depth", "trades"}


def test_a_gap_that_is_gone_or_called_healed(sample: Sample) -> None:
    for file in sample.files("gaps"):
        sample.change(file, lambda row: {**row, "healed": True})
    assert len(verify(sample).problems) == 2
    for file in sample.files("gaps"):
        file.unlink()
    assert len(verify(sample).problems) == 2


def test_quotes_that_are_missing_are_no_contradiction(sample: Sample) -> None:
    """A gap in the quotes alone: the newest one stored may be older than one that was missed."""
    gaps = {row["stream"]: row for row in rows(sample.store, "gaps", MARKET) if row["to_ns"]}
    from_id = gaps["book_ticker"]["from_id"]
    lost = [update for _, update in sample.received if update > from_id][30:60]
    for file in sample.files("book_ticker"):
        sample.change(file, lambda row: None if lost[0] <= row["update_id"] <= lost[-1] else row)
    for file in sample.files("gaps"):
        sample.change(
            file, lambda row: {**row, "to_id": lost[-1]} if row["stream"] == "book_ticker" and row["to_id"] else row
        )
    assert verify(sample).problems == []


@pytest.mark.parametrize("alone", [True, False])
def test_numbers_that_do_not_fit_together_cost_a_book_and_no_crash(sample: Sample, alone: bool) -> None:
    done: list[int] = []

    def absurd(row: dict[str, Any]) -> dict[str, Any]:
        if not done and row["bid_price"]:
            done.append(1)
            row["bid_quantity"][0] = 999999999999999.0
            if alone:
                row["bid_price"], row["bid_quantity"] = row["bid_price"][:1], row["bid_quantity"][:1]
                row["ask_price"] = row["ask_quantity"] = []
            else:
                row["ask_price"], row["ask_quantity"] = [101.0], [0.125]
        return row

    sample.change(sample.files("diffs")[1], absurd)
    report = verify(sample)
    assert report.book.unreadable == (not alone)
    assert report.chains["depth"].unexplained == 0
    assert report.book.rebuilt > 100
    assert report.book.differing == 0


def test_a_real_capture_verifies(tmp_path: Path) -> None:
    file = CAPTURES / "usdm_btcusdt_20240718.gz"
    if not file.is_file():
        pytest.skip(f"no captures in {CAPTURES}; set CAPTURE_DIR")
    store = open_local(tmp_path)
    writer = StoreWriter(store, "test", ("--data-dir", "here"))
    template = SessionStarted(exchange="binanceusdm", symbol="", futures=True)
    Replay(template, (), writer.add).run([file])
    writer.flush()
    report = verify_market(store, Market("binanceusdm", "BTCUSDT"))
    assert report.problems == []
    assert report.book.compared > 0
    assert report.quarantined == 0


def test_ids_that_began_anew_at_lower_ones_are_told_by_their_gap(sample: Sample) -> None:
    sample.count_anew()
    assert verify(sample).problems == []
    for file in sample.files("gaps"):
        file.unlink()
    assert {name for name, chain in verify(sample).chains.items() if chain.unexplained} == {"depth", "trades"}


def test_ids_that_began_anew_explain_nothing_that_is_missing_later(sample: Sample) -> None:
    """The gap where they did has no last id, and the new count goes beyond its first in the end."""
    for file in sample.files("gaps"):
        sample.change(
            file,
            lambda row: (
                {**row, "stream": "trades", "from_id": 1, "to_id": None} if row["stream"] == "book_ticker" else row
            ),
        )
    assert verify(sample).problems == []
    lost = rows(sample.store, "trades", MARKET)[200]["agg_trade_id"]
    for file in sample.files("trades"):
        sample.change(file, lambda row: None if row["agg_trade_id"] == lost else row)
    assert verify(sample).chains["trades"].breaks == [(lost, lost)]


def test_a_window_without_rows_is_not_good(sample: Sample) -> None:
    later_ns = START_NS + 3600 * SECOND
    report = verify_market(sample.store, MARKET, later_ns, later_ns + SECOND)
    assert report.problems == ["nothing but gaps and events is stored in this window"]
