"""Books rebuilt from stored anchors and diffs alone, in the order of their ids."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from collector.core.anchors import known_ceiling, known_floor
from collector.core.book import Book, Change, compare
from collector.core.decimals import BadNumber, Decimals, Ints, all_or_none, units_of
from collector.core.side import EMPTY
from storage_backends.interface import Backend, Market

if TYPE_CHECKING:
    import pyarrow as pa

_LISTS = ("bid_price", "bid_quantity", "ask_price", "ask_quantity")
UNREADABLE = -1
"""The scale of a row whose numbers no 15 digits hold, which the collector does not write."""

_NO_LEVELS: Ints = np.empty(0, np.int64)
_NO_CHANGE = Change(_NO_LEVELS, _NO_LEVELS, _NO_LEVELS, _NO_LEVELS)


class StoredLevels(NamedTuple):
    """The four lists of a row as integers in `places`, of the units' `scale` when they were read."""

    levels: Change
    places: tuple[int, int]
    scale: int

    def within(self, units: Units) -> Change | None:
        """The lists in the decimals now in use, which may have grown; None if another scale has begun since."""
        if self.scale != units.scale:
            return None
        if self.places == units.places:
            return self.levels
        price, quantity = (10 ** (now - before) for now, before in zip(units.places, self.places, strict=True))
        bid_price, bid_quantity, ask_price, ask_quantity = self.levels
        return Change(bid_price * price, bid_quantity * quantity, ask_price * price, ask_quantity * quantity)


class StoredDiff(NamedTuple):
    """One row of `diffs`: takes the book from update `link` to `last_id`."""

    link: int
    last_id: int
    recv_ns: int
    stored: StoredLevels


class StoredAnchor(NamedTuple):
    """One row of `snapshots`."""

    update_id: int
    recv_ns: int
    limit: int
    stored: StoredLevels


class Step(NamedTuple):
    """What one diff did. `book` None: no anchor reaches up to it. `compared`: levels compared with anchors so far."""

    diff: StoredDiff
    book: Book | None
    missing: tuple[int, int] | None
    anchors: int
    compared: int
    differing: int


class Units:
    """Decimals of a market's prices and quantities while its rows are read.

    An absurd number may need others than all the rest; then a new scale begins, and no book reaches across.
    """

    def __init__(self) -> None:
        self.scale = -1
        self.begin()

    def begin(self) -> None:
        """Begins a new scale."""
        self.price, self.quantity = Decimals(), Decimals()
        self.scale += 1

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
        for number, levels in enumerate(levels_of(rows, units)):
            link = int(first[number]) - 1 if prev[number] is None else prev[number]
            yield StoredDiff(link, int(last[number]), int(recv[number]), levels)


def read_anchors(
    backend: Backend, market: Market, units: Units, start_ns: int | None = None, end_ns: int | None = None
) -> Iterator[StoredAnchor]:
    """The snapshots of a market in order of id."""
    columns = ("last_update_id", "recv_ns", "limit", *_LISTS)
    for rows in backend.scan("snapshots", market, start_ns, end_ns, columns):
        ids, recv, limit = (rows.column(name).to_pylist() for name in ("last_update_id", "recv_ns", "limit"))
        for number, levels in enumerate(levels_of(rows, units)):
            yield StoredAnchor(ids[number], recv[number], limit[number], levels)


def rebuild(diffs: Iterator[StoredDiff], anchors: Iterator[StoredAnchor], units: Units) -> Iterator[Step]:
    """Walks the diffs; each anchor is the start of a book, or compared with the one that is there."""
    waiting = next(anchors, None)
    book: Book | None = None
    previous: int | None = None
    scale = units.scale
    for diff in diffs:
        missing = None
        if units.scale != scale:
            book = None
        if previous is not None and diff.link > previous:
            missing = (previous + 1, diff.link)
            book = None
        reached = compared = differing = 0
        while waiting is not None and waiting.update_id < diff.last_id:
            theirs = anchor_book(waiting, units)
            change = diff.stored.within(units)
            if diff.link <= waiting.update_id and theirs is not None and change is not None:
                if book is not None:
                    book = book.at_places(*units.places)
                    touched = change if diff.link < waiting.update_id else _NO_CHANGE
                    one, other = compare(book, theirs, touched)
                    reached, compared, differing = reached + 1, compared + one, differing + other
                book = theirs if book is None or differing else book.widened(theirs)
            scale = units.scale
            waiting = next(anchors, None)
            if units.scale != scale:
                book = None
        if book is not None:
            change = diff.stored.within(units)
            book = None if change is None else book.at_places(*units.places).apply(change, diff.last_id)
        previous = diff.last_id if previous is None else max(previous, diff.last_id)
        scale = units.scale
        yield Step(diff, book, missing, reached, compared, differing)


def anchor_book(anchor: StoredAnchor, units: Units) -> Book | None:
    """A stored snapshot as a book of known depth; None if another scale of numbers has begun since it was read."""
    levels = anchor.stored.within(units)
    if levels is None:
        return None
    return Book(
        EMPTY.merge(levels.bid_price, levels.bid_quantity),
        EMPTY.merge(levels.ask_price, levels.ask_quantity),
        known_floor(levels.bid_price, anchor.limit),
        known_ceiling(levels.ask_price, anchor.limit),
        anchor.update_id,
        *units.places,
    )


def levels_of(rows: pa.RecordBatch, units: Units) -> Iterator[StoredLevels]:
    """The four lists of each row: parsed together, or one by one where they do not fit into one scale."""
    flat: list[tuple[NDArray[np.int32], NDArray[np.float64]]] = []
    for name in _LISTS:
        column = rows.column(name)
        flat.append((column.offsets.to_numpy(), column.values.to_numpy()))
    together = None
    with suppress(BadNumber):
        together = _parse([values[offsets[0] : offsets[-1]] for offsets, values in flat], units)
    places, scale = units.places, units.scale
    for number in range(rows.num_rows):
        spans = [slice(offsets[number], offsets[number + 1]) for offsets, _ in flat]
        if together is not None and units.scale == scale:
            change = Change(
                *(
                    ints[span.start - offsets[0] : span.stop - offsets[0]]
                    for ints, span, (offsets, _) in zip(together, spans, flat, strict=True)
                )
            )
            yield StoredLevels(change, places, scale)
            continue
        lists = [values[span] for span, (_, values) in zip(spans, flat, strict=True)]
        yield _parse_alone(lists, units)


def _parse_alone(lists: list[NDArray[np.float64]], units: Units) -> StoredLevels:
    """One row, if it must be on a scale that begins with it."""
    try:
        change = _parse(lists, units)
    except BadNumber:
        fresh = Units()
        try:
            _parse(lists, fresh)
        except BadNumber:
            return StoredLevels(_NO_CHANGE, units.places, UNREADABLE)
        units.begin()
        change = _parse(lists, units)
    return StoredLevels(change, units.places, units.scale)


def _parse(lists: list[NDArray[np.float64]], units: Units) -> Change:
    kinds = (units.price, units.quantity, units.price, units.quantity)
    with all_or_none(units.price, units.quantity):
        for kind, values in zip(kinds, lists, strict=True):
            units_of(values, kind)
        return Change(*(units_of(values, kind) for kind, values in zip(kinds, lists, strict=True)))
