"""What each message is to its stream, by the rules of the exchange."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.core.decode import DepthUpdate, Undecodable, decode
from collector.core.gaps import Gap, GapLedger
from collector.core.sequencer import Position, Sequencer, Verdict, depth_link
from tests.core.exchange import START_NS, Exchange, text


def depth_message(**changes: int) -> DepthUpdate:
    message = decode(text({**Exchange(futures=True).diff(START_NS), **changes}))
    assert isinstance(message, DepthUpdate)
    return message


def sequencer(*, contiguous: bool = True, position: Position | None = None) -> tuple[Sequencer, GapLedger]:
    ledger = GapLedger()
    return Sequencer("trades", ledger, position, contiguous=contiguous), ledger


def test_what_a_depth_message_follows_on() -> None:
    message = depth_message(U=50, u=60, pu=41)
    assert depth_link(message, futures=True) == 41
    assert depth_link(message, futures=False) == 49
    message.pu = None
    with pytest.raises(Undecodable, match="pu"):
        depth_link(message, futures=True)


@pytest.mark.parametrize(
    ("first", "last", "verdict", "gap"),
    [
        (11, 11, Verdict.NEXT, None),
        (11, 15, Verdict.NEXT, None),
        (8, 15, Verdict.NEXT, None),
        (12, 15, Verdict.BREAK, (11, 11)),
        (30, 30, Verdict.BREAK, (11, 29)),
        (10, 10, Verdict.DUPLICATE, None),
        (3, 4, Verdict.DUPLICATE, None),
    ],
)
def test_after_id_ten(first: int, last: int, verdict: Verdict, gap: tuple[int, int] | None) -> None:
    stream, ledger = sequencer()
    assert stream.judge(10, 10, 1000, 1) is Verdict.NEXT
    assert stream.judge(first, last, 1001, 2) is verdict
    assert [(row.from_id, row.to_id) for row in ledger.rows] == ([] if gap is None else [gap])


def test_late_messages_fill_the_gap_and_duplicates_do_not() -> None:
    stream, ledger = sequencer()
    verdicts = [stream.judge(one, one, 1000, one) for one in (1, 4, 3, 3, 2, 2, 4, 5)]
    names = ["NEXT", "BREAK", "LATE", "DUPLICATE", "LATE", "DUPLICATE", "DUPLICATE", "NEXT"]
    assert [verdict.name for verdict in verdicts] == names
    assert ledger.rows[-1].healed


def test_a_disconnect_is_a_gap_until_the_next_message_says_what_was_missed() -> None:
    stream, ledger = sequencer()
    stream.lost("disconnect", 5)
    assert not ledger.rows, "nothing was promised before the first message"
    stream.judge(10, 10, 1000, 10)
    stream.lost("disconnect", 20)
    stream.lost("disconnect", 30)
    assert stream.judge(15, 15, 1001, 40) is Verdict.BREAK
    gap = ledger.rows[-1]
    assert (gap.from_id, gap.to_id, gap.from_ns, gap.to_ns, gap.healed) == (11, 14, 10, 40, False)
    stream.lost("disconnect", 50)
    assert stream.judge(16, 16, 1002, 60) is Verdict.NEXT
    assert ledger.rows[-1].healed
    assert not ledger.open_gaps


def test_ids_that_begin_anew_are_told_from_what_is_sent_twice() -> None:
    stream, ledger = sequencer()
    stream.judge(1000, 1000, 50_000, 10)
    assert stream.judge(7, 7, 50_900, 20) is Verdict.DUPLICATE, "as old as the last one, or nearly so"
    stream.lost("disconnect", 30)
    assert stream.judge(999, 999, 49_000, 40) is Verdict.DUPLICATE
    assert stream.judge(7, 7, 60_000, 50) is Verdict.RESTART
    assert (ledger.rows[-1].from_id, ledger.rows[-1].to_id, ledger.rows[-1].healed) == (1001, None, False)
    assert stream.judge(8, 8, 60_001, 60) is Verdict.NEXT


def test_one_absurd_id_does_not_hold_up_the_stream_for_ever() -> None:
    stream, _ = sequencer()
    stream.judge(10, 10, 1_000, 1)
    assert stream.judge(2**62, 2**62, 1_010, 2) is Verdict.BREAK
    assert stream.judge(11, 11, 1_020, 3) is Verdict.LATE, "stored, since it lies in the gap"
    assert stream.judge(12, 12, 2_100, 4) is Verdict.RESTART
    assert stream.judge(13, 13, 2_200, 5) is Verdict.NEXT


def test_a_late_message_that_looks_like_a_new_count_is_stored_and_nothing_goes_unsaid() -> None:
    """An id in a gap does not tell the two apart: after one absurd id all that follow lie in one."""
    stream, ledger = sequencer()
    arriving = ((100, 1000), (105, 1010), (103, 2100), (104, 2110), (107, 2120))
    verdicts = [stream.judge(one, one, event_ms, event_ms).name for one, event_ms in arriving]
    assert verdicts == ["NEXT", "BREAK", "RESTART", "NEXT", "BREAK"]
    stated = [(row.from_id, row.to_id) for row in ledger.rows if row.revision or row.reason == "sequence"]
    assert stated == [(101, 104), (106, None), (105, 106)], "103 to 105 too much, 101, 102 and 106 rightly"


def test_without_a_clock_only_the_first_after_a_connect_can_begin_anew() -> None:
    stream, _ = sequencer(contiguous=False)
    for one in (100, 105, 109):
        assert stream.judge(one, one, None, one) is Verdict.NEXT
    assert stream.judge(7, 7, None, 200) is Verdict.DUPLICATE
    stream.lost("disconnect", 300)
    assert stream.judge(109, 109, None, 310) is Verdict.DUPLICATE, "the last one, sent again to a new subscriber"
    assert stream.judge(7, 7, None, 320) is Verdict.RESTART


def test_quotes_may_leave_ids_out_and_come_late() -> None:
    stream, ledger = sequencer(contiguous=False)
    verdicts = [stream.judge(one, one, 1000, one) for one in (10, 20, 15, 15, 20, 25)]
    assert [one.name for one in verdicts] == ["NEXT", "NEXT", "LATE", "DUPLICATE", "DUPLICATE", "NEXT"]
    assert not ledger.rows


def test_the_last_message_of_the_session_before_is_known() -> None:
    for contiguous in (True, False):
        stream, _ = sequencer(contiguous=contiguous, position=Position(10, 1, 1000))
        stream.lost("restart", 5)
        assert stream.judge(10, 10, 1000, 6) is Verdict.DUPLICATE


@given(
    st.lists(
        st.tuples(st.sampled_from(["next", "drop", "twice", "swap", "disconnect"]), st.integers(1, 3)), max_size=40
    )
)
def test_every_id_is_taken_once_or_lies_in_a_gap(script: list[tuple[str, int]]) -> None:
    stream, ledger = sequencer()
    arriving: list[int] = []
    sent = 0
    lost_after: set[int] = set()
    for what, count in script:
        ids = list(range(sent + 1, sent + 1 + count))
        sent += count
        match what:
            case "next":
                arriving += ids
            case "twice":
                arriving += ids + ids
            case "swap":
                arriving += ids[::-1]
            case "disconnect":
                lost_after.add(len(arriving))
    taken: list[int] = []
    for number, one in enumerate(arriving):
        if number in lost_after:
            stream.lost("disconnect", number * 10)
        if stream.judge(one, one, 1000, number * 10 + 1) is not Verdict.DUPLICATE:
            taken.append(one)
    newest: dict[str, Gap] = {row.gap_id: row for row in ledger.rows}
    missing = {
        one
        for gap in newest.values()
        if not gap.healed and gap.from_id is not None
        for one in range(gap.from_id, sent + 1 if gap.to_id is None else gap.to_id + 1)
    }
    assert len(taken) == len(set(taken))
    first = arriving[0] if arriving else 1
    last = max(arriving, default=0)
    assert {one for one in range(first, last + 1) if one not in taken} <= missing
