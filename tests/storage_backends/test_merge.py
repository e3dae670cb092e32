from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from storage_backends.contract.rows import arrow, key_of, preferred, row
from storage_backends.key_order import in_key_order
from storage_backends.merge import Chunk, Part, merge
from storage_backends.schema import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TRADES = TABLES["trades"]
GAPS = TABLES["gaps"]


class Source:
    """A part in memory that counts how much of it was asked for."""

    def __init__(self, name: str, made: Sequence[dict[str, Any]], chunk_rows: int, *, table: str = "trades") -> None:
        definition = TABLES[table]
        self.made = sorted(
            {key_of(definition, each): each for each in made}.values(), key=lambda e: key_of(definition, e)
        )
        self.given = 0
        first = self.made[0][definition.key[0]] if table != "gaps" else None
        self.part = Part(name, first, lambda: self._chunks(table, chunk_rows))

    def _chunks(self, table: str, chunk_rows: int) -> Iterator[Chunk]:
        for start in range(0, len(self.made), chunk_rows):
            self.given += 1
            yield Chunk(arrow(table, self.made[start : start + chunk_rows]), start + chunk_rows >= len(self.made))


def trades(ats: Sequence[int], seen_by: int = 0) -> list[dict[str, Any]]:
    return [row("trades", at, recv_ns=seen_by) for at in ats]


def rows_of(tables: Iterator[Any]) -> list[dict[str, Any]]:
    return [made for table in tables for made in table.to_pylist()]


ATS = st.lists(st.integers(0, 30), min_size=1, max_size=15)


@settings(deadline=None)
@given(st.lists(st.tuples(ATS, st.integers(0, 3), st.integers(1, 5)), max_size=6))
def test_parts_that_overlap_anyhow(parts: list[tuple[list[int], int, int]]) -> None:
    sources = [Source(f"p{i}", trades(ats, seen), size) for i, (ats, seen, size) in enumerate(parts)]
    by_key: dict[int, list[dict[str, Any]]] = {}
    for source in sources:
        for made in source.made:
            by_key.setdefault(made["agg_trade_id"], []).append(made)
    expected = [preferred(TRADES, by_key[key]) for key in sorted(by_key)]
    assert rows_of(merge(TRADES, [source.part for source in sources])) == expected


@settings(deadline=None)
@given(st.lists(st.tuples(st.lists(st.tuples(ATS, st.integers(1, 3)), min_size=1, max_size=3), st.integers(1, 4))))
def test_keys_of_two_columns_and_parts_whose_first_key_is_unknown(
    parts: list[tuple[list[tuple[list[int], int]], int]],
) -> None:
    sources = [
        Source(f"p{i}", [row("gaps", at, revision=n) for ats, n in made for at in ats], size, table="gaps")
        for i, (made, size) in enumerate(parts)
    ]
    expected = {key_of(GAPS, made): made for source in sources for made in source.made}
    found = rows_of(merge(GAPS, [source.part for source in sources]))
    assert found == [expected[key] for key in sorted(expected)]


def test_of_equal_rows_the_one_in_the_first_name_counts() -> None:
    parts = [
        Source(name, [row("trades", 1, recv_ns=5, price=price)], 1).part for name, price in (("b", 2.0), ("a", 1.0))
    ]
    for order in (parts, parts[::-1]):
        assert [made["price"] for made in rows_of(merge(TRADES, order))] == [1.0]


def test_depth_prefers_a_valid_row_then_a_fresh_one() -> None:
    seen = [(False, 9), (True, 1), (True, 5), (True, None), (False, None)]
    made = [row("depth", 1, valid=valid, recv_ns=recv_ns) for valid, recv_ns in seen]
    for order in (made, made[::-1]):
        assert in_key_order(TABLES["depth"], arrow("depth", order)).to_pylist() == [made[2]]


def test_no_more_is_loaded_than_overlaps() -> None:
    """Two collectors side by side, each file one chunk: never more than the files around the present key."""
    ours = [Source(f"a{i:02}", trades(range(i * 10, i * 10 + 10)), 10) for i in range(20)]
    theirs = [Source(f"b{i:02}", trades(range(i * 10 + 5, i * 10 + 15)), 10) for i in range(20)]
    given_rows = 0
    for table in merge(TRADES, [source.part for source in ours + theirs]):
        loaded = sum(source.given for source in ours + theirs) * 10
        given_rows += len(table)
        assert loaded <= 2 * given_rows + 30
    assert given_rows == 205


def test_a_part_that_turns_out_empty() -> None:
    empty = Part("a", 0, lambda: iter(()))
    hollow = Part("b", 0, lambda: iter([Chunk(arrow("trades", []), last=True)]))
    full = Source("c", trades([1, 2]), 1)
    assert rows_of(merge(TRADES, [empty, full.part, hollow])) == trades([1, 2])
    assert rows_of(merge(TRADES, [empty, hollow])) == []
