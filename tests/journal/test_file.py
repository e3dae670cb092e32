"""The journal's file: one writer, damage set aside, newer formats refused, a full disk survived."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from collector.journal import format as file_format
from collector.journal.errors import DiskFull, JournalFailed, JournalLocked, JournalTooNew
from collector.journal.journal import Journal
from tests.journal.rows import BTC, NO_LIMITS, numbered, numbers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from collector.clock import ManualClock


def content(path: Path) -> dict[str, bytes]:
    return {part.name: part.read_bytes() for part in path.parent.iterdir() if part.suffix != ".lock"}


def test_a_second_writer_is_told_who_the_first_is(journal: Journal, clock: ManualClock) -> None:
    code = f"""
        from pathlib import Path
        from collector.clock import SystemClock
        from collector.journal.errors import JournalLocked
        from collector.journal.journal import Journal
        try:
            Journal.open(Path({str(journal.path)!r}), clock=SystemClock())
        except JournalLocked as error:
            print(error)
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=30, check=True
    )
    assert f"in use by process {os.getpid()}" in result.stdout
    assert "--data-dir" in result.stdout
    with pytest.raises(JournalLocked):
        Journal.open(journal.path, clock=clock)
    journal.close()
    Journal.open(journal.path, clock=clock).close()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (b"not a database at all" * 500, "not a database"),
        (b"SQLite format 3\0" + b"\x07" * 8000, "damaged"),
        (b"", "not a journal"),
    ],
)
def test_a_file_that_is_no_journal_is_set_aside(path: Path, clock: ManualClock, damage: bytes, words: str) -> None:
    path.write_bytes(damage)
    journal = Journal.open(path, clock=clock)
    assert journal.set_aside is not None
    aside, trouble = journal.set_aside
    assert aside.name == "journal.damaged-20240718T000000"
    assert aside.read_bytes() == damage
    assert words in trouble
    journal.commit([(BTC, numbered(1))], {})
    journal.close()
    assert Journal.open(path, clock=clock).set_aside is None


def test_somebody_elses_database_is_set_aside_whole(path: Path, clock: ManualClock) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE precious (a)")
    before = path.read_bytes()
    journal = Journal.open(path, clock=clock)
    assert journal.set_aside is not None
    assert journal.set_aside[0].read_bytes() == before
    journal.close()


def test_names_of_damaged_files_never_collide(path: Path, clock: ManualClock) -> None:
    for number in range(3):
        path.write_bytes(b"nonsense %d" % number)
        Journal.open(path, clock=clock).close()
        path.unlink()
    kept = sorted(part.read_bytes() for part in path.parent.glob("journal.damaged-*"))
    assert kept == [b"nonsense 0", b"nonsense 1", b"nonsense 2"]


def test_a_log_without_its_database_is_not_mixed_into_a_new_one(path: Path, clock: ManualClock) -> None:
    path.with_name("journal.sqlite-wal").write_bytes(b"left behind")
    journal = Journal.open(path, clock=clock)
    assert journal.set_aside is not None
    assert journal.groups() == []
    aside = journal.set_aside[0]
    assert aside.with_name(aside.name + "-wal").read_bytes() == b"left behind"
    journal.close()


def test_a_newer_format_is_refused_and_left_alone(path: Path, clock: ManualClock) -> None:
    Journal.open(path, clock=clock).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {file_format.FORMAT + 1}")
    before = content(path)
    with pytest.raises(JournalTooNew, match="has format 2, this program reads up to 1"):
        Journal.open(path, clock=clock)
    assert {name: data for name, data in content(path).items() if "-wal" not in name and "-shm" not in name} == before


def test_damage_inside_is_noticed_marked_and_set_aside_at_the_next_start(path: Path, clock: ManualClock) -> None:
    journal = Journal.open(path, clock=clock)
    journal.commit([(BTC, numbered(n, 20_000)) for n in range(8)], {})
    (plan,) = journal.plan(journal.groups(), **NO_LIMITS)
    journal.close()
    with closing(sqlite3.connect(path)) as db:
        (root,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'body'").fetchone()
    with path.open("r+b") as file:
        file.seek((root - 1) * file_format.PAGE_BYTES)
        file.write(os.urandom(512))

    journal = Journal.open(path, clock=clock)
    with pytest.raises(JournalFailed, match="malformed"):
        list(journal.load(plan))
    with pytest.raises(JournalFailed):
        journal.commit([(BTC, numbered(1))], {})
    journal.close()

    journal = Journal.open(path, clock=clock)
    assert journal.set_aside is not None
    assert "damaged" in journal.set_aside[1]
    assert journal.open_plans() == []
    journal.close()


def test_a_mark_on_a_sound_file_only_costs_the_check(path: Path, clock: ManualClock) -> None:
    journal = Journal.open(path, clock=clock)
    journal.commit([(BTC, numbered(1))], {})
    journal.close()
    file_format.mark_damaged(path)
    journal = Journal.open(path, clock=clock)
    assert journal.set_aside is None
    assert journal.groups()[0].rows == 1
    assert not path.with_name("journal.sqlite-check").exists()
    journal.close()


def test_a_crash_while_the_file_was_made_leaves_no_trace(path: Path, clock: ManualClock) -> None:
    path.with_name("journal.sqlite-new").write_bytes(b"half")
    journal = Journal.open(path, clock=clock)
    assert journal.set_aside is None
    assert not path.with_name("journal.sqlite-new").exists()
    journal.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalFailed, match="file"):
        Journal.open(tmp_path / "file" / "journal.sqlite", clock=clock)


def test_when_sqlite_finds_no_room_nothing_is_kept(journal: Journal) -> None:
    journal.commit([(BTC, numbered(1))], {BTC: b"old"})
    (pages,) = journal._db._writer.execute("PRAGMA page_count").fetchone()
    journal._db._writer.execute(f"PRAGMA max_page_count = {pages + 1}")
    with pytest.raises(DiskFull, match="free some space"):
        journal.commit([(BTC, numbered(2, 20_000))], {BTC: b"new"})
    assert journal.groups()[0].rows == 1
    assert journal.states() == {BTC: b"old"}
    journal._db._writer.execute("PRAGMA max_page_count = 1000000")
    journal.commit([(BTC, numbered(2, 20_000))], {BTC: b"new"})
    assert journal.states() == {BTC: b"new"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if made.returncode:
        pytest.skip(f"cannot mount a small disk: {made.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True, timeout=30)


def commit_until_full(journal: Journal) -> int:
    for number in range(10_000):
        try:
            journal.commit([(BTC, numbered(1000 * number, 1000))], {BTC: b"%d" % number})
        except DiskFull:
            return number
    raise AssertionError("the disk is larger than it should be")


def test_a_full_disk_takes_gaps_and_deliveries_and_recovers_by_itself(small_disk: Path, clock: ManualClock) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(bytes(2 << 20))
    journal = Journal.open(small_disk / "journal.sqlite", max_bytes=8 << 20, clock=clock)
    committed = commit_until_full(journal)
    assert committed > 10
    assert journal.states() == {BTC: b"%d" % (committed - 1)}
    assert commit_until_full(journal) == 0

    # What is essential still fits: a statement about the gap, and the way out to the backend, in small steps.
    journal.commit([(BTC, numbered(1, table="gaps"))], {})
    rows: list[int] = []
    while groups := journal.groups():
        for plan in journal.plan(groups, before_ns=1 << 62, max_rows=5000, max_bytes=1 << 30):
            rows += numbers(journal.load(plan)) if plan.table == "book_ticker" else []
            journal.acknowledge([plan])
    assert rows == list(range(1000 * committed))
    assert commit_until_full(journal) == 0

    filler.unlink()
    assert commit_until_full(journal) > 0
    journal.close()
