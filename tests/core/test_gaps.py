"""The ledger of gaps."""

from __future__ import annotations

from collector.core.gaps import Gap, GapLedger


def newest(ledger: GapLedger) -> dict[str, Gap]:
    return {row.gap_id: row for row in ledger.rows}


def test_a_gap_opens_once_and_closes_with_what_is_missing() -> None:
    ledger = GapLedger()
    ledger.open("depth", "disconnect", 11, 100, 200)
    ledger.open("depth", "stalled", 11, 150, 300)
    assert list(ledger.open_gaps) == ["depth"]
    ledger.close("depth", 19, 400)
    assert not ledger.open_gaps
    (gap,) = newest(ledger).values()
    assert (gap.reason, gap.from_id, gap.to_id, gap.from_ns, gap.to_ns) == ("disconnect", 11, 19, 100, 400)
    assert [row.revision for row in ledger.rows] == [0, 1]
    assert not gap.healed
    ledger.close("depth", 30, 500)
    assert len(ledger.rows) == 2


def test_a_gap_in_which_nothing_is_missing_heals_by_continuity() -> None:
    ledger = GapLedger()
    ledger.open("trades", "disconnect", 11, 100, 200)
    ledger.close("trades", 10, 400)
    assert (ledger.rows[-1].healed, ledger.rows[-1].healed_by) == (True, "continuity")
    assert not ledger.fill("trades", 11, 11)


def test_a_gap_over_a_clock_that_was_set_back_reaches_over_both_its_ends() -> None:
    ledger = GapLedger()
    ledger.open("depth", "restart", 11, 9000, 400)
    ledger.close("depth", 19, 410)
    assert [(row.from_ns, row.to_ns) for row in ledger.rows] == [(9000, None), (410, 9000)]


def test_late_messages_heal_a_gap_once_all_are_there() -> None:
    ledger = GapLedger()
    ledger.record("trades", "sequence", 5, 7, 1, 2, 2)
    assert ledger.fill("trades", 6, 6)
    assert not ledger.fill("trades", 6, 6), "the same once more"
    assert ledger.fill("trades", 5, 5)
    assert not ledger.rows[-1].healed
    assert ledger.fill("trades", 7, 7)
    assert (ledger.rows[-1].healed, ledger.rows[-1].healed_by) == (True, "late messages")
    assert not ledger.fill("trades", 7, 7)
    assert not ledger.fill("trades", 8, 8)
    assert not ledger.fill("depth", 6, 6)


def test_messages_of_several_ids_heal_by_the_ids_they_cover() -> None:
    ledger = GapLedger()
    ledger.record("depth", "sequence", 11, 30, 1, 2, 2)
    assert ledger.fill("depth", 11, 20)
    assert not ledger.rows[-1].healed
    assert ledger.fill("depth", 21, 30)
    assert ledger.rows[-1].healed


def test_a_gap_that_cannot_be_filled_stays() -> None:
    ledger = GapLedger()
    ledger.record("trades", "quarantine", 5, 5, 1, 1, 1, fillable=False)
    assert not ledger.fill("trades", 5, 5)
    assert len(ledger.rows) == 1


def test_open_gaps_go_on_in_the_next_session_and_names_stay_apart() -> None:
    first = GapLedger()
    first.open("depth", "disconnect", 11, 100, 200)
    second = GapLedger(first.open_gaps)
    second.open("depth", "restart", 11, 100, 900)
    second.close("depth", 15, 1000)
    assert [(row.gap_id, row.revision) for row in second.rows] == [(first.rows[0].gap_id, 1)]
    second.record("depth", "sequence", 20, 21, 900, 1000, 1000)
    second.record("depth", "sequence", 30, 31, 900, 1000, 1000)
    second.record("trades", "sequence", 30, 31, 900, 1000, 1000)
    assert len({row.gap_id for row in second.rows}) == 4


def test_names_do_not_depend_on_what_was_drained() -> None:
    drained, kept = GapLedger(), GapLedger()
    names: list[list[str]] = [[], []]
    for number, ledger in enumerate((drained, kept)):
        for first in (20, 30):
            ledger.record("depth", "sequence", first, first, 1, 2, 2)
            names[number].append(ledger.rows[-1].gap_id)
            if ledger is drained:
                ledger.rows = []
    assert names[0] == names[1]


def test_memory_of_closed_gaps_is_bounded() -> None:
    ledger = GapLedger()
    for number in range(1000):
        ledger.record("trades", "sequence", number * 10, number * 10 + 5, 1, 2, number)
        assert ledger.fill("trades", number * 10, number * 10)
    assert not ledger.fill("trades", 1, 1), "long forgotten: it lies in a gap that is stated"
    assert len(ledger._closed["trades"]) <= 64
    assert len(ledger._filled) <= 64
