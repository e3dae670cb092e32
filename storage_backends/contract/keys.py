"""Each key once, however often and by whomever it was written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from storage_backends.contract import MARKET, OTHER, SECOND_WRITER, WRITER, counted, got, put
from storage_backends.contract.rows import arrow, row, rows, time_ns
from storage_backends.errors import PermanentBackendError
from storage_backends.interface import Backend, Market, Write
from storage_backends.reading import newest_revisions, read
from storage_backends.schema import TABLES

if TYPE_CHECKING:
    from collections.abc import Callable


class Keys:
    """Repeats, overlaps, several writes at once."""

    def test_a_repeated_write_changes_nothing(self, backend: Backend, open_store: Callable[[], Backend]) -> None:
        made = rows("trades", range(8, 13))
        put(backend, "trades", made, content_hash="ab" * 32)
        before = backend.stats("trades", MARKET)
        put(backend, "trades", made, content_hash="ab" * 32)
        put(open_store(), "trades", made, content_hash="ab" * 32)
        assert backend.stats("trades", MARKET) == before
        assert got(backend, "trades") == made

    @pytest.mark.parametrize("table", TABLES)
    def test_writes_that_overlap_show_each_key_once(self, backend: Backend, table: str) -> None:
        put(backend, table, rows(table, range(12)))
        put(backend, table, rows(table, range(5, 20)), writer=SECOND_WRITER)
        put(backend, table, rows(table, [11, 3, 19]))
        assert got(backend, table) == rows(table, range(20))
        assert counted(backend, table) == 20

    def test_keys_repeated_within_a_write_are_given_once(self, backend: Backend) -> None:
        put(backend, "trades", rows("trades", [4, 2, 4, 2, 2]))
        assert got(backend, "trades") == rows("trades", [2, 4])

    @pytest.mark.parametrize("swapped", [False, True])
    @pytest.mark.parametrize("table", [table.name for table in TABLES.values() if table.prefer])
    def test_of_two_rows_with_one_key_the_preferred_counts(self, backend: Backend, table: str, swapped: bool) -> None:
        column, direction = TABLES[table].prefer[0]
        is_flag = pa.types.is_boolean(TABLES[table].schema.field(column).type)
        values = (False, True) if is_flag else (time_ns(1.25), time_ns(1.5))
        wanted = values[direction == "descending"]
        writers = [WRITER, SECOND_WRITER]
        for value, writer in zip(values, reversed(writers) if swapped else writers, strict=True):
            put(backend, table, [row(table, 0), row(table, 1, **{column: value})], writer=writer)
        assert got(backend, table) == [row(table, 0), row(table, 1, **{column: wanted})]

    def test_which_row_counts_does_not_depend_on_the_order_of_writing(self, backend: Backend) -> None:
        first, second = row("clock", 1, offset_ns=1), row("clock", 1, offset_ns=2)
        for market, order in ((MARKET, (first, second)), (OTHER, (second, first))):
            for made in order:
                writer = WRITER if made is first else SECOND_WRITER
                put(backend, "clock", [made], market=market, writer=writer, content_hash="cd" * 32)
        assert got(backend, "clock") == got(backend, "clock", OTHER)
        assert len(got(backend, "clock")) == 1

    def test_every_revision_of_a_gap_is_kept(self, backend: Backend) -> None:
        opened = row("gaps", 1, gap_id="b", to_ns=None, healed=False)
        healed = row("gaps", 5, gap_id="b", revision=2, healed=True)
        other = row("gaps", 30, gap_id="a")
        put(backend, "gaps", [opened])
        put(backend, "gaps", [other])
        put(backend, "gaps", [healed])
        assert got(backend, "gaps") == [other, opened, healed]
        assert newest_revisions(read(backend, "gaps", MARKET)).to_pylist() == [other, healed]

    def test_rows_of_one_instant_are_told_apart(self, backend: Backend) -> None:
        made = [row("events", 1, sequence=i) for i in range(5)]
        put(backend, "events", made[3:])
        put(backend, "events", made[:3])
        assert got(backend, "events") == made

    def test_many_writes_are_as_one_after_the_other(self, backend: Backend) -> None:
        writes = [
            Write("trades", MARKET, arrow("trades", rows("trades", range(5))), WRITER, "ab" * 32),
            Write("depth", MARKET, arrow("depth", rows("depth", range(3))), WRITER, "cd" * 32),
            Write("trades", OTHER, arrow("trades", rows("trades", range(2))), WRITER, "ef" * 32),
        ]
        for _ in range(2):
            assert backend.write_many(writes) == [None, None, None]
        assert backend.write_many([]) == []
        assert got(backend, "trades") == rows("trades", range(5))
        assert got(backend, "depth") == rows("depth", range(3))
        assert got(backend, "trades", OTHER) == rows("trades", range(2))

    def test_of_many_writes_each_has_its_own_outcome(self, backend: Backend) -> None:
        made = arrow("trades", rows("trades", [1]))
        writes = [
            Write("trades", Market("binance", "../x"), made, WRITER, "ab" * 32),
            Write("depth", MARKET, made, WRITER, "ab" * 32),
            Write("trades", MARKET, made, WRITER, "ab" * 32),
            Write("prices", MARKET, made, WRITER, "ab" * 32),
        ]
        outcomes = backend.write_many(writes)
        assert [isinstance(outcome, PermanentBackendError) for outcome in outcomes] == [True, True, False, True]
        assert outcomes[2] is None
        assert got(backend, "trades") == rows("trades", [1])
