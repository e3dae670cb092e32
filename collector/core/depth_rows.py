"""Rows of table `depth`: the book at the end of each epoch, in buckets."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from collector.core.batch import Batch, Nested
from collector.core.book import Book
from collector.core.buckets import Buckets, Grid, ask_buckets, bid_buckets
from collector.core.depth import Depth
from collector.core.epochs import SECOND_NS
from collector.core.records import rows_batch

_COLUMNS = (
    "epoch",
    "best_bid",
    "best_ask",
    "price",
    "step_pct",
    "num_steps",
    "ref",
    "bid_coverage",
    "ask_coverage",
    "last_update_id",
    "event_time",
    "recv_ns",
    "book_age_ms",
    "valid",
)


class EpochRow(NamedTuple):
    """The newest epoch in short, for whoever shows it."""

    epoch: int
    best_bid: float | None
    best_ask: float | None
    bids: Buckets | None
    asks: Buckets | None
    valid: bool

    def fields(self) -> dict[str, Any]:
        """The columns of its row of `depth` that tell of the market, as they are stored."""
        fields: dict[str, Any] = {"best_bid": self.best_bid, "best_ask": self.best_ask, "price": None}
        if self.best_bid is not None and self.best_ask is not None:
            fields["price"] = (self.best_bid + self.best_ask) / 2
        for side, buckets in (("bid", self.bids), ("ask", self.asks)):
            fields[f"{side}_buckets"] = None if buckets is None else buckets.values
            fields[f"{side}_coverage"] = None if buckets is None else np.float32(buckets.coverage)
        return fields

    @property
    def bid_sum(self) -> float:
        """What the known buckets of the bids hold, in quote currency."""
        return _total(self.bids)

    @property
    def ask_sum(self) -> float:
        """What the known buckets of the asks hold, in quote currency."""
        return _total(self.asks)


class Standing(NamedTuple):
    """The book at one instant, and what its rows need to know besides. `in_step`: sound, connected and without gap."""

    book: Book | None
    last_id: int | None
    event_ms: int | None
    recv_ns: int | None
    in_step: bool

    def age_ns(self, at_ns: int) -> int | None:
        """Time since the last depth message; None before the first."""
        return None if self.recv_ns is None else at_ns - self.recv_ns

    def valid(self, at_ns: int, stale_after_ns: float) -> bool:
        """Whether the book can be trusted at `at_ns`, as far as was known then."""
        age_ns = self.age_ns(at_ns)
        return self.in_step and age_ns is not None and age_ns <= stale_after_ns


def crossed(book: Book) -> bool:
    """Whether the sides overlap, which shows a book to be wrong."""
    return book.best_bid is not None and book.best_ask is not None and book.best_bid >= book.best_ask


def standing(depth: Depth, *, sound: bool) -> Standing:
    """The book as it stands now; `sound`: connected, and in no gap."""
    book = depth.book
    in_step = sound and book is not None and book.known_to_its_best and not crossed(book)
    return Standing(book, depth.last_id, depth.event_ms, depth.last_recv_ns, in_step)


def best_prices(book: Book | None) -> tuple[float | None, float | None]:
    """Best bid and best ask in quote currency; None for a side that is empty or unknown."""
    if book is None:
        return None, None
    unit = float(10**book.price_places)
    return (
        None if book.best_bid is None else book.best_bid / unit,
        None if book.best_ask is None else book.best_ask / unit,
    )


class DepthRows:
    """Rows of epochs until they are drained. `latest` is the newest."""

    def __init__(self, grid: Grid, stale_after_ns: float) -> None:
        self.latest: EpochRow | None = None
        self._grid = grid
        self._stale_after_ns = stale_after_ns
        self._rows: list[tuple[Any, ...]] = []
        self._buckets: list[tuple[Buckets | None, Buckets | None]] = []

    def add(self, epochs: range, now: Standing) -> None:
        """One row for each of `epochs`, which ended without an input in between."""
        grid, book = self._grid, now.book
        bids, asks = (None, None) if book is None else (bid_buckets(book, grid), ask_buckets(book, grid))
        best_bid, best_ask = best_prices(book)
        mid = None if best_bid is None or best_ask is None else (best_bid + best_ask) / 2
        for epoch in epochs:
            age_ns = now.age_ns(epoch * SECOND_NS)
            valid = now.valid(epoch * SECOND_NS, self._stale_after_ns)
            self._rows.append(
                (
                    epoch,
                    best_bid,
                    best_ask,
                    mid,
                    grid.step,
                    grid.steps,
                    grid.reference,
                    None if bids is None else bids.coverage,
                    None if asks is None else asks.coverage,
                    now.last_id,
                    now.event_ms,
                    now.recv_ns,
                    None if age_ns is None else age_ns // 1_000_000,
                    valid,
                )
            )
            self._buckets.append((bids, asks))
            self.latest = EpochRow(epoch, best_bid, best_ask, bids, asks, valid)

    def drain(self) -> list[Batch]:
        """All rows since the last drain."""
        if not self._rows:
            return []
        columns = rows_batch("depth", _COLUMNS, self._rows).columns
        bids, asks = zip(*self._buckets, strict=True)
        self._rows, self._buckets = [], []
        return [Batch("depth", {**columns, "bid_buckets": _nested(bids), "ask_buckets": _nested(asks)})]


def _total(buckets: Buckets | None) -> float:
    if buckets is None:
        return 0.0
    values = buckets.values
    return float(values[~np.isnan(values)].sum(dtype=np.float64))


def _nested(sides: tuple[Buckets | None, ...]) -> Nested:
    counts = np.array([-1 if side is None else len(side.values) for side in sides], np.int32)
    values = [side.values for side in sides if side is not None]
    return Nested(counts, np.concatenate(values) if values else np.empty(0, np.float32))
