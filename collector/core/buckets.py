"""Log-delta depth buckets: quote currency resting at each log-distance from a reference price.

Definition (DESIGN section 5, after the published collector whose tables users already have): per side, the reference
is that side's own best price (or the mid, by option); index = floor(|ln p - ln reference| / step); the value is the
sum of price * quantity over the levels of that index. Sums are made in integers, so their order does not matter.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate
from math import log
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from collector.core.book import WHOLE_CEILING, WHOLE_FLOOR, Book
from collector.core.side import Side

Reference = Literal["best", "mid"]


class Grid(NamedTuple):
    """`steps` buckets of log-width `step` a side, measured from `reference`."""

    step: float
    steps: int
    reference: Reference


class Buckets(NamedTuple):
    """Float32 values in quote currency, NaN where a bucket reaches beyond the known book; coverage within [0, 1]."""

    values: NDArray[np.float32]
    coverage: float


@lru_cache(maxsize=8)
def _ratios(step: float, steps: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    edges = np.arange(steps + 1) * step
    return np.exp(-edges), np.exp(edges)


def bid_buckets(book: Book, grid: Grid) -> Buckets | None:
    """Buckets of the bids; None without a reference price."""
    reference = _reference(book, grid, book.best_bid)
    if reference is None:
        return None
    edges = (reference * _ratios(grid.step, grid.steps)[0]).astype(np.int64)  # rounded down; they fall
    side = book.bids.around(int(edges[-1]), int(edges[0]))
    totals = _totals(side, side.price.searchsorted(edges, "right"))  # of the levels at or below each edge
    values = _quote(totals[:-1] - totals[1:], book)
    if edges[-1] + 1 < book.bid_floor:
        values[edges[1:] + 1 < book.bid_floor] = np.nan
    known = 1.0 if book.bid_floor <= WHOLE_FLOOR else log(reference / book.bid_floor) / (grid.step * grid.steps)
    return Buckets(values, min(1.0, max(0.0, known)))


def ask_buckets(book: Book, grid: Grid) -> Buckets | None:
    """Buckets of the asks; None without a reference price."""
    reference = _reference(book, grid, book.best_ask)
    if reference is None:
        return None
    reach = np.minimum(reference * _ratios(grid.step, grid.steps)[1], float(WHOLE_CEILING))
    edges = np.ceil(reach).astype(np.int64)  # they rise
    side = book.asks.around(int(edges[0]), int(edges[-1]))
    totals = _totals(side, side.price.searchsorted(edges, "left"))  # of the levels below each edge
    values = _quote(totals[1:] - totals[:-1], book)
    if edges[-1] - 1 > book.ask_ceiling:
        values[edges[1:] - 1 > book.ask_ceiling] = np.nan
    known = log(max(book.ask_ceiling, 1) / reference) / (grid.step * grid.steps)
    return Buckets(values, min(1.0, max(0.0, known)))


def _reference(book: Book, grid: Grid, best: int | None) -> float | None:
    """The price to measure from; None where a side is empty, or its price has no logarithm."""
    if best is None or grid.reference == "best":
        return best or None
    bid, ask = book.best_bid, book.best_ask
    return None if bid is None or ask is None else (bid + ask) / 2 or None


def _totals(side: Side, ends: NDArray[np.intp]) -> NDArray[Any]:
    """Exact sums of price * quantity over the levels up to each of `ends`, which rise or fall, less one constant."""
    low, high = sorted((int(ends[0]), int(ends[-1])))
    price, quantity = side.price[low:high], side.quantity[low:high]
    if low == high or int(price[-1]) * int(np.maximum.reduce(quantity)) * (high - low) < 2**63:
        totals: NDArray[Any] = np.zeros(high - low + 1, np.int64)
        np.add.accumulate(price * quantity, out=totals[1:])
    else:
        wide = accumulate((p * q for p, q in zip(price.tolist(), quantity.tolist(), strict=True)), initial=0)
        totals = np.array(list(wide), object)  # integers of any size
    return totals.take(ends - low)


def _quote(sums: NDArray[Any], book: Book) -> NDArray[np.float32]:
    unit = float(10 ** (book.price_places + book.quantity_places))
    values: NDArray[np.float32] = np.divide(sums, unit).astype(np.float32)
    return values
