"""One side of an order book. Sides are immutable: a merge makes a new one, so that keeping an older one costs nothing.

A second changes a few hundred levels, four fifths of them within half a percent of the best price, and a side may hold
thousands. Merging into sorted arrays costs by the side's length. So a side that is long, and dense near its best price,
keeps the quantities there in a window, one place a tick, where a change is an assignment (`DeepSide`).
"""

from __future__ import annotations

import numpy as np

from collector.core.decimals import Ints

_BEST_LEVELS = 512
"""A side of twice as many levels gets a window, which covers at least twice the range of its best so many levels."""

_WINDOW_TICKS = 8192
"""The widest window. Wider ones cost more to copy than they save, and take memory."""

_WAITING_LEVELS = 4096
"""Changes beyond the window that wait, at most, to be merged together."""

_NONE = np.empty(0, np.int64)


class Side:
    """Levels in ascending order of price, each price once, quantities above zero; both in integer units."""

    __slots__ = ("_price", "_quantity")

    def __init__(self, price: Ints, quantity: Ints) -> None:
        self._price = price
        self._quantity = quantity

    @property
    def price(self) -> Ints:
        """All prices."""
        return self._price

    @property
    def quantity(self) -> Ints:
        """The quantity at each price."""
        return self._quantity

    def merge(self, price: Ints, quantity: Ints) -> Side:
        """The side after absolute quantities, in order of receipt: the last one of a price counts, zero removes it."""
        if not len(price):
            return self
        joined = np.concatenate((self._price, price))
        # Most of it is in order, which numpy's merge sort makes use of. Its sort by vector instructions does not, and
        # takes four times as long on processors whose AVX-512 stores are slow (AMD's).
        order = joined.argsort(kind="stable")
        # `take` costs half of what indexing with an array costs.
        prices = joined.take(order)
        quantities = np.concatenate((self._quantity, quantity)).take(order)
        keep = quantities != 0
        keep[:-1] &= prices[1:] != prices[:-1]
        kept = keep.nonzero()[0]
        return Side(prices.take(kept), quantities.take(kept))

    def near(self, levels: int) -> Side:
        """A part that holds the best `levels` levels, or all there are."""
        return self

    def around(self, low: int, high: int) -> Side:
        """A part that holds every level with low ≤ price ≤ high."""
        return self

    def between(self, low: int, high: int) -> Side:
        """The levels with low ≤ price ≤ high."""
        part = self.around(low, high)
        price = part.price
        span = slice(int(price.searchsorted(low, "left")), int(price.searchsorted(high, "right")))
        return Side(price[span], part.quantity[span])

    def scaled(self, price_factor: int, quantity_factor: int) -> Side:
        """The same side in smaller units."""
        return Side(self.price * price_factor, self.quantity * quantity_factor)


EMPTY = Side(_NONE, _NONE)


def merged(side: Side, price: Ints, quantity: Ints, *, best_last: bool) -> Side:
    """As `side.merge`, for a side that goes on changing; `best_last`: its best price is the highest."""
    after = side.merge(price, quantity)
    if isinstance(after, DeepSide) or len(after.price) < 2 * _BEST_LEVELS:
        return after
    return _deepened(after, best_last=best_last)


class DeepSide(Side):
    """A side whose best levels lie in a window.

    Place i of the window holds the quantity at price `low` + i, zero where there is no level. Its first and last place
    hold nothing that counts: changes beyond the window are written there. They are also kept as they came, and merged
    into the levels beyond, `far`, when many have come or somebody asks. No level is better than the window's range.
    """

    __slots__ = ("_best_last", "_far", "_low", "_near", "_waiting", "_waiting_levels", "_whole", "_window")

    def __init__(
        self,
        window: Ints,
        low: int,
        far: Side,
        waiting: tuple[tuple[Ints, Ints], ...],
        waiting_levels: int,
        *,
        best_last: bool,
    ) -> None:
        self._window = window
        self._low = low
        self._far = far
        self._waiting = waiting
        self._waiting_levels = waiting_levels
        self._best_last = best_last
        self._near: Side | None = None
        self._whole: Side | None = None

    @property
    def price(self) -> Ints:
        return self._all().price

    @property
    def quantity(self) -> Ints:
        return self._all().quantity

    def merge(self, price: Ints, quantity: Ints) -> Side:
        if not len(price):
            return self
        if self._is_better(price, quantity):
            return self._all().merge(price, quantity)
        window = self._window.copy()
        # In their order, so that the last quantity of a price stays.
        window.put(price - self._low, quantity, mode="clip")
        waiting = (*self._waiting, (price, quantity))
        levels = self._waiting_levels + len(price)
        after = DeepSide(window, self._low, self._far, waiting, levels, best_last=self._best_last)
        if levels > _WAITING_LEVELS:
            after._settle()
            if not after._centred():
                return after._all()
        return after

    def near(self, levels: int) -> Side:
        near = self._in_window()
        return near if len(near.price) >= levels else self._all()

    def around(self, low: int, high: int) -> Side:
        first, last = self._range()
        inside = low >= first if self._best_last else high <= last
        return self._in_window() if inside else self._all()

    def _range(self) -> tuple[int, int]:
        """The lowest and the highest price in the window."""
        return self._low + 1, self._low + len(self._window) - 2

    def _is_better(self, price: Ints, quantity: Ints) -> bool:
        """Whether one of these levels is better than the window's range."""
        first, last = self._range()
        if np.maximum.reduce(price) <= last if self._best_last else np.minimum.reduce(price) >= first:
            return False
        better = price > last if self._best_last else price < first
        return bool(quantity[better].any())  # what removes nothing is no level

    def _in_window(self) -> Side:
        if self._near is None:
            inner = self._window[1:-1]
            at = (inner != 0).nonzero()[0]
            quantity = inner.take(at)
            at += self._low + 1
            self._near = Side(at, quantity)
        return self._near

    def _all(self) -> Side:
        if self._whole is None:
            self._settle()
            near, far = self._in_window(), self._far
            parts = (far, near) if self._best_last else (near, far)
            self._whole = Side(
                np.concatenate([part.price for part in parts]), np.concatenate([part.quantity for part in parts])
            )
        return self._whole

    def _settle(self) -> None:
        """Merges what waits: the same side, in another form."""
        if not self._waiting:
            return
        price = np.concatenate([price for price, _ in self._waiting])
        quantity = np.concatenate([quantity for _, quantity in self._waiting])
        first, last = self._range()
        beyond = (price < first if self._best_last else price > last).nonzero()[0]
        self._far = self._far.merge(price.take(beyond), quantity.take(beyond))
        self._waiting, self._waiting_levels = (), 0

    def _centred(self) -> bool:
        """Whether the best price is where a new window would have it, more or less."""
        price = self._in_window().price
        if not len(price):
            return False
        size = len(self._window)
        best = int(price[-1] if self._best_last else price[0]) - self._low
        depth = best if self._best_last else size - best
        return 2 * depth > size


def _deepened(side: Side, *, best_last: bool) -> Side:
    """The same side with a window; without one where prices are too sparse for it."""
    price, quantity = side.price, side.quantity
    best, reach = (int(price[at]) for at in ((-1, -_BEST_LEVELS) if best_last else (0, _BEST_LEVELS - 1)))
    size = 1 << (2 * abs(best - reach)).bit_length()
    if size > _WINDOW_TICKS:
        return side
    # A quarter of the window is for prices that become better.
    low = best - size * 3 // 4 if best_last else best - size // 4
    if best_last:
        beyond = int(price.searchsorted(low + 1))
        inside, outside = slice(beyond, None), slice(None, beyond)
    else:
        beyond = int(price.searchsorted(low + size - 1))
        inside, outside = slice(None, beyond), slice(beyond, None)
    window = np.zeros(size, np.int64)
    window[price[inside] - low] = quantity[inside]
    return DeepSide(window, low, Side(price[outside], quantity[outside]), (), 0, best_last=best_last)
