"""What a capture holds and the store does not: inputs of a session that was killed, since its last commit.

The next session begins with what the last commit remembered, so its first line says when that was. A capture is flushed
before each commit: it holds everything that was committed, and mostly a little more.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from collector.core.inputs import SessionStarted, SessionStopped, Tick, decode_input
from collector.sources.capture import COLLECTOR_STREAM, CaptureError, CaptureLine, read_capture

Key = tuple[str, str]
"""Exchange and symbol."""


class _Lost(NamedTuple):
    committed_ns: int
    restarted_ns: int


class Uncommitted:
    """Tells which lines to pass over, of captures that are read once, merged by time.

    A commit ends with a tick or with the session, so lines are lost from behind that line to the next session's first.
    Where no line is of that time, as after the loss of a journal, nothing is passed over.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._lost: dict[Key, list[_Lost]] = {}
        self._reached: dict[Key, set[int]] = {}
        for path in paths:
            found = _first_session(path)
            if found is not None:
                key, lost = found
                self._lost.setdefault(key, []).append(lost)
        for several in self._lost.values():
            several.sort(key=lambda one: one.restarted_ns)

    def has(self, key: Key, line: CaptureLine) -> bool:
        """Whether `line` was never committed. Call it for each line of the market, in order."""
        several = self._lost.get(key)
        while several and several[0].restarted_ns <= line.recv_ns:
            several.pop(0)
        if not several:
            return False
        reached = self._reached.setdefault(key, set())
        own = line.stream == COLLECTOR_STREAM
        if own and any(one.committed_ns == line.recv_ns for one in several):
            if _ends_commit(line):
                reached.add(line.recv_ns)
            return several[0].committed_ns in reached and several[0].committed_ns != line.recv_ns
        return several[0].committed_ns in reached


def _first_session(path: Path) -> tuple[Key, _Lost] | None:
    try:
        line = next(iter(read_capture(path)), None)
        if line is None or line.stream != COLLECTOR_STREAM:
            return None
        session = decode_input(line.data)
    except (CaptureError, msgspec.MsgspecError):  # who replays the file says it better
        return None
    if not isinstance(session, SessionStarted) or session.resume is None:
        return None
    return (session.exchange, session.symbol), _Lost(session.resume.last_ns, line.recv_ns)


def _ends_commit(line: CaptureLine) -> bool:
    try:
        return isinstance(decode_input(line.data), Tick | SessionStopped)
    except msgspec.MsgspecError:
        return False
