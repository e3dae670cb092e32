"""What to ask for, from what is stored and what is wanted. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from collector.core.channels import INTERVALS_MS
from collector.core.ids import IdRanges

_MONDAY_MS = 4 * 86_400_000  # 1970-01-05, on which weeks are counted


def id_requests(stored: IdRanges, first_id: int, last_id: int, page: int) -> Iterator[tuple[int, int]]:
    """(fromId, limit) of requests that together bring first_id…last_id less what is stored.

    No request covers an id that is stored, or one that another covers.
    """
    for start, end in stored.missing(first_id, last_id):
        for from_id in range(start, end + 1, page):
            yield from_id, min(page, end - from_id + 1)


def first_open_ms(at_ms: int, interval_ms: int) -> int:
    """When the first kline opens at or after `at_ms`."""
    offset = _MONDAY_MS if interval_ms == INTERVALS_MS["1w"] else 0
    return -((offset - at_ms) // interval_ms) * interval_ms + offset


def kline_requests(
    stored_open_ms: Iterable[int], start_ms: int, end_ms: int, interval_ms: int, page: int
) -> Iterator[tuple[int, int]]:
    """(startTime, limit) of requests for the klines that open in [start_ms, end_ms), less those that are stored."""
    origin = first_open_ms(start_ms, interval_ms)
    count = max(0, -((origin - end_ms) // interval_ms))
    stored = IdRanges(((open_ms - origin) // interval_ms,) * 2 for open_ms in stored_open_ms)
    for number, limit in id_requests(stored, 0, count - 1, page):
        yield origin + number * interval_ms, limit


def time_spans(stored_ms: Iterable[int], start_ms: int, end_ms: int, longest_ms: int) -> list[tuple[int, int]]:
    """The spans [from, to) of [start_ms, end_ms) in which rows may be missing that come at most `longest_ms` apart."""
    spans = []
    at_ms = start_ms
    for known_ms in sorted(stored_ms):
        if known_ms < start_ms or known_ms >= end_ms:
            continue
        if known_ms - at_ms > longest_ms or (at_ms == start_ms and known_ms > start_ms):
            spans.append((at_ms, known_ms))
        at_ms = known_ms + 1
    if at_ms < end_ms:
        spans.append((at_ms, end_ms))
    return spans
