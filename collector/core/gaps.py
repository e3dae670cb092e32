"""Gaps as records: what is missing, from where to where, why, and whether it was filled later.

A gap is stated in rows that are only ever appended; the newest revision of a `gap_id` counts. `from_id` and `to_id`
are the first and the last missing update or trade id, both inclusive; `to_id < from_id` says that nothing is missing
after all. An open gap has no `to_ns`. A gap without ids says that no message is missing, but that rows made in that
time cannot be trusted; of a stream that counts nothing, or of which nothing had ever come, that messages of that time
may be missing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from collector.core.ids import IdRanges

_REMEMBERED = 64  # closed gaps per stream that a late message may still fill


class Gap(msgspec.Struct):
    """One statement about a gap; the fields are the columns of table `gaps`."""

    gap_id: str
    revision: int
    stream: str
    reason: str
    from_id: int | None
    to_id: int | None
    from_ns: int
    to_ns: int | None
    detected_ns: int
    healed: bool = False
    healed_by: str | None = None


class Unfilled(msgspec.Struct):
    """A gap that is over and lacks ids still; `filled` are the ranges that came since, both ends included."""

    gap: Gap
    filled: list[tuple[int, int]] = []

    @property
    def missing(self) -> list[tuple[int, int]]:
        """The ranges of ids that it lacks."""
        if self.gap.from_id is None or self.gap.to_id is None:
            return []
        return IdRanges(self.filled).missing(self.gap.from_id, self.gap.to_id)


class GapLedger:
    """The gaps of one market.

    Attributes:
        rows: statements, until they are drained.
        open_gaps: the gap that each stream is in now.
        touched: streams by the gaps that opened, closed or were found since it was last cleared, less those that turned
            out to be none.
    """

    def __init__(self, open_gaps: dict[str, Gap] | None = None, unfilled: Iterable[Unfilled] = ()) -> None:
        self.rows: list[Gap] = []
        self.open_gaps = dict(open_gaps or {})
        self.touched: dict[str, str] = {}
        self._closed: dict[str, list[Gap]] = {}
        self._filled: dict[str, IdRanges] = {}
        for known in unfilled:
            self._remember(known.gap)
            self._filled[known.gap.gap_id] = IdRanges(known.filled)

    def open(self, stream: str, reason: str, from_id: int | None, from_ns: int, detected_ns: int) -> None:
        """States that `stream` lacks everything since `from_id`; keeps the gap that is open already, if one is."""
        if stream not in self.open_gaps:
            self.open_gaps[stream] = self._state(stream, reason, from_id, None, from_ns, None, detected_ns)

    def close(self, stream: str, to_id: int | None, to_ns: int) -> None:
        """Ends the open gap of `stream` before the message received at `to_ns`; healed if no id is missing.

        Where the clock was set back before this session, the gap reaches over the time that was there twice.
        """
        gap = self.open_gaps.pop(stream, None)
        if gap is None:
            return
        nothing_missing = gap.from_id is not None and to_id is not None and to_id < gap.from_id
        from_ns, to_ns = sorted((gap.from_ns, to_ns))
        healed_by = "continuity" if nothing_missing else None
        self._revise(gap, from_ns=from_ns, to_id=to_id, to_ns=to_ns, healed=nothing_missing, healed_by=healed_by)

    def record(
        self,
        stream: str,
        reason: str,
        from_id: int | None,
        to_id: int | None,
        from_ns: int,
        to_ns: int,
        detected_ns: int,
        *,
        fillable: bool = True,
    ) -> None:
        """States a gap that is over already; `fillable` if late messages may still fill it."""
        gap = self._state(stream, reason, from_id, to_id, from_ns, to_ns, detected_ns)
        if fillable:
            self._remember(gap)

    def fill(self, stream: str, first_id: int, last_id: int, by: str = "late messages") -> bool:
        """Whether ids first_id…last_id lie in a known gap and were not there yet; the gap heals with its last id.

        A True obliges the caller to store the message. `by` says where it came from.
        """
        for gap in reversed(self._closed.get(stream, [])):
            if gap.from_id is None or gap.to_id is None or not gap.from_id <= last_id <= gap.to_id:
                continue
            filled = self._filled.setdefault(gap.gap_id, IdRanges())
            first_id = max(first_id, gap.from_id)
            if filled.holds(first_id, last_id):
                return False
            filled.add(first_id, last_id)
            if filled.holds(gap.from_id, gap.to_id):
                self._closed[stream].remove(gap)
                self._revise(gap, healed=True, healed_by=by)
            return True
        return False

    def unfilled(self, streams: Iterable[str]) -> list[Unfilled]:
        """The gaps of `streams` that are over, lack ids, and are remembered: what is fetched afterwards fills them."""
        return [
            Unfilled(gap, list(self._filled.get(gap.gap_id, ())))
            for stream in streams
            for gap in self._closed.get(stream, ())
            if gap.from_id is not None and gap.to_id is not None
        ]

    def give_up(self, stream: str, gap_id: str) -> None:
        """Forgets a gap that nothing will fill; what is stated of it stands."""
        self._closed[stream] = [gap for gap in self._closed.get(stream, ()) if gap.gap_id != gap_id]
        self._filled.pop(gap_id, None)

    def _state(
        self,
        stream: str,
        reason: str,
        from_id: int | None,
        to_id: int | None,
        from_ns: int,
        to_ns: int | None,
        detected_ns: int,
    ) -> Gap:
        # Of nothing but the gap itself: numbering would depend on which rows were drained before.
        gap_id = f"{detected_ns}-{stream}-{reason.replace(' ', '_')}" + ("" if from_id is None else f"-{from_id}")
        gap = Gap(gap_id, 0, stream, reason, from_id, to_id, from_ns, to_ns, detected_ns)
        self.rows.append(gap)
        self.touched[gap_id] = stream
        return gap

    def _revise(self, gap: Gap, **changes: Any) -> None:
        revised = msgspec.structs.replace(gap, revision=gap.revision + 1, **changes)
        self.rows.append(revised)
        if not revised.healed:
            self.touched[gap.gap_id] = gap.stream
            self._remember(revised)
        else:
            self.touched.pop(gap.gap_id, None)
            self._filled.pop(gap.gap_id, None)

    def _remember(self, gap: Gap) -> None:
        closed = self._closed.setdefault(gap.stream, [])
        closed.append(gap)
        if len(closed) > _REMEMBERED:
            self._filled.pop(closed.pop(0).gap_id, None)
