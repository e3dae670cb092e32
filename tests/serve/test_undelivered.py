"""Rows that wait in the journal are in every answer, each once, in key order, whatever is delivered meanwhile."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.client import get_hot_client, get_local_client
from collector.clock import ManualClock
from collector.journal import arrow
from collector.journal.format import JOURNAL_FILE
from collector.journal.journal import Journal
from collector.questions import undelivered
from collector.questions.undelivered import WithUndelivered
from collector.serve.app import create_app
from collector.serve.settings import ServeSettings
from storage_backends.hot import HotStore
from storage_backends.interface import Backend, Market
from storage_backends.reading import read
from storage_backends.settings import StoreSettings
from tests.journal.rows import BTC, START_NS, numbered
from tests.stores import open_local

TABLE = "book_ticker"


class Halves:
    """A store and a journal beside it, into which numbered rows go."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = open_local(folder)
        self.journal = Journal.open(folder / JOURNAL_FILE, max_bytes=1 << 24, clock=ManualClock(START_NS))

    def stored(self, *firsts: int, rows: int = 10) -> None:
        for first in firsts:
            table = arrow.to_arrow([numbered(first, rows)])
            self.store.write(TABLE, BTC, table, writer="test", content_hash=f"{first:08x}{rows:08x}")

    def waits(self, *firsts: int, rows: int = 10) -> None:
        for first in firsts:
            self.journal.commit([(BTC, numbered(first, rows))], {})

    @property
    def whole(self) -> Backend:
        return WithUndelivered(self.store, self.folder)


@pytest.fixture
def halves(tmp_path: Path) -> Any:
    made = Halves(tmp_path)
    yield made
    made.journal.close()


def ids(rows: pa.Table) -> list[int]:
    found: list[int] = rows.column("update_id").to_pylist()
    return found


@settings(max_examples=40, deadline=None)
@given(
    stored=st.lists(st.integers(0, 30), max_size=5, unique=True),
    waits=st.lists(st.integers(0, 40), max_size=8, unique=True),
    span=st.tuples(st.none() | st.integers(0, 450), st.none() | st.integers(0, 450)),
    small=st.booleans(),
)
def test_a_scan_is_the_union_in_order(
    stored: list[int],
    waits: list[int],
    span: tuple[int | None, int | None],
    small: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    halves = Halves(tmp_path_factory.mktemp("halves"))
    try:
        halves.stored(*(10 * at for at in stored))
        # Of a journal in several pieces, each is above the one before: what is fetched late shows once it is stored.
        halves.waits(*(10 * at for at in (sorted(waits) if small else waits)))
        start, end = span
        with pytest.MonkeyPatch.context() as patch:
            if small:
                patch.setattr(undelivered, "_PIECE_BYTES", 1)
            start_ns, end_ns = (None if at is None else START_NS + at for at in span)
            found = read(halves.whole, TABLE, BTC, start_ns, end_ns)
            counted = sum(len(batch) for batch in halves.whole.scan(TABLE, BTC, start_ns, end_ns, ()))
        wanted = {10 * at + more for at in (*stored, *waits) for more in range(10)}
        chosen = sorted(one for one in wanted if (start or 0) <= one < (1000 if end is None else end))
        assert ids(found) == chosen
        assert counted == len(chosen)
        stats = halves.whole.stats(TABLE, BTC)
        assert (stats.first_key, stats.last_key) == ((min(wanted), max(wanted)) if wanted else (None, None))
        assert halves.whole.markets(TABLE) == ([BTC] if wanted else [])
        assert halves.whole.tables(BTC) == ([TABLE] if wanted else [])
    finally:
        halves.journal.close()


def test_what_is_delivered_in_the_middle_of_a_scan_is_in_it_once(halves: Halves) -> None:
    halves.stored(0, 10)
    halves.waits(20, 30)
    scan = halves.whole.scan(TABLE, BTC)
    first = next(scan)
    halves.stored(20, 30)
    assert ids(pa.Table.from_batches([first, *scan])) == list(range(40))


def test_the_log_of_the_journal_starts_over_while_a_scan_is_under_way(halves: Halves) -> None:
    halves.stored(0, 10)
    halves.waits(20)
    scan = halves.whole.scan(TABLE, BTC)
    next(scan)
    halves.waits(30)
    with contextlib.closing(sqlite3.connect(halves.folder / JOURNAL_FILE, timeout=0)) as journal:
        ((busy, in_log, copied),) = journal.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
    assert (busy, in_log) == (0, copied), "whoever reads all the time would let the log grow without end"
    assert ids(pa.Table.from_batches(list(scan))) == list(range(10, 30))


@pytest.mark.parametrize("client", [get_local_client, get_hot_client])
def test_the_last_rows_have_no_hole_where_the_hot_file_is_shorter_than_what_waits(
    halves: Halves, client: Callable[[Path], Any]
) -> None:
    halves.stored(0, rows=100)
    halves.waits(100, rows=3000)
    HotStore(halves.folder).extend(TABLE, BTC, arrow.to_arrow([numbered(2076, 1024)]))
    found = client(halves.folder).get_table(TABLE, "BTCUSDT", limit=3050, output="arrow")
    assert ids(found) == list(range(50, 3100))
    halves.journal.close()
    (halves.folder / JOURNAL_FILE).unlink()
    found = client(halves.folder).get_table(TABLE, "BTCUSDT", limit=3050, output="arrow")
    assert ids(found) == (list(range(100)) if client is get_local_client else list(range(2076, 3100)))


async def test_pages_lose_and_repeat_nothing_while_rows_arrive_and_are_delivered(halves: Halves) -> None:
    halves.stored(0, rows=50)
    chosen = ServeSettings(store=StoreSettings(backend="local", data_dir=halves.folder))
    app = create_app(chosen, halves.store, ManualClock(START_NS))
    found: list[int] = []
    query: dict[str, Any] = {"start_time": str(START_NS), "limit": 7}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost") as http:
        for turn in range(100):
            if turn < 10:
                halves.waits(50 + 10 * turn)
            if 3 <= turn < 10:
                halves.stored(20 + 10 * turn)  # delivered, and still in the journal
            answer = (await http.get(f"/tables/{TABLE}/BTCUSDT", params=query)).json()
            found += [row["update_id"] for row in answer["data"]]
            if answer["next_cursor"] is None:
                break
            query["cursor"] = answer["next_cursor"]
    assert found == list(range(150))


def test_a_market_of_which_nothing_is_stored_yet_can_be_asked_for(halves: Halves) -> None:
    halves.waits(0)
    client = get_local_client(halves.folder)
    assert len(client.get_table(TABLE, "BTC/USDT")) == 10
    assert client.get_stats() == [], "files and bytes are those of the store"


def test_a_journal_that_cannot_be_read_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / JOURNAL_FILE).write_bytes(b"no journal" * 1000)
    with caplog.at_level(logging.WARNING):
        whole = WithUndelivered(open_local(tmp_path), tmp_path)
        assert read(whole, TABLE, Market("binanceusdm", "BTCUSDT")).num_rows == 0
    assert "not delivered yet" in caplog.text
