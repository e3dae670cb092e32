"""Days merged and deleted: a scan gives the same rows before, meanwhile and after, whatever happens."""

from __future__ import annotations

import datetime as dt
import itertools
from pathlib import Path
from typing import Any

import pandas as pd  # type: ignore[import-untyped]
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage_backends import jsonl, local, parquet
from storage_backends.contract import MARKET, OTHER, SECOND_WRITER, got, put
from storage_backends.contract.rows import row, rows, seen_by, time_ns
from storage_backends.contract.suite import BackendContract
from storage_backends.errors import PermanentBackendError
from storage_backends.interface import Backend, Market
from storage_backends.local_days import LocalDays
from storage_backends.open import open_backend, open_days
from storage_backends.schema import TABLES
from storage_backends.settings import StoreSettings
from tests.storage_backends.day_store import compact, parts

BEFORE, AFTER = dt.date(2024, 7, 18), dt.date(2024, 7, 19)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def backend(root: Path) -> Backend:
    return open_backend("local", root)


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
        made = [seen_by(variant, table, at) for at in ats]
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
