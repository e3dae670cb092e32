"""Where a market's streams ended, by the store alone: for a start without the journal that would know better."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.audit.gaps import read_gaps
from collector.core.inputs import Resume
from collector.core.sequencer import Position
from storage_backends.reading import ends

if TYPE_CHECKING:
    from storage_backends.interface import Backend, Market

_TABLES = {"depth": "diffs", "trades": "trades", "raw_trades": "raw_trades", "book_ticker": "book_ticker"}
"""Streams, and the tables whose first key is their id."""


def resume_from_store(backend: Backend, market: Market) -> Resume | None:
    """What is stored of `market` as a session's beginning, from metadata and the gaps; None when nothing is stored.

    What a lost journal held beyond that is lost, and lies in the gap that the new session begins with.

    Raises:
        BackendError: the store cannot be read.
    """
    positions: dict[str, Position] = {}
    for stream, table in _TABLES.items():
        last_key, last_ns = ends(backend, table, market)
        if isinstance(last_key, int) and last_ns is not None:
            positions[stream] = Position(last_key, last_ns, last_ns // 1_000_000)
    last_epoch, _ = ends(backend, "depth", market)
    if not positions and not isinstance(last_epoch, int):
        return None
    open_gaps = {gap.stream: gap for gap in read_gaps(backend, market) if gap.to_ns is None}
    newest_ns = max((position.recv_ns for position in positions.values()), default=0)
    return Resume(positions, open_gaps, last_epoch if isinstance(last_epoch, int) else None, newest_ns)
