"""What a person can do with rows that the backend refused for good."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from collector.commands.journal import journal as command
from collector.errors import ConfigurationError
from collector.journal.journal import Journal
from tests.journal.rows import BTC, NO_LIMITS, numbered, numbers

if TYPE_CHECKING:
    from pathlib import Path

    from collector.clock import ManualClock


def refused(path: Path, clock: ManualClock) -> None:
    """Leaves a journal with ids 1 to 6 refused in two batches, and 7 waiting."""
    journal = Journal.open(path, clock=clock)
    journal.commit([(BTC, numbered(1, 3))], {})
    journal.commit([(BTC, numbered(4, 3))], {})
    (plan,) = journal.plan(journal.groups(), **NO_LIMITS)
    journal.refuse(plan, "bad rows")
    journal.commit([(BTC, numbered(7))], {})
    journal.close()


def damage_the_first(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE dead_letter SET body = substr(body, 1, 20) WHERE id = 1")
        db.commit()


def call(*arguments: str) -> str:
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def waiting(path: Path, clock: ManualClock, table: str = "book_ticker") -> list[int]:
    """What the next run delivers, in its order."""
    journal = Journal.open(path, clock=clock)
    try:
        plans = journal.plan([group for group in journal.groups() if group.table == table], **NO_LIMITS)
        batches = [batch for plan in plans for batch in journal.load(plan)]
        column = "update_id" if table == "book_ticker" else "from_id"
        return numbers(batches) if table == "book_ticker" else [one for b in batches for one in b.columns[column]]
    finally:
        journal.close()


def test_requeued_rows_wait_again(path: Path, clock: ManualClock) -> None:
    refused(path, clock)
    assert "6 rows wait again" in call("requeue", "--data-dir", str(path.parent))
    assert "dead letters" not in call("--data-dir", str(path.parent))
    assert waiting(path, clock) == [7, 1, 2, 3, 4, 5, 6]


def test_damaged_rows_are_not_requeued(path: Path, clock: ManualClock) -> None:
    refused(path, clock)
    damage_the_first(path)
    told = call("--data-dir", str(path.parent), "requeue")
    assert "3 rows wait again" in told
    assert "1 damaged batches stay" in told
    assert waiting(path, clock) == [7, 4, 5, 6]


@pytest.mark.parametrize("damaged", [False, True])
def test_dropped_rows_leave_a_gap(path: Path, clock: ManualClock, damaged: bool) -> None:
    refused(path, clock)
    if damaged:
        damage_the_first(path)
    assert "2 dead letters are forgotten" in call("drop", "--yes", "--data-dir", str(path.parent))
    assert "dead letters" not in call("--data-dir", str(path.parent))
    assert waiting(path, clock) == [7]
    assert waiting(path, clock, "gaps") == ([4, None] if damaged else [1])


def test_nothing_is_dropped_without_yes(path: Path, clock: ManualClock) -> None:
    refused(path, clock)
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="2 dead letters would be forgotten"):
        call("drop", "--data-dir", str(path.parent))
    assert path.read_bytes() == before


@pytest.mark.parametrize("arguments", [("requeue",), ("drop", "--yes")])
def test_only_while_no_collector_runs(journal: Journal, path: Path, arguments: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError, match="another"):
        call(*arguments, "--data-dir", str(path.parent))


@pytest.mark.parametrize("arguments", [("requeue",), ("drop", "--yes")])
def test_no_journal_is_made(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError, match="holds no journal"):
        call(*arguments, "--data-dir", str(tmp_path))
    assert list(tmp_path.iterdir()) == []
