"""One market, driven by hand through single faults, absurd inputs, and what it may keep."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.core.inputs import AnchorArrived, AnchorRequested, Closed, Note, Opened, Refused, Resume, Tick, Verbatim
from collector.core.market import Market
from tests.core.exchange import SECOND, START_NS, Exchange, levels, text
from tests.core.script import ODD, Input, Script, hand, run, session, tables

SEEDS = st.integers(0, 10**9)


class Driven:
    """A market in step on a futures exchange, driven by hand."""

    def __init__(self, **limits: int) -> None:
        self.exchange = Exchange(futures=True, **limits)
        self.market = Market(START_NS, session(futures=True))
        self.now = START_NS + SECOND // 10
        self.batches: list[Any] = []
        self.apply(Opened(1, ["depth", "trades"]))
        self.diff()
        self.anchor()
        self.diff()

    def apply(self, happened: Any) -> None:
        hand(self.market, Input(self.now, happened))

    def diff(self, **changes: Any) -> dict[str, Any]:
        self.now += SECOND // 10
        message = self.exchange.diff(self.now) | changes
        self.apply(text(message))
        return message

    def anchor(self, body: bytes | None = None, limit: int = 1000) -> None:
        self.apply(AnchorRequested("test"))
        self.apply(AnchorArrived(self.now, "test", limit))
        self.apply(self.exchange.snapshot(limit) if body is None else body)

    def rows(self, table: str) -> list[dict[str, Any]]:
        self.batches += self.market.drain()
        return tables(self.batches).get(table, [])

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [row for row in self.rows("events") if row["kind"] == kind]

    def next_second(self) -> None:
        self.now = (self.now // SECOND + 1) * SECOND
        self.apply(Tick())


def test_a_bad_level_in_the_middle_of_a_second_costs_that_message_alone() -> None:
    driven = Driven()
    before = driven.diff()
    bad = driven.diff(b=[["100.00", "1e400"]])
    after = driven.diff()
    stored = [row["last_id"] for row in driven.rows("diffs")]
    assert stored[-2:] == [before["u"], after["u"]]
    (quarantined,) = driven.events("quarantine")
    assert quarantined["text"] == text(bad).encode()
    (gap,) = [row for row in driven.rows("gaps") if row["reason"] == "quarantine"]
    assert (gap["from_id"], gap["to_id"]) == (bad["pu"] + 1, bad["u"])
    assert not driven.market.in_step
    assert driven.market.take_wanted_anchor() == "quarantine"
    driven.anchor()
    driven.diff()
    driven.market.drain()
    assert driven.market.in_step


@pytest.mark.parametrize("absurd", ["999999999999999", "0.000000000000001"])
def test_an_absurd_number_does_not_make_later_good_ones_bad(absurd: str) -> None:
    driven = Driven()
    driven.diff(b=[[absurd if absurd.startswith("0") else "1", absurd]])
    driven.market.drain()
    sent = [driven.diff()["u"] for _ in range(3)]
    assert driven.market.take_wanted_anchor() is not None
    driven.anchor()
    sent += [driven.diff()["u"] for _ in range(3)]
    assert [row["last_id"] for row in driven.rows("diffs")][-6:] == sent
    assert driven.events("quarantine") == []
    assert driven.market.in_step


def test_a_snapshot_is_compared_and_says_how_many_levels_differ() -> None:
    driven = Driven()
    driven.anchor()
    driven.diff()
    first, second = driven.rows("snapshots")
    assert (first["compared_levels"], first["differing_levels"]) == (None, None)
    bids, asks = driven.exchange.truth[second["last_update_id"]]
    assert (second["compared_levels"], second["differing_levels"]) == (len(bids) + len(asks), 0)
    assert driven.events("book_differs") == []


def test_a_wrong_book_is_found_by_an_anchor_and_the_rows_before_are_put_in_doubt() -> None:
    driven = Driven()
    price = max(driven.exchange.bids)
    wrong = driven.diff()
    driven.exchange.bids[price] = 4_321
    driven.exchange.truth[driven.exchange.last_id] = (dict(driven.exchange.bids), dict(driven.exchange.asks))
    driven.next_second()
    driven.anchor()
    driven.diff()
    (event,) = driven.events("book_differs")
    assert event["detail"].startswith("1 of ")
    assert str(wrong["u"]) in event["detail"]
    assert driven.rows("snapshots")[-1]["differing_levels"] == 1
    (doubt,) = [row for row in driven.rows("gaps") if row["reason"] == "book differed"]
    assert (doubt["from_id"], doubt["to_id"]) == (None, None)
    assert START_NS < doubt["from_ns"] < doubt["to_ns"]
    driven.anchor()
    driven.diff()
    assert driven.rows("snapshots")[-1]["differing_levels"] == 0
    assert driven.market.in_step


def test_a_crossed_book_is_never_valid() -> None:
    driven = Driven()
    driven.diff(b=[["101.00", "1.000"]], a=[["100.50", "1.000"]])
    driven.next_second()
    row = driven.rows("depth")[-1]
    assert (row["valid"], row["best_bid"], row["bid_buckets"]) == (False, None, None)
    assert driven.events("out_of_step")[-1]["detail"] == "crossed"
    assert driven.market.take_wanted_anchor() == "crossed"
    assert [gap["reason"] for gap in driven.rows("gaps")] == ["crossed"]


def test_a_best_price_beyond_the_known_depth_is_asked_about() -> None:
    driven = Driven()
    known = sorted(driven.exchange.bids, reverse=True)
    driven.market = Market(START_NS, session(futures=True))
    driven.apply(Opened(1, ["depth", "trades"]))
    driven.anchor(limit=5)
    driven.diff(b=levels([(price, 0) for price in known[:5]] + [(known[7], 1)]), a=[])
    driven.market.take_wanted_anchor()
    driven.next_second()
    row = driven.rows("depth")[-1]
    assert not row["valid"]
    assert row["best_bid"] == known[7] / 100
    assert row["bid_coverage"] == 0
    assert set(row["bid_buckets"]) == {"nan"}
    assert driven.market.take_wanted_anchor() == "beyond known depth"


def test_valid_needs_a_connection_no_gap_and_a_fresh_book() -> None:
    driven = Driven()
    driven.next_second()
    assert driven.rows("depth")[-1]["valid"]
    driven.now += 4 * SECOND
    driven.apply(Tick())
    assert driven.rows("depth")[-1]["valid"]
    driven.now += 2 * SECOND
    driven.apply(Tick())
    row = driven.rows("depth")[-1]
    assert (row["valid"], row["best_bid"] is None) == (False, False)
    driven.diff()
    driven.next_second()
    assert driven.rows("depth")[-1]["valid"]
    driven.apply(Closed(1, ["depth"], "disconnect"))
    driven.next_second()
    assert not driven.rows("depth")[-1]["valid"]
    driven.apply(Opened(2, ["depth"]))
    driven.next_second()
    assert not driven.rows("depth")[-1]["valid"], "connected, but what was missed is not known yet"
    driven.diff()
    driven.next_second()
    assert driven.rows("depth")[-1]["valid"], "nothing was missed"


def _times(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in ("stream", "reason", "from_id", "to_id", "from_ns", "to_ns")) for row in rows]


def test_a_connection_lost_before_it_said_anything_is_a_gap_from_its_opening_to_the_next() -> None:
    names = ["depth", "trades", "liquidations"]
    started = msgspec.structs.replace(session(futures=True), channels=tuple(names))
    market = Market(START_NS, started)
    market.apply(START_NS + 1, Opened(1, names))
    market.apply(START_NS + 2, Closed(1, names, "disconnect"))
    rows = tables(market.drain())["gaps"]
    assert _times(rows) == [(name, "disconnect", None, None, START_NS + 1, None) for name in sorted(names)]
    again = Market(START_NS + 3, msgspec.structs.replace(started, resume=market.resume()))
    for one in (market, again):
        one.apply(START_NS + 4, Opened(2, names))
        rows = tables(one.drain())["gaps"]
        assert _times(rows) == [(name, "disconnect", None, None, START_NS + 1, START_NS + 4) for name in sorted(names)]
        assert one.open_gaps == frozenset()
        one.apply(START_NS + 5, Closed(2, ["liquidations"], "disconnect"))
        one.apply(START_NS + 6, Opened(3, ["liquidations"]))
        rows = [row for row in tables(one.drain())["gaps"] if row["to_ns"] is not None]
        assert _times(rows) == [("liquidations", "disconnect", None, None, START_NS + 4, START_NS + 6)]


def test_a_silent_stream_that_another_connection_carries_on_is_in_no_gap() -> None:
    market = Market(START_NS, msgspec.structs.replace(session(futures=True), channels=("liquidations",)))
    market.apply(START_NS + 1, Opened(1, ["liquidations"]))
    market.apply(START_NS + 2, Opened(2, ["liquidations"]))
    market.apply(START_NS + 3, Closed(1, ["liquidations"], "rotated"))
    assert "gaps" not in tables(market.drain())
    market.apply(START_NS + 4, Closed(2, ["liquidations"], "delisted"))
    assert _times(tables(market.drain())["gaps"]) == [
        ("liquidations", "delisted", None, None, START_NS + 2, None),
    ]


def test_refused_rows_are_a_gap_and_what_is_stored_gets_a_new_start() -> None:
    driven = Driven()
    driven.market.take_wanted_anchor()
    driven.apply(Refused("depth", "journal full", 1001, 1010, START_NS, START_NS + 5))
    (gap,) = driven.rows("gaps")
    assert (gap["reason"], gap["from_id"], gap["to_id"], gap["to_ns"]) == ("journal full", 1001, 1010, START_NS + 5)
    assert driven.market.in_step
    assert driven.market.take_wanted_anchor() == "refused"


def test_a_snapshot_that_is_none_is_quarantined_and_asked_for_again() -> None:
    for body in (b"<html>", b'{"lastUpdateId":5,"bids":[["1","2"]],"asks":[["1","2"]]}', b'{"lastUpdateId":-1}'):
        for wrapped in (body, Verbatim(0, body)):
            market = Market(START_NS, session(futures=True))
            hand(market, Input(START_NS, Opened(1, ["depth"])))
            assert market.take_wanted_anchor() == "first"
            hand(market, Input(START_NS, AnchorArrived(START_NS, "first", 1000)))
            hand(market, Input(START_NS + 1, wrapped))
            assert market.take_wanted_anchor() == "quarantine"
            events = tables(market.drain())["events"]
            assert [row["text"] for row in events if row["kind"] == "quarantine"] == [body]


def test_snapshots_at_the_edge_raise_nothing() -> None:
    for bids, asks in (
        ([], []),
        ([["1", "0"]], [["2", "0"]]),
        ([["0", "1"]], []),
        ([], [["0", "1"]]),
        ([["0", "1"]], [["0.5", "1"], ["7", "0"]]),
    ):
        for limit in (1, 2, 1000):
            driven = Driven()
            body = text({"lastUpdateId": driven.exchange.last_id, "bids": bids, "asks": asks}).encode()
            driven.anchor(body, limit)
            driven.next_second()
            driven.diff()
            driven.next_second()
            assert driven.events("quarantine") == []


def test_a_clock_behind_what_is_written_is_said() -> None:
    resume = Resume(last_epoch=START_NS // SECOND + 100)
    market = Market(START_NS, session(futures=True, resume=resume))
    rows = tables(market.drain())
    assert [row["kind"] for row in rows["events"]] == ["session_started", "clock_behind"]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.one_of(st.binary(max_size=60), st.text(max_size=60)), max_size=30), st.booleans(), SEEDS)
def test_nothing_that_comes_raises(noise: list[str | bytes], futures: bool, seed: int) -> None:
    script = Script(seed, futures=futures, faults=ODD, length=60)
    chance = random.Random(seed)
    inputs = list(script.inputs)
    for one in noise:
        at = chance.randrange(len(inputs))
        raw = one if isinstance(one, bytes) else one.encode("utf-8", "surrogatepass")
        what = chance.choice([Verbatim(3, raw), raw, Note("noise", repr(one))])
        inputs.insert(at, Input(inputs[at].recv_ns, what))
    for one in list(inputs):
        if isinstance(one.what, str) and chance.random() < 0.2:
            broken = list(one.what)
            broken[chance.randrange(len(broken) or 1) :][:1] = chance.choice(
                ["9", '"', "", "e", "-", "0000000000000000"]
            )
            inputs[inputs.index(one)] = Input(one.recv_ns, "".join(broken))
    run(session(futures=futures), inputs, lambda number: number % 3 == 0)


def test_a_market_that_gets_no_anchor_keeps_no_more_than_two_minutes() -> None:
    exchange = Exchange(futures=True)
    market = Market(START_NS, session(futures=True))
    hand(market, Input(START_NS, Opened(1, ["depth"])))
    for second in range(600):
        now = START_NS + second * SECOND
        hand(market, Input(now, text(exchange.diff(now))))
        market.drain()
    assert sum(len(chunk.ids) for chunk in market._depth._backlog) <= 122
    hand(market, Input(now, exchange.snapshot()))
    hand(market, Input(now, text(exchange.diff(now))))
    market.drain()
    assert market.in_step


def test_an_anchor_that_is_asked_for_and_never_comes_keeps_no_more_than_two_minutes() -> None:
    driven = Driven()
    driven.apply(AnchorRequested("periodic"))
    for _ in range(400):
        driven.now += SECOND
        driven.diff()
        driven.market.drain()
        driven.batches = []
    assert driven.market._depth._since == []
    assert driven.market.in_step


def test_an_anchor_far_ahead_is_let_go_and_another_asked_for() -> None:
    driven = Driven()
    driven.anchor(driven.exchange.snapshot().replace(b'"lastUpdateId":', b'"lastUpdateId":9', 1))
    for _ in range(80):
        driven.now += SECOND
        driven.diff()
        driven.market.drain()
    assert driven.market.in_step
    assert driven.market._depth._since == []
    assert driven.market._depth._anchor is None
