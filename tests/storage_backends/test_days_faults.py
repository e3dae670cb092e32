"""Days merged and deleted while others read, and with death, a full disk or damage in between."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from storage_backends import disk, parquet
from storage_backends.contract import MARKET, got, put
from storage_backends.contract.rows import rows
from storage_backends.errors import PermanentBackendError, StorageFull, TransientBackendError
from storage_backends.interface import Backend
from storage_backends.local_days import LocalDays
from storage_backends.open import open_backend
from tests.storage_backends.day_store import compact, parts
from tests.storage_backends.test_disk import SYSTEM_CALLS, Killed, System


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def backend(root: Path) -> Backend:
    return open_backend("local", root)


@pytest.mark.parametrize("table", ["trades", "gaps", "events"])
def test_a_reader_that_listed_the_folder_before_goes_on(
    backend: Backend, root: Path, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for first in range(0, 30, 3):
        put(backend, table, rows(table, range(first, first + 5)))
    scan = backend.scan(table, MARKET)
    found = next(scan).to_pylist()
    compact(root)
    found += [made for batch in scan for made in batch.to_pylist()]
    assert found == rows(table, range(32))


def test_counting_while_days_are_merged(backend: Backend, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for first in (0, 3):
        put(backend, "trades", rows("trades", range(first, first + 3)))
    names = disk.names
    merged = []

    def stale(folder: Path) -> list[str]:
        listed = names(folder)
        if folder.name == "date=2024-07-18" and not merged:
            merged.append(True)
            compact(root)
        return listed

    monkeypatch.setattr(disk, "names", stale)
    stats = backend.stats("trades", MARKET)
    assert (stats.rows, stats.files) == (6, 1)


def test_a_file_that_can_never_be_opened_is_named(backend: Backend, root: Path) -> None:
    put(backend, "trades", rows("trades", [1]))
    (path,) = root.rglob("part-*")
    path.unlink()
    path.symlink_to(root / "nowhere")
    for ask in (lambda: got(backend, "trades"), lambda: backend.stats("trades", MARKET)):
        with pytest.raises(TransientBackendError, match=f"{path.name}: gone"):
            ask()


def test_readers_beside_merging_never_miss_nor_repeat(backend: Backend, root: Path) -> None:
    stop = threading.Event()
    wrong: list[str] = []
    scans = [0]
    for first in range(0, 12, 3):
        put(backend, "trades", rows("trades", range(first, first + 3)))
    wanted = rows("trades", range(12))

    def read_on() -> None:
        store = open_backend("local", root)
        while not stop.is_set():
            found = got(store, "trades")
            scans[0] += 1
            if found != wanted:
                wrong.append(str([each["agg_trade_id"] for each in found]))

    readers = [threading.Thread(target=read_on) for _ in range(2)]
    for each in readers:
        each.start()
    for _ in range(40):
        compact(root)
        for first in range(0, 12, 3):
            put(backend, "trades", rows("trades", range(first, first + 3)))
    stop.set()
    for each in readers:
        each.join()
    assert wrong == []
    assert scans[0] > 10


def test_a_listing_waits_for_a_removal(root: Path) -> None:
    """Without the lock a listing could pass by the new file before it is there, and by the old ones when they went."""
    root.mkdir()
    for name in ("a", "b"):
        (root / name).touch()
    listed: list[list[str]] = []
    with disk._folder_lock(root, disk.fcntl.LOCK_EX):
        reader = threading.Thread(target=lambda: listed.append(disk.names(root)))
        reader.start()
        time.sleep(0.1)
        assert listed == []
    reader.join()
    assert listed == [["a", "b"]]


# Sudden death


def test_death_at_any_call_loses_nothing_and_the_repeat_completes_it(tmp_path: Path) -> None:
    table, survived = "trades", False
    for dies_at in range(60):
        root = tmp_path / str(dies_at)
        backend = open_backend("local", root)
        for first in (0, 3, 5):
            put(backend, table, rows(table, range(first, first + 4)), content_hash=f"{first:08x}" * 8)
        days = LocalDays(root)
        (day,) = list(days.days())
        with pytest.MonkeyPatch.context() as patch:
            System(patch, dies_at)
            try:
                days.compact(day)
                survived = True
            except Killed:
                survived = False
        assert got(backend, table) == rows(table, range(9)), dies_at
        compact(root)
        assert got(backend, table) == rows(table, range(9)), dies_at
        assert len(parts(root)) == 1
        assert list(root.rglob("*.tmp")) == []
        if survived:
            assert dies_at > len(SYSTEM_CALLS)
            return
    pytest.fail("never got through")


MERGES_FOREVER = """
import sys
from pathlib import Path
from storage_backends.contract import put
from storage_backends.contract.rows import rows
from storage_backends.local_days import LocalDays
from storage_backends.open import open_backend

root = Path(sys.argv[1])
backend, days = open_backend("local", root), LocalDays(root)
while True:
    with days.alone() as held:
        for day in list(days.days()):
            days.compact(day)
    for first in range(0, 12, 3):
        put(backend, "diffs", rows("diffs", range(first, first + 4)), content_hash=f"{first:08x}" * 8)
    print("again", flush=True)
"""


def test_kill_9_at_random_moments(root: Path, tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    chance = random.Random(seed)
    backend = open_backend("local", root)
    for first in range(0, 12, 3):
        put(backend, "diffs", rows("diffs", range(first, first + 4)), content_hash=f"{first:08x}" * 8)
    script = tmp_path / "merger.py"
    script.write_text(MERGES_FOREVER)
    for _ in range(8):
        with subprocess.Popen(
            [sys.executable, str(script), str(root)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        ) as merger:
            assert merger.stdout is not None
            merger.stdout.readline()
            time.sleep(chance.uniform(0, 0.03))
            merger.kill()
        assert got(backend, "diffs") == rows("diffs", range(13))
    compact(root)
    assert got(backend, "diffs") == rows("diffs", range(13))
    assert len(parts(root)) == 2


# What can go wrong


def test_no_room_for_the_new_file_touches_nothing(
    backend: Backend, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(backend, "trades", rows("trades", range(3)))
    put(backend, "trades", rows("trades", range(3, 6)))
    before = parts(root)

    def full(*_: object) -> None:
        raise OSError(disk.errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(StorageFull):
            compact(root)
    assert parts(root) == before
    assert list(root.rglob("*.tmp")) == []


def test_a_damaged_file_keeps_its_day_as_it_is(backend: Backend, root: Path) -> None:
    put(backend, "trades", rows("trades", range(3)))
    put(backend, "trades", rows("trades", range(3, 6)))
    path = next(root.rglob("part-*"))
    path.write_bytes(path.read_bytes()[:-20])
    before = parts(root)
    with pytest.raises(PermanentBackendError, match=f"{path}: damaged"):
        compact(root)
    assert parts(root) == before


def test_old_files_stay_where_the_new_one_is_not_what_was_written(
    backend: Backend, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(backend, "trades", rows("trades", range(3)))
    put(backend, "trades", rows("trades", range(3, 6)))
    before = parts(root)
    stats = parquet.PartFile.stats
    monkeypatch.setattr(parquet.PartFile, "stats", lambda file: parquet.PartStats(**{**vars(stats(file)), "rows": 1}))
    with pytest.raises(TransientBackendError, match="does not hold what was written"):
        compact(root)
    assert set(before) < set(parts(root))


def test_one_at_a_time(backend: Backend, root: Path) -> None:
    put(backend, "trades", rows("trades", [1]))
    with LocalDays(root).alone() as first, LocalDays(root).alone() as second:
        assert (first, second) == (True, False)
    with LocalDays(root).alone() as again:
        assert again


def test_death_while_deleting_leaves_all_of_a_day_or_nothing(tmp_path: Path) -> None:
    for dies_at in range(20):
        root = tmp_path / str(dies_at)
        backend = open_backend("local", root)
        for first in (0, 3):
            put(backend, "trades", rows("trades", range(first, first + 3)))
        days = LocalDays(root)
        (day,) = list(days.days())
        survived = False
        with pytest.MonkeyPatch.context() as patch:
            System(patch, dies_at)
            try:
                days.delete(day)
                survived = True
            except Killed:
                pass
        assert got(backend, "trades") in ([], rows("trades", range(6)))
        put(backend, "trades", rows("trades", range(6)))
        days.delete(next(days.days()))
        assert got(backend, "trades") == []
        assert list(root.rglob("*.discarded")) == []
        if survived:
            return
    pytest.fail("never got through")


def test_a_reader_of_a_day_that_is_deleted_goes_on_behind_it(backend: Backend, root: Path) -> None:
    for first in range(0, 20, 2):
        put(backend, "trades", rows("trades", range(first, first + 2)))
    scan = backend.scan("trades", MARKET)
    found = next(scan).to_pylist()
    days = LocalDays(root)
    days.delete(next(days.days()))
    found += [made for batch in scan for made in batch.to_pylist()]
    assert found[-10:] == rows("trades", range(10, 20))
    assert found[:2] == rows("trades", range(2))
