"""Gaps as they remain where several collectors wrote into one store."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from collector.audit.healing import HEALED_BY, read_remaining, remaining
from collector.audit.verify import verify_market
from collector.core.ids import IdRanges
from collector.core.sequencer import Position
from collector.coverage import Coverage, Span, Statement, decode_statement
from storage_backends.contract import put
from storage_backends.contract.rows import row
from tests.audit.sample import MARKET, Sample
from tests.audit.test_gaps import gap
from tests.core.exchange import SECOND, START_NS

RANGES = st.lists(st.tuples(st.integers(0, 40), st.integers(-2, 10)).map(lambda one: (one[0], one[0] + one[1])))


@given(RANGES, st.integers(0, 50), st.integers(0, 20))
def test_what_is_missing_of_a_range(ranges: list[tuple[int, int]], start: int, length: int) -> None:
    held = {one for first, last in ranges for one in range(first, last + 1)}
    missing = IdRanges(ranges).missing(start, start + length)
    assert [one for first, last in missing for one in range(first, last + 1)] == sorted(
        set(range(start, start + length + 1)) - held
    )
    assert all(before[1] + 1 < after[0] for before, after in pairwise(missing))


@given(RANGES)
def test_what_rows_prove_is_no_gap_and_the_rest_stays_one(ranges: list[tuple[int, int]]) -> None:
    held = {one for first, last in ranges for one in range(first, last + 1)}
    (found,) = remaining([gap(from_id=5, to_id=14)], {"depth": IdRanges(ranges)})
    missing = sorted(set(range(5, 15)) - held)
    assert found.healed == (not missing)
    if missing:
        assert (found.from_id, found.to_id) == (missing[0], missing[-1])
    else:
        assert found.healed_by == HEALED_BY


def said(collector: str, *spans: tuple[int, int], stream: str = "book_ticker") -> Statement:
    return Statement(collector, {stream: [Span(*span) for span in spans]})


def test_statements_of_one_collector_heal_what_they_cover_wholly() -> None:
    ticks = gap(stream="book_ticker")  # 5 to 8
    assert remaining([ticks], {}, [said("a", (0, 6)), said("a", (6, 9))])[0].healed
    assert remaining([ticks], {}, [said("a", (4, 8))])[0].healed
    for wrong in (
        [said("a", (0, 6)), said("b", (6, 9))],  # who stopped, and who began: nobody listened all the time
        [said("a", (0, 7))],
        [said("a", (5, 9))],
        [said("a", (0, 9), stream="trades")],
    ):
        assert remaining([ticks], {}, wrong) == [ticks]


def test_statements_do_not_count_where_the_backend_refused_rows() -> None:
    ticks, lost = gap(stream="book_ticker"), gap(stream="book_ticker", reason="refused by the backend", gap_id="r")
    assert remaining([ticks, lost], {}, [said("a", (0, 20))]) == [ticks, lost]


def test_gaps_that_are_open_or_have_no_ids_stay() -> None:
    for one in (gap(to_ns=None, to_id=None), gap(from_id=None, to_id=None), gap(healed=True)):
        assert remaining([one], {"depth": IdRanges([(0, 100)])}, [said("a", (0, 100), stream="depth")]) == [one]


def test_a_second_collector_fills_a_store(sample: Sample) -> None:
    """The sample's collector missed seconds 12 to 14; another one missed others."""
    before = verify_market(sample.store, MARKET)
    assert before.covered.seconds < before.covered.of
    other = Sample(sample.folder.with_name("other"), missed=(200, 220))
    for table in ("diffs", "trades", "book_ticker", "gaps", "depth", "snapshots", "events"):
        for batch in other.store.scan(table, MARKET):
            rows = pa.Table.from_batches([batch])
            hashed = f"{abs(hash(table)):016x}" * 4
            sample.store.write(table, MARKET, rows.cast(sample.schema(table)), writer="other", content_hash=hashed)
    left = [one for one in read_remaining(sample.store, MARKET) if not one.healed]
    assert {one.stream for one in left} == {"book_ticker"}
    statement = msgspec.json.encode(said("a", (0, 10**15))).decode()
    event = row("events", 0, time_ns=START_NS + 31 * SECOND, kind="covered", detail=statement)
    put(sample.store, "events", [event], market=MARKET)
    assert all(one.healed for one in read_remaining(sample.store, MARKET))
    after = verify_market(sample.store, MARKET)
    assert after.problems == []
    assert after.covered.seconds == after.covered.of


def test_gaps_of_a_span_are_counted_as_if_all_were(sample: Sample) -> None:
    before = read_remaining(sample.store, MARKET)
    put(
        sample.store,
        "gaps",
        [
            msgspec.structs.asdict(gap(gap_id="one", stream="book_ticker", from_ns=START_NS, to_ns=START_NS + 9)),
            msgspec.structs.asdict(
                gap(
                    gap_id="two",
                    stream="book_ticker",
                    reason="refused by the backend",
                    from_ns=START_NS + 9,
                    to_ns=START_NS + 20,
                )
            ),
        ],
        market=MARKET,
    )
    statement = msgspec.json.encode(said("a", (0, 10**15))).decode()
    put(
        sample.store,
        "events",
        [row("events", 0, time_ns=START_NS + SECOND, kind="covered", detail=statement)],
        market=MARKET,
    )
    every = {one.gap_id: one for one in read_remaining(sample.store, MARKET)}
    assert not every["one"].healed, "what the backend refused was stated before"
    assert [one.gap_id for one in read_remaining(sample.store, MARKET, START_NS, START_NS + 9)] == ["one"]
    assert read_remaining(sample.store, MARKET, START_NS, START_NS + 9) == [every["one"]]
    later = read_remaining(sample.store, MARKET, START_NS + SECOND)
    assert [one.gap_id for one in later] == [one.gap_id for one in before]
    assert later == [every[one.gap_id] for one in before]


# What a collector states


def at(last_id: int | None, offset: int = 0) -> Position:
    return Position(last_id, 1, None, offset)


def streams(coverage: Coverage) -> dict[str, list[Span]]:
    detail = coverage.take()
    return {} if detail is None else decode_statement(detail).streams


def test_spans_follow_commits_and_end_before_gaps() -> None:
    coverage = Coverage("c0ffee00")
    coverage.committed({"trades": at(10), "depth": at(None)}, [])
    assert streams(coverage) == {}
    coverage.committed({"trades": at(20), "depth": at(5)}, [])
    coverage.committed({"trades": at(30), "depth": at(9)}, [])
    assert streams(coverage) == {"trades": [(10, 30)], "depth": [(5, 9)]}
    assert streams(coverage) == {}
    coverage.committed({"trades": at(40)}, [])
    coverage.committed({"trades": at(60)}, ["trades"])
    coverage.committed({"trades": at(70)}, [])
    assert streams(coverage) == {"trades": [(30, 40), (60, 70)]}


def test_nothing_is_stated_across_an_interruption_or_a_new_count() -> None:
    coverage = Coverage("c0ffee00")
    coverage.committed({"trades": at(10)}, [])
    coverage.committed({"trades": at(20)}, [])
    coverage.interrupted()
    coverage.committed({"trades": at(90)}, [])
    coverage.committed({"trades": at(95)}, [])
    coverage.committed({"trades": at(99, offset=1)}, [])
    assert streams(coverage) == {"trades": [(10, 20)]}
