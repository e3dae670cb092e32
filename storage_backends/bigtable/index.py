"""Which slices of time have rows, and from which id on: what lets a scan give rows in the order of their keys.

Rows lie by time, and a scan gives them by key. Mostly that is the same order, but an exchange may begin to count anew.
So each slice of five minutes that has rows has a cell, and its *timestamp* tells a lower bound of the keys in it: the
smaller the key, the later the timestamp, and of several versions of a cell Bigtable keeps the latest. Whatever is
written, by whom, how often and in which order, the cell ends up with the smallest key.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from storage_backends.bigtable.client import Cell, Client, Entry
from storage_backends.bigtable.keys import DATA_TABLE, INDEX_FAMILY, index_key, index_range, latest, parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from storage_backends.interface import Market
    from storage_backends.layout import TimeRange
    from storage_backends.schema import Table

SLICE_S: Final = 300
"""Seconds in a slice: what a scan holds in memory of one market and table at least."""

_QUALIFIER: Final = b"from"
_DROPPED_BITS: Final = 10  # timestamps are whole milliseconds, and 2**63 of those are more than a cell's can be
_HIGHEST: Final = 2**53 - 1
_REMEMBERED: Final = 200_000


class Slice(NamedTuple):
    """Rows lie in [start_s, start_s + SLICE_S). `first` is a lower bound of the key's first column, None if unknown."""

    start_s: int
    first: int | None


class Index:
    """The slices of a store. Remembers what this process has told it, so that most writes need not tell it again."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._told: dict[tuple[str, Market, int], int] = {}

    def missing(
        self, table: Table, market: Market, times: Sequence[int], leads: Sequence[Any]
    ) -> list[tuple[Slice, Entry]]:
        """What must be written so that scans find rows with these `times`, which are storable.

        `leads` are the values of the first column of their keys.
        """
        found = []
        for start_s, lead in _slices(table, times, leads):
            told = self._told.get((table.name, market, start_s))
            stamp = _stamp(lead)
            if told is None or stamp > told:
                cell = Cell(INDEX_FAMILY, _QUALIFIER, stamp, str(lead).encode())
                found.append((Slice(start_s, lead), Entry(index_key(table.name, market, start_s), [cell])))
        return found

    def remember(self, table: str, market: Market, slices: list[Slice]) -> None:
        """These slices were stored."""
        if len(self._told) > _REMEMBERED:
            self._told.clear()
        for start_s, lead in slices:
            key = (table, market, start_s)
            self._told[key] = max(_stamp(lead), self._told.get(key, 0))

    def read(self, table: Table, market: Market, within: TimeRange) -> list[Slice]:
        """The slices that may have rows whose time lies in `within`, the oldest first."""
        unit_s = 1_000_000_000 // table.ns_per_unit
        first_s = max(within.start or 0, 0) // (unit_s * SLICE_S) * SLICE_S
        last_s = latest("s") if within.end is None else (within.end - 1) // unit_s
        last_s = min(last_s, latest("s"))
        if last_s < first_s:
            return []
        found = []
        for row in self._client.read(DATA_TABLE, index_range(table.name, market, first_s, last_s), values=False):
            stored = parse(row.key)
            if stored is not None:
                found.append(Slice(stored.time, _lower_bound(table, stored.time, row.cells[0][1])))
        return found[::-1]


def _slices(table: Table, times: Sequence[int], leads: Sequence[Any]) -> list[tuple[int, int]]:
    """(start, smallest key) of each slice that has rows, the oldest first; 0 for a key that tells nothing."""
    units = SLICE_S * 1_000_000_000 // table.ns_per_unit
    counted = table.span == table.key[0] != table.time
    smallest: dict[int, int] = {}
    for time, lead in zip(times, leads if counted else repeat(0, len(times)), strict=True):
        number = time // units
        smallest[number] = min(lead, smallest.get(number, lead))
    return [(number * SLICE_S, smallest[number]) for number in sorted(smallest)]


def _stamp(lead: int | None) -> int:
    """ms; grows as `lead` gets smaller."""
    return _HIGHEST - (max(lead or 0, 0) >> _DROPPED_BITS)


def _lower_bound(table: Table, start_s: int, stamp: int) -> int | None:
    if table.key[0] == table.time:
        return start_s * (1_000_000_000 // table.ns_per_unit)
    if table.span != table.key[0]:
        return None
    return (_HIGHEST - stamp) << _DROPPED_BITS if stamp < _HIGHEST else -(2**63)
