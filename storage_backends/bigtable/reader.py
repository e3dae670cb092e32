"""Rows in the order of their keys from a store that has them by time, the newest first.

The index names the slices of time that have rows and the smallest id of each (`index`). Slices are read in groups, some
groups ahead of the one that is used, each from the newest row to the oldest; reversed, they are the parts of the same
merge that files go through (`storage_backends.merge`).
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
import pyarrow as pa

from storage_backends.bigtable.client import Client, Row
from storage_backends.bigtable.codec import decode
from storage_backends.bigtable.index import SLICE_S, Index, Slice
from storage_backends.bigtable.keys import DATA_TABLE, time_range
from storage_backends.bigtable.writer import payloads
from storage_backends.key_order import in_key_order
from storage_backends.layout import TimeRange
from storage_backends.merge import Chunk, Part, merge
from storage_backends.part import select_times

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from storage_backends.interface import Market
    from storage_backends.schema import Table

BATCH_ROWS: Final = 65_536

_GROUP_ROWS: Final = 16_384
_GROUP_BYTES: Final = 16 << 20
_GROUPS_AHEAD: Final = 2
_LARGEST_GROUP: Final = 4096


def scan(
    client: Client, table: Table, market: Market, within: TimeRange, columns: list[str]
) -> Iterator[pa.RecordBatch]:
    """The rows whose time lies in `within`, in key order, one per key.

    Holds in memory at most a few groups of slices: 16,384 rows or 16 MB each, or a single slice that has more.

    Raises:
        BackendError: translated; a damaged row, named.
    """
    # Rows that may share a key with one in range are looked at too, so that neighbouring ranges agree on it.
    near = within.widened(-(-table.key_spread_ns // table.ns_per_unit))
    needed = list(dict.fromkeys([*table.key, *(name for name, _ in table.prefer), table.time, *columns]))
    slices = Index(client).read(table, market, near)
    ahead = _Ahead(partial(_load, client, table, market, near, needed), slices)
    parts = [Part(f"{one.start_s:010}", one.first, partial(ahead.chunks, one)) for one in slices]
    with ahead:
        for rows in merge(table, parts):
            chosen = select_times(table, rows, within).select(columns).combine_chunks()
            yield from (batch for batch in chosen.to_batches(max_chunksize=BATCH_ROWS) if batch.num_rows)


def newest(client: Client, table: Table, market: Market, count: int, columns: list[str]) -> pa.Table:
    """The last `count` rows by time, in key order, one per key; fewer where keys were stored more than once."""
    needed = list(dict.fromkeys([*table.key, *(name for name, _ in table.prefer), table.time, *columns]))
    wanted = time_range(table, market, TimeRange(None, None))
    assert wanted is not None
    found = _collect(client.read(DATA_TABLE, wanted, limit=count), bounded=False)
    assert found is not None
    keys, bodies = found
    return in_key_order(table, decode(table, bodies, needed, keys)).select(columns)


_Group: TypeAlias = tuple[dict[Slice, pa.Table], list[Slice]]
"""The rows of each slice that was read, in key order, and slices that turned out to be too many."""


class _Ahead:
    """Gives slices in the order of the merge, and reads the next ones meanwhile in threads of its own."""

    def __init__(self, load: Callable[[list[Slice]], _Group], slices: Sequence[Slice]) -> None:
        self._load = load
        # As `merge` sorts its parts, so that each slice is asked for when its turn has come.
        order = sorted(slices, key=lambda one: (one.first is not None, one.first or 0, one.start_s))
        self._left = deque(order)
        self._following = dict(pairwise(slices))
        self._size = 1
        self._reading: deque[Future[_Group]] = deque()
        self._ready: dict[Slice, pa.Table] = {}
        self._pool = ThreadPoolExecutor(_GROUPS_AHEAD + 1, thread_name_prefix="bigtable-scan")

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def chunks(self, wanted: Slice) -> Iterator[Chunk]:
        """All rows of a slice, which comes next, in key order."""
        while wanted not in self._ready:
            while len(self._reading) <= _GROUPS_AHEAD and self._left:
                self._reading.append(self._pool.submit(self._load, self._group()))
            found, left_over = self._reading.popleft().result()
            self._ready |= found
            if left_over:
                self._size = max(1, len(found))
                self._reading.appendleft(self._pool.submit(self._load, left_over))
            elif sum(map(len, found.values())) < _GROUP_ROWS // 4:
                self._size = min(self._size * 2, _LARGEST_GROUP)
        yield Chunk(self._ready.pop(wanted), last=True)

    def _group(self) -> list[Slice]:
        """The next slices that one range covers and nothing else."""
        group = [self._left.popleft()]
        while self._left and len(group) < self._size and self._following.get(group[-1]) == self._left[0]:
            group.append(self._left.popleft())
        return group


def _load(
    client: Client, table: Table, market: Market, near: TimeRange, columns: list[str], group: list[Slice]
) -> _Group:
    """Reads slices that follow each other; of a group that turns out to be too large, only its first half or less."""
    unit_s = 1_000_000_000 // table.ns_per_unit
    left_over: list[Slice] = []
    while True:
        start, end = group[0].start_s * unit_s, (group[-1].start_s + SLICE_S) * unit_s
        span = TimeRange(max(start, near.start or 0), end if near.end is None else min(end, near.end))
        wanted = time_range(table, market, span)
        found = ([], []) if wanted is None else _collect(client.read(DATA_TABLE, wanted), bounded=len(group) > 1)
        if found is not None:
            break
        half = len(group) // 2
        group, left_over = group[:half], group[half:] + left_over
    keys, bodies = found
    rows = decode(table, bodies, columns, keys)
    edges = np.searchsorted(rows.column(table.time).to_numpy(), [one.start_s * unit_s for one in group] + [end])
    return {
        one: in_key_order(table, rows.slice(first, last - first))
        for one, first, last in zip(group, edges, edges[1:], strict=False)
    }, left_over


def _collect(rows: Iterator[Row], *, bounded: bool) -> tuple[list[bytes], list[bytes]] | None:
    """Row keys and payloads, the oldest first; None if `bounded` and there are too many."""
    keys: list[bytes] = []
    bodies: list[bytes] = []
    size = 0
    for row in rows:
        # Reversed here since all is reversed below: the order within a row counts, as that between equals.
        for body in reversed(payloads(row.cells)):
            keys.append(row.key)
            bodies.append(body)
            size += len(body)
        if bounded and (len(keys) > _GROUP_ROWS or size > _GROUP_BYTES):
            return None
    return keys[::-1], bodies[::-1]
