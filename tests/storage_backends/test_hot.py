from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage_backends.contract import MARKET, OTHER, put
from storage_backends.contract.rows import arrow, row, rows
from storage_backends.errors import PermanentBackendError, TransientBackendError
from storage_backends.hot import HotStore
from storage_backends.interface import Market
from storage_backends.open import open_backend
from storage_backends.schema import TABLES, bare


@pytest.fixture
def hot(tmp_path: Path) -> HotStore:
    return HotStore(tmp_path)


def read(hot: HotStore, table: str, market: Market = MARKET) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = hot.read_hot(table, market).to_pylist()
    return found


@pytest.mark.parametrize("table", TABLES)
def test_the_last_rows_are_there_in_the_schema_of_the_table(hot: HotStore, table: str) -> None:
    for first in range(0, 20, 4):
        hot.extend(table, MARKET, arrow(table, rows(table, range(first, first + 4))), 10)
    assert read(hot, table) == rows(table, range(10, 20))
    assert hot.read_hot(table, MARKET).schema.equals(bare(TABLES[table].schema))
    assert read(hot, table, OTHER) == []


def test_rows_that_come_late_or_twice_stand_where_they_belong(hot: HotStore) -> None:
    for ats in ([1, 2, 5], [3, 4], [5, 6]):
        hot.extend("trades", MARKET, arrow("trades", rows("trades", ats)), 10)
    assert read(hot, "trades") == rows("trades", range(1, 7))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=12), max_size=6), st.integers(1, 8))
def test_agrees_with_a_model(hot: HotStore, writes: list[list[int]], window: int) -> None:
    market = Market("model", f"M{abs(hash((str(writes), window)))}")
    model: list[int] = []
    for ats in writes:
        hot.extend("trades", market, arrow("trades", rows("trades", ats)), window)
        model = sorted({*model, *ats[-window:]})[-window:]
    assert read(hot, "trades", market) == rows("trades", model)


def test_what_was_read_stays_as_it_was(hot: HotStore) -> None:
    hot.extend("trades", MARKET, arrow("trades", rows("trades", range(3))))
    before = hot.read_hot("trades", MARKET)
    hot.extend("trades", MARKET, arrow("trades", rows("trades", range(3, 9))))
    assert before.to_pylist() == rows("trades", range(3))


def test_anybody_can_read_it(hot: HotStore, tmp_path: Path) -> None:
    hot.extend("diffs", MARKET, arrow("diffs", rows("diffs", range(3))))
    (path,) = tmp_path.rglob("*.arrow")
    with pa.ipc.open_file(path) as file:
        assert file.read_all().equals(hot.read_hot("diffs", MARKET))


def test_a_reader_beside_a_writer_sees_whole_files(hot: HotStore, tmp_path: Path) -> None:
    stop, seen = threading.Event(), []

    def read_on() -> None:
        while not stop.is_set():
            seen.append(hot.read_hot("trades", MARKET).column("agg_trade_id").to_pylist())

    reader = threading.Thread(target=read_on)
    reader.start()
    for at in range(150):
        hot.extend("trades", MARKET, arrow("trades", rows("trades", [at])), 20)
    stop.set()
    reader.join()
    assert len(seen) > 20
    assert all(ids == list(range(ids[0], ids[0] + len(ids))) for ids in seen if ids)
    assert [path.suffix for path in tmp_path.rglob("*.*") if path.is_file()] == [".arrow"]


def test_a_damaged_file_is_named_and_made_anew(hot: HotStore, tmp_path: Path) -> None:
    hot.extend("trades", MARKET, arrow("trades", rows("trades", range(3))))
    (path,) = tmp_path.rglob("*.arrow")
    whole = path.read_bytes()
    cut = [whole[:size] for size in (5, 8, 100, len(whole) // 2, len(whole) - 9, len(whole) - 1)]
    for wrong in (b"", b"no arrow file at all", b"ARROW1\0\0", bytes(len(whole)), *cut, whole[:200] + whole[-6:]):
        path.write_bytes(wrong)
        with pytest.raises(PermanentBackendError, match=path.name):
            hot.read_hot("trades", MARKET)
    hot.extend("trades", MARKET, arrow("trades", rows("trades", [7])))
    assert read(hot, "trades") == rows("trades", [7])


def test_a_file_of_an_older_release_has_nulls_for_newer_columns(hot: HotStore) -> None:
    table = TABLES["raw_trades"]
    newest = table.schema.names[-1]
    assert table.schema.field(newest).nullable
    old = pa.Table.from_pylist(rows("raw_trades", range(3)), schema=bare(table.schema)).drop_columns([newest])
    hot._replace(table, MARKET, old)
    assert read(hot, "raw_trades") == rows("raw_trades", range(3), **{newest: None})
    hot.extend("raw_trades", MARKET, arrow("raw_trades", [row("raw_trades", 9)]))
    assert len(read(hot, "raw_trades")) == 4


def test_names_that_lead_elsewhere_are_refused(hot: HotStore) -> None:
    for table, market in (("prices", MARKET), ("trades", Market("../x", "A")), ("trades", Market("a", "../../b"))):
        with pytest.raises(PermanentBackendError):
            hot.read_hot(table, market)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "hot").touch()
    with pytest.raises(TransientBackendError, match="hot"):
        HotStore(tmp_path).extend("trades", MARKET, arrow("trades", [row("trades", 1)]))


@pytest.mark.parametrize(("table", "window"), [("trades", 5), ("depth", 300), ("events", 1024)])
def test_a_snapshot_of_a_stores_end(tmp_path: Path, table: str, window: int) -> None:
    store = open_backend("local", tmp_path)
    hot = HotStore(tmp_path / "elsewhere", store)
    assert hot.maintain_hot_snapshot(table, MARKET) == 0
    made = rows(table, range(0, 4000, 9))
    put(store, table, made)
    assert hot.maintain_hot_snapshot(table, MARKET, window) == min(window, len(made))
    assert read(hot, table) == made[-window:]
    with pytest.raises(ValueError, match="HotStore"):
        HotStore(tmp_path).maintain_hot_snapshot(table, MARKET)
