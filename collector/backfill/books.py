"""Books that REST was asked for, as rows of `polled_books` and `multitick`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from collector.backfill.rows import BadAnswer
from collector.core.anchors import Request, parse_anchor
from collector.core.batch import Batch, Column
from collector.core.decimals import BadNumber, Decimals
from collector.core.decode import Undecodable, event_time_ms
from collector.core.diffs import level_columns
from collector.core.flow import EpochFlow, Liquidations, Quotes, Trades
from collector.journal.arrow import to_arrow

if TYPE_CHECKING:
    import pyarrow as pa

    from collector.core.book import Book
    from collector.core.multitick import MultiTick
    from collector.sources.transport import RestResponse


def polled_book(response: RestResponse, requested_ns: int, limit: int) -> tuple[Book, pa.Table]:
    """The book in a REST answer, and its row of `polled_books`.

    Raises:
        BadAnswer: it is no book, or holds numbers that cannot be exact.
    """
    try:
        request = Request(requested_ns, "poll", limit)
        anchor = parse_anchor(response.recv_ns, request, response.body, Decimals(), Decimals())
    except (Undecodable, BadNumber) as error:
        raise BadAnswer(f"the exchange's answer holds no book: {error}") from error
    rest, book = anchor.rest, anchor.book
    columns: dict[str, Column] = {
        "last_update_id": [rest.lastUpdateId],
        "limit": [limit],
        **level_columns(anchor.bids, anchor.asks, book.price_places, book.quantity_places),
        "event_time": [None if rest.E is None else event_time_ms(rest.E)],
        "transact_time": [None if rest.T is None else event_time_ms(rest.T)],
        "request_ns": [requested_ns],
        "recv_ns": [response.recv_ns],
    }
    return book, to_arrow([Batch("polled_books", columns)])


def tick_rows(levels: MultiTick, book: Book, recv_ns: int) -> pa.Table:
    """The rows of `multitick` of a book received at `recv_ns`: those of the epoch that ends next."""
    ints, floats, flags = np.empty(0, np.int64), np.empty(0, np.float64), np.empty(0, np.bool_)
    flow = EpochFlow(
        epoch=recv_ns // 1_000_000_000 + 1,
        book=book,
        book_recv_ns=recv_ns,
        valid=True,
        event_ms=None,
        trades=Trades(ints, ints, floats, floats, flags, ints, ints, ints),
        quotes=Quotes(ints, ints, floats, floats, floats, floats),
        mark=None,
        liquidations=Liquidations(ints, ints, flags, floats, floats),
        in_gap=frozenset(),
    )
    return to_arrow(levels.take(flow))
