"""The journal against a model made of plain lists, under random commits, plans, answers and restarts."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from collector.clock import ManualClock
from collector.journal.errors import JournalFull
from collector.journal.journal import Journal
from collector.journal.plans import Plan
from storage_backends.interface import Market
from tests.journal.rows import BTC, ETH, START_NS, numbered, numbers

Key = tuple[str, Market]
KEYS = [("book_ticker", BTC), ("book_ticker", ETH), ("gaps", BTC)]


class JournalModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = ManualClock(START_NS)
        self.journal = self.open()
        self.next = 0
        self.waiting: dict[Key, list[list[int]]] = {key: [] for key in KEYS}
        self.planned: list[tuple[Plan, list[list[int]]]] = []
        self.refused: list[int] = []
        self.states: dict[Market, bytes] = {}

    def open(self) -> Journal:
        return Journal.open(self.folder / "journal.sqlite", max_bytes=20_000, clock=self.clock)

    def teardown(self) -> None:
        self.journal.close()
        shutil.rmtree(self.folder)

    @rule(parts=st.lists(st.tuples(st.sampled_from(KEYS), st.integers(0, 30)), max_size=4), state=st.binary(max_size=3))
    def commit(self, parts: list[tuple[Key, int]], state: bytes) -> None:
        batches = []
        for (table, market), rows in parts:
            batches.append((market, numbered(self.next, rows, table)))
            self.next += rows
        try:
            self.journal.commit(batches, {BTC: state})
        except JournalFull:
            return
        self.states[BTC] = state
        for market, batch in batches:
            if batch.rows:
                self.waiting[batch.table, market].append(numbers([batch]))

    @rule(seconds=st.integers(0, 20))
    def pass_time(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule(max_rows=st.integers(1, 60), max_bytes=st.integers(1, 3000), back=st.integers(-1, 15), data=st.data())
    def plan(self, max_rows: int, max_bytes: int, back: int, data: st.DataObject) -> None:
        groups = self.journal.groups()
        busy = {(plan.table, plan.market) for plan, _ in self.planned}
        blocked = [group for group in groups if (group.table, group.market) in busy]
        if blocked:
            with pytest.raises(ValueError, match="open plan"):
                self.journal.plan(blocked, before_ns=1 << 62, max_rows=1, max_bytes=1)
        chosen = [group for group in groups if group not in blocked and data.draw(st.booleans())]
        before_ns = self.clock.now_ns() - back * 10**9
        for plan in self.journal.plan(chosen, before_ns=before_ns, max_rows=max_rows, max_bytes=max_bytes):
            waiting = self.waiting[plan.table, plan.market]
            taken = waiting[: len(plan.ids)]
            del waiting[: len(plan.ids)]
            assert numbers(self.journal.load(plan)) == [n for batch in taken for n in batch]
            assert plan.rows == sum(map(len, taken))
            assert len(taken) == 1 or (plan.rows <= max_rows and plan.bytes <= max_bytes)
            self.planned.append((plan, taken))

    @precondition(lambda self: self.planned)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        done = [entry for entry in self.planned if data.draw(st.booleans())]
        self.journal.acknowledge([plan for plan, _ in done])
        self.planned = [entry for entry in self.planned if entry not in done]

    @precondition(lambda self: self.planned)
    @rule(data=st.data())
    def refuse(self, data: st.DataObject) -> None:
        plan, batches = self.planned.pop(data.draw(st.integers(0, len(self.planned) - 1)))
        bad = data.draw(st.none() | st.sets(st.sampled_from(list(plan.ids))))
        self.journal.refuse(plan, "no", ids=bad)
        kept = []
        for id_, batch in zip(plan.ids, batches, strict=True):
            if bad is None or id_ in bad:
                self.refused += batch
            else:
                kept.append(batch)
        self.waiting[plan.table, plan.market] = kept + self.waiting[plan.table, plan.market]

    @rule(seconds=st.integers(-30, 30))
    def restart(self, seconds: int) -> None:
        self.journal.close()
        self.clock = ManualClock(self.clock.now_ns() + seconds * 10**9)
        self.journal = self.open()

    @invariant()
    def the_journal_holds_what_the_model_holds(self) -> None:
        groups = {(group.table, group.market): group for group in self.journal.groups()}
        for key, batches in self.waiting.items():
            assert (groups[key].rows if key in groups else 0) == sum(map(len, batches))
        assert self.journal.open_plans() == sorted((plan for plan, _ in self.planned), key=lambda plan: plan.id)
        assert self.journal.states() == self.states
        assert all(group.oldest_ns <= self.clock.now_ns() + 10**9 for group in groups.values())
        held = self.journal._db.read(
            "SELECT (SELECT coalesce(sum(bytes), 0) FROM batch) + coalesce(sum(bytes), 0) FROM dead_letter"
        )
        assert held == [(self.journal._bytes,)]
        dead = self.journal._db.read("SELECT coalesce(sum(rows), 0) FROM dead_letter")
        assert dead == [(len(self.refused),)]


TestJournalModel = JournalModel.TestCase
TestJournalModel.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
