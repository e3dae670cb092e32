"""Grades: worse at once, better after half a minute, and never without a cause."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.core.quality import CLEAN_S, START_S, Grade, Judge, Vitals, causes

GOOD: dict[str, Any] = {"age_s": 3600.0, "clock_offset_ms": 3.0, "clock_age_s": 60.0, "lag_p95_ms": 20.0}


def seen(**changes: Any) -> dict[str, Grade]:
    return causes(Vitals(**{**GOOD, **changes}))


def test_nothing_is_wrong_where_nothing_happened() -> None:
    assert seen() == {}
    assert seen(lag_p95_ms=None, journal_share=0.1, backend_away_s=0.0, disk_free_bytes=1 << 40) == {}


@pytest.mark.parametrize(
    ("change", "cause", "grade"),
    [
        ({"down": frozenset({"depth"})}, "depth_down", Grade.BAD),
        ({"down": frozenset({"trades"})}, "trades_down", Grade.DEGRADED),
        ({"gaps": frozenset({"trades"})}, "trades_gap", Grade.DEGRADED),
        ({"in_step": False}, "book_out_of_step", Grade.BAD),
        ({"in_step": False, "age_s": 10.0}, "book_out_of_step", Grade.BAD),
        ({"in_step": False, "had_book": False, "age_s": START_S - 1}, "no_book_yet", Grade.DEGRADED),
        ({"in_step": False, "had_book": False}, "book_out_of_step", Grade.BAD),
        ({"book_stale": True}, "book_stale", Grade.DEGRADED),
        ({"beyond_known_depth": True}, "beyond_known_depth", Grade.DEGRADED),
        ({"lag_p95_ms": 1001.0}, "lag", Grade.DEGRADED),
        ({"lag_p95_ms": 3001.0}, "lag", Grade.BAD),
        ({"late_ms": 1001.0}, "loop_late", Grade.DEGRADED),
        ({"clock_offset_ms": None}, "clock_unknown", Grade.DEGRADED),
        ({"clock_age_s": 901.0}, "clock_unknown", Grade.DEGRADED),
        ({"clock_offset_ms": -501.0}, "clock_offset", Grade.DEGRADED),
        ({"refusing": True}, "rows_refused", Grade.BAD),
        ({"journal_share": 0.81}, "journal_nearly_full", Grade.DEGRADED),
        ({"backend_away_s": 61.0}, "backend_away", Grade.DEGRADED),
        ({"disk_free_bytes": (1 << 30) - 1}, "disk_low", Grade.DEGRADED),
    ],
)
def test_each_cause_has_its_name_and_grade(change: dict[str, Any], cause: str, grade: Grade) -> None:
    assert seen(**change) == {cause: grade}


def test_one_cause_is_not_told_twice() -> None:
    down = frozenset({"depth"})
    assert seen(down=down, gaps=down, in_step=False, book_stale=True) == {"depth_down": Grade.BAD}


def test_a_market_without_a_book_is_not_asked_for_one() -> None:
    assert seen(wants_book=False, in_step=False, book_stale=True) == {}


def test_the_clock_may_be_unknown_at_the_start() -> None:
    assert seen(age_s=1.0, clock_offset_ms=None, clock_age_s=None) == {}


def test_worse_at_once_and_better_after_half_a_minute() -> None:
    judge = Judge()
    assert judge.step(0, {}).grade is Grade.OK
    assert judge.step(1, {"depth_down": Grade.BAD}).reasons == ("depth_down",)
    for now_s in range(2, 1 + CLEAN_S):
        quality = judge.step(now_s, {})
        assert (quality.grade, quality.reasons) == (Grade.BAD, ("after_depth_down",))
    assert judge.step(1 + CLEAN_S, {}).grade is Grade.OK


@given(st.lists(st.sampled_from([None, Grade.DEGRADED, Grade.BAD]), max_size=120))
def test_the_grade_is_the_worst_of_the_last_half_minute(history: list[Grade | None]) -> None:
    judge = Judge()
    for now_s, grade in enumerate(history):
        quality = judge.step(now_s, {} if grade is None else {f"cause_{grade}": grade})
        recent = history[max(0, now_s + 1 - CLEAN_S) : now_s + 1]
        assert quality.grade == max((one for one in recent if one is not None), default=Grade.OK)
        assert bool(quality.reasons) == (quality.grade > Grade.OK)
