"""What could not be kept becomes a gap that covers it."""

from __future__ import annotations

from typing import Any

from collector.audit.gaps import id_cover, time_cover
from collector.core.batch import Batch
from collector.core.gaps import Gap
from collector.core.inputs import Opened, Refused, Tick
from collector.core.market import Market as Core
from collector.refusals import KEPT, Kept, Refusals, gap_rows
from storage_backends.interface import Market
from tests.core.exchange import SECOND, START_NS, Exchange, text
from tests.core.script import Input, hand, session, tables

MARKET = Market("binanceusdm", "BTCUSDT")


def received(*, futures: bool, anchored: bool = True) -> list[Batch]:
    """Three seconds of everything."""
    exchange, core = Exchange(futures=futures), Core(START_NS, session(futures=futures))
    hand(core, Input(START_NS, Opened(1, ["depth", "trades"])))
    for number in range(30):
        now = START_NS + number * SECOND // 10
        for message in (exchange.diff(now), exchange.trade(now), exchange.ticker()):
            hand(core, Input(now, text(message)))
        if number == 5 and anchored:
            hand(core, Input(now, exchange.snapshot()))
    return core.drain()


def gaps_of(refused: list[tuple[Market, Refused]]) -> list[Gap]:
    core = Core(START_NS, session(futures=True))
    for _, one in refused:
        hand(core, Input(START_NS + 10 * SECOND, one))
    rows: list[dict[str, Any]] = tables(core.drain())["gaps"]
    return [Gap(**row) for row in rows]


def test_every_message_and_every_epoch_lies_in_a_gap() -> None:
    for futures in (True, False):
        batches = received(futures=futures)
        rows = tables(batches)
        refusals = Refusals()
        for batch in batches:
            if batch.table not in KEPT:
                refusals.add([(MARKET, batch)], "journal full")
        assert refusals
        taken = refusals.take()
        assert not refusals
        gaps = gaps_of(taken)
        assert len({gap.gap_id for gap in gaps}) == len(gaps) == 5
        for table, column, stream in (
            ("diffs", "last_id", "depth"),
            ("trades", "agg_trade_id", "trades"),
            ("book_ticker", "update_id", "book_ticker"),
            ("snapshots", "last_update_id", "snapshots"),
        ):
            ids = [row[column] for row in rows[table]]
            assert id_cover(gaps, stream).holds(min(ids), max(ids))
        first = rows["diffs"][0]
        assert id_cover(gaps, "depth").holds(first["prev_id"] + 1 if futures else first["first_id"], first["last_id"])
        epochs = [row["epoch"] * SECOND for row in rows["depth"]]
        assert time_cover(gaps, "depth").holds(min(epochs), max(epochs))


def test_epochs_of_a_silent_market_are_a_gap_too() -> None:
    core = Core(START_NS, session(futures=True))
    hand(core, Input(START_NS + 5 * SECOND, Tick()))
    refusals = Refusals()
    refusals.add([(MARKET, batch) for batch in core.drain() if batch.table not in KEPT], "disk full")
    (gap,) = gaps_of(refusals.take())
    assert (gap.stream, gap.reason, gap.from_id) == ("depth", "disk full", None)
    assert (gap.from_ns, gap.to_ns) == (START_NS + SECOND, START_NS + 5 * SECOND)


def test_ranges_grow_until_they_are_taken_and_markets_stay_apart() -> None:
    other = Market("binance", "ETHUSDT")
    batches = [batch for batch in received(futures=True, anchored=False) if batch.table == "trades"]
    refusals = Refusals()
    for batch in batches:
        refusals.add([(MARKET, batch)], "journal full")
        refusals.add([(other, batch)], "journal full")
        refusals.add([(MARKET, batch)], "journal full")
    taken = refusals.take()
    assert [market for market, _ in taken] == [MARKET, other]
    assert taken[0][1] == taken[1][1]
    assert refusals.take() == []


def test_tables_without_ids_that_count_leave_gaps_of_times() -> None:
    refusals = Refusals()
    for table, column, values in (
        ("mark_price", "recv_ns", [START_NS + 5, START_NS + 9]),
        ("books", "timestamp", [START_NS // 10**6 + 100]),
        ("multitick", "epoch", [START_NS // SECOND + 1, START_NS // SECOND + 2]),
    ):
        refusals.add([(MARKET, Batch(table, {column: values}))], "disk full")
    gaps = gaps_of(refusals.take())
    assert {gap.stream: (gap.from_ns, gap.to_ns) for gap in gaps} == {
        "mark_price": (START_NS + 5, START_NS + 9),
        "books": (START_NS + 100_000_000, START_NS + 100_000_000),
        "multitick": (START_NS + SECOND, START_NS + 2 * SECOND),
    }
    assert all(gap.from_id is None for gap in gaps)


def events(first_ns: int, texts: list[bytes | None]) -> Batch:
    times = [first_ns + number for number in range(len(texts))]
    return Batch("events", {"time_ns": times, "kind": ["quarantine"] * len(texts), "text": texts})


def test_events_that_wait_are_bounded_and_what_is_left_out_is_counted() -> None:
    kept = Kept(max_bytes=10_000)
    gaps = Batch("gaps", {"gap_id": ["one"] * 50})
    for second in range(10):
        kept.keep([*kept.batches, (MARKET, events(100 * second, [b"x" * 1000, None])), (MARKET, gaps)])
    assert sum(batch.rows for _, batch in kept.batches if batch.table == "gaps") == 500
    held = [batch for _, batch in kept.batches if batch.table == "events"]
    assert [batch.columns["time_ns"][0] for batch in held] == [0]
    ((market, told),) = kept.take_left_out()
    assert market == MARKET
    assert told == "18 events from 100 to 901 found no room in memory, quarantined frames included"
    assert kept.take_left_out() == []


def test_quality_waits_too_in_half_of_the_room() -> None:
    kept, left_out = Kept(max_bytes=20_000), []
    for second in range(4):
        quality = Batch("quality", {"epoch": list(range(10 * second, 10 * second + 10))})
        left_out = kept.keep([*kept.batches, (MARKET, quality), (MARKET, events(second, [None]))])
    assert [batch.columns["epoch"][0] for _, batch in kept.batches if batch.table == "quality"] == [0]
    assert [batch.columns["epoch"][0] for _, batch in left_out] == [30], "it is told of what is new"
    assert sum(batch.rows for _, batch in kept.batches if batch.table == "events") == 4


def test_gaps_without_a_market_that_runs_are_told_apart() -> None:
    refused = [Refused("depth", "dropped", None, None, 1, 2), Refused("depth", "dropped", None, None, 3, 4)]
    rows = [batch.columns for _, batch in gap_rows([(MARKET, one) for one in refused], START_NS)]
    assert len({row["gap_id"][0] for row in rows}) == 2
    assert [row["from_ns"] for row in rows] == [[1], [3]]
