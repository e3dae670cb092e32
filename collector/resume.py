"""Where a market's streams ended, by the store alone: for a start without the journal that would know better."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.audit.gaps import read_gaps
from collector.core.inputs import Resume
from collector.core.sequencer import Position

if TYPE_CHECKING:
    from storage_backends.interface import Backend, Market

_TABLES = {
    "depth": "diffs",
    "trades": "trades",
    "raw_trades": "raw_trades",
    "book_ticker": "book_ticker",
    "mark_price": "mark_price",
    "liquidations": "liquidations",
}
"""Streams, and the tables whose first key is their id, or their time. Klines and partial books of several kinds share a
table, so nothing tells where each of them ended."""


def resume_from_store(backend: Backend, market: Market) -> Resume | None:
    """What is stored of `market` as a session's beginning, from metadata and the gaps; None when nothing is stored.

    What a lost journal held beyond that is lost, and lies in the gap that the new session begins with.

    Raises:
        BackendError: the store cannot be read.
    """
    positions: dict[str, Position] = {}
    for stream, table in _TABLES.items():
        stats = backend.stats(table, market)
        if isinstance(stats.last_key, int) and stats.last_ns is not None:
            positions[stream] = Position(stats.last_key, stats.last_ns, stats.last_ns // 1_000_000)
    last_epoch = backend.stats("depth", market).last_key
    if not positions and not isinstance(last_epoch, int):
        return None
    open_gaps = {gap.stream: gap for gap in read_gaps(backend, market) if gap.to_ns is None}
    last_ns = max((position.recv_ns for position in positions.values()), default=0)
    return Resume(positions, open_gaps, last_epoch if isinstance(last_epoch, int) else None, last_ns)
