"""Depth diffs of one second or so, parsed together: rows for the store and changes for the book."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from copy import copy

import msgspec
import numpy as np
from numpy.typing import NDArray

from collector.core.batch import Batch, Fixed, Nested
from collector.core.book import Change
from collector.core.decimals import Decimals, Levels, parse_levels
from collector.core.decode import DepthUpdate, event_time_ms


class DiffEntry(msgspec.Struct, frozen=True, gc=False):
    """A depth message that waits to be parsed, with the update it follows on and the frame it came in."""

    recv_ns: int
    connection: int
    link: int
    message: DepthUpdate
    text: str | bytes


class DiffChunk:
    """Consecutive diffs: message i takes the book from `links[i]` to `ids[i]`."""

    def __init__(self, entries: Sequence[DiffEntry], price: Decimals, quantity: Decimals) -> None:
        """Parses all levels of `entries`.

        Raises:
            BadNumber: one of the messages has levels that cannot be kept exactly.
        """
        messages = [entry.message for entry in entries]
        self.bids, self.asks = parse_levels([m.b for m in messages], [m.a for m in messages], price, quantity)
        self.links = [entry.link for entry in entries]
        self.ids = [m.u for m in messages]
        self.recv_ns = [entry.recv_ns for entry in entries]
        self.price_places = price.places or 0
        self.quantity_places = quantity.places or 0

    def after(self, update_id: int) -> int:
        """Index of the first message beyond `update_id`."""
        return bisect_right(self.ids, update_id)

    def rest(self, start: int) -> DiffChunk:
        """The messages from `start` on."""
        if start == 0:
            return self
        rest = copy(self)
        rest.bids, rest.asks = _tail(self.bids, start), _tail(self.asks, start)
        rest.links, rest.ids, rest.recv_ns = self.links[start:], self.ids[start:], self.recv_ns[start:]
        return rest

    def change(self, start: int, stop: int, price: Decimals, quantity: Decimals) -> Change:
        """What messages start…stop-1 set, in the units of `price` and `quantity`, which may be finer by now."""
        price_factor = 10 ** ((price.places or 0) - self.price_places)
        quantity_factor = 10 ** ((quantity.places or 0) - self.quantity_places)
        bids, asks = _span(self.bids.counts, start, stop), _span(self.asks.counts, start, stop)
        parts = (self.bids.price[bids], self.bids.quantity[bids], self.asks.price[asks], self.asks.quantity[asks])
        if price_factor == quantity_factor == 1:
            return Change(*parts)
        return Change(
            parts[0] * price_factor, parts[1] * quantity_factor, parts[2] * price_factor, parts[3] * quantity_factor
        )


def _span(counts: NDArray[np.int32], start: int, stop: int) -> slice:
    if start == 0 and stop == len(counts):
        return slice(None)
    return slice(int(counts[:start].sum()), int(counts[:stop].sum()))


def _tail(levels: Levels, start: int) -> Levels:
    skipped = int(levels.counts[:start].sum())
    return Levels(levels.counts[start:], levels.price[skipped:], levels.quantity[skipped:])


def diff_batch(entries: Sequence[DiffEntry], chunk: DiffChunk, *, futures: bool) -> Batch:
    """Rows of table `diffs`."""
    messages = [entry.message for entry in entries]
    return Batch(
        "diffs",
        {
            "first_id": [m.U for m in messages],
            "last_id": chunk.ids,
            "prev_id": chunk.links if futures else [None] * len(entries),
            "event_time": [event_time_ms(m.E) for m in messages],
            "transact_time": [None if m.T is None else event_time_ms(m.T) for m in messages],
            "recv_ns": chunk.recv_ns,
            "connection": [entry.connection for entry in entries],
            **level_columns(chunk.bids, chunk.asks, chunk.price_places, chunk.quantity_places),
        },
    )


def level_columns(bids: Levels, asks: Levels, price_places: int, quantity_places: int) -> dict[str, Nested]:
    """The four list columns that `diffs` and `snapshots` share."""
    return {
        "bid_price": Nested(bids.counts, Fixed(bids.price, price_places)),
        "bid_quantity": Nested(bids.counts, Fixed(bids.quantity, quantity_places)),
        "ask_price": Nested(asks.counts, Fixed(asks.price, price_places)),
        "ask_quantity": Nested(asks.counts, Fixed(asks.quantity, quantity_places)),
    }
