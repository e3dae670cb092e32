"""One market from inputs to rows."""

from __future__ import annotations

import random
from itertools import zip_longest
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.audit.gaps import id_cover
from collector.core.gaps import Gap
from collector.core.inputs import AnchorArrived, Opened, Resume
from collector.core.market import Market
from tests.core.exchange import SECOND, START_NS
from tests.core.script import FAULTS, ODD, Input, Script, hand, run, session, tables

SEEDS = st.integers(0, 10**9)


def newest_gaps(rows: dict[str, list[dict[str, Any]]]) -> list[Gap]:
    return list({row["gap_id"]: Gap(**row) for row in rows.get("gaps", [])}.values())


def differing(one: dict[str, list[dict[str, Any]]], other: dict[str, list[dict[str, Any]]]) -> list[Any]:
    return [
        (table, mine, theirs)
        for table in sorted({*one, *other})
        for mine, theirs in zip_longest(one.get(table, []), other.get(table, []))
        if repr(mine) != repr(theirs)
    ][:1]


@settings(deadline=None, max_examples=60)
@given(SEEDS, st.booleans(), st.booleans(), SEEDS)
def test_rows_do_not_depend_on_when_they_are_drained(seed: int, futures: bool, asked: bool, drains: int) -> None:
    script = Script(seed, futures=futures, faults=ODD, asked=asked)
    chance = random.Random(drains)
    often = chance.choice([0.02, 0.2, 0.7])
    once = tables(run(session(futures=futures), script.inputs))
    each = tables(run(session(futures=futures), script.inputs, lambda _: True))
    random_ones = tables(run(session(futures=futures), script.inputs, lambda _: chance.random() < often))
    assert differing(once, each) == []
    assert differing(once, random_ones) == []


@settings(deadline=None, max_examples=60)
@given(SEEDS, st.booleans())
def test_every_id_sent_is_stored_once_or_lies_in_a_gap(seed: int, futures: bool) -> None:
    script = Script(seed, futures=futures, faults=FAULTS)
    rows = tables(run(session(futures=futures), script.inputs, lambda number: number % 5 == 0))
    gaps = newest_gaps(rows)
    for table, column, stream, sent in (
        ("diffs", "last_id", "depth", script.sent),
        ("trades", "agg_trade_id", "trades", [(one, one) for one in script.sent_trades]),
    ):
        stored = [row[column] for row in rows.get(table, [])]
        assert len(stored) == len(set(stored))
        assert set(stored) <= {last for _, last in sent}
        cover = id_cover(gaps, stream)
        begun, ended = min(stored, default=0), max(stored, default=0)
        for first, last in sent:
            if begun < last <= ended and last not in set(stored):
                assert cover.holds(first, last), (stream, first, last)


@settings(deadline=None, max_examples=60)
@given(SEEDS, st.booleans(), st.booleans())
def test_a_book_in_step_is_the_exchanges_and_valid_rows_show_it(seed: int, futures: bool, asked: bool) -> None:
    script = Script(seed, futures=futures, faults=FAULTS, asked=asked)
    market = Market(START_NS, session(futures=futures))
    batches = []
    seen = 0
    for one in script.inputs:
        hand(market, one)
        batches += market.drain()
        book = market._depth.book
        if book is None:
            assert not market.in_step
            continue
        seen += 1
        bids, asks = script.exchange.truth[book.last_id]
        price, quantity = 10 ** (2 - book.price_places), 10 ** (3 - book.quantity_places)
        for side, truth in ((book.bids, bids), (book.asks, asks)):
            ours = zip((side.price * price).tolist(), (side.quantity * quantity).tolist(), strict=True)
            assert dict(ours) == truth
    assert seen
    rows = tables(batches)
    assert not any(row["kind"] in ("book_differs", "internal_error") for row in rows["events"])
    for row in rows["depth"]:
        if row["valid"]:
            bids, asks = script.exchange.truth[row["last_update_id"]]
            assert (row["best_bid"], row["best_ask"]) == (max(bids) / 100, min(asks) / 100)
            assert row["book_age_ms"] <= 5000
            assert row["recv_ns"] < row["epoch"] * SECOND


@settings(deadline=None, max_examples=60)
@given(SEEDS, st.booleans())
def test_each_epoch_is_one_row_made_of_all_that_came_before_it(seed: int, futures: bool) -> None:
    script = Script(seed, futures=futures, faults=ODD)
    rows = tables(run(session(futures=futures), script.inputs))
    last_ns = max(one.recv_ns for one in script.inputs)
    epochs = [row["epoch"] for row in rows["depth"]]
    assert epochs == list(range(START_NS // SECOND + 1, last_ns // SECOND + 1))
    received = sorted(row["recv_ns"] for row in rows["diffs"])
    for row in rows["depth"]:
        before = [one for one in received if one < row["epoch"] * SECOND]
        if row["recv_ns"] is not None and before and row["valid"]:
            assert before[-1] <= row["recv_ns"] < row["epoch"] * SECOND


@settings(deadline=None, max_examples=60)
@given(SEEDS, st.booleans(), st.integers(20, 120))
def test_a_session_that_goes_on_from_what_the_last_one_remembered(seed: int, futures: bool, cut: int) -> None:
    script = Script(seed, futures=futures, faults=FAULTS)
    first = Market(START_NS, session(futures=futures))
    batches = []
    for one in script.inputs[:cut]:
        hand(first, one)
    batches += first.drain()
    body = msgspec.json.encode(first.resume())
    resume = msgspec.json.decode(body, type=Resume)
    assert msgspec.json.encode(resume) == body
    rest = [one for one in script.inputs[cut + 3 :] if not isinstance(one.what, bytes | AnchorArrived)]
    start_ns = rest[0].recv_ns
    batches += run(
        session(futures=futures, resume=resume),
        [Input(start_ns, Opened(1, ["depth", "trades"])), *rest],
        start_ns=start_ns,
    )
    rows = tables(batches)
    assert len({row["epoch"] for row in rows["depth"]}) == len(rows["depth"])
    for table, column, stream, sent in (
        ("diffs", "last_id", "depth", script.sent),
        ("trades", "agg_trade_id", "trades", [(one, one) for one in script.sent_trades]),
    ):
        stored = [row[column] for row in rows.get(table, [])]
        assert len(stored) == len(set(stored))
        cover = id_cover(newest_gaps(rows), stream)
        lost = [
            (first, last)
            for first, last in sent
            if stored and stored[0] < last <= stored[-1] and last not in stored and not cover.holds(first, last)
        ]
        assert not lost
