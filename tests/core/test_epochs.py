"""Each epoch once, in order, whatever the clock does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from collector.core.epochs import SECOND_NS, Epochs

STEPS = st.lists(
    st.one_of(
        st.integers(0, 3 * SECOND_NS),  # as inputs come
        st.integers(0, 200 * SECOND_NS),  # a stall
        st.just(SECOND_NS),
        st.integers(-5 * SECOND_NS, 0),  # never from the clock, but a capture may be merged badly
    ),
    max_size=40,
)


@given(st.sampled_from([1, 2, 5, 60]), st.integers(0, 10**4), st.integers(0, SECOND_NS - 1), STEPS)
def test_one_row_an_epoch_within_a_session(interval: int, start_s: int, start_ns: int, steps: list[int]) -> None:
    now = start_s * SECOND_NS + start_ns
    epochs = Epochs(interval, now)
    begin, latest = now, now
    ended: list[int] = []
    for step in steps:
        now = max(0, now + step)
        latest = max(latest, now)
        ended += epochs.ended(now)
        assert all(epoch * SECOND_NS <= latest for epoch in ended)
    expected = [
        epoch
        for epoch in range(begin // SECOND_NS // interval * interval, latest // SECOND_NS + 1, interval)
        if begin < epoch * SECOND_NS <= latest
    ]
    assert ended == expected


@given(
    st.sampled_from([1, 2, 5]),
    st.lists(st.tuples(st.integers(-50 * SECOND_NS, 100 * SECOND_NS), STEPS), min_size=1, max_size=6),
)
def test_none_is_written_twice_over_sessions_with_a_clock_that_is_moved(
    interval: int, sessions: list[tuple[int, list[int]]]
) -> None:
    now, last = 10**5 * SECOND_NS, None
    written: list[int] = []
    for moved, steps in sessions:
        now += moved
        epochs = Epochs(interval, now, last)
        for step in steps:
            now += max(0, step)
            written += epochs.ended(now)
        last = written[-1] if written else None
    assert written == sorted(set(written))
    assert all(epoch % interval == 0 for epoch in written)


def test_the_epoch_of_the_start_itself_is_not_written() -> None:
    assert list(Epochs(1, 10 * SECOND_NS).ended(11 * SECOND_NS)) == [11]
    assert list(Epochs(1, 10 * SECOND_NS - 1).ended(10 * SECOND_NS)) == [10]
    assert list(Epochs(1, 10 * SECOND_NS).ended(11 * SECOND_NS - 1)) == []


def test_a_change_of_the_interval_goes_on_behind_what_was_written() -> None:
    assert list(Epochs(5, 10 * SECOND_NS, 23).ended(30 * SECOND_NS)) == [25, 30]
