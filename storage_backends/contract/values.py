"""What is written is what is read, to the bit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from storage_backends.contract import MARKET, OTHER, got, put
from storage_backends.contract.rows import row, rows
from storage_backends.interface import Backend
from storage_backends.schema import TABLES, bare

if TYPE_CHECKING:
    from collections.abc import Callable


class Values:
    """What is written is what is read."""

    @pytest.mark.parametrize("table", TABLES)
    def test_gives_back_every_column_in_key_order(self, backend: Backend, table: str) -> None:
        made = rows(table, range(25))
        put(backend, table, [made[i] for i in (7, 24, 0, *range(1, 7), *range(8, 24))])
        assert got(backend, table) == made

    @pytest.mark.parametrize("table", TABLES)
    def test_batches_have_the_schema_of_the_table(self, backend: Backend, table: str) -> None:
        put(backend, table, rows(table, range(4)))
        for batch in backend.scan(table, MARKET):
            assert batch.num_rows > 0
            assert batch.schema.equals(bare(TABLES[table].schema), check_metadata=True)

    def test_numbers_and_texts_survive_exactly(self, backend: Backend) -> None:
        numbers = [0.1, 0.1 + 0.2, 5e-324, 1.7976931348623157e308, 1e-8, 123_456.789012345, 0.0]
        diff = row("diffs", 1, bid_price=numbers, bid_quantity=numbers[::-1], ask_price=[], ask_quantity=[])
        edges = row("diffs", 2, first_id=-(2**63), prev_id=2**63 - 1, transact_time=0)
        put(backend, "diffs", [diff, edges])
        assert got(backend, "diffs") == [diff, edges]
        texts = [row("events", 0, detail="", text=b""), row("events", 1, detail="☃\n\x00\"'", text=bytes(range(256)))]
        put(backend, "events", texts)
        assert got(backend, "events") == texts

    def test_the_sign_of_zero_survives(self, backend: Backend) -> None:
        zeros = [0.0, -0.0]
        made = row("diffs", 1, bid_price=zeros, bid_quantity=zeros, ask_price=[], ask_quantity=[])
        put(backend, "diffs", [made])
        (found,) = got(backend, "diffs")
        assert [str(one) for one in found["bid_price"]] == ["0.0", "-0.0"]

    def test_a_long_list_survives(self, backend: Backend) -> None:
        levels = [float(i) for i in range(5000)]
        made = row("snapshots", 1, bid_price=levels, bid_quantity=levels, ask_price=levels, ask_quantity=levels)
        put(backend, "snapshots", [made])
        assert got(backend, "snapshots") == [made]

    def test_another_instance_sees_the_rows(self, backend: Backend, open_store: Callable[[], Backend]) -> None:
        put(backend, "trades", rows("trades", range(3)))
        assert got(open_store(), "trades") == rows("trades", range(3))

    def test_markets_are_kept_apart(self, backend: Backend) -> None:
        put(backend, "trades", rows("trades", [1]))
        put(backend, "trades", rows("trades", [2]), market=OTHER)
        assert got(backend, "trades") == rows("trades", [1])
        assert got(backend, "trades", OTHER) == rows("trades", [2])
