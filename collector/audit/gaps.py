"""Stored gaps: the newest statement about each, and what they explain."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from collector.core.gaps import Gap
from collector.core.ids import IdRanges
from storage_backends.interface import Backend, Market

_FOR_EVER = 2**63


def read_gaps(backend: Backend, market: Market) -> list[Gap]:
    """The newest revision of every gap of a market, oldest gap first."""
    newest: dict[str, Gap] = {}
    for rows in backend.scan("gaps", market):
        for row in rows.to_pylist():
            gap = msgspec.convert(row, Gap)
            known = newest.get(gap.gap_id)
            if known is None or gap.revision > known.revision:
                newest[gap.gap_id] = gap
    return sorted(newest.values(), key=lambda gap: (gap.detected_ns, gap.gap_id))


def id_cover(gaps: Iterable[Gap], stream: str) -> IdRanges:
    """The ids that stated and unhealed gaps of a stream say are missing.

    Where ids began anew (`recounts`) nobody knows how far the old count went, and higher ids are those of the new one.
    """
    return IdRanges(
        (gap.from_id, _FOR_EVER if gap.to_id is None else gap.to_id)
        for gap in gaps
        if gap.stream == stream
        and not gap.healed
        and gap.from_id is not None
        and (gap.to_id is not None or gap.to_ns is None)
    )


def time_cover(gaps: Iterable[Gap], stream: str | None = None) -> IdRanges:
    """The nanoseconds within gaps of a stream, or of any, healed or not."""
    return IdRanges(
        (gap.from_ns, _FOR_EVER if gap.to_ns is None else gap.to_ns)
        for gap in gaps
        if stream is None or gap.stream == stream
    )


def recounts(gaps: Iterable[Gap], stream: str) -> list[int]:
    """When a stream's ids began anew at lower ones: the ends, in ns, of gaps that are over and have no last id."""
    return [
        gap.to_ns
        for gap in gaps
        if gap.stream == stream and gap.from_id is not None and gap.to_id is None and gap.to_ns is not None
    ]
