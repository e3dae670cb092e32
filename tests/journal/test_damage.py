"""A journal whose file was cut or hit: what is read afterwards is what was committed, and a start never fails."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from collector.clock import ManualClock
from collector.journal.damage import DamagedBatchError
from collector.journal.errors import JournalFailed
from collector.journal.format import JOURNAL_FILE
from collector.journal.journal import Journal
from tests.journal.rows import BTC, NO_LIMITS, START_NS, numbered, numbers

COMMITS = 24


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a kill leaves it: half of the commits in the database, the others in its log."""
    folder, clock = tmp_path_factory.mktemp("crashed"), ManualClock(START_NS)
    live = folder / "live"
    journal = Journal.open(live / JOURNAL_FILE, max_bytes=40 << 20, clock=clock)  # no copying of the log by itself
    for number in range(COMMITS):
        journal.commit([(BTC, numbered(10 * number, 10))], {BTC: b"state %d" % number})
        if number == COMMITS // 2:
            journal._db.checkpoint(over_bytes=0)
    shutil.copytree(live, folder / "left", ignore=shutil.ignore_patterns("*-reserve"))
    journal.close()
    return folder / "left"


def read(path: Path) -> tuple[list[int], bytes | None, bool]:
    """What a new start finds: rows, the state, and whether a file was set aside. Damage on the way counts as that."""
    journal = Journal.open(path, max_bytes=1 << 20, clock=ManualClock(START_NS))
    try:
        found: list[int] = []
        damaged = journal.set_aside is not None
        for plan in journal.plan(journal.groups(), **NO_LIMITS):  # type: ignore[arg-type]
            try:
                found += numbers(journal.load(plan))
            except DamagedBatchError as error:
                journal.refuse(plan, "damaged", ids=error.ids)
                damaged = True
                for rest in journal.plan(journal.groups(), **NO_LIMITS):  # type: ignore[arg-type]
                    found += numbers(journal.load(rest))
        return found, journal.states().get(BTC), damaged
    finally:
        journal.close()


def test_a_log_cut_anywhere_leaves_a_beginning(crashed: Path, tmp_path: Path) -> None:
    log = f"{JOURNAL_FILE}-wal"
    whole = (crashed / log).read_bytes()
    chance, kept = random.Random(1), set()
    cuts = {0, 31, 32, 33, *(chance.randrange(len(whole)) for _ in range(60)), len(whole)}
    for turn, size in enumerate(sorted(cuts)):
        folder = tmp_path / str(turn)
        shutil.copytree(crashed, folder)
        (folder / log).write_bytes(whole[:size])
        found, state, damaged = read(folder / JOURNAL_FILE)
        assert not damaged
        assert found == list(range(len(found)))
        assert len(found) % 10 == 0, "a commit is whole or not there"
        assert state == b"state %d" % (len(found) // 10 - 1), "rows and state are of one commit"
        kept.add(len(found))
        shutil.rmtree(folder)
    assert max(kept) == 10 * COMMITS
    assert len(kept) > 4


@pytest.mark.parametrize("part", ["", "-wal"])
@pytest.mark.parametrize("zeros", [False, True])
def test_a_hit_anywhere_invents_nothing(crashed: Path, tmp_path: Path, part: str, zeros: bool) -> None:
    name = JOURNAL_FILE + part
    whole = (crashed / name).read_bytes()
    chance = random.Random(2)
    for turn in range(40):
        folder = tmp_path / str(turn)
        shutil.copytree(crashed, folder)
        hit = bytearray(whole)
        at = chance.randrange(len(hit))
        if zeros:
            page = at // 4096 * 4096
            hit[page : page + 4096] = bytes(len(hit[page : page + 4096]))
        else:
            hit[at] ^= 1 << chance.randrange(8)
        (folder / name).write_bytes(hit)
        for _ in range(2):
            try:
                found, _, _ = read(folder / JOURNAL_FILE)
                break
            except JournalFailed:
                continue  # exit 3; the next start sets the file aside
        else:
            pytest.fail(f"the second start failed too, byte {at}")
        assert len(found) == len(set(found))
        assert set(found) <= set(range(10 * COMMITS))
        shutil.rmtree(folder)
