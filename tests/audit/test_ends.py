"""The first and the last epochs of sessions, which no step between rows tells of."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from collector.audit.report import MarketReport
from collector.audit.verify import verify_market
from tests.audit.altered import alter
from tests.audit.sample import MARKET, Sample
from tests.core.exchange import SECOND, START_NS
from tests.stores import rows

FIRST = START_NS // SECOND + 1
LAST = FIRST + 29


def verify(sample: Sample, start_s: int | None = None, end_s: int | None = None) -> MarketReport:
    window = [None if one is None else one * SECOND for one in (start_s, end_s)]
    return verify_market(sample.store, MARKET, *window)


def remove(sample: Sample, table: str, lost: Callable[[int], bool]) -> None:
    alter(sample.folder, table, lambda row: lost(row["epoch"]), None, all_of_them=True)


def test_a_session_has_each_epoch_from_its_start_to_its_stop(sample: Sample) -> None:
    assert [row["epoch"] for row in rows(sample.store, "depth", MARKET)] == list(range(FIRST, LAST + 1))
    assert verify(sample).problems == []


@pytest.mark.parametrize("lost", [(FIRST, FIRST), (FIRST, FIRST + 2), (LAST, LAST), (LAST - 1, LAST)])
def test_epochs_that_are_missing_at_an_end(sample: Sample, lost: tuple[int, int]) -> None:
    remove(sample, "depth", lambda epoch: lost[0] <= epoch <= lost[1])
    report = verify(sample)
    assert report.problems == ["epochs: 1 holes that no gap explains"]
    assert report.epochs.holes == [(lost[0] - 1, lost[1] + 1)]


def test_a_window_has_no_ends_but_those_of_sessions(sample: Sample) -> None:
    assert verify(sample, FIRST + 5, LAST - 5).problems == []
    remove(sample, "depth", lambda epoch: epoch in (FIRST, LAST))
    assert verify(sample, FIRST + 1, LAST).problems == []
    assert verify(sample, FIRST + 1, LAST + 1).epochs.holes == [(LAST - 1, LAST + 1)]
    assert verify(sample, FIRST, LAST).epochs.holes == [(FIRST - 1, FIRST + 1)]


def test_a_process_that_was_killed_has_no_end(sample: Sample) -> None:
    """What it did not commit is for the gap of the restart."""
    alter(sample.folder, "events", lambda row: bool(row["kind"] == "session_stopped"), None)
    remove(sample, "depth", lambda epoch: epoch > LAST - 3)
    assert verify(sample).problems == []


def test_days_before_the_oldest_rows_may_have_been_deleted(sample: Sample) -> None:
    alter(
        sample.folder,
        "events",
        lambda row: bool(row["kind"] == "session_started"),
        lambda row: row.update(time_ns=row["time_ns"] - 86_400 * SECOND),
    )
    assert verify(sample).problems == []
