"""Quotes and what else counts no ids: what collectors state to have committed, against what is stored."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest

from collector.audit.report import MarketReport
from collector.audit.verify import verify_market
from collector.core.sequencer import Position
from collector.coverage import Coverage, Span, Statement, decode_statement
from storage_backends.contract import put
from storage_backends.contract.rows import row
from tests.audit.sample import MARKET, Sample
from tests.core.exchange import SECOND, START_NS
from tests.stores import rows


def state(sample: Sample, ids: list[int], committed: int, *, at_s: int = 29) -> None:
    """The collector's word that so many quotes of all behind the first of `ids` were committed."""
    statement = Statement("a", {"book_ticker": [Span(ids[0], ids[-1])]}, {"book_ticker": [committed]})
    detail = msgspec.json.encode(statement).decode()
    event = row("events", 0, time_ns=START_NS + at_s * SECOND, kind="covered", detail=detail)
    put(sample.store, "events", [event], market=MARKET)


def quotes(sample: Sample) -> list[int]:
    return [one["update_id"] for one in rows(sample.store, "book_ticker", MARKET)]


def remove(sample: Sample, *lost: int) -> None:
    for file in sample.files("book_ticker"):
        sample.change(file, lambda one: None if one["update_id"] in lost else one)


def replace(sample: Sample, old: dict[str, Any], new: dict[str, Any]) -> None:
    for file in sample.files("book_ticker"):
        sample.change(file, lambda one: new if one["update_id"] == old["update_id"] else one)


def leave_out(sample: Sample) -> int:
    """Between the parts of one diff a quote comes, and the last one of the diff does not; gives the id of that."""
    diffs = rows(sample.store, "diffs", MARKET)
    told = {one["update_id"]: one for one in rows(sample.store, "book_ticker", MARKET)}
    best = ("bid_price", "ask_price")
    for before, diff in pairwise(diffs[200:]):  # behind the snapshot after the gap
        quote, last = told[diff["last_id"]], told[before["last_id"]]
        if diff["last_id"] - diff["prev_id"] > 1 and any(quote[one] != last[one] for one in best):
            replace(sample, quote, {**last, "update_id": diff["prev_id"] + 1})
            return int(diff["last_id"])
    raise AssertionError("no diff moves a best price")


def verify(sample: Sample) -> MarketReport:
    return verify_market(sample.store, MARKET)


def test_all_that_was_committed_is_there(sample: Sample) -> None:
    ids = quotes(sample)
    state(sample, ids, len(ids) - 1)
    assert verify(sample).problems == []


def test_a_quote_that_the_store_has_lost(sample: Sample) -> None:
    """No id tells of it, and where it was the only one of its diff the book does not either."""
    ids = quotes(sample)
    remove(sample, ids[200], ids[201])
    assert verify(sample).problems == []
    state(sample, ids, len(ids) - 1)
    (problem,) = verify(sample).problems
    assert "book_ticker of" in problem
    assert f"2 rows are missing of {len(ids) - 1} that were committed" in problem


@pytest.mark.parametrize("reason", ["refused by the backend", "damaged in the journal"])
def test_what_was_lost_after_its_commit_is_told_by_its_gap(sample: Sample, reason: str) -> None:
    ids = quotes(sample)
    state(sample, ids, len(ids) - 1)
    remove(sample, ids[200])
    assert verify(sample).problems
    at_ns = START_NS + 20 * SECOND
    gap = {"gap_id": "late", "revision": 0, "stream": "book_ticker", "reason": reason, "from_ns": at_ns, "to_ns": at_ns}
    put(sample.store, "gaps", [row("gaps", 0, **gap, detected_ns=at_ns, healed=False)], market=MARKET)
    assert verify(sample).problems == []


def test_what_was_deleted_or_is_on_its_way_is_not_missing(sample: Sample) -> None:
    ids = quotes(sample)
    state(sample, ids, len(ids) - 1)
    remove(sample, *ids[:20])
    assert verify(sample).problems == []
    other = quotes(sample)
    state(sample, other, len(other) - 1)
    remove(sample, *other[-20:])
    assert verify(sample).problems == []


def test_a_quote_that_the_exchange_left_out_is_no_contradiction_where_the_collector_has_all(sample: Sample) -> None:
    leave_out(sample)
    ids = quotes(sample)
    report = verify(sample)
    assert report.book.differing == 1, "nobody knows whose fault it is"
    assert [problem for problem in report.problems if "differs from book_ticker" in problem]
    state(sample, ids, len(ids) - 1)
    report = verify(sample)
    assert (report.book.differing, report.book.left_out) == (0, 1)
    assert report.problems == []


def test_a_quote_that_the_store_has_lost_is_not_the_exchanges_fault(sample: Sample) -> None:
    leave_out(sample)
    ids = quotes(sample)
    state(sample, ids, len(ids))
    report = verify(sample)
    assert (report.book.differing, report.book.left_out) == (1, 0)
    assert len(report.problems) == 2


def test_a_book_that_stays_wrong_is_wrong(sample: Sample) -> None:
    changed = leave_out(sample)
    ids = quotes(sample)
    state(sample, ids, len(ids) - 1)

    def higher(one: dict[str, Any]) -> dict[str, Any]:
        return one | {"bid_price": one["bid_price"] + 0.01} if changed < one["update_id"] < changed + 20 else one

    for file in sample.files("book_ticker"):
        sample.change(file, higher)
    assert verify(sample).book.left_out == 0
    assert verify(sample).book.differing > 1


# What a collector states


def at(last_id: int | None) -> Position:
    return Position(last_id, 1)


def commit(coverage: Coverage, reached: int, *ids: int, broken: tuple[str, ...] = ()) -> None:
    coverage.committed({"book_ticker": at(reached)}, broken, {"book_ticker": np.array(ids, np.int64)})


def test_rows_are_counted_by_the_spans_that_they_lie_in() -> None:
    coverage = Coverage("c0ffee00")
    commit(coverage, 10, 5, 10)
    commit(coverage, 20, 12, 20)
    commit(coverage, 30, 8, 25, 17, 30)  # 8 came late, from before the span
    detail = coverage.take()
    assert detail is not None
    said = decode_statement(detail)
    assert (said.streams, said.rows) == ({"book_ticker": [Span(10, 30)]}, {"book_ticker": [5]})
    commit(coverage, 40, 31, 40)
    commit(coverage, 60, 55, 60, broken=("book_ticker",))
    commit(coverage, 70, 65, 70)
    detail = coverage.take()
    assert detail is not None
    said = decode_statement(detail)
    assert (said.streams, said.rows) == (
        {"book_ticker": [Span(30, 40), Span(60, 70)]},
        {"book_ticker": [2, 2]},
    )


def test_a_statement_of_an_older_release_counts_nothing() -> None:
    assert decode_statement('{"collector":"a","streams":{"book_ticker":[[1,2]]}}').rows == {}
