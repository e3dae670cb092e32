"""What is asked for, from what is stored and what is wanted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from collector.backfill.plan import first_open_ms, id_requests, kline_requests, time_spans
from collector.core.channels import INTERVALS_MS
from collector.core.ids import IdRanges

IDS = st.sets(st.integers(0, 300))


def ranges(ids: set[int]) -> IdRanges:
    return IdRanges((one, one) for one in ids)


@given(IDS, st.integers(0, 300), st.integers(-1, 300), st.integers(1, 50))
def test_requests_bring_what_is_missing_and_nothing_that_is_stored(
    stored: set[int], first: int, count: int, page: int
) -> None:
    wanted = set(range(first, first + count + 1))
    asked: list[int] = []
    for from_id, limit in id_requests(ranges(stored), first, first + count, page):
        assert 1 <= limit <= page
        asked += range(from_id, from_id + limit)
    assert asked == sorted(wanted - stored), "each missing id once, in order"


@given(IDS, st.integers(0, 300), st.integers(0, 300), st.integers(1, 50), st.integers(0, 20), st.integers(0, 100))
def test_a_run_that_is_killed_anywhere_goes_on_where_it_was(
    stored: set[int], first: int, count: int, page: int, done_requests: int, torn: int
) -> None:
    before = set(stored)
    came: list[int] = []
    for number, (from_id, limit) in enumerate(id_requests(ranges(before), first, first + count, page)):
        ids = list(range(from_id, from_id + limit))
        if number == done_requests:
            came += ids[:torn]  # of the last answer, only a part was stored
            break
        came += ids
    for from_id, limit in id_requests(ranges(before | set(came)), first, first + count, page):
        came += range(from_id, from_id + limit)
    assert len(came) == len(set(came))
    assert set(came) | before >= set(range(first, first + count + 1))
    assert not set(came) & before


@given(
    st.sampled_from(sorted(INTERVALS_MS)),
    st.integers(0, 2 * 10**12),
    st.integers(0, 60),
    st.sets(st.integers(-3, 70)),
    st.integers(1, 1000),
)
def test_klines_are_asked_for_by_their_opening_once_each(
    interval: str, start_ms: int, count: int, stored: set[int], page: int
) -> None:
    interval_ms = INTERVALS_MS[interval]
    origin = first_open_ms(start_ms, interval_ms)
    assert start_ms <= origin < start_ms + interval_ms
    end_ms = start_ms + count * interval_ms
    wanted = [origin + n * interval_ms for n in range(count + 1) if origin + n * interval_ms < end_ms]
    have = {origin + number * interval_ms for number in stored}
    asked = [
        from_ms + number * interval_ms
        for from_ms, limit in kline_requests(have, start_ms, end_ms, interval_ms, page)
        for number in range(limit)
    ]
    assert asked == [one for one in wanted if one not in have]


def test_weeks_begin_on_monday() -> None:
    monday_ms = 1_767_571_200_000  # 2026-01-05
    week_ms = INTERVALS_MS["1w"]
    assert first_open_ms(monday_ms, week_ms) == monday_ms
    assert first_open_ms(monday_ms + 1, week_ms) == monday_ms + week_ms


@given(st.sets(st.integers(0, 100)), st.integers(0, 50), st.integers(1, 60), st.integers(2, 20))
def test_spans_hold_no_row_that_is_stored_and_all_times_that_are_far_from_one(
    stored: set[int], start: int, length: int, longest: int
) -> None:
    end = start + length
    spans = time_spans(stored, start, end, longest)
    inside = [at for first, last in spans for at in range(first, last)]
    assert len(inside) == len(set(inside))
    assert not stored & set(inside)
    assert all(start <= at < end for at in inside)
    for at in set(range(start, end)) - set(inside) - stored:
        earlier = max(one for one in stored if one < at)
        later = min(one for one in stored if one > at)
        assert later - earlier <= longest + 1
