"""Answers of REST that was polled: one row each, or quarantine."""

from __future__ import annotations

from typing import Any

import pytest

from collector.core.inputs import Polled
from collector.core.market import Market
from tests.core.exchange import SECOND, START_NS, text
from tests.core.script import session, tables

BOOK = {"lastUpdateId": 7, "E": 5, "T": 4, "bids": [["1.5", "2"], ["1.4", "0.25"]], "asks": [["1.6", "3"]]}
INTEREST = {"symbol": "BTCUSDT", "openInterest": "10659.509", "time": 1_589_437_530_011}


def market() -> Market:
    return Market(START_NS, session(futures=True))


def answer(one: Market, what: str, body: dict[str, Any] | str, at: int = 10, limit: int = 0) -> None:
    raw = body if isinstance(body, str) else text(body)
    one.apply(START_NS + at, Polled(what, START_NS + at - 5, raw.encode(), limit))  # type: ignore[arg-type]


def test_a_book_is_a_row_with_all_that_is_known_of_it() -> None:
    one = market()
    answer(one, "book", BOOK, limit=5)
    (row,) = tables(one.drain())["polled_books"]
    assert (row["last_update_id"], row["limit"], row["event_time"], row["transact_time"]) == (7, 5, 5, 4)
    assert [float(price) for price in row["bid_price"]] == [1.5, 1.4]
    assert [float(quantity) for quantity in row["bid_quantity"]] == [2.0, 0.25]
    assert (row["request_ns"], row["recv_ns"]) == (START_NS + 5, START_NS + 10)


def test_open_interest() -> None:
    one = market()
    answer(one, "open_interest", INTEREST)
    (row,) = tables(one.drain())["open_interest"]
    assert (row["timestamp"], row["open_interest"]) == (1_589_437_530_011, 10659.509)


def test_an_answer_that_repeats_the_last_is_a_duplicate() -> None:
    one = market()
    for at in (10, 20):
        answer(one, "open_interest", INTEREST, at)
        answer(one, "book", BOOK, at, 5)
    answer(one, "book", BOOK, 30, 10)
    rows = tables(one.drain())
    assert (len(rows["open_interest"]), len(rows["polled_books"])) == (1, 2)
    assert one.counts["open_interest duplicates"] == one.counts["polled_books duplicates"] == 1


@pytest.mark.parametrize(
    ("what", "body"),
    [
        ("book", "{}"),
        ("book", BOOK | {"bids": [["1.5", "x"]]}),
        ("book", BOOK | {"asks": [["1.50000000000000001", "1"]]}),
        ("open_interest", "[]"),
        ("open_interest", INTEREST | {"symbol": "ETHUSDT"}),
        ("open_interest", INTEREST | {"openInterest": "-1"}),
        ("open_interest", INTEREST | {"time": -1}),
        ("open_interest", "\x00"),
    ],
)
def test_what_is_no_answer_goes_into_quarantine_and_leaves_a_gap_of_its_moment(what: str, body: Any) -> None:
    one = market()
    answer(one, what, body)
    one.apply(START_NS + SECOND, Polled("open_interest", START_NS, text(INTEREST).encode()))
    rows = tables(one.drain())
    table = {"book": "polled_books", "open_interest": "open_interest"}[what]
    assert [row["stream"] for row in rows["events"] if row["kind"] == "quarantine"] == [table]
    assert [(row["stream"], row["from_ns"], row["to_ns"], row["from_id"]) for row in rows["gaps"]] == [
        (table, START_NS + 5, START_NS + 10, None)
    ]
    assert len(rows["open_interest"]) == 1
