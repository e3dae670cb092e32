"""Trades and quotes: each stored once, a bad one alone in quarantine."""

from __future__ import annotations

from typing import Any

import pytest

from collector.core.decode import decode
from collector.core.entry import Entry
from collector.core.gaps import GapLedger
from collector.core.records import TEXT_LIMIT, Records
from collector.core.sequencer import Sequencer
from collector.core.tapes import KINDS, Tape
from tests.core.exchange import text
from tests.core.script import tables

AGG = {"e": "aggTrade", "E": 5, "s": "X", "p": "1.5", "q": "2", "f": 1, "l": 2, "T": 4, "m": True}
TRADE = {"e": "trade", "E": 5, "s": "X", "p": "1.5", "q": "2", "T": 4, "m": False}
TICKER = {"s": "X", "b": "1.5", "B": "2", "a": "1.6", "A": "3"}


class Taped:
    def __init__(self, table: str) -> None:
        kind = next(kind for kind in KINDS if kind.table == table)
        self.table = table
        self.ledger, self.records = GapLedger(), Records()
        sequencer = Sequencer(table, self.ledger, contiguous=kind.contiguous)
        self.tape = Tape(kind, sequencer, self.ledger, self.records)
        self.now = 0

    def take(self, *messages: dict[str, Any]) -> None:
        for message in messages:
            self.now += 1
            self.tape.message(Entry(self.now, 1, decode(text(message)), text(message)))

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        self.tape.settle()
        return tables(self.records.drain())


def test_agg_trades_keep_every_field_and_the_normal_quantity_where_it_is_sent() -> None:
    taped = Taped("trades")
    taped.take({**AGG, "a": 1}, {**AGG, "a": 2, "nq": "0.125", "T": 4_000_000_000_000_000})
    one, other = taped.rows()["trades"]
    assert (one["agg_trade_id"], one["first_id"], one["last_id"]) == (1, 1, 2)
    assert (one["price"], one["quantity"], one["normal_quantity"]) == (1.5, 2.0, None)
    assert (one["is_buyer_maker"], one["timestamp"], one["recv_ns"], one["source"]) == (True, 4, 1, "ws")
    assert (other["normal_quantity"], other["timestamp"]) == (0.125, 4_000_000_000_000)


def test_trades_of_both_exchanges() -> None:
    taped = Taped("raw_trades")
    taped.take({**TRADE, "t": 1}, {**TRADE, "t": 2, "X": "NA", "p": "0", "q": "0"})
    one, other = taped.rows()["raw_trades"]
    assert (one["trade_id"], one["order_type"], other["order_type"], other["price"]) == (1, None, "NA", 0.0)


def test_quotes_with_and_without_times_and_an_empty_side() -> None:
    taped = Taped("book_ticker")
    taped.take(
        {**TICKER, "u": 1},
        {**TICKER, "u": 9, "e": "bookTicker", "E": 7, "T": 6},
        {**TICKER, "u": 12, "b": "0.00000000", "B": "0.00000000"},
    )
    rows = taped.rows()["book_ticker"]
    assert [(row["update_id"], row["event_time"], row["transact_time"]) for row in rows] == [
        (1, None, None),
        (9, 7, 6),
        (12, None, None),
    ]
    assert rows[2]["bid_price"] == 0.0
    assert taped.ledger.rows == []


@pytest.mark.parametrize("at", range(5))
def test_one_bad_number_among_good_ones(at: int) -> None:
    taped = Taped("trades")
    messages = [{**AGG, "a": one} for one in range(1, 6)]
    messages[at]["p"] = "abc"
    taped.take(*messages)
    rows = taped.rows()
    assert [row["agg_trade_id"] for row in rows["trades"]] == [one for one in range(1, 6) if one != at + 1]
    (event,) = rows["events"]
    assert (event["time_ns"], event["text"]) == (at + 1, text(messages[at]).encode())
    (gap,) = taped.ledger.rows
    assert (gap.from_id, gap.to_id, gap.reason) == (at + 1, at + 1, "quarantine")
    taped.take(messages[at])
    assert taped.rows() == {}, "sent again it is a duplicate, whether it was settled before or not"


def test_an_absurd_number_leaves_the_others_alone() -> None:
    taped = Taped("trades")
    prices = ["1.25", "999999999999999", "1.25", "0.000000000000001", "70000.5"]
    taped.take(*({**AGG, "a": number, "p": price} for number, price in enumerate(prices)))
    assert [row["price"] for row in taped.rows()["trades"]] == [float(price) for price in prices]
    assert taped.ledger.rows == []


def test_duplicates_are_counted_and_late_ones_kept() -> None:
    taped = Taped("trades")
    taped.take(*({**AGG, "a": one} for one in (1, 4, 3, 3, 1, 2)))
    assert [row["agg_trade_id"] for row in taped.rows()["trades"]] == [1, 2, 3, 4]
    assert taped.records.counts["trades duplicates"] == 2
    assert taped.ledger.rows[-1].healed


def test_events_of_one_time_are_numbered_and_long_texts_are_cut() -> None:
    records = Records()
    records.event(5, "one")
    records.quarantine(5, "depth", 1, "too long", b"x" * (TEXT_LIMIT + 1))
    first = tables(records.drain())["events"]
    records.event(6, "other")
    records.event(5, "late")
    second = tables(records.drain())["events"]
    assert [(row["time_ns"], row["sequence"]) for row in first + second] == [(5, 0), (5, 1), (5, 2), (6, 0)]
    assert len(first[1]["text"]) == TEXT_LIMIT
    assert first[1]["detail"] == f"too long; the first {TEXT_LIMIT} of {TEXT_LIMIT + 1} bytes"
