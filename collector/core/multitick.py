"""The book in price levels of several widths, once an epoch.

Bids are rounded down to a multiple of the tick and asks up, so that no level is better than what rests in it; older
collectors rounded both down (`ask_rounding="floor"`), which puts a bid and an ask of 90,007.5 and 90,007.6 both at
90,000. A level is one in which something rests; the best `num_levels` of each side are given, fewer where the book is
known no deeper: a level that reaches beyond what is known is left out, and the coverage says how much of the range of
`num_levels` ticks is known. Quantities and notionals are sums of integers: exact, and independent of order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import accumulate
from math import floor, log10
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from collector.core.batch import Batch, Nested
from collector.core.book import WHOLE_CEILING, WHOLE_FLOOR, Book
from collector.core.decimals import Ints
from collector.core.depth_rows import best_prices
from collector.core.flow import EpochFlow
from collector.core.records import rows_batch
from collector.core.side import Side

AskRounding = Literal["ceil", "floor"]

DEFAULT_STEPS: Final = (1, 5, 10, 50, 100)
"""Default ticks are these times a thousandth of the price's decade: 10, 50, 100, 500 and 1000 for BTC at 60,000."""

_PLAIN = (
    "epoch",
    "tick",
    "best_bid",
    "best_ask",
    "spread",
    "spread_pct",
    "imbalance",
    "depth_ratio",
    "bid_coverage",
    "ask_coverage",
    "num_levels",
    "ask_rounding",
    "recv_ns",
    "valid",
)
_LISTS = tuple(
    f"{side}_{name}" for side in ("bid", "ask") for name in ("price", "quantity", "cum_quantity", "cum_notional")
)


def default_ticks(price: float) -> tuple[str, ...]:
    """Ticks that suit a market of this price."""
    unit = Decimal(10) ** (floor(log10(price)) - 3)
    return tuple(f"{(step * unit).normalize():f}" for step in DEFAULT_STEPS)


class Ladder(NamedTuple):
    """One side in levels, best first; prices and sums as float64, and the part of the wanted range that is known."""

    price: list[float]
    quantity: list[float]
    cum_quantity: list[float]
    cum_notional: list[float]
    coverage: float | None

    @property
    def total(self) -> float:
        """Base currency in all of these levels."""
        return self.cum_quantity[-1] if self.cum_quantity else 0.0


_EMPTY = Ladder([], [], [], [], None)


def bid_ladder(book: Book, tick: Decimal, levels: int) -> Ladder:
    """The bids in the best `levels` levels of width `tick`."""
    return _ladder(book, book.bids, tick, levels, sign=-1, up=False)


def ask_ladder(book: Book, tick: Decimal, levels: int, rounding: AskRounding = "ceil") -> Ladder:
    """The asks in the best `levels` levels of width `tick`."""
    return _ladder(book, book.asks, tick, levels, sign=1, up=rounding == "ceil")


def _ladder(book: Book, side: Side, tick: Decimal, levels: int, *, sign: int, up: bool) -> Ladder:
    if not len(side.price):
        return _EMPTY
    width, scale = _in_units(tick, book.price_places)
    best = int(side.price[-1 if sign < 0 else 0]) * scale
    # The range of `levels` levels side by side, from the best price to the far edge of the last one.
    first = -(-best // width) if up else best // width
    if sign < 0:
        edge = (first - levels + 1) * width
        limit = book.bid_floor * scale
        known = 1.0 if book.bid_floor == WHOLE_FLOOR else _part(best - limit, best - max(edge, 0))
        lowest_whole = -(-limit // width)  # the first level that is known to its far edge
        side = side.between(-(-lowest_whole * width // scale), WHOLE_CEILING)
    else:
        edge = (first + levels - 1) * width if up else (first + levels) * width
        limit = book.ask_ceiling * scale
        known = 1.0 if book.ask_ceiling == WHOLE_CEILING else _part(limit - best, edge - best)
        if book.ask_ceiling != WHOLE_CEILING:
            # Rounded up, a level ends at its price; rounded down, right before the next one.
            last = limit // width * width if up else (limit + scale) // width * width - 1
            side = side.between(WHOLE_FLOOR, last // scale)
    price, quantity = (side.price[::-1], side.quantity[::-1]) if sign < 0 else (side.price, side.quantity)
    if not len(price):
        return _EMPTY._replace(coverage=known)
    index = _index(price, width, scale, up)
    starts = np.concatenate(([0], np.flatnonzero(index[1:] != index[:-1]) + 1, [len(index)]))[: levels + 1]
    price, quantity = price[: starts[-1]], quantity[: starts[-1]]
    sums = _sums(quantity, starts)
    notionals = _sums(_products(price, quantity), starts)
    lots, money = 10**book.quantity_places, 10 ** (book.price_places + book.quantity_places)
    numerator, denominator = tick.as_integer_ratio()
    return Ladder(
        [int(index[at]) * numerator / denominator for at in starts[:-1]],
        [one / lots for one in sums],
        [one / lots for one in accumulate(sums)],
        [one / money for one in accumulate(notionals)],
        known,
    )


def _in_units(tick: Decimal, places: int) -> tuple[int, int]:
    """`tick` in units of 10**-places / scale, and that scale: more than 1 where a tick is finer than the prices."""
    exponent = tick.as_tuple().exponent
    assert isinstance(exponent, int)
    scale = 10 ** max(0, -exponent - places)
    return int(tick.scaleb(places) * scale), scale


def _index(price: Ints, width: int, scale: int, up: bool) -> Ints:
    if scale > 1 and int(price.max()) * scale >= 2**62:
        return np.array([-(-one * scale // width) if up else one * scale // width for one in price.tolist()], object)
    scaled = price * scale
    return -(-scaled // width) if up else scaled // width


def _part(known: int, wanted: int) -> float:
    return min(1.0, max(0.0, known / wanted)) if wanted > 0 else 1.0


def _products(price: Ints, quantity: Ints) -> Any:
    if int(price.max()) * int(quantity.max()) * len(price) < 2**63:
        return price * quantity
    return price.astype(object) * quantity.astype(object)  # integers of any size


def _sums(values: Any, starts: Any) -> list[int]:
    """Sums of the runs that begin at `starts`, as integers of any size."""
    if values.dtype != object and int(values.max()) * len(values) >= 2**63:
        values = values.astype(object)
    return [int(one) for one in np.add.reduceat(values, starts[:-1]).tolist()]


class MultiTick:
    """Makes rows of table `multitick`: one an epoch and tick; an `EpochConsumer`."""

    def __init__(self, ticks: Sequence[str], levels: int, rounding: AskRounding) -> None:
        """
        Args:
            ticks: in quote currency, as plain decimals; none lets the first known price decide.

        Raises:
            ValueError: a tick that is no number above 0.
        """
        self._ticks = tuple(_tick(text) for text in ticks)
        self._levels = levels
        self._rounding: AskRounding = rounding

    def take(self, flow: EpochFlow) -> Iterable[Batch]:
        """The rows of one epoch; none before ticks are known."""
        best_bid, best_ask = best_prices(flow.book)
        if not self._ticks and best_bid:
            self._ticks = tuple(_tick(text) for text in default_ticks(best_bid))
        if not self._ticks:
            return
        rows, lists = [], []
        for tick in self._ticks:
            bids = asks = _EMPTY
            if flow.book is not None:
                bids = bid_ladder(flow.book, tick, self._levels)
                asks = ask_ladder(flow.book, tick, self._levels, self._rounding)
            rows.append(self._row(flow, tick, best_bid, best_ask, bids, asks))
            lists.append((*bids[:4], *asks[:4]))
        columns = rows_batch("multitick", _PLAIN, rows).columns
        for name, values in zip(_LISTS, zip(*lists, strict=True), strict=True):
            columns[name] = _nested(values)
        yield Batch("multitick", columns)

    def _row(
        self, flow: EpochFlow, tick: Decimal, bid: float | None, ask: float | None, bids: Ladder, asks: Ladder
    ) -> tuple[Any, ...]:
        spread = percent = None
        if bid is not None and ask is not None:
            spread, percent = _spread(flow.book, bid, ask)
        imbalance = ratio = None
        if bids.price and asks.price:  # else one side is unknown, and the other one says nothing about both
            imbalance = (bids.total - asks.total) / (bids.total + asks.total)
            ratio = bids.total / asks.total
        quality = (bids.coverage, asks.coverage, self._levels, self._rounding, flow.book_recv_ns, flow.valid)
        return (flow.epoch, float(tick), bid, ask, spread, percent, imbalance, ratio, *quality)


def _tick(text: str) -> Decimal:
    tick = Decimal(text)
    if not (tick.is_finite() and tick > 0):
        raise ValueError(f"{text!r} is no tick; give a number above 0")
    return tick.normalize()


def _spread(book: Book | None, bid: float, ask: float) -> tuple[float, float]:
    """Spread in quote currency and in percent of the middle; exact before it is a float64."""
    assert book is not None
    assert book.best_bid is not None
    assert book.best_ask is not None
    spread = (book.best_ask - book.best_bid) / 10**book.price_places
    return spread, 100 * spread / ((bid + ask) / 2)


def _nested(rows: Sequence[list[float]]) -> Nested:
    counts = np.array([len(row) for row in rows], np.int32)
    return Nested(counts, np.array([one for row in rows for one in row], np.float64))


def wide(row: Mapping[str, Any], symbol: str) -> Iterator[tuple[str, Any]]:
    """A row of table `multitick` as the wide columns that older collectors wrote: 129 of them at 15 levels.

    They are `timestamp` (ms), `symbol`, `tick_size`, `best_bid`, `best_ask`, `spread`, `spread_pct`, `imbalance`,
    `depth_ratio`, and for each side and level n, from 1, `bid_price_n`, `bid_qty_n`, `bid_cum_qty_n`, `bid_cum_usd_n`.
    What is not known is NaN. Make a dict of it: `dict(wide(row, "BTCUSDT"))`.
    """
    yield from (("timestamp", row["epoch"] * 1000), ("symbol", symbol), ("tick_size", row["tick"]))
    for name in ("best_bid", "best_ask", "spread", "spread_pct", "imbalance", "depth_ratio"):
        yield name, float("nan") if row[name] is None else row[name]
    names = (("price", "price"), ("qty", "quantity"), ("cum_qty", "cum_quantity"), ("cum_usd", "cum_notional"))
    for side in ("bid", "ask"):
        for level in range(row["num_levels"]):
            for short, name in names:
                values = row[f"{side}_{name}"]
                yield f"{side}_{short}_{level + 1}", values[level] if level < len(values) else float("nan")
