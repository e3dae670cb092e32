from __future__ import annotations

import errno
import itertools
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage_backends import disk, jsonl, parquet
from storage_backends import files as file_backend
from storage_backends.contract import MARKET, SECOND_WRITER, WRITER, counted, got, put
from storage_backends.contract.rows import arrow, row, rows, time_ns
from storage_backends.contract.suite import BackendContract
from storage_backends.errors import PermanentBackendError, StorageFailed, StorageFull
from storage_backends.local import LocalBackend
from storage_backends.open import open_backend
from storage_backends.schema import TABLES

if TYPE_CHECKING:
    from collections.abc import Callable

    from storage_backends.interface import Backend

HASH = "0123abcd" * 8


class TestContract(BackendContract):
    @pytest.fixture
    def open_store(self, tmp_path: Path) -> Callable[[], Backend]:
        return lambda: open_backend("local", tmp_path / "data")


class TestContractWithShortRowGroups(TestContract):
    """Every scan crosses row groups, so merging and cutting happen within files too."""

    @pytest.fixture(autouse=True)
    def _short(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", 3)


class TestContractAsJsonLines(BackendContract):
    @pytest.fixture(autouse=True)
    def _short(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(jsonl, "FRAME_ROWS", 5)

    @pytest.fixture
    def open_store(self, tmp_path: Path) -> Callable[[], Backend]:
        return lambda: open_backend("local", tmp_path / "data", "jsonl")


class TestContractInBothFormats(BackendContract):
    """A store whose format was changed every now and then."""

    @pytest.fixture
    def open_store(self, tmp_path: Path) -> Callable[[], Backend]:
        formats = itertools.cycle(["parquet", "jsonl"])
        return lambda: open_backend("local", tmp_path / "data", next(formats))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def backend(root: Path) -> Backend:
    return LocalBackend(root)


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def only_file(root: Path) -> Path:
    (path,) = root.rglob("*.parquet")
    return path


# Counts


def test_a_day_is_counted_without_reading_rows(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("rows were read")

    put(backend, "trades", rows("trades", range(5)))
    put(backend, "trades", rows("trades", range(5, 12)))
    monkeypatch.setattr(parquet.PartFile, "chunks", fail)
    assert counted(backend, "trades") == 12
    assert counted(backend, "trades", start_ns=time_ns(0), end_ns=time_ns(5)) == 5
    with pytest.raises(AssertionError, match="rows were read"):
        counted(backend, "trades", end_ns=time_ns(3))


# Names


def test_files_have_the_planned_names(backend: Backend, root: Path) -> None:
    made = rows("trades", range(8, 12))
    put(backend, "trades", made, content_hash=HASH)
    put(backend, "gaps", rows("gaps", [1]), content_hash=HASH)
    ids = [each["agg_trade_id"] for each in made]
    market = "exchange=binanceusdm/symbol=BTCUSDT"
    assert files(root) == [
        f"gaps/{market}/date=2024-07-18/part-{time_ns(1)}-{time_ns(1)}-{WRITER}.0123abcd.parquet",
        f"trades/{market}/date=2024-07-18/part-{ids[0]}-{ids[1]}-{WRITER}.0123abcd.parquet",
        f"trades/{market}/date=2024-07-19/part-{ids[2]}-{ids[3]}-{WRITER}.0123abcd.parquet",
    ]


def test_a_repeated_write_does_not_touch_the_file(backend: Backend, root: Path) -> None:
    put(backend, "trades", rows("trades", range(3)), content_hash=HASH)
    before = only_file(root).stat()
    put(LocalBackend(root), "trades", rows("trades", range(3)), content_hash=HASH)
    after = only_file(root).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_other_content_under_the_same_name_is_refused_before_anything_is_written(backend: Backend, root: Path) -> None:
    put(backend, "trades", rows("trades", range(10, 13)), content_hash=HASH)
    before = files(root)
    with pytest.raises(PermanentBackendError, match="holds other content"):
        put(backend, "trades", rows("trades", range(8, 13)), content_hash=HASH[:8] + "f" * 56)
    assert files(root) == before
    assert got(backend, "trades") == rows("trades", range(10, 13))


def test_times_that_have_no_date_are_refused(backend: Backend, root: Path) -> None:
    for at in (-1, 300_000 * 86_400 * 10_000):
        with pytest.raises(PermanentBackendError, match="between 1970 and 9999"):
            put(backend, "depth", [row("depth", 1, epoch=at)])
    assert not root.exists()


# What others left in the folder


def test_unfinished_files_are_invisible_and_swept_by_the_next_writer_only(backend: Backend, root: Path) -> None:
    put(backend, "trades", rows("trades", [1]))
    leftover = only_file(root).with_name(f".part-1-2-{WRITER}.abcdefab.parquet.tmp")
    leftover.write_bytes(b"half a file")
    reader = LocalBackend(root)
    assert got(reader, "trades") == rows("trades", [1])
    assert reader.stats("trades", MARKET).files == 1
    assert reader.markets() == [MARKET]
    assert leftover.exists()
    put(LocalBackend(root), "trades", rows("trades", [2]), writer=SECOND_WRITER)
    assert not leftover.exists()


def test_a_folder_with_nothing_but_leftovers_is_no_market(backend: Backend, root: Path) -> None:
    put(backend, "trades", rows("trades", [1]))
    path = only_file(root)
    path.rename(path.with_name(f".{path.name}.tmp"))
    assert backend.markets() == []
    assert backend.tables(MARKET) == []
    assert got(backend, "trades") == []


@pytest.mark.parametrize("name", ["trades.parquet", "part-1-2.parquet", "part-a-b-w.0123abcd.parquet"])
def test_a_file_of_somebody_else_is_named(backend: Backend, root: Path, name: str) -> None:
    put(backend, "trades", rows("trades", [1]))
    foreign = only_file(root).with_name(name)
    pq.write_table(pa.table({"price": [1.0]}), foreign)
    for ask in (lambda: got(backend, "trades"), lambda: backend.stats("trades", MARKET)):
        with pytest.raises(PermanentBackendError, match=f"{name}: not written by the collector"):
            ask()


def test_other_names_are_passed_over(backend: Backend, root: Path) -> None:
    put(backend, "trades", rows("trades", [1]))
    date = only_file(root).parent
    for foreign in (
        date / "README.txt",
        date.parent / "date=someday" / "x.parquet",
        date.parent / "date=20240718" / "part-1-1-w.0123abcd.parquet",
        root / "trades" / "exchange=Not Ours" / "symbol=X" / "date=2024-07-18" / "part-1-1-w.0123abcd.parquet",
        root / "notes" / "exchange=binance" / "x.parquet",
        root / "journal.db",
    ):
        foreign.parent.mkdir(parents=True, exist_ok=True)
        foreign.write_bytes(b"")
    assert got(backend, "trades") == rows("trades", [1])
    assert backend.markets() == [MARKET]


def test_a_damaged_file_is_named(backend: Backend, root: Path) -> None:
    put(backend, "trades", rows("trades", range(3)), content_hash=HASH)
    path = only_file(root)
    path.write_bytes(path.read_bytes()[:-20])
    for ask in (
        lambda: got(backend, "trades"),
        lambda: backend.stats("trades", MARKET),
        lambda: put(backend, "trades", rows("trades", range(3)), content_hash=HASH),
    ):
        with pytest.raises(PermanentBackendError, match=f"{path}: damaged"):
            ask()


def test_a_file_moved_to_another_table_is_named(backend: Backend, root: Path) -> None:
    put(backend, "trades", rows("trades", range(3)))
    path = only_file(root)
    moved = Path(str(path).replace("trades", "raw_trades"))
    moved.parent.mkdir(parents=True)
    path.rename(moved)
    with pytest.raises(PermanentBackendError, match="not a file of table raw_trades"):
        got(backend, "raw_trades")


# Trouble with the disk


def test_a_full_disk_leaves_nothing_and_the_repeat_succeeds(
    backend: Backend, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(StorageFull, match="free some space"):
            put(backend, "trades", rows("trades", range(3)), content_hash=HASH)
    assert files(root) == []
    put(backend, "trades", rows("trades", range(3)), content_hash=HASH)
    assert got(backend, "trades") == rows("trades", range(3))


def test_a_read_error_of_the_disk_is_fatal(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    put(backend, "trades", rows("trades", range(3)))

    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(pa, "OSFile", broken)
    with pytest.raises(StorageFailed):
        got(backend, "trades")


def test_a_data_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    backend = LocalBackend(tmp_path / "data")
    for ask in (backend.check, lambda: put(backend, "trades", rows("trades", [1]))):
        with pytest.raises(PermanentBackendError, match="--data-dir"):
            ask()
    assert backend.markets() == []


def test_a_data_folder_removed_while_running_is_made_anew(backend: Backend, root: Path) -> None:
    put(backend, "trades", rows("trades", [1]))
    only_file(root).unlink()
    for folder in sorted((path for path in root.rglob("*") if path.is_dir()), reverse=True):
        folder.rmdir()
    put(backend, "trades", rows("trades", [2]))
    assert got(backend, "trades") == rows("trades", [2])


def test_checking_makes_no_folder(backend: Backend, root: Path) -> None:
    backend.check()
    assert not root.exists()


def test_a_repeat_makes_the_name_durable(backend: Backend, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wrote the file may have died before its name was on the disk."""
    put(backend, "trades", rows("trades", [1]), content_hash=HASH)
    synced: list[Path] = []
    monkeypatch.setattr(disk, "fsync_folder", synced.append)
    put(LocalBackend(root), "trades", rows("trades", [1]), content_hash=HASH)
    assert synced == [only_file(root).parent]


# Reading no more than is needed


def watch_opens(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    opened: list[str] = []
    original = pa.OSFile

    def watched(path: str) -> pa.OSFile:
        opened.append(path)
        return original(path)

    monkeypatch.setattr(pa, "OSFile", watched)
    return opened


def test_a_scan_opens_files_as_it_reaches_them(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    for first in range(0, 100, 10):
        put(backend, "trades", rows("trades", range(first, first + 10)))
    opened = watch_opens(monkeypatch)
    scan = backend.scan("trades", MARKET)
    assert opened == []
    next(scan)
    assert len(opened) == 1
    assert sum(batch.num_rows for batch in scan) == 90
    assert len(opened) == 10


def test_a_range_opens_only_the_files_that_names_allow(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    for table in ("trades", "clock"):
        for first in range(-172_800, 172_800, 43_200):
            put(backend, table, rows(table, range(first, first + 3)))
    opened = watch_opens(monkeypatch)
    assert got(backend, "trades", start_ns=time_ns(0), end_ns=time_ns(5)) == rows("trades", range(3))
    assert len(opened) == 2  # two files have that date
    opened.clear()
    assert got(backend, "clock", start_ns=time_ns(0), end_ns=time_ns(5)) == rows("clock", range(3))
    assert len(opened) == 1


def test_batches_are_bounded(backend: Backend) -> None:
    count = 70_000
    table = pa.table(
        {
            "time_ns": pa.array(range(time_ns(0), time_ns(0) + count)),
            "sequence": pa.array([0] * count, pa.int32()),
            "kind": pa.array(["offset"] * count),
            "offset_ns": pa.array([0] * count),
            "round_trip_ns": pa.nulls(count, pa.int64()),
            "samples": pa.nulls(count, pa.int32()),
        }
    ).cast(TABLES["clock"].schema)
    backend.write("clock", MARKET, table, writer=WRITER, content_hash=HASH)
    batches = list(backend.scan("clock", MARKET))
    assert max(batch.num_rows for batch in batches) <= file_backend.BATCH_ROWS
    assert sum(batch.num_rows for batch in batches) == count


# Sudden death

WRITES_FOREVER = """
import sys
from storage_backends.contract import MARKET
from storage_backends.contract.rows import arrow, rows
from storage_backends.open import open_backend

backend = open_backend("local", sys.argv[1])
for batch in range(int(sys.argv[2]), 1_000_000):
    made = arrow("diffs", rows("diffs", range(batch * 3, batch * 3 + 4)))  # one row of overlap with the next
    backend.write("diffs", MARKET, made, writer="kill", content_hash=f"{batch:08x}" * 8)
    print(batch, flush=True)
"""


def test_a_killed_writer_leaves_whole_files_and_the_repeat_completes_them(root: Path, tmp_path: Path) -> None:
    chance = random.Random(7)
    script = tmp_path / "writer.py"
    script.write_text(WRITES_FOREVER)
    acknowledged = -1
    backend = LocalBackend(root)
    for _ in range(8):
        wanted = acknowledged + chance.randint(1, 12)
        with subprocess.Popen(
            [sys.executable, str(script), str(root), str(acknowledged + 1)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        ) as writer:
            assert writer.stdout is not None
            for line in writer.stdout:
                acknowledged = int(line)
                if acknowledged >= wanted:
                    break
            # Somewhere within the next write: one takes a few milliseconds.
            time.sleep(chance.uniform(0, 0.008))
            writer.kill()
            acknowledged = max([acknowledged, *(int(line) for line in writer.stdout)])
        found = got(backend, "diffs")
        assert len(found) >= acknowledged * 3 + 4
        assert found == rows("diffs", range(len(found)))
        # The write that was under way is there wholly, by dates (the store's first midnight is row 10), or not at all.
        assert len(found) in {acknowledged * 3 + 4, acknowledged * 3 + 7, 10}
    again = arrow("diffs", rows("diffs", range(acknowledged * 3 + 3, acknowledged * 3 + 7)))
    backend.write("diffs", MARKET, again, writer="kill", content_hash=f"{acknowledged + 1:08x}" * 8)
    assert got(backend, "diffs") == rows("diffs", range(acknowledged * 3 + 7))
    assert list(root.rglob(".*.tmp")) == []
