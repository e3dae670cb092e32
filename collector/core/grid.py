"""The best levels of the book at the points of a time grid.

Point t has the state after every input received before t and none after. Points come with the first input at or after
them, ticks of the clock included, so a row may be written late, but none is left out: in a stall the points of it come
together, with the book as it stood. Only where nothing at all came for more than `MOST_NS`, as when the machine slept,
the points beyond are left out: the book was not valid there anyway, and an event says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from collector.core.batch import Batch, Nested
from collector.core.book import Book
from collector.core.depth_rows import Standing, best_prices
from collector.core.records import Tell, rows_batch

MOST_NS: Final = 60_000_000_000
_MS = 1_000_000

_PLAIN = (
    "timestamp",
    "best_bid_price",
    "best_ask_price",
    "mid_price",
    "spread",
    "bid_volume_top",
    "ask_volume_top",
    "volume_imbalance",
    "depth",
    "grid_ms",
    "last_update_id",
    "recv_ns",
    "valid",
)
_LISTS = ("bid_price", "bid_quantity", "ask_price", "ask_quantity")


class BookGrid:
    """Rows of table `books` until they are drained. `next_ns` is the point that comes next.

    `watcher` is shown each row as it is made: its time (ns), whether it is valid, and its columns.
    """

    def __init__(self, grid_ms: int, depth: int, start_ns: int, stale_after_ns: float, tell: Tell) -> None:
        """
        Args:
            grid_ms: milliseconds between points, which are multiples of it since the Unix epoch.
            depth: levels a side, at most.
            start_ns: the first point lies after it.
            tell: makes an event.
        """
        self._step_ns = grid_ms * _MS
        self._depth = depth
        self._stale_after_ns = stale_after_ns
        self._tell = tell
        self.watcher: Callable[[int, bool, dict[str, Any]], None] | None = None
        self.next_ns = (start_ns // self._step_ns + 1) * self._step_ns
        self._rows: list[tuple[Any, ...]] = []
        self._lists: list[tuple[Any, ...]] = []
        self._book: Book | None = None
        self._of_book: tuple[tuple[Any, ...], tuple[Any, ...]] | None = None

    def reach(self, now_ns: int, standing: Standing) -> None:
        """Writes the points up to `now_ns`, between which nothing came."""
        end_ns = now_ns // self._step_ns * self._step_ns
        last_ns = min(end_ns, self.next_ns + MOST_NS)
        for at_ns in range(self.next_ns, last_ns + 1, self._step_ns):
            self._add(at_ns, standing)
        if last_ns < end_ns:
            left_out = (end_ns - last_ns) // self._step_ns
            detail = f"{left_out} grid points after {last_ns // _MS} are left out: nothing came for so long"
            self._tell(now_ns, "grid_left_out", detail)
        self.next_ns = end_ns + self._step_ns

    def drain(self) -> list[Batch]:
        """All rows since the last drain."""
        if not self._rows:
            return []
        columns = rows_batch("books", _PLAIN, self._rows).columns
        for name, values in zip(_LISTS, zip(*self._lists, strict=True), strict=True):
            counts = np.array([len(one) for one in values], np.int32)
            columns[name] = Nested(counts, np.concatenate(values))
        self._rows, self._lists = [], []
        return [Batch("books", columns)]

    def _add(self, at_ns: int, now: Standing) -> None:
        if self._of_book is None or now.book is not self._book:
            self._book, self._of_book = now.book, top_of(now.book, self._depth)
        plain, lists = self._of_book
        valid = now.valid(at_ns, self._stale_after_ns)
        grid_ms = self._step_ns // _MS
        row = (at_ns // _MS, *plain, self._depth, grid_ms, now.last_id, now.recv_ns, valid)
        self._rows.append(row)
        self._lists.append(lists)
        if self.watcher is not None:
            self.watcher(at_ns, valid, dict(zip(_PLAIN + _LISTS, row + lists, strict=True)))


_NONE = np.empty(0, np.float64)
_NO_BOOK: tuple[tuple[Any, ...], tuple[Any, ...]] = ((None,) * 7, (_NONE,) * 4)


def top_of(book: Book | None, depth: int) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """The numbers of a row of `books`, and its levels: at most `depth` of those that are known, best first."""
    if book is None:
        return _NO_BOOK
    near = book.bids.near(depth)
    known = int(near.price.searchsorted(book.bid_floor, "left"))
    bids = tuple(one[max(known, len(one) - depth) :][::-1] for one in (near.price, near.quantity))
    near = book.asks.near(depth)
    known = int(near.price.searchsorted(book.ask_ceiling, "right"))
    asks = near.price[: min(known, depth)], near.quantity[: min(known, depth)]
    tick, lot = float(10**book.price_places), float(10**book.quantity_places)
    best_bid, best_ask = best_prices(book)
    mid = spread = None
    if best_bid is not None and best_ask is not None:
        assert book.best_ask is not None
        assert book.best_bid is not None
        mid, spread = (best_bid + best_ask) / 2, (book.best_ask - book.best_bid) / 10**book.price_places
    bid_lots, ask_lots = int(bids[1].sum()), int(asks[1].sum())
    both = bid_lots + ask_lots
    imbalance = (bid_lots - ask_lots) / both if both else None
    sums = bid_lots / 10**book.quantity_places, ask_lots / 10**book.quantity_places
    return (
        (best_bid, best_ask, mid, spread, *sums, imbalance),
        (bids[0] / tick, bids[1] / lot, asks[0] / tick, asks[1] / lot),
    )
