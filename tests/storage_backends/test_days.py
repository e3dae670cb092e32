"""Days merged and deleted: a scan gives the same rows before, meanwhile and after, whatever happens."""

from __future__ import annotations

import datetime as dt
import itertools
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pandas as pd  # type: ignore[import-untyped]
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage_backends import disk, jsonl, local, parquet
from storage_backends.contract import MARKET, OTHER, SECOND_WRITER, BackendContract, _variant, got, put
from storage_backends.contract_rows import row, rows, time_ns
from storage_backends.days import Day
from storage_backends.errors import PermanentBackendError, StorageFull, TransientBackendError
from storage_backends.interface import Backend, Market
from storage_backends.local_days import LocalDays
from storage_backends.open import open_backend, open_days
from storage_backends.schema import TABLES
from storage_backends.settings import StoreSettings
from tests.storage_backends.test_disk import SYSTEM_CALLS, Killed, System

BEFORE, AFTER = dt.date(2024, 7, 18), dt.date(2024, 7, 19)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def backend(root: Path) -> Backend:
    return open_backend("local", root)


def compact(root: Path) -> list[Day]:
    days = LocalDays(root)
    with days.alone() as held:
        assert held
        return [days.compact(day) for day in list(days.days())]


def parts(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("part-*"))


class CompactingStore:
    """A store whose days are merged before every question."""

    def __init__(self, root: Path, file_format: str) -> None:
        self._root = root
        self._backend = open_backend("local", root, file_format)

    def __getattr__(self, name: str) -> Any:
        if name in ("scan", "markets", "tables") and self._root.exists():
            compact(self._root)
        return getattr(self._backend, name)


class TestContractWhileDaysAreMerged(BackendContract):
    @pytest.fixture
    def open_store(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
        monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", 5)
        monkeypatch.setattr(jsonl, "FRAME_ROWS", 3)
        formats = itertools.cycle(["parquet", "jsonl"])
        return lambda: CompactingStore(tmp_path / "data", next(formats))


@pytest.mark.parametrize("file_format", ["parquet", "jsonl"])
@pytest.mark.parametrize("table", TABLES)
def test_a_day_becomes_one_file_sorted_and_without_repeats(root: Path, table: str, file_format: str) -> None:
    backend = open_backend("local", root, file_format)
    put(backend, table, rows(table, range(12)))
    put(backend, table, rows(table, range(5, 20)), writer=SECOND_WRITER)
    put(backend, table, rows(table, [11, 3, 19]))
    before = got(backend, table)
    done = compact(root)
    assert [(day.date, day.files, day.compacted) for day in done] == [(BEFORE, 1, True), (AFTER, 1, True)]
    assert got(backend, table) == before == rows(table, range(20))
    assert backend.stats(table, MARKET).rows == 20
    assert len(parts(root)) == 2
    assert all(f"-compacted.{''}" in name and name.endswith(("parquet", "jsonl.zst")) for name in parts(root))
    assert {name.endswith("parquet") for name in parts(root)} == {file_format == "parquet"}


def test_a_merged_day_is_left_alone(backend: Backend, root: Path) -> None:
    put(backend, "trades", rows("trades", range(5)))
    put(backend, "trades", rows("trades", range(5, 9)))
    compact(root)
    (path,) = root.rglob("part-*")
    before = path.stat()
    compact(root)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_rows_that_come_late_are_merged_next_time(backend: Backend, root: Path) -> None:
    put(backend, "trades", rows("trades", range(0, 8, 2)))
    compact(root)
    put(backend, "trades", rows("trades", range(1, 8, 2)))
    put(backend, "trades", rows("trades", range(0, 8, 2)))
    assert got(backend, "trades") == rows("trades", range(8))
    compact(root)
    assert len(parts(root)) == 1
    assert got(backend, "trades") == rows("trades", range(8))


def test_of_rows_with_one_key_on_both_sides_of_midnight_the_one_that_a_scan_gives_stays(
    backend: Backend, root: Path
) -> None:
    put(backend, "book_ticker", [row("book_ticker", 9, recv_ns=time_ns(9.9))])
    put(backend, "book_ticker", [row("book_ticker", 9, recv_ns=time_ns(10.1))], writer=SECOND_WRITER)
    before = got(backend, "book_ticker")
    compact(root)
    assert got(backend, "book_ticker") == before == [row("book_ticker", 9, recv_ns=time_ns(9.9))]
    assert len(parts(root)) == 1


def test_plain_readers_see_each_row_once(backend: Backend, root: Path) -> None:
    put(backend, "trades", rows("trades", range(8)))
    put(backend, "trades", rows("trades", range(4, 10)))
    compact(root)
    frame = pd.read_parquet(root / "trades")
    assert sorted(frame.agg_trade_id) == [made["agg_trade_id"] for made in rows("trades", range(10))]


def test_json_lines_are_read_by_pandas(root: Path) -> None:
    backend = open_backend("local", root, "jsonl")
    put(backend, "trades", rows("trades", range(8)))
    compact(root)
    (path,) = root.rglob("*.jsonl.zst")
    frame = pd.read_json(path, lines=True)
    assert frame.price.tolist() == [made["price"] for made in rows("trades", range(8))]
    assert list(frame.columns) == TABLES["trades"].schema.names


def test_a_mixed_day_becomes_parquet(root: Path) -> None:
    put(open_backend("local", root, "jsonl"), "trades", rows("trades", range(3)))
    put(open_backend("local", root), "trades", rows("trades", range(2, 6)))
    compact(root)
    assert [name[-8:] for name in parts(root)] == [".parquet"]
    assert got(open_backend("local", root), "trades") == rows("trades", range(6))


def test_a_write_repeated_in_the_other_format_changes_nothing(root: Path) -> None:
    for file_format in ("jsonl", "parquet"):
        store = open_backend("local", root, file_format)
        put(store, "trades", rows("trades", range(3)), content_hash="ab" * 32)
    assert len(parts(root)) == 1
    with pytest.raises(PermanentBackendError, match="holds other content"):
        put(store, "trades", rows("trades", range(3)), content_hash="ab" * 31 + "cd")


# Readers at work meanwhile


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
from storage_backends.contract_rows import rows
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


# Deleting


def test_a_deleted_day_is_gone_wholly_and_nothing_else(backend: Backend, root: Path) -> None:
    put(backend, "trades", rows("trades", range(8, 13)))
    put(backend, "diffs", rows("diffs", range(8, 13)))
    put(backend, "trades", rows("trades", [1]), market=OTHER)
    days = LocalDays(root)
    with days.alone():
        days.delete(next(day for day in days.days() if day[:3] == ("trades", MARKET, BEFORE)))
    assert got(backend, "trades") == rows("trades", range(10, 13))
    assert got(backend, "diffs") == rows("diffs", range(8, 13))
    assert got(backend, "trades", OTHER) == rows("trades", [1])
    assert list(root.rglob(".*")) == [root / local.LOCK_FILE]


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


def test_only_backends_that_keep_days_have_them(tmp_path: Path) -> None:
    assert open_days(StoreSettings(backend="none")) is None
    days = open_days(StoreSettings(data_dir=tmp_path))
    assert days is not None
    assert list(days.days()) == []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    table=st.sampled_from(["trades", "depth", "gaps", "book_ticker", "clock"]),
    writes=st.lists(
        st.tuples(st.lists(st.integers(0, 24), min_size=1, max_size=6), st.integers(0, 2), st.booleans()), max_size=6
    ),
)
def test_merging_changes_no_scan(
    backend: Backend, root: Path, table: str, writes: list[tuple[list[int], int, bool]]
) -> None:
    market = Market("model", f"M{next(_markets)}")
    plain = Market("plain", market.symbol)
    for number, (ats, variant, merged) in enumerate(writes):
        made = [_variant(table, at, variant) for at in ats]
        for each in (market, plain):
            put(backend, table, made, market=each, writer=f"w{variant}", content_hash=f"{number:08x}" * 8)
        if merged:
            _compact_market(root, market)
        assert got(backend, table, market) == got(backend, table, plain)
    _compact_market(root, market)
    wanted = got(backend, table, plain)
    assert got(backend, table, market) == wanted
    assert backend.stats(table, market).rows == len(wanted)


_markets = itertools.count(1)


def _compact_market(root: Path, market: Market) -> None:
    days = LocalDays(root)
    for day in list(days.days()):
        if day.market == market:
            days.compact(day)
