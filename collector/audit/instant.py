"""The book at an instant, from the nearest anchor before it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np

from collector.audit.gaps import read_gaps, recounts
from collector.audit.rebuild import StoredAnchor, StoredDiff, Units, read_anchors, read_diffs, rebuild
from collector.core.book import Book, Change
from collector.core.gaps import Gap
from storage_backends.interface import Backend, Market

_NEAR_NS = 3600 * 1_000_000_000
_AT_ONCE = 256
_CLOCKS_NS = 60 * 1_000_000_000
"""How far the exchange's clock, which diffs are filed by, may stand from ours, which anchors are."""


class KnownBook(NamedTuple):
    """A book, the anchor it began with, and when its last diff was received."""

    book: Book
    anchor_id: int
    recv_ns: int


def gap_at(backend: Backend, market: Market, at_ns: int) -> Gap | None:
    """The oldest gap of depth that `at_ns` lies in: what is known then is the book before it, or in doubt."""
    gaps = (gap for gap in read_gaps(backend, market) if gap.stream == "depth" and not gap.healed)
    return next((gap for gap in gaps if gap.from_ns < at_ns and (gap.to_ns is None or at_ns <= gap.to_ns)), None)


def book_at(backend: Backend, market: Market, at_ns: int) -> KnownBook | None:
    """The book after every diff received before `at_ns`; None when none was known then."""
    # Ids tell nothing across a new count, so nothing from before the last one may be joined with what follows.
    anew = (ns for ns in recounts(read_gaps(backend, market), "depth") if ns < at_ns)
    counted_ns = max(anew, default=None)
    for reach_ns in (_NEAR_NS, 24 * _NEAR_NS, None):
        start_ns = counted_ns if reach_ns is None else max(at_ns - reach_ns, counted_ns or 0)
        known = _from_anchors(backend, market, start_ns, at_ns, counted_ns or 0)
        if known is not None:
            return known
    return None


def _from_anchors(
    backend: Backend, market: Market, start_ns: int | None, at_ns: int, counted_ns: int
) -> KnownBook | None:
    """Tries the anchors received in [start_ns, at_ns), newest first: the newest may not be bridged yet."""
    times = [
        (recv_ns, update_id)
        for rows in backend.scan("snapshots", market, start_ns, at_ns, ("recv_ns", "last_update_id"))
        for recv_ns, update_id in zip(*(column.to_pylist() for column in rows.columns), strict=True)
    ]
    for recv_ns, update_id in reversed(times):
        units = Units()
        anchors: list[StoredAnchor] = [
            anchor
            for anchor in read_anchors(backend, market, units, recv_ns, recv_ns + 1)
            if anchor.update_id == update_id
        ]
        diffs = read_diffs(backend, market, units, max(recv_ns - _CLOCKS_NS, counted_ns), at_ns + _CLOCKS_NS)
        diffs = (diff for diff in diffs if counted_ns <= diff.recv_ns < at_ns)
        last = next((step for step in rebuild(diffs, iter(anchors), units) if step.diff.last_id > update_id), None)
        if last is None:
            continue
        if last.book is None:
            return None
        return _followed(KnownBook(last.book, update_id, last.diff.recv_ns), diffs, units)
    return None


def _followed(known: KnownBook, diffs: Iterator[StoredDiff], units: Units) -> KnownBook | None:
    """The book after the rest of `diffs`; None where ids are missing. Many are applied at once: the last one counts."""
    book, anchor_id, recv_ns = known
    last_id, scale = book.last_id, units.scale
    while some := list(islice(diffs, _AT_ONCE)):
        changes = []
        for diff in some:
            change = diff.stored.within(units)
            if diff.link > last_id or change is None or units.scale != scale:
                return None
            last_id = max(last_id, diff.last_id)
            changes.append(change)
        joined = Change(*(np.concatenate(lists) for lists in zip(*changes, strict=True)))
        book, recv_ns = book.at_places(*units.places).apply(joined, last_id), some[-1].recv_ns
    return KnownBook(book, anchor_id, recv_ns)
