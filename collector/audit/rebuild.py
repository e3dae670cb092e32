"""Books rebuilt from stored anchors and diffs alone, in the order of their ids."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from collector.core.book import EMPTY, WHOLE_CEILING, WHOLE_FLOOR, Book, Change, compare
from collector.core.decimals import Decimals, Ints, units_of
from storage_backends.interface import Backend, Market

if TYPE_CHECKING:
    import pyarrow as pa

_LISTS = ("bid_price", "bid_quantity", "ask_price", "ask_quantity")
_NO_LEVELS: Ints = np.empty(0, np.int64)


class StoredDiff(NamedTuple):
    """One row of `diffs`: takes the book from update `link` to `last_id`. Integers are in the decimals `places`."""

    link: int
    last_id: int
    recv_ns: int
    change: Change
    places: tuple[int, int]

    def finer(self, places: tuple[int, int]) -> Change:
        """The change in decimals that may have grown since it was read."""
        return _finer(self.change, self.places, places)


class StoredAnchor(NamedTuple):
    """One row of `snapshots`. Integers are in the decimals `places`."""

    update_id: int
    recv_ns: int
    limit: int
    levels: Change
    places: tuple[int, int]


class Step(NamedTuple):
    """What one diff did. `book` None: no anchor reaches up to it. `compared`: levels compared with anchors so far."""

    diff: StoredDiff
    book: Book | None
    missing: tuple[int, int] | None
    anchors: int
    compared: int
    differing: int


class Units:
    """Decimals of a market's prices and quantities while its rows are read."""

    def __init__(self) -> None:
        self.price, self.quantity = Decimals(), Decimals()

    @property
    def places(self) -> tuple[int, int]:
        """Decimals in use of prices and of quantities."""
        return self.price.places or 0, self.quantity.places or 0


def read_diffs(
    backend: Backend, market: Market, units: Units, start_ns: int | None = None, end_ns: int | None = None
) -> Iterator[StoredDiff]:
    """The diffs of a market in order of id."""
    columns = ("first_id", "last_id", "prev_id", "recv_ns", *_LISTS)
    for rows in backend.scan("diffs", market, start_ns, end_ns, columns):
        first, last, recv = (rows.column(name).to_numpy() for name in ("first_id", "last_id", "recv_ns"))
        prev = rows.column("prev_id").to_pylist()
        for number, (levels, places) in enumerate(_levels(rows, units)):
            link = int(first[number]) - 1 if prev[number] is None else prev[number]
            yield StoredDiff(link, int(last[number]), int(recv[number]), levels, places)


def read_anchors(
    backend: Backend, market: Market, units: Units, start_ns: int | None = None, end_ns: int | None = None
) -> Iterator[StoredAnchor]:
    """The snapshots of a market in order of id."""
    columns = ("last_update_id", "recv_ns", "limit", *_LISTS)
    for rows in backend.scan("snapshots", market, start_ns, end_ns, columns):
        ids, recv, limit = (rows.column(name).to_pylist() for name in ("last_update_id", "recv_ns", "limit"))
        for number, (levels, places) in enumerate(_levels(rows, units)):
            yield StoredAnchor(ids[number], recv[number], limit[number], levels, places)


def rebuild(diffs: Iterator[StoredDiff], anchors: Iterator[StoredAnchor], units: Units) -> Iterator[Step]:
    """Walks the diffs; each anchor is the start of a book, or compared with the one that is there."""
    waiting = next(anchors, None)
    book: Book | None = None
    previous: int | None = None
    for diff in diffs:
        missing = None
        if previous is not None and diff.link > previous:
            missing = (previous + 1, diff.link)
            book = None
        reached = compared = differing = 0
        while waiting is not None and waiting.update_id < diff.last_id:
            if diff.link <= waiting.update_id:
                theirs = anchor_book(waiting, units)
                if book is not None:
                    book = book.at_places(*units.places)
                    straddles = diff.link < waiting.update_id
                    touched = diff.finer(units.places) if straddles else Change(*(_NO_LEVELS for _ in _LISTS))
                    one, other = compare(book, theirs, touched)
                    reached, compared, differing = reached + 1, compared + one, differing + other
                book = theirs if book is None or differing else book.widened(theirs)
            waiting = next(anchors, None)
        if book is not None:
            book = book.at_places(*units.places).apply(diff.finer(units.places), diff.last_id)
        previous = diff.last_id if previous is None else max(previous, diff.last_id)
        yield Step(diff, book, missing, reached, compared, differing)


def anchor_book(anchor: StoredAnchor, units: Units) -> Book:
    """A stored snapshot as a book of known depth, in the decimals now in use."""
    levels = _finer(anchor.levels, anchor.places, units.places)
    bids = EMPTY.merge(levels.bid_price, levels.bid_quantity)
    asks = EMPTY.merge(levels.ask_price, levels.ask_quantity)
    return Book(
        bids,
        asks,
        WHOLE_FLOOR if len(levels.bid_price) < anchor.limit else int(bids.price[0]),
        WHOLE_CEILING if len(levels.ask_price) < anchor.limit else int(asks.price[-1]),
        anchor.update_id,
        *units.places,
    )


def _levels(rows: pa.RecordBatch, units: Units) -> Iterator[tuple[Change, tuple[int, int]]]:
    """The four lists of each row, as integers, and the decimals they are in."""
    kinds = (units.price, units.quantity, units.price, units.quantity)
    flat: list[tuple[NDArray[np.int32], NDArray[np.float64]]] = []
    for name in _LISTS:
        column = rows.column(name)
        flat.append((column.offsets.to_numpy(), column.values.to_numpy()))
    used = [values[offsets[0] : offsets[-1]] for offsets, values in flat]
    for kind, values in zip(kinds, used, strict=True):
        units_of(values, kind)
    parsed = [units_of(values, kind) for kind, values in zip(kinds, used, strict=True)]
    places = units.places
    for number in range(rows.num_rows):
        change = Change(
            *(
                ints[offsets[number] - offsets[0] : offsets[number + 1] - offsets[0]]
                for (offsets, _), ints in zip(flat, parsed, strict=True)
            )
        )
        yield change, places


def _finer(change: Change, before: tuple[int, int], now: tuple[int, int]) -> Change:
    if before == now:
        return change
    price, quantity = 10 ** (now[0] - before[0]), 10 ** (now[1] - before[1])
    return Change(
        change.bid_price * price,
        change.bid_quantity * quantity,
        change.ask_price * price,
        change.ask_quantity * quantity,
    )
