"""Kills, rotated captures, lack of room and a clock that is set back, in any order: a replay gives the rows that were
committed, and those that a gap says were refused."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from collector.core.batch import Batch
from collector.core.inputs import SessionStarted
from collector.replay import Replay
from collector.sources.capture_writer import CaptureWriter
from collector.sources.feed import Stream
from storage_backends.interface import Market
from tests.core.exchange import SECOND
from tests.core.script import tables
from tests.test_commit_model import MARKET, FakeJournal, Run

EVERYTHING: dict[str, Any] = {"bars": ("1s",), "book_grid_ms": 100, "tick_sizes": ("0.1",), "features": "basic"}
SETTINGS: list[dict[str, Any]] = [{}, {"interval_s": 2}, EVERYTHING]
ODD: list[str | bytes] = ['{"s":"AUSDT",\n"x"', b"\xff{", '{"s":"AUSDT","e":"unheard of"}', ' {"e":"aggTrade"}']


class CapturedRun(Run):
    """As `Run`, with captures of very different sizes, snapshots, odd frames and lost connections."""

    def __init__(self, chance: random.Random, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.refused: list[Batch] = []
        """Rows that a stored gap tells of."""
        super().__init__(chance, **settings)

    def start(self) -> None:
        super().start()
        unsaid: list[Batch] = []
        add, commit = self.committer._refusals.add, FakeJournal.commit

        def refuse(batches: Iterable[tuple[Market, Batch]], reason: str) -> None:
            several = list(batches)
            unsaid.extend(batch for _, batch in several)
            add(several, reason)

        def note(batches: list[tuple[Market, Batch]], states: dict[Market, bytes]) -> None:
            commit(self.journal, batches, states)
            if not self.committer.refusing:
                self.refused += unsaid
                unsaid.clear()

        self.committer._refusals.add = refuse  # type: ignore[method-assign]
        self.journal.commit = note  # type: ignore[method-assign]

    def capture(self) -> CaptureWriter:
        self.writer = CaptureWriter(
            self.folder, *MARKET, self.clock, max_bytes=self.chance.choice([200, 2000, 1 << 20])
        )
        return self.writer

    def kill(self) -> None:
        if self.chance.random() < 0.5:
            self.writer.flush()
        self.clock.advance(3 * self.chance.random())
        if self.chance.random() < 0.3:
            self.clock._now_ns -= self.chance.randrange(2 * SECOND)
        self.start()

    def snapshot(self) -> None:
        asked_ns = self.clock.now_ns()
        self.recorder.anchor_requested(asked_ns, MARKET.symbol, "test")
        self.clock.advance(0.01)
        levels = b'"bids":[["10.5","1.5"],["10.4","2"]],"asks":[["10.6","3"]]'
        body = b'{"lastUpdateId":%d,%b}' % (self.update - self.chance.choice([0, 0, 1, 30]), levels)
        if self.chance.random() < 0.1:
            body = b"<html>\nBad Gateway"
        self.recorder.anchor(self.clock.now_ns(), MARKET.symbol, asked_ns, "test", 1000, body)

    def something(self) -> None:
        now_ns = self.clock.now_ns()
        match self.chance.choices(["message", "missed", "snapshot", "odd", "closed"], [85, 5, 5, 3, 2])[0]:
            case "message":
                self.receive(trade=self.chance.random() < 0.5)
            case "missed":
                self.trade, self.update = self.trade + 1, self.update + 3
            case "snapshot":
                self.snapshot()
            case "odd":
                self.recorder.frame(now_ns, 1, self.chance.choice(ODD))
            case "closed":
                self.recorder.closed(now_ns, 1, [Stream(MARKET.symbol, "depth", "")], "disconnect")


async def lived(run: CapturedRun, *, room: bool) -> None:
    """Some time with kills, and with too little room where `room` is not always there."""
    chance, over_budget = run.chance, False
    for _ in range(chance.randint(3, 40)):
        for _ in range(chance.randint(0, 8)):
            run.clock.advance(0.05)
            run.something()
        if not room and chance.random() < 0.3:
            # A journal that never took anything remembers nothing that a next start could tell a replay.
            run.journal.trouble = chance.choice(["none", "rows", "all"] if run.journal.states else ["none", "rows"])
        if not room and chance.random() < 0.3:
            over_budget = not over_budget
        what = chance.random()
        if what < 0.12:
            run.kill()
            continue
        if what < 0.2:
            run.clock.advance(0.01)
            run.fetch()
        await run.second(over_budget=over_budget)
    await stopped(run)
    if run.committer.behind:  # the next start says it
        run.journal.trouble = "none"
        run.start()
        await stopped(run)


async def stopped(run: CapturedRun) -> None:
    run.clock.advance(1)
    run.recorder.stop(run.clock.now_ns(), "stopped")
    await run.committer.finish()
    run.live.close()


def replayed(folder: Path, chance: random.Random) -> dict[str, list[dict[str, Any]]]:
    found: list[Batch] = []
    template = SessionStarted(exchange="binance", symbol="", futures=False)
    paths = sorted(folder.glob("*.zst"))
    chance.shuffle(paths)
    Replay(template, (), lambda exchange, symbol, batches: found.extend(batches)).run(paths)
    return tables(found)


@pytest.mark.parametrize("seed", range(24))
async def test_a_replay_gives_what_was_committed(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    run = CapturedRun(chance, tmp_path, **chance.choice(SETTINGS))
    await lived(run, room=True)
    assert_alike(tables(run.journal.batches), replayed(tmp_path, chance))


@pytest.mark.parametrize("seed", range(60))
async def test_also_where_rows_were_refused(tmp_path: Path, seed: int) -> None:
    """Events are committed while rows are not, and a kill may come before a gap says so."""
    chance = random.Random(seed)
    run = CapturedRun(chance, tmp_path, **chance.choice(SETTINGS))
    await lived(run, room=False)
    assert_alike(tables(run.journal.batches + run.refused), replayed(tmp_path, chance))


def assert_alike(live: dict[str, list[dict[str, Any]]], replay: dict[str, list[dict[str, Any]]]) -> None:
    assert live.keys() == replay.keys()
    for table, rows in live.items():
        assert {repr(row) for row in rows} == {repr(row) for row in replay[table]}, table
