"""REST snapshots: decoded, as a book of known depth, as a row of `snapshots`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from collector.core.batch import Batch
from collector.core.book import WHOLE_CEILING, WHOLE_FLOOR, Book
from collector.core.decimals import BadNumber, Decimals, Ints, Levels, all_or_none, parse_levels
from collector.core.decode import RestBook, decode_rest_book, event_time_ms
from collector.core.diffs import level_columns
from collector.core.side import EMPTY


class Request(NamedTuple):
    """What is known of how a snapshot was asked for. `limit` None: a capture that does not say."""

    requested_ns: int
    reason: str
    limit: int | None


class Anchor(NamedTuple):
    """A snapshot as received and as a book."""

    recv_ns: int
    request: Request
    rest: RestBook
    bids: Levels
    asks: Levels
    book: Book

    @property
    def update_id(self) -> int:
        """The last update that the snapshot includes."""
        return self.rest.lastUpdateId


def parse_anchor(recv_ns: int, request: Request, text: bytes, price: Decimals, quantity: Decimals) -> Anchor:
    """The anchor in a REST response.

    Raises:
        Undecodable: not a snapshot.
        BadNumber: levels that cannot be kept exactly, or a book whose sides overlap.
    """
    return anchor_of(recv_ns, request, decode_rest_book(text), price, quantity)


def anchor_of(recv_ns: int, request: Request, rest: RestBook, price: Decimals, quantity: Decimals) -> Anchor:
    """The anchor in a decoded snapshot.

    Raises:
        BadNumber: levels that cannot be kept exactly, or a book whose sides overlap.
    """
    with all_or_none(price, quantity):
        bids, asks = parse_levels([rest.bids], [rest.asks], price, quantity)
        bid_side = EMPTY.merge(bids.price, bids.quantity)
        ask_side = EMPTY.merge(asks.price, asks.quantity)
        if len(bid_side.price) and len(ask_side.price) and bid_side.price[-1] >= ask_side.price[0]:
            raise BadNumber("best bid at or above best ask")
    limit = _limit(request, bids, asks)
    book = Book(
        bid_side,
        ask_side,
        known_floor(bids.price, limit),
        known_ceiling(asks.price, limit),
        rest.lastUpdateId,
        price.places or 0,
        quantity.places or 0,
    )
    return Anchor(recv_ns, request, rest, bids, asks, book)


def known_floor(bids: Ints, limit: int) -> int:
    """The lowest price from which on all bids of a snapshot of `limit` levels a side are known."""
    return WHOLE_FLOOR if len(bids) == 0 or len(bids) < limit else int(bids.min())


def known_ceiling(asks: Ints, limit: int) -> int:
    """The highest price up to which all asks of a snapshot of `limit` levels a side are known."""
    return WHOLE_CEILING if len(asks) == 0 or len(asks) < limit else int(asks.max())


def _limit(request: Request, bids: Levels, asks: Levels) -> int:
    """The levels a side that were asked for; at least as many as came, where a capture does not say."""
    return request.limit or max(len(bids.price), len(asks.price))


def snapshot_batch(anchor: Anchor, compared: int | None, differing: int | None) -> Batch:
    """One row of table `snapshots`."""
    rest = anchor.rest
    levels = level_columns(anchor.bids, anchor.asks, anchor.book.price_places, anchor.book.quantity_places)
    return Batch(
        "snapshots",
        {
            "last_update_id": np.array([rest.lastUpdateId], np.int64),
            **levels,
            "event_time": [None if rest.E is None else event_time_ms(rest.E)],
            "transact_time": [None if rest.T is None else event_time_ms(rest.T)],
            "request_ns": [anchor.request.requested_ns],
            "recv_ns": [anchor.recv_ns],
            "limit": [_limit(anchor.request, anchor.bids, anchor.asks)],
            "reason": [anchor.request.reason],
            "compared_levels": [compared],
            "differing_levels": [differing],
        },
    )
