"""Stored rows that hold the book as it stood after an update, against the book rebuilt from anchors and diffs.

All rows of `depth` are compared, rows of `books` and `multitick` every `_EVERY`th second, and of the exchange's own
partial and polled books all, where a stored diff ends at their update. What is not known in one of the two books is
left out: how deep a book was known live depends on when anchors arrived. Rows that are not valid or lie in a gap of
the depth stream are not compared, since the book was in doubt there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import numpy as np
from numpy.typing import NDArray

from collector.audit.batches import dicts
from collector.audit.findings import Findings
from collector.audit.rebuild import StoredAnchor, StoredLevels, Units, anchor_book, levels_of
from collector.core.book import Book, Change, compare
from collector.core.buckets import Grid, ask_buckets, bid_buckets
from collector.core.depth_rows import best_prices
from collector.core.epochs import SECOND_NS
from collector.core.grid import top_of
from collector.core.ids import IdRanges
from collector.core.multitick import ask_ladder, bid_ladder
from storage_backends.schema import TABLES

if TYPE_CHECKING:
    import pyarrow as pa

Read = Callable[[str], Iterator["pa.RecordBatch"]]
"""Gives the rows of a table, each batch once."""

Row = dict[str, Any]

_EVERY: Final = {"depth": 1, "books": 5, "multitick": 5}
"""A row in so many seconds is compared: of `books` and `multitick` all would more than double what an audit costs."""
_LADDER: Final = ("bid_price", "bid_quantity", "ask_price", "ask_quantity")
_NO_LEVELS: Final = np.empty(0, np.int64)
_NOTHING: Final = Change(_NO_LEVELS, _NO_LEVELS, _NO_LEVELS, _NO_LEVELS)


class Standings:
    """Rows of one market that wait for the walk to reach their update. Call `reached` for each diff, in order."""

    def __init__(self, read: Read, units: Units, doubt: IdRanges, findings: Findings) -> None:
        """
        Args:
            units: of the walk.
            doubt: the nanoseconds of gaps of the depth stream.
        """
        self._findings = findings
        self._units = units
        self._depth = _Waiting(_sampled("depth", read, doubt))
        self._books = _Waiting(_sampled("books", read, doubt))
        self._multitick = _ByEpoch(_sampled("multitick", read, doubt))
        self._partial = _Waiting(row for batch in read("partial_depth") for row in dicts(batch))
        self._polled = _Waiting(_polled(read, units))
        self._before: Book | None = None

    def reached(self, book: Book | None, link: int, last_id: int, stored: StoredLevels) -> None:
        """Compares what waits for the update `last_id`, to which `stored` leads from `link`, with `book` after it."""
        self._compare_polled(link, last_id, stored)
        self._before = book
        sound = book is not None and book.known_to_its_best
        for row in self._depth.at(last_id):
            if sound:
                assert book is not None
                self._found("depth", row, _depth_differs(row, book))
                for other in self._multitick.of(row["epoch"]):
                    if other["recv_ns"] == row["recv_ns"]:  # else another collector's book
                        self._found("multitick", other, _multitick_differs(other, book))
        for row in self._books.at(last_id):
            if sound:
                assert book is not None
                self._found("books", row, _books_differ(row, book))
        for row in self._partial.at(last_id):
            if sound:
                assert book is not None
                self._found("partial_depth", row, _levels_differ(row, top_of(book, row["levels"])[1]))

    def finish(self) -> None:
        """Reads what was not reached, so that every row is looked at."""
        for waiting in (self._depth, self._books, self._multitick, self._partial, self._polled):
            waiting.drain()

    def _compare_polled(self, link: int, last_id: int, stored: StoredLevels) -> None:
        """A polled book may stand anywhere between two diffs; levels that the next one sets are left out."""
        for row in self._polled.before(last_id):
            before, theirs, change = self._before, anchor_book(row["stored"], self._units), stored.within(self._units)
            if before is None or theirs is None or change is None:
                continue
            if before.last_id != link or row["last_update_id"] < link:
                continue
            touched = change if link < row["last_update_id"] else _NOTHING
            compared, differing = compare(before.at_places(*self._units.places), theirs, touched)
            if compared:
                what = f"{differing} of {compared} levels differ from the rebuilt book" if differing else None
                self._found("polled_books", row, what)

    def _found(self, table: str, row: Row, what: str | None) -> None:
        self._findings.of(table).compared += 1
        if what is not None:
            about = TABLES[table]
            self._findings.wrong(table, row[about.time] * about.ns_per_unit, what)


class _Waiting:
    """Rows in order of `last_update_id`."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = iter(rows)
        self._next = next(self._rows, None)

    def at(self, update_id: int) -> Iterator[Row]:
        """The rows of this update; those of earlier ones are passed over, since no diff ends there."""
        while self._next is not None and self._next["last_update_id"] <= update_id:
            row, self._next = self._next, next(self._rows, None)
            if row["last_update_id"] == update_id:
                yield row

    def before(self, update_id: int) -> Iterator[Row]:
        """The rows of updates below this one."""
        while self._next is not None and self._next["last_update_id"] < update_id:
            row, self._next = self._next, next(self._rows, None)
            yield row

    def drain(self) -> None:
        """Reads to the end."""
        for _ in self._rows:
            pass


class _ByEpoch(_Waiting):
    """Rows in order of `epoch`."""

    def of(self, epoch: int) -> Iterator[Row]:
        """The rows of this epoch; those of earlier ones are passed over."""
        while self._next is not None and self._next["epoch"] <= epoch:
            row, self._next = self._next, next(self._rows, None)
            if row["epoch"] == epoch:
                yield row


def _sampled(table: str, read: Read, doubt: IdRanges) -> Iterator[Row]:
    """The valid rows of every `_EVERY`th second that are in no doubt; of a grid the first point in it."""
    import pyarrow as pa

    about = TABLES[table]
    for batch in read(table):
        times = batch.column(about.time).to_numpy() * about.ns_per_unit
        chosen = batch.column("valid").to_numpy(zero_copy_only=False) & (times // SECOND_NS % _EVERY[table] == 0)
        if table == "books":
            # The first point of its second, whatever the grid: points are multiples of it.
            chosen &= times % SECOND_NS < batch.column("grid_ms").to_numpy().astype(np.int64) * 1_000_000
        for at in np.flatnonzero(chosen).tolist():
            chosen[at] = not doubt.touches(int(times[at]) - 1, int(times[at]))
        yield from dicts(batch.filter(pa.array(chosen)))


def _polled(read: Read, units: Units) -> Iterator[Row]:
    for batch in read("polled_books"):
        rows = batch.select(["last_update_id", "limit", "recv_ns"]).to_pylist()
        for row, stored in zip(rows, levels_of(batch, units), strict=True):
            yield {**row, "stored": StoredAnchor(row["last_update_id"], row["recv_ns"], row["limit"], stored)}


def _depth_differs(row: Row, book: Book) -> str | None:
    for name, price in zip(("best_bid", "best_ask"), best_prices(book), strict=True):
        if row[name] != price:
            return f"{name} is {row[name]}, the rebuilt book has {price}"
    reference = cast(Literal["best", "mid"], row["ref"])
    grid = Grid(row["step_pct"], row["num_steps"], reference)
    for side, ours in (("bid", bid_buckets(book, grid)), ("ask", ask_buckets(book, grid))):
        stored = row[f"{side}_buckets"]
        if ours is None or stored is None:
            continue
        if len(stored) != len(ours.values):
            return f"{side}_buckets has {len(stored)} entries, not {len(ours.values)}"
        wrong = np.abs(stored - ours.values) > 1e-6 * np.abs(ours.values)  # never where one of them is not known
        if wrong.any():
            at = int(wrong.argmax())
            return f"{side}_buckets[{at}] is {stored[at]}, the rebuilt book has {ours.values[at]}"
    return None


def _books_differ(row: Row, book: Book) -> str | None:
    (bid, ask, *_), levels = top_of(book, row["depth"])
    for name, price in (("best_bid_price", bid), ("best_ask_price", ask)):
        if row[name] != price:
            return f"{name} is {row[name]}, the rebuilt book has {price}"
    return _levels_differ(row, levels)


def _multitick_differs(row: Row, book: Book) -> str | None:
    tick = Decimal(repr(row["tick"])).normalize()
    for name, price in zip(("best_bid", "best_ask"), best_prices(book), strict=True):
        if row[name] != price:
            return f"{name} is {row[name]}, the rebuilt book has {price}"
    rounding = cast(Literal["ceil", "floor"], row["ask_rounding"])
    sides = (
        ("bid", bid_ladder(book, tick, row["num_levels"])),
        ("ask", ask_ladder(book, tick, row["num_levels"], rounding)),
    )
    for side, ladder in sides:
        for name in ("price", "quantity", "cum_quantity", "cum_notional"):
            found = _first_difference(f"{side}_{name}", row[f"{side}_{name}"], np.array(getattr(ladder, name)))
            if found is not None:
                return f"tick {tick}: {found}"
    return None


def _levels_differ(row: Row, levels: tuple[NDArray[np.float64], ...]) -> str | None:
    for name, ours in zip(_LADDER, levels, strict=True):
        found = _first_difference(name, row[name], ours)
        if found is not None:
            return found
    return None


def _first_difference(name: str, stored: NDArray[np.float64], ours: NDArray[np.float64]) -> str | None:
    common = min(len(stored), len(ours))
    wrong = stored[:common] != ours[:common]
    if not wrong.any():
        return None
    at = int(wrong.argmax())
    return f"{name}[{at}] is {float(stored[at])}, the rebuilt book has {float(ours[at])}"
