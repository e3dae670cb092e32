"""What a store says that it holds, and its life from empty to closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from storage_backends.contract import MARKET, OTHER, got, put
from storage_backends.contract.rows import row, rows, time_ns
from storage_backends.interface import Backend, TableStats
from storage_backends.schema import TABLES

if TYPE_CHECKING:
    from collections.abc import Callable


class Listing:
    """Markets, tables, counts; checking, closing, scans left early."""

    def test_an_empty_store(self, backend: Backend) -> None:
        assert backend.markets() == []
        assert backend.markets("trades") == []
        assert backend.tables(MARKET) == []
        assert got(backend, "trades") == []
        assert backend.stats("trades", MARKET) == TableStats(0, 0, 0, None, None, None, None)

    def test_writing_no_rows_leaves_nothing(self, backend: Backend) -> None:
        put(backend, "trades", [])
        assert backend.markets() == []

    def test_markets_and_tables(self, backend: Backend) -> None:
        put(backend, "trades", rows("trades", [1]))
        put(backend, "depth", rows("depth", [1]))
        put(backend, "trades", rows("trades", [1]), market=OTHER)
        assert backend.markets() == [OTHER, MARKET]
        assert backend.markets("depth") == [MARKET]
        assert backend.markets("gaps") == []
        assert backend.tables(MARKET) == ["depth", "trades"]
        assert backend.tables(OTHER) == ["trades"]

    @pytest.mark.parametrize("table", TABLES)
    def test_stats(self, backend: Backend, table: str) -> None:
        put(backend, table, rows(table, range(8, 12)))
        put(backend, table, rows(table, range(3, 5)))
        stats = backend.stats(table, MARKET)
        lead = TABLES[table].key[0]
        assert (stats.rows, stats.first_ns, stats.last_ns) == (6, time_ns(3), time_ns(11))
        assert (stats.first_key, stats.last_key) == (row(table, 3)[lead], row(table, 11)[lead])
        assert stats.bytes > 0

    def test_checking_leaves_nothing(self, backend: Backend) -> None:
        backend.check()
        assert backend.markets() == []
        put(backend, "trades", rows("trades", range(3)))
        before = backend.stats("trades", MARKET)
        backend.check()
        assert backend.stats("trades", MARKET) == before

    def test_closing_twice(self, backend: Backend, open_store: Callable[[], Backend]) -> None:
        put(backend, "trades", rows("trades", range(3)))
        backend.close()
        backend.close()
        assert got(open_store(), "trades") == rows("trades", range(3))

    def test_a_scan_may_be_left_early(self, backend: Backend) -> None:
        put(backend, "trades", rows("trades", range(20)))
        next(backend.scan("trades", MARKET))
        assert got(backend, "trades") == rows("trades", range(20))
