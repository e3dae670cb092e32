"""What goes into a commit, and that nobody who looks on can keep rows from it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from collector.committer import Committer
from collector.core.batch import Batch
from collector.core.features.across import Across
from collector.core.inputs import Resume
from collector.core.market import Market as Core
from collector.coverage_log import CoverageLog
from collector.journal.errors import JournalFull
from collector.journal.format import JOURNAL_FILE
from collector.journal.journal import Journal
from collector.journal.plans import Damage
from collector.observers import Observers
from collector.watch import Watch
from storage_backends.interface import Market
from tests.core.script import tables
from tests.settings import run_settings
from tests.test_recorder import Bug, Feed, break_once

MARKETS = {Market("binanceusdm", "AUSDT"), Market("binanceusdm", "BUSDT")}


class Rig:
    """Two markets, a journal, and everything that looks on."""

    def __init__(self, folder: Path, across: Across | None = None) -> None:
        self.feed = Feed()
        settings = run_settings(folder)
        venue: Any = SimpleNamespace(
            exchange="binanceusdm", markets=self.feed.markets, recorder=self.feed.recorder, on_joined=None
        )
        self.observers = Observers(settings, self.feed.clock, [venue])
        self.journal = Journal.open(folder / JOURNAL_FILE, max_bytes=1 << 30, clock=self.feed.clock)
        coverage = CoverageLog([venue])
        self.committer = Committer([venue], self.feed.clock, self.observers, coverage, None, across)
        self.committer.journal = self.journal

    def second(self) -> None:
        for symbol in self.feed.markets:
            self.feed.diff(symbol)

    def rows(self, table: str) -> int:
        return sum(group.rows for group in self.journal.groups() if group.table == table)

    def states(self) -> dict[Market, Resume]:
        return {market: msgspec.json.decode(body, type=Resume) for market, body in self.journal.states().items()}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.journal.close()


async def test_rows_and_states_are_committed_together(rig: Rig) -> None:
    rig.second()
    await rig.committer.commit()
    assert rig.rows("diffs") == 2
    assert rig.states().keys() == MARKETS


async def test_a_market_has_begun_once_a_commit_has_what_it_remembers(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise JournalFull("full")

    lives = rig.feed.markets.values()
    rig.second()
    with monkeypatch.context() as without_room:
        without_room.setattr(rig.journal, "commit", full)
        await rig.committer.commit()
    assert not any(live.begun.is_set() for live in lives)
    assert rig.states() == {}
    await rig.committer.commit()
    assert all(live.begun.is_set() for live in lives)
    assert rig.states().keys() == MARKETS


async def test_where_rows_find_no_room_a_market_begins_with_what_it_remembers_alone(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = rig.journal.commit

    def full(batches: Any, states: Any) -> Any:
        if batches:
            raise JournalFull("full")
        return commit(batches, states)

    rig.second()
    monkeypatch.setattr(rig.journal, "commit", full)
    await rig.committer.commit()
    assert all(live.begun.is_set() for live in rig.feed.markets.values())
    assert rig.states().keys() == MARKETS


async def test_without_a_journal_a_market_has_begun_at_once(rig: Rig) -> None:
    rig.committer.journal = None
    await rig.committer.commit()
    assert all(live.begun.is_set() for live in rig.feed.markets.values())


async def test_a_fault_of_what_looks_on_costs_no_row_and_is_said_once(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise Bug

    for name in ("received", "committed", "second"):
        monkeypatch.setattr(Watch, name, broken)
    for _ in range(3):
        rig.second()
        await rig.committer.commit()
        await rig.observers.second(journal=rig.journal, deliverer=None, refusing=False)
        rig.observers.epochs()
    assert rig.rows("diffs") == 6
    assert [record.getMessage() for record in caplog.records if "looks on" in record.getMessage()] == [
        f"what looks on failed ({what}); collection goes on" for what in ("drained", "committed", "second")
    ]


async def test_a_fault_across_markets_costs_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(tmp_path, Across())
    break_once(monkeypatch, Across, "settle")
    for _ in range(2):
        rig.second()
        await rig.committer.commit()
    assert rig.rows("diffs") == 4
    rig.journal.close()


async def test_the_state_is_that_of_the_rows_also_where_a_market_begins_anew_in_the_drain(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.second()
    await rig.committer.commit()
    before = rig.states()
    rig.second()
    with monkeypatch.context() as patched:
        patched.setattr(Core, "drain", lambda _: (_ for _ in ()).throw(Bug()))
        await rig.committer.commit()
    assert rig.states() == before, "rows of the gap that the new session states are not committed yet"
    await rig.committer.commit()
    assert rig.rows("gaps") >= 2
    assert all("depth" in state.positions for state in rig.states().values())


async def test_a_message_is_kept_when_telling_of_it_fails(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    calls = []

    def tell(recv_ns: int, message: Any) -> None:
        calls.append(recv_ns)
        raise Bug

    rig.feed.markets["AUSDT"].on_message = tell
    rig.second()
    rig.second()
    await rig.committer.commit()
    assert rig.rows("diffs") == 4
    assert len(calls) == 1


async def test_what_the_budget_does_not_allow_is_a_gap_once_there_is_room(rig: Rig) -> None:
    rig.second()
    await rig.committer.commit(over_budget=True)
    assert rig.committer.refusing
    assert rig.rows("diffs") == 0
    states = rig.states()
    assert all(one.positions == {} for one in states.values()), "after a crash the old state makes the gap"
    assert all(one.events_until_ns > one.last_ns for one in states.values())
    rig.second()
    await rig.committer.finish()
    assert not rig.committer.refusing
    assert rig.rows("diffs") == 2
    assert rig.rows("gaps") >= 2


async def test_quality_of_the_time_without_room_is_stored_afterwards(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is what says why the other rows of that time are missing."""
    quality = Batch("quality", {"epoch": [1], "ok": [False], "grade": ["bad"], "reasons": ["rows_refused"]})

    def full(*_: Any) -> None:
        raise JournalFull("of a test")

    rig.second()
    rig.feed.markets["AUSDT"].process_rows.append(quality)
    with monkeypatch.context() as patched:
        patched.setattr(rig.journal, "commit", full)
        await rig.committer.commit()
    assert rig.rows("quality") == 0
    await rig.committer.finish()
    assert rig.rows("quality") == 1
    assert rig.rows("diffs") == 0
    assert rig.rows("gaps") >= 2


async def test_batches_that_the_journal_holds_no_more_are_a_gap(rig: Rig) -> None:
    rig.committer.begin()
    rig.second()
    await rig.committer.commit()
    before = rig.rows("gaps")
    now_ns = rig.feed.now
    for symbol in ("AUSDT", "not collected any more"):
        rig.committer.damaged(Market("binanceusdm", symbol), Damage("diffs", None, None, now_ns - 1, now_ns))
    await asyncio.sleep(0)
    await rig.committer.commit()
    assert rig.rows("gaps") == before + 2


async def test_a_gap_that_is_told_in_the_moment_of_a_stop_is_committed(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.committer.begin()
    rig.second()
    await rig.committer.commit()
    before = rig.rows("gaps")
    tell, telling, finished = asyncio.get_running_loop().call_soon_threadsafe, threading.Event(), threading.Event()

    def slowly(*arguments: Any) -> None:
        telling.set()
        finished.wait(0.3)
        tell(*arguments)

    monkeypatch.setattr(rig.committer, "_loop", SimpleNamespace(call_soon_threadsafe=slowly))
    damage = Damage("diffs", None, None, rig.feed.now - 1, rig.feed.now)
    deliverer = asyncio.create_task(asyncio.to_thread(rig.committer.damaged, Market("binanceusdm", "AUSDT"), damage))
    await asyncio.to_thread(telling.wait)
    await rig.committer.finish()
    finished.set()
    await deliverer
    assert rig.rows("gaps") == before + 1


async def test_dead_letters_of_a_process_that_was_killed_are_a_gap_at_the_next_start(rig: Rig) -> None:
    """It had moved the rows there, and was about to say so in its next commit."""

    def refuse(table: str) -> None:
        groups = [group for group in rig.journal.groups() if group.table == table]
        for plan in rig.journal.plan(groups, before_ns=1 << 62, max_rows=1 << 40, max_bytes=1 << 40):
            rig.journal.refuse(plan, "not wanted")

    rig.second()
    await rig.committer.commit()
    refuse("diffs")
    for _ in range(2):  # a second start says nothing new
        rig.committer.state_unsaid(rig.states())
    (group,) = [one for one in rig.journal.groups() if one.table == "gaps" and one.market.symbol == "AUSDT"]
    (plan,) = rig.journal.plan([group], before_ns=1 << 62, max_rows=1 << 40, max_bytes=1 << 40)
    stated = [row for batch in rig.journal.load(plan) for row in tables([batch])["gaps"]]
    assert {row["reason"] for row in stated} == {"refused by the backend"}
    assert len({row["gap_id"] for row in stated}) == 1
    rig.feed.clock.advance(60)
    rig.second()
    await rig.committer.commit()
    gaps = rig.rows("gaps")
    rig.committer.state_unsaid(rig.states())
    assert rig.rows("gaps") == gaps, "what was refused long before the last commit is stated"
