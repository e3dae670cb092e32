"""Bybit's sequence: whatever is lost, repeated or counted anew, ids are stored once or lie in a gap."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.core.batch import Batch
from collector.core.decode import Undecodable
from collector.core.inputs import Closed, Opened, Tick
from collector.core.market import Market
from collector.core.venues.bybit import BybitBook, BybitTrades, decode
from tests.venues.rows import SECOND, START, begin, book_text, hand, newest_gaps, tables, trade_text
from tests.venues.server import Ladder

STEPS = ("delta", "delta", "delta", "lost", "twice", "again", "restart", "reconnect", "behind", "second", "damaged")


class Stream:
    """Bybit as far as one market sees it, with everything that can go wrong."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.inputs: list[tuple[int, Any]] = []
        self.now_ns = START
        self.ladder = Ladder(3)
        self.u = 500
        self.connection = 1
        self.batches: list[Batch] = []
        self.apply(Opened(1, ["depth"]))
        self.snapshot()

    def apply(self, happened: Any) -> None:
        self.now_ns += 20_000_000
        self.put(happened)

    def put(self, happened: Any) -> None:
        self.inputs.append((self.now_ns, happened))
        give(self.market, self.now_ns, happened)

    def snapshot(self) -> None:
        self.now_ns += 20_000_000
        text = book_text("snapshot", self.u, self.ms, self.ladder.bids, self.ladder.asks)
        self.put(text)

    @property
    def ms(self) -> int:
        return self.now_ns // 1_000_000

    def step(self, what: str) -> None:
        if what == "restart":
            self.u = 1
            self.snapshot()
        elif what == "reconnect":
            self.apply(Closed(self.connection, ["depth"], "disconnect"))
            self.u += 3
            self.connection += 1
            self.apply(Opened(self.connection, ["depth"]))
            self.snapshot()
        elif what == "behind":  # the new connection's server is a little behind the old one's
            self.apply(Closed(self.connection, ["depth"], "disconnect"))
            self.connection += 1
            self.apply(Opened(self.connection, ["depth"]))
            if self.u > 3:
                self.put(book_text("snapshot", self.u - 2, self.ms - 900, self.ladder.bids, self.ladder.asks))
            else:  # just begun anew
                self.snapshot()
        elif what == "again":
            self.snapshot()
        elif what == "second":
            self.now_ns += SECOND
            self.put(Tick())
        else:
            self.delta(what)
        if self.market.take_wanted_anchor() is not None:  # the collector subscribes anew
            self.snapshot()
        self.batches += self.market.drain()

    def delta(self, what: str) -> None:
        bids, asks = self.ladder.step()
        self.u += 1
        self.now_ns += 20_000_000
        if what == "lost":
            return
        if what == "damaged":
            bids = {price: size * 10**15 + 1 for price, size in bids.items()} or {1: 10**17}
        text = book_text("delta", self.u, self.ms, bids, asks)
        for _ in range(2 if what == "twice" else 1):
            self.put(text)

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        self.batches += self.market.drain()
        return tables(self.batches)


def give(market: Market, recv_ns: int, happened: Any) -> None:
    if isinstance(happened, str):
        hand(market, recv_ns, happened)
    else:
        market.apply(recv_ns, happened)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(STEPS), max_size=40))
def test_every_id_is_stored_once_or_lies_in_a_gap(steps: list[str]) -> None:
    stream = Stream(begin("bybit"))
    for step in [*steps, "delta", "delta"]:
        stream.step(step)
    rows = stream.rows()
    again = begin("bybit")
    for recv_ns, happened in stream.inputs:
        give(again, recv_ns, happened)
    assert repr(rows) == repr(tables(again.drain())), "rows depend on when they are drained"
    stored = [row["last_id"] for row in rows["diffs"]]
    assert len(stored) == len(set(stored))
    assert stored == sorted(stored)
    missing = {
        ident
        for gap in newest_gaps(rows.get("gaps", []))
        if not gap["healed"]
        for ident in range(gap["from_id"], gap["to_id"] + 1)
    }
    assert not missing & set(stored)
    assert missing | set(stored) >= set(range(501, stored[-1] + 1))
    book = stream.market._depth.book
    assert book is not None
    assert (book.best_bid, book.best_ask) == (max(stream.ladder.bids), min(stream.ladder.asks))
    for row in rows.get("depth", []):
        assert row["best_bid"] is None or row["best_bid"] < row["best_ask"]


def test_a_lost_delta_is_a_gap_and_asks_for_a_snapshot() -> None:
    stream = Stream(begin("bybit"))
    stream.delta("delta")
    stream.delta("lost")
    stream.delta("delta")
    stream.market.drain()
    assert not stream.market.in_step
    assert stream.market.take_wanted_anchor() == "gap"
    stream.snapshot()
    assert stream.market.in_step


def test_a_new_count_goes_on_after_the_old_one_also_in_the_next_session() -> None:
    stream = Stream(begin("bybit"))
    stream.step("delta")
    stream.step("restart")
    stream.step("delta")
    first = stream.rows()
    assert [row["last_id"] for row in first["diffs"]] == [501, 503]
    assert [(gap["from_id"], gap["to_id"], gap["reason"]) for gap in first["gaps"]] == [(502, 502, "snapshot")]
    later = Stream(begin("bybit", stream.market.resume()))
    rows = later.rows()
    assert later.u == 500
    (gap,) = newest_gaps(rows["gaps"])
    assert (gap["reason"], gap["from_id"], gap["to_id"]) == ("restart", 504, 1001)
    assert rows["snapshots"][0]["last_update_id"] == 1001


def test_the_book_is_known_as_deep_as_its_window() -> None:
    market = begin("bybit")
    market.apply(START, Opened(1, ["depth"]))
    bids, asks = {1000 - at: 100 for at in range(3)}, {1001 + at: 100 for at in range(3)}
    hand(market, START, book_text("snapshot", 7, 1, bids, asks, levels=3))
    # The market moves up by a cent: what falls out of the window is taken back, and no longer known.
    hand(market, START + 1, book_text("delta", 8, 2, {1001: 5, 998: 0}, {1001: 0, 1004: 9}, levels=3))
    market.drain()
    book = market._depth.book
    assert book is not None
    assert (book.bid_floor, book.ask_ceiling) == (999, 1004)
    assert book.best_bid == 1001


def test_a_repeated_snapshot_is_compared_with_the_book() -> None:
    stream = Stream(begin("bybit"))
    stream.delta("delta")
    stream.snapshot()
    stream.ladder.bids[max(stream.ladder.bids)] += 1
    stream.snapshot()
    rows = stream.rows()
    assert [row["differing_levels"] for row in rows["snapshots"]] == [None, 0]
    assert rows["snapshots"][1]["compared_levels"] >= 95
    assert [row["detail"][:4] for row in rows["events"] if row["kind"] == "book_differs"] == ["1 of"]


def test_trades_are_stored_once_whatever_their_ids_look_like() -> None:
    market = begin("bybit")
    market.apply(START, Opened(1, ["raw_trades"]))
    uuids = ["20f43950-d8dd-5b31-9112-a178eb6023af", "20f43950-d8dd-5b31-9112-a178eb6023b0"]
    hand(market, START + 1, trade_text(1_700_000_000_000, *uuids))
    hand(market, START + 2, trade_text(1_700_000_000_000, uuids[1], "2290000000036455162"))
    hand(market, START + 3, trade_text(1_700_000_000_001, "2290000000036455163", price="-1"))
    market.apply(START + 4, Closed(1, ["raw_trades"], "disconnect"))
    market.apply(START + 5, Opened(2, ["raw_trades"]))
    hand(market, START + 6, trade_text(1_700_000_000_002, "7"))
    rows = tables(market.drain())
    stored = rows["raw_trades"]
    named = {row["venue_id"]: row["trade_id"] for row in stored if row["venue_id"] is not None}
    assert sorted(named) == uuids
    assert all(ident >> 20 == 1_700_000_000_000 for ident in named.values())
    assert sorted(row["trade_id"] for row in stored if row["venue_id"] is None) == [7, 2290000000036455162]
    assert all(row["is_buyer_maker"] for row in stored)
    assert sorted((gap["reason"], gap["from_ns"], gap["to_ns"]) for gap in newest_gaps(rows["gaps"])) == [
        ("disconnect", START + 3, START + 6),
        ("quarantine", START + 3, START + 3),
    ]
    assert market.counts["raw_trades duplicates"] == 1


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_mutated_frame_raises_anything_but_undecodable(data: st.DataObject) -> None:
    text = data.draw(
        st.sampled_from([book_text("delta", 5, 6, {1: 2}, {3: 4}), trade_text(5, "a", "b")]), label="frame"
    )
    rng = random.Random(data.draw(st.integers(0, 2**32)))
    raw = bytearray(text.encode())
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(raw))
        if rng.random() < 0.5:
            raw[at] = rng.randrange(256)
        else:
            del raw[at : at + rng.randint(1, 20)]
    market = begin("bybit")
    try:
        message = decode(bytes(raw))
    except Undecodable:
        return
    assert isinstance(message, BybitBook | BybitTrades)
    market.message(START + 1, message, bytes(raw))  # type: ignore[arg-type]
    market.drain()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "nothing",
        '{"topic":"kline.1.BTCUSDT","data":[]}',
        '{"topic":"publicTrade.BTCUSDT","ts":1,"data":[{"T":1,"s":"ETHUSDT","S":"Buy","v":"1","p":"1","i":"1"}]}',
        book_text("delta", 5, 6, {}, {}).replace('"s":"BTCUSDT"', '"s":"ETHUSDT"'),
        book_text("delta", 5, 6, {}, {}).replace('"u":5', '"u":-5'),
    ],
)
def test_what_is_no_message(text: str) -> None:
    with pytest.raises(Undecodable):
        decode(text)
