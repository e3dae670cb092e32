"""What the journal raises. A caller asks one thing: refuse the newest rows, or stop?

JournalError
├── JournalLocked   another process writes to it; wrong usage, at start
├── JournalTooNew   a newer version wrote it; wrong usage, at start
├── JournalFull     its bound in bytes is reached; the rows are refused, and that is a gap
├── DiskFull        the disk has no room; likewise, until there is room
└── JournalFailed   the disk or the file failed us; stop, exit 3, start anew
"""

from __future__ import annotations

import sqlite3


class JournalError(Exception):
    """Base of everything that the journal raises on purpose."""


class JournalLocked(JournalError):
    """Another process holds the journal."""


class JournalTooNew(JournalError):
    """The journal was written by a newer version; it was left untouched."""


class JournalFull(JournalError):
    """The journal holds as many bytes as it may; nothing of the commit was kept."""


class DiskFull(JournalError):
    """The disk has no room for the commit; nothing of it was kept."""


class JournalFailed(JournalError):
    """The disk or the file failed; whether the last commit is there shows at the next start, wholly or not at all."""


DAMAGE_CODES = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's primary result code (https://sqlite.org/rescode.html), 0 when the error did not come from SQLite."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def disk_full(doing: str) -> DiskFull:
    """The error for a disk that is full; `doing` says what was tried."""
    return DiskFull(f"no room on the journal's disk while {doing}; free some space, the collector goes on by itself")


def translated(error: sqlite3.Error, doing: str) -> DiskFull | JournalFailed:
    """The error to raise in place of one of SQLite's; `doing` says what was tried."""
    if primary_code(error) == sqlite3.SQLITE_FULL:
        return disk_full(doing)
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return JournalFailed(f"the journal failed while {doing}: {name}: {error}")
