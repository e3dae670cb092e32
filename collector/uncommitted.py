"""What a capture holds and the store does not: inputs of a session that was killed, since its last commit.

The next session begins with what the last commit remembered, so its first line says when that was. A capture is flushed
before each commit: it holds everything that was committed, and mostly a little more. Where rows were refused before the
kill, events may have been committed for longer than the rest, which that line says too.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from pathlib import Path
from types import UnionType
from typing import NamedTuple

import msgspec

from collector.core.inputs import Refused, SessionStarted, SessionStopped, Tick, decode_input
from collector.sources.capture import COLLECTOR_STREAM, CaptureError, CaptureLine, in_turn, read_capture

Key = tuple[str, str]
"""Exchange and symbol."""


_ENDS = Tick | SessionStopped | Refused
"""What stands at the end of a commit."""


class Kept(enum.Enum):
    """What was committed of the rows that a line made."""

    ALL = enum.auto()
    EVENTS = enum.auto()
    NOTHING = enum.auto()


class _Lost(NamedTuple):
    committed_ns: int | None  # None: never
    events_until_ns: int  # 0: not beyond that
    restarted_ns: int


class Uncommitted:
    """Tells which lines to pass over, of captures that are read once, as `merge_captures` gives them.

    A commit ends with a tick or with the session, so lines are lost from behind that line to the next session's first.
    Where no line is of that time, as after the loss of a journal, nothing is passed over.

    Attributes:
        wholly: files of sessions that committed nothing at all, and whose market nobody had heard of before.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self.wholly: set[Path] = set()
        self._lost: dict[Key, list[_Lost]] = {}
        self._reached: dict[Key, set[int]] = {}
        placed: dict[Key, list[tuple[int, _Lost]]] = {}
        for files in in_turn(paths):
            reached_ns = 0
            before: list[Path] = []  # the files of the session before
            for path in files:
                session = _first_session(path)
                if session is not None:
                    key, lost = session
                    if lost.committed_ns is not None:
                        reached_ns = max(reached_ns, lost.restarted_ns)
                        placed.setdefault(key, []).append((reached_ns, lost))
                    elif not any(map(_has_commits, before)):
                        self.wholly.update(before)
                    before = []
                before.append(path)
        for key, several in placed.items():
            self._lost[key] = [lost for _, lost in sorted(several, key=lambda one: one[0])]

    def kept(self, key: Key, line: CaptureLine) -> Kept:
        """What was committed of `line`. Call it for each line of the market, in order."""
        several = self._lost.get(key)
        own = line.stream == COLLECTOR_STREAM
        # By the line itself: where the wall clock was set back, its time lies before that of lines of the killed one.
        if several and own and several[0].restarted_ns == line.recv_ns and _is(line, SessionStarted):
            several.pop(0)
        if not several:
            return Kept.ALL
        reached = self._reached.setdefault(key, set())
        if own:
            ends = {end_ns for one in several for end_ns in (one.committed_ns, one.events_until_ns)}
            if line.recv_ns in ends and _is(line, _ENDS):
                reached.add(line.recv_ns)
            elif line.recv_ns - 1 in ends and _is(line, SessionStarted):
                reached.add(line.recv_ns - 1)  # nothing of that session but events

        def within(end_ns: int | None) -> bool:
            return end_ns not in reached or (own and line.recv_ns == end_ns)

        if within(several[0].committed_ns):
            return Kept.ALL
        if several[0].events_until_ns and within(several[0].events_until_ns):
            return Kept.EVENTS
        return Kept.NOTHING


def _first_session(path: Path) -> tuple[Key, _Lost] | None:
    try:
        line = next(iter(read_capture(path)), None)
        if line is None or line.stream != COLLECTOR_STREAM:
            return None
        session = decode_input(line.data)
    except (CaptureError, msgspec.MsgspecError):  # who replays the file says it better
        return None
    if not isinstance(session, SessionStarted):
        return None
    resume = session.resume
    committed_ns, events_until_ns = (None, 0) if resume is None else (resume.last_ns, resume.events_until_ns)
    return (session.exchange, session.symbol), _Lost(committed_ns, events_until_ns, line.recv_ns)


def _has_commits(path: Path) -> bool:
    try:
        return any(line.stream == COLLECTOR_STREAM and _is(line, _ENDS) for line in read_capture(path))
    except CaptureError:
        return True


def _is(line: CaptureLine, kind: type | UnionType) -> bool:
    try:
        return isinstance(decode_input(line.data), kind)
    except msgspec.MsgspecError:
        return False
