"""An exact order book in integers, which knows how deep it is known."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from collector.core.decimals import Ints
from collector.core.side import Side, merged

WHOLE_FLOOR = 0
WHOLE_CEILING = 2**62
"""Bounds of a side that is known to its end: the exchange had fewer levels than were asked for."""


class Change(NamedTuple):
    """Levels that diffs set, in order of receipt."""

    bid_price: Ints
    bid_quantity: Ints
    ask_price: Ints
    ask_quantity: Ints


@dataclass(frozen=True, slots=True)
class Book:
    """Both sides after update `last_id`. Bids from `bid_floor` up and asks up to `ask_ceiling` are all known;
    beyond, only levels that changed since the anchor are.

    Attributes:
        best_bid, best_ask: highest bid and lowest ask in price units; None when the side is empty.
    """

    bids: Side
    asks: Side
    bid_floor: int
    ask_ceiling: int
    last_id: int
    price_places: int
    quantity_places: int
    best_bid: int | None = field(init=False)
    best_ask: int | None = field(init=False)

    def __post_init__(self) -> None:
        bids, asks = self.bids.near(1).price, self.asks.near(1).price
        object.__setattr__(self, "best_bid", int(bids[-1]) if len(bids) else None)
        object.__setattr__(self, "best_ask", int(asks[0]) if len(asks) else None)

    def apply(self, change: Change, last_id: int) -> Book:
        """The book after `change`, whose last update is `last_id`."""
        return Book(
            merged(self.bids, change.bid_price, change.bid_quantity, best_last=True),
            merged(self.asks, change.ask_price, change.ask_quantity, best_last=False),
            self.bid_floor,
            self.ask_ceiling,
            last_id,
            self.price_places,
            self.quantity_places,
        )

    def at_places(self, price_places: int, quantity_places: int) -> Book:
        """The same book in units of 10**-places; places only grow."""
        if (price_places, quantity_places) == (self.price_places, self.quantity_places):
            return self
        price_factor = 10 ** (price_places - self.price_places)
        quantity_factor = 10 ** (quantity_places - self.quantity_places)
        return Book(
            self.bids.scaled(price_factor, quantity_factor),
            self.asks.scaled(price_factor, quantity_factor),
            self.bid_floor * price_factor,
            self.ask_ceiling if self.ask_ceiling == WHOLE_CEILING else self.ask_ceiling * price_factor,
            self.last_id,
            price_places,
            quantity_places,
        )

    @property
    def known_to_its_best(self) -> bool:
        """Whether best bid and best ask lie within what is known; beyond it a better one may rest unseen."""
        bid, ask = self.best_bid, self.best_ask
        return (self.bid_floor == WHOLE_FLOOR or (bid is not None and bid >= self.bid_floor)) and (
            self.ask_ceiling == WHOLE_CEILING or (ask is not None and ask <= self.ask_ceiling)
        )

    def widened(self, anchor: Book) -> Book:
        """This book plus the anchor's levels beyond what was known here, for two books at the same update.

        Known ranges that do not touch leave a hole between them, so then the anchor's range alone is known.
        """
        bids_touch = len(anchor.bids.price) == 0 or self.bid_floor <= int(anchor.bids.price[-1])
        asks_touch = len(anchor.asks.price) == 0 or self.ask_ceiling >= int(anchor.asks.price[0])
        if not (bids_touch and asks_touch):
            return anchor
        more_bids = anchor.bids.between(anchor.bid_floor, self.bid_floor - 1)
        more_asks = anchor.asks.between(self.ask_ceiling + 1, anchor.ask_ceiling)
        return replace(
            self,
            bids=self.bids.merge(more_bids.price, more_bids.quantity),
            asks=self.asks.merge(more_asks.price, more_asks.quantity),
            bid_floor=min(self.bid_floor, anchor.bid_floor),
            ask_ceiling=max(self.ask_ceiling, anchor.ask_ceiling),
        )


def compare(ours: Book, anchor: Book, touched: Change) -> tuple[int, int]:
    """Levels compared and levels that differ, over the range known to both, without the levels in `touched`.

    Both books stand at the anchor's update, except for the one diff that straddles it: its levels (`touched`) may be
    in the anchor already or not yet.
    """
    low = max(ours.bid_floor, anchor.bid_floor)
    high = min(ours.ask_ceiling, anchor.ask_ceiling)
    bids = _differing(ours.bids.between(low, WHOLE_CEILING), anchor.bids.between(low, WHOLE_CEILING), touched.bid_price)
    asks = _differing(ours.asks.between(WHOLE_FLOOR, high), anchor.asks.between(WHOLE_FLOOR, high), touched.ask_price)
    return bids[0] + asks[0], bids[1] + asks[1]


def _differing(ours: Side, theirs: Side, excluded: Ints) -> tuple[int, int]:
    if len(excluded):
        ours = _without(ours, excluded)
        theirs = _without(theirs, excluded)
    _, at_ours, at_theirs = np.intersect1d(ours.price, theirs.price, assume_unique=True, return_indices=True)
    compared = len(ours.price) + len(theirs.price) - len(at_ours)
    same = int((ours.quantity[at_ours] == theirs.quantity[at_theirs]).sum())
    return compared, compared - same


def _without(side: Side, excluded: Ints) -> Side:
    keep = np.isin(side.price, excluded, invert=True)
    return Side(side.price[keep], side.quantity[keep])
