"""Books of which an exchange tells the best levels only, and takes back what leaves that window."""

from __future__ import annotations

from dataclasses import replace

from collector.core.book import WHOLE_CEILING, WHOLE_FLOOR, Book


def windowed(book: Book, levels: int | None) -> Book:
    """`book`, known down to its lowest bid and up to its highest ask.

    A side of fewer than `levels` is known whole; with None it never is, and an empty side is not known at all.
    """
    bids, asks = book.bids.price, book.asks.price
    floor, ceiling = WHOLE_FLOOR, WHOLE_CEILING
    if len(bids) >= (levels or 1):
        floor = int(bids[0])
    if len(asks) >= (levels or 1):
        ceiling = int(asks[-1])
    if (floor, ceiling) == (book.bid_floor, book.ask_ceiling):
        return book
    return replace(book, bid_floor=floor, ask_ceiling=ceiling)
