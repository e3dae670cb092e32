"""Journal: what was committed waits until it is acknowledged or refused, whatever comes between."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from collector.clock import ManualClock
from collector.core.batch import Batch
from collector.journal.damage import DamagedBatchError
from collector.journal.errors import JournalFailed, JournalFull
from collector.journal.journal import Journal
from tests.journal.rows import BTC, ETH, NO_LIMITS, START_NS, numbered, numbers

if TYPE_CHECKING:
    from pathlib import Path


def reopened(journal: Journal, clock: ManualClock) -> Journal:
    journal.close()
    return Journal.open(journal.path, max_bytes=journal.max_bytes, clock=clock)


def test_commit_plan_load_acknowledge(journal: Journal, clock: ManualClock) -> None:
    journal.commit([(BTC, numbered(1, 3)), (ETH, numbered(10, 2))], {BTC: b"state"})
    clock.advance(1)
    journal.commit([(BTC, numbered(4, 1))], {})
    assert [(g.table, g.market, g.rows, g.oldest_ns) for g in journal.groups()] == [
        ("book_ticker", BTC, 4, START_NS),
        ("book_ticker", ETH, 2, START_NS),
    ]

    btc, eth = journal.plan(journal.groups(), **NO_LIMITS)
    assert journal.groups() == []
    assert numbers(journal.load(btc)) == [1, 2, 3, 4]
    assert numbers(journal.load(eth)) == [10, 11]
    assert btc.writer == journal.collector_id

    journal.acknowledge([btc])
    assert journal.open_plans() == [eth]
    journal.acknowledge([eth])
    assert journal.open_plans() == journal.groups() == []
    assert journal.states() == {BTC: b"state"}


def test_everything_survives_a_restart(journal: Journal, clock: ManualClock) -> None:
    journal.commit([(BTC, numbered(1, 3))], {BTC: b"one", ETH: b"two"})
    plans = journal.plan(journal.groups(), **NO_LIMITS)
    journal.commit([(BTC, numbered(4, 1))], {BTC: b"three"})
    groups, name = journal.groups(), journal.collector_id

    again = reopened(journal, clock)

    assert again.open_plans() == plans
    assert numbers(again.load(plans[0])) == [1, 2, 3]
    assert again.groups() == groups
    assert again.states() == {BTC: b"three", ETH: b"two"}
    assert again.collector_id == name
    assert again.set_aside is None
    again.close()


def test_numbers_of_batches_are_never_used_twice(journal: Journal, clock: ManualClock) -> None:
    journal.commit([(BTC, numbered(1))], {})
    (plan,) = journal.plan(journal.groups(), **NO_LIMITS)
    journal.refuse(plan, "no")
    again = reopened(journal, clock)
    again.commit([(BTC, numbered(2))], {})
    assert again.groups()[0].first_id > plan.ids[-1]
    again.close()


@pytest.mark.parametrize(("max_rows", "max_bytes", "taken"), [(5, 1 << 30, [1, 2, 3, 4]), (99, 1, [1, 2])])
def test_a_plan_keeps_its_limits_but_takes_one_batch(
    journal: Journal, max_rows: int, max_bytes: int, taken: list[int]
) -> None:
    for first in (1, 3, 5):
        journal.commit([(BTC, numbered(first, 2))], {})
    (plan,) = journal.plan(journal.groups(), before_ns=1 << 62, max_rows=max_rows, max_bytes=max_bytes)
    assert numbers(journal.load(plan)) == taken
    (group,) = journal.groups()
    assert group.rows == 6 - len(taken)
    journal.acknowledge([plan])
    (rest,) = journal.plan([group], **NO_LIMITS)
    assert numbers(journal.load(rest)) == [n for n in range(1, 7) if n not in taken]


def test_a_plan_ends_before_the_given_time(journal: Journal, clock: ManualClock) -> None:
    journal.commit([(BTC, numbered(1))], {})
    clock.advance(10)
    journal.commit([(BTC, numbered(2)), (ETH, numbered(3))], {})
    before_ns = START_NS + 10_000_000_000
    (plan,) = journal.plan(journal.groups(), before_ns=before_ns, max_rows=99, max_bytes=1 << 20)
    assert numbers(journal.load(plan)) == [1]
    assert [(g.market, g.rows, g.oldest_ns) for g in journal.groups()] == [(BTC, 1, before_ns), (ETH, 1, before_ns)]


def test_a_clock_set_back_between_runs_hides_nothing(journal: Journal, clock: ManualClock) -> None:
    clock.advance(1000)
    journal.commit([(BTC, numbered(1))], {})
    earlier = ManualClock(START_NS)
    again = reopened(journal, earlier)
    again.commit([(BTC, numbered(2))], {})
    (group,) = again.groups()
    assert group.oldest_ns == START_NS
    (plan,) = again.plan([group], before_ns=START_NS + 1, max_rows=99, max_bytes=1 << 20)
    assert numbers(again.load(plan)) == [1, 2]
    again.close()


def test_full_refuses_the_newest_and_keeps_room_for_gaps(journal: Journal) -> None:
    journal.commit([(BTC, numbered(1, 60_000))], {BTC: b"old"})
    with pytest.raises(JournalFull, match="no room for"):
        journal.commit([(BTC, numbered(70_000, 60_000))], {BTC: b"new"})
    assert journal.states() == {BTC: b"old"}
    assert journal.groups()[0].rows == 60_000

    journal.max_bytes = journal.groups()[0].bytes
    gaps = numbered(1, 5_000, table="gaps")
    journal.commit([(BTC, gaps)], {})
    with pytest.raises(JournalFull):
        journal.commit([(BTC, numbered(1)), (BTC, gaps)], {})
    with pytest.raises(JournalFull):
        journal.commit([(BTC, numbered(1, 20_000, table="gaps"))], {})


def test_delivered_rows_make_room_once(journal: Journal) -> None:
    journal.commit([(BTC, numbered(1, 1000))], {})
    journal.max_bytes = journal.groups()[0].bytes
    plans = journal.plan(journal.groups(), **NO_LIMITS)
    journal.acknowledge(plans)
    journal.acknowledge(plans)
    journal.commit([(BTC, numbered(1, 1000))], {})
    with pytest.raises(JournalFull):
        journal.commit([(BTC, numbered(1))], {})


def test_states_alone_are_kept_when_full(journal: Journal) -> None:
    journal.commit([(BTC, numbered(1, 40_000))], {})
    journal.max_bytes = 1
    journal.commit([], {BTC: b"new"})
    assert journal.states() == {BTC: b"new"}


def test_a_batch_that_cannot_be_encoded_leaves_nothing(journal: Journal) -> None:
    with pytest.raises(TypeError):
        journal.commit([(BTC, numbered(1)), (BTC, Batch("t", {"a": [object()]}))], {BTC: b"x"})
    assert journal.groups() == []
    assert journal.states() == {}


def test_refused_batches_stay_with_their_reason(journal: Journal, path: Path) -> None:
    journal.commit([(BTC, numbered(1, 2))], {})
    journal.commit([(BTC, numbered(3, 2))], {})
    (plan,) = journal.plan(journal.groups(), **NO_LIMITS)
    journal.refuse(plan, "not wanted")
    assert journal.groups() == journal.open_plans() == []
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT symbol, rows, reason FROM dead_letter").fetchall() == [
            ("BTCUSDT", 2, "not wanted"),
            ("BTCUSDT", 2, "not wanted"),
        ]


@pytest.mark.parametrize(
    "damage", ["UPDATE body SET body = zeroblob(40) WHERE id = 2", "DELETE FROM body WHERE id = 2"]
)
def test_a_damaged_batch_is_found_and_the_others_go_on(
    journal: Journal, clock: ManualClock, path: Path, damage: str
) -> None:
    for first in (1, 2, 3):
        journal.commit([(BTC, numbered(first))], {})
    (plan,) = journal.plan(journal.groups(), **NO_LIMITS)
    journal.commit([(BTC, numbered(4))], {})
    with sqlite3.connect(path) as db:
        db.execute(damage)
    with pytest.raises(DamagedBatchError, match="1 of 3") as caught:
        list(journal.load(plan))
    journal.refuse(plan, "damaged", ids=caught.value.ids)

    def rest(journal: Journal) -> list[int]:
        (group,) = journal.groups()
        assert group.rows == 3
        (plan,) = journal.plan([group], **NO_LIMITS)
        return numbers(journal.load(plan))

    assert rest(journal) == [1, 3, 4]


def test_many_deliveries_leave_the_file_small(journal: Journal, path: Path) -> None:
    sizes = []
    for _ in range(30):
        for first in range(5):
            journal.commit([(BTC, numbered(first, 10_000))], {BTC: b"s"})
        journal.acknowledge(journal.plan(journal.groups(), **NO_LIMITS))
        journal.maintain()
        sizes.append(path.stat().st_size + path.with_name("journal.sqlite-wal").stat().st_size)
    assert max(sizes[15:]) <= max(sizes[:15])
    assert max(sizes) < 30 << 20


def test_free_pages_go_back_to_the_disk(path: Path, clock: ManualClock) -> None:
    journal = Journal.open(path, max_bytes=1 << 30, clock=clock)
    for first in range(30):
        journal.commit([(BTC, numbered(first, 150_000))], {})
    journal._db.checkpoint(over_bytes=0)
    full = path.stat().st_size
    journal.acknowledge(journal.plan(journal.groups(), **NO_LIMITS))
    while journal._db.shrink():
        pass
    journal._db.checkpoint(over_bytes=0)
    journal.close()
    assert full > 40 << 20
    assert path.stat().st_size < full // 2


def test_a_closed_journal_says_so(journal: Journal) -> None:
    journal.close()
    journal.close()
    with pytest.raises(JournalFailed, match="closed"):
        journal.commit([(BTC, numbered(1))], {})
    with pytest.raises(JournalFailed, match="closed"):
        journal.states()


def test_sqlite_alone_shows_what_waits(journal: Journal, path: Path) -> None:
    journal.commit([(BTC, numbered(1, 3))], {})
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT table_name, symbol, batches, rows, oldest_utc FROM backlog").fetchall() == [
            ("book_ticker", "BTCUSDT", 1, 3, "2024-07-18 00:00:00")
        ]


def test_nothing_imports_pyarrow_before_it_is_needed() -> None:
    code = (
        "import sys, collector.commands.journal, collector.journal.deliverer, collector.journal.journal;"
        "sys.exit('pyarrow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode == 0
