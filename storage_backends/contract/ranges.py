"""The order of keys, and scans of a part: a range of time, some columns."""

from __future__ import annotations

import pytest

from storage_backends.contract import MARKET, SECOND_WRITER, counted, got, put
from storage_backends.contract.rows import MIDNIGHT, row, rows, time_ns
from storage_backends.interface import Backend
from storage_backends.reading import read
from storage_backends.schema import TABLES


class Ranges:
    """Order and ranges."""

    def test_key_order_holds_across_writes_and_midnight(self, backend: Backend) -> None:
        for first in (15, 0, 10, 5):
            put(backend, "diffs", rows("diffs", range(first, first + 5)))
        assert got(backend, "diffs") == rows("diffs", range(20))

    def test_key_order_holds_where_times_run_backwards(self, backend: Backend) -> None:
        made = [row("diffs", at, event_time=time_ns(20 - at) // 1_000_000) for at in range(20)]
        put(backend, "diffs", made[:11])
        put(backend, "diffs", made[11:])
        assert got(backend, "diffs") == made

    @pytest.mark.parametrize("table", TABLES)
    def test_ranges_hold_their_start_and_not_their_end(self, backend: Backend, table: str) -> None:
        put(backend, table, rows(table, range(MIDNIGHT)))
        put(backend, table, rows(table, range(MIDNIGHT, 20)))
        for start, end in ((0, 20), (5, 15), (9, 10), (10, 11), (19, 40), (-5, 1), (7, 7), (20, 30), (12, 3)):
            inside = [at for at in range(20) if start <= at < end]
            assert got(backend, table, start_ns=time_ns(start), end_ns=time_ns(end)) == rows(table, inside)
            assert counted(backend, table, start_ns=time_ns(start), end_ns=time_ns(end)) == len(inside)
        assert got(backend, table, start_ns=time_ns(17)) == rows(table, [17, 18, 19])
        assert got(backend, table, end_ns=time_ns(2)) == rows(table, [0, 1])

    @pytest.mark.parametrize("table", TABLES)
    def test_ranges_finer_than_the_tables_unit(self, backend: Backend, table: str) -> None:
        put(backend, table, rows(table, range(5)))
        assert got(backend, table, start_ns=time_ns(1) + 1, end_ns=time_ns(3) + 1) == rows(table, [2, 3])

    @pytest.mark.parametrize("table", ["book_ticker", "snapshots", "trades"])
    def test_ranges_that_meet_give_a_key_once(self, backend: Backend, table: str) -> None:
        put(backend, table, [row(table, 9, recv_ns=time_ns(9.9))])
        put(backend, table, [row(table, 9, recv_ns=time_ns(10.1))], writer=SECOND_WRITER)
        before = got(backend, table, end_ns=time_ns(10))
        after = got(backend, table, start_ns=time_ns(10))
        assert (before, after) == ([row(table, 9, recv_ns=time_ns(9.9))], [])

    def test_key_order_holds_where_ids_begin_anew(self, backend: Backend) -> None:
        """Hours later an exchange counts from a small number again: those rows come first."""
        before = [row("diffs", at) for at in range(0, 9000, 900)]
        anew = [row("diffs", at, last_id=at) for at in range(9000, 18000, 900)]
        put(backend, "diffs", before)
        put(backend, "diffs", anew)
        assert got(backend, "diffs") == anew + before
        assert got(backend, "diffs", start_ns=time_ns(8100)) == [*anew, before[-1]]

    def test_columns_are_chosen_and_ordered(self, backend: Backend) -> None:
        put(backend, "depth", rows("depth", range(12)))
        put(backend, "depth", rows("depth", range(6, 18)))
        columns = ["bid_buckets", "valid", "epoch"]
        expected = [{name: made[name] for name in columns} for made in rows("depth", range(3, 18))]
        found = read(backend, "depth", MARKET, time_ns(3), None, columns)
        assert found.column_names == columns
        assert found.to_pylist() == expected
        assert got(backend, "depth", columns=["ref"], start_ns=time_ns(17)) == [{"ref": row("depth", 17)["ref"]}]
