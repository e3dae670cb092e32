"""A rebuilt book as people and programs read it: best first, as far as it is known."""

from __future__ import annotations

from typing import Any

from collector.audit.instant import KnownBook
from collector.core.book import WHOLE_CEILING, WHOLE_FLOOR
from collector.core.side import Side


def ladder(known: KnownBook, depth: int) -> dict[str, Any]:
    """`bids` and `asks` as [price, quantity], `depth` a side at most, and how far the book is known."""
    book = known.book
    price_unit, quantity_unit = float(10**book.price_places), float(10**book.quantity_places)

    def levels(side: Side, *, best_last: bool) -> list[list[float]]:
        chosen = slice(-depth, None) if best_last else slice(None, depth)
        prices = (side.price[chosen] / price_unit).tolist()
        quantities = (side.quantity[chosen] / quantity_unit).tolist()
        found = [list(pair) for pair in zip(prices, quantities, strict=True)]
        return found[::-1] if best_last else found

    return {
        "last_update_id": book.last_id,
        "recv_ns": known.recv_ns,
        "anchor_update_id": known.anchor_id,
        "known_from": book.bid_floor / price_unit,
        "known_to": None if book.ask_ceiling == WHOLE_CEILING else book.ask_ceiling / price_unit,
        "bids": levels(book.bids.between(book.bid_floor, WHOLE_CEILING), best_last=True),
        "asks": levels(book.asks.between(WHOLE_FLOOR, book.ask_ceiling), best_last=False),
    }
