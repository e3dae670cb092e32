"""What a store tells of the sessions of a market: when they ran, what they collected, when streams lay in gaps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from collector.core.epochs import SECOND_NS
from collector.core.gaps import Gap
from collector.features.columns import SOURCES
from storage_backends.interface import Backend, Market

_FOR_EVER = 2**63


@dataclass
class Happened:
    """An event that a feature engine hears of: history or an anchor, at `time_ns`."""

    time_ns: int
    kind: str
    detail: str


@dataclass
class Session:
    """One session: its streams, when each was opened (True) or closed, and what its features heard."""

    start_ns: int
    streams: set[str] = field(default_factory=set)
    connected: list[tuple[int, str, bool]] = field(default_factory=list)
    happened: list[Happened] = field(default_factory=list)


def read_sessions(backend: Backend, market: Market, end_ns: int) -> list[Session]:
    """The sessions that began before `end_ns`, oldest first, with what happened in them until then."""
    sessions: list[Session] = []
    columns = ("time_ns", "kind", "connection", "detail")
    carriers: dict[str, int] = {}
    for rows in backend.scan("events", market, None, end_ns, columns):
        for time_ns, kind, connection, detail in zip(*(rows.column(name).to_pylist() for name in columns), strict=True):
            if kind == "session_started":
                sessions.append(Session(time_ns))
                carriers.clear()
            elif not sessions:
                continue
            elif kind in ("opened", "closed"):
                for stream in detail.partition(":")[0].split(", "):
                    sessions[-1].streams.add(stream)
                    if kind == "opened":
                        carriers[stream] = connection
                    elif carriers.get(stream) != connection:
                        continue  # another one took over before
                    sessions[-1].connected.append((time_ns, stream, kind == "opened"))
            elif kind in ("history", "avwap_anchor"):
                sessions[-1].happened.append(Happened(time_ns, kind, detail))
    return sessions


class StreamGaps:
    """When one stream lay in a gap, as was known at the time."""

    def __init__(
        self, backend: Backend, market: Market, stream: str, revisions: Iterable[Gap], session: Session
    ) -> None:
        # Spans of time, and instants with the time at which they turned out to be none.
        self._open: list[tuple[int, int]] = []
        self._instant: list[tuple[int, int]] = []
        self.late: list[tuple[int, int]] = []
        by_id: dict[str, list[Gap]] = {}
        for gap in revisions:
            if gap.stream == stream:
                by_id.setdefault(gap.gap_id, []).append(gap)
        for told in by_id.values():
            told.sort(key=lambda gap: gap.revision)
            self._take(told)
            if told[-1].healed and told[-1].healed_by != "continuity":
                filled_ns = _filled_ns(backend, market, stream, told[-1])
                self._instant[-1] = (self._instant[-1][0], filled_ns)
                self.late.append((told[-1].from_ns, told[-1].to_ns or told[-1].detected_ns))
        self._unheard(stream, session)
        self._open.sort()
        self._instant.sort()
        self._now_open: list[tuple[int, int]] = []
        self._next_open = self._next_instant = 0

    def _take(self, told: Sequence[Gap]) -> None:
        first = told[0]
        closed = next((gap for gap in told if gap.to_ns is not None), None)
        ended_ns = _FOR_EVER if closed is None or closed.to_ns is None else closed.to_ns
        # A statement counts in its epoch, unless the gap heals before that is over.
        healed_ns = ended_ns if closed is not None and closed.healed else _FOR_EVER
        if first.to_ns is None:
            self._open.append((first.detected_ns, ended_ns))
            self._instant.append((first.detected_ns, healed_ns))
            if closed is not None and not closed.healed:
                self._instant.append((ended_ns, _FOR_EVER))
        else:
            self._instant.append((first.detected_ns, healed_ns))

    def _unheard(self, stream: str, session: Session) -> None:
        """Spans before a stream's first connection; where it had a position, a gap says the same."""
        unheard_ns: int | None = None if self._is_open(session.start_ns + 1) else session.start_ns
        for time_ns, name, opened in session.connected:
            if name != stream:
                continue
            if opened and unheard_ns is not None:
                self._open.append((unheard_ns, time_ns))
                self._instant.append((time_ns, _FOR_EVER))
                unheard_ns = None
            elif not opened and unheard_ns is None and not self._is_open(time_ns + 1):
                unheard_ns = time_ns
        if unheard_ns is not None:
            self._open.append((unheard_ns, _FOR_EVER))

    def _is_open(self, at_ns: int) -> bool:
        return any(start < at_ns <= end for start, end in self._open)

    def touch(self, start_ns: int, end_ns: int) -> bool:
        """Whether the epoch [start_ns, end_ns) lay in a gap, as known at its end. Ask for epochs in rising order."""
        while self._next_open < len(self._open) and self._open[self._next_open][0] < end_ns:
            self._now_open.append(self._open[self._next_open])
            self._next_open += 1
        self._now_open = [one for one in self._now_open if one[1] >= end_ns]
        told = False
        while self._next_instant < len(self._instant) and self._instant[self._next_instant][0] < end_ns:
            told_ns, healed_ns = self._instant[self._next_instant]
            told = told or (told_ns >= start_ns and healed_ns >= end_ns)
            self._next_instant += 1
        return told or bool(self._now_open)


def read_revisions(backend: Backend, market: Market) -> list[Gap]:
    """Every statement about every gap."""
    return [msgspec.convert(row, Gap) for rows in backend.scan("gaps", market) for row in rows.to_pylist()]


def _filled_ns(backend: Backend, market: Market, stream: str, gap: Gap) -> int:
    """When the last message came that a gap lacked."""
    if stream not in SOURCES or gap.from_id is None or gap.to_id is None:
        return _FOR_EVER
    ident = SOURCES[stream].ident
    last_ns = 0
    span = (gap.from_ns - 60 * SECOND_NS, (gap.to_ns or gap.detected_ns) + 60 * SECOND_NS)
    for rows in backend.scan(stream, market, *span, (ident, "recv_ns")):
        for number, recv_ns in zip(*(rows.column(name).to_pylist() for name in (ident, "recv_ns")), strict=True):
            if gap.from_id <= number <= gap.to_id:
                last_ns = max(last_ns, recv_ns)
    return last_ns or _FOR_EVER
