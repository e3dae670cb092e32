"""The journal's two connections: one for every write, one for whatever takes long.

All writes share a connection, under one lock, so a commit waits at most for one short transaction of the deliverer and
never polls for SQLite's own lock. Finding and loading batches goes through the other, which under WAL holds up nobody.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

from collector.journal import format as file_format
from collector.journal.errors import DAMAGE_CODES, DiskFull, JournalFailed, primary_code, translated
from collector.journal.reserve import DiskReserve

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

# A transaction writes whole pages: the ends of both tables, the state and their parents.
_TRANSACTION_BYTES = 4 * file_format.PAGE_BYTES
_VACUUM_PAGES = 256


class Database:
    """Transactions and reads, from any thread. After one failure of disk or file every call raises it again.

    What a failed fsync left behind is unknown, so nothing is built upon it; the process must start anew.
    """

    def __init__(self, path: Path, reserve_bytes: int) -> None:
        """Opens `path`, which `format.ensure` prepared, and holds `reserve_bytes` of disk for when it is full.

        Raises:
            JournalFailed: the disk or the file failed.
        """
        self._path = path
        self._writing = threading.Lock()
        self._reading = threading.Lock()
        self._failure: JournalFailed | None = None
        self._since_checkpoint = 0
        # Copying the log may need as much again, for a moment; on a full disk the reserve must be enough for that.
        self._checkpoint_bytes = reserve_bytes // 2
        self._reserve = DiskReserve(path.with_name(f"{path.name}-reserve"), reserve_bytes)
        try:
            self._writer = file_format.connect(path)
            self._reader = file_format.connect(path)
        except sqlite3.Error as error:
            raise self._failed(error, f"opening {path}") from error

    def close(self) -> None:
        """Waits for running calls; later ones raise JournalFailed. Safe to call twice."""
        with self._writing, self._reading:
            self._failure = self._failure or JournalFailed(f"the journal {self._path} is closed")
            self._reader.close()
            self._writer.close()

    def has_room(self) -> bool:
        """Whether more than the essential may be written: the disk was not found full, or has room again."""
        return self._reserve.hold()

    @contextlib.contextmanager
    def transaction(self, doing: str, written_bytes: int = 0) -> Iterator[sqlite3.Connection]:
        """One write transaction. The body executes COMMIT last; what it does after that is still under the lock.

        Without COMMIT, or after any exception before it, nothing is changed. `doing` is for the error's message,
        `written_bytes` an estimate of what will lie in the log.

        Raises:
            DiskFull: no room; nothing is changed.
            JournalFailed: the disk or the file failed.
        """
        if not self._reserve.held:
            # The log starts over where it has been copied, and then grows no more.
            self.checkpoint(over_bytes=0)
        with self._writing:
            self._check()
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                yield self._writer
                self._since_checkpoint += written_bytes + _TRANSACTION_BYTES
            except sqlite3.Error as error:
                raise self._failed(error, doing) from error
            finally:
                if self._writer.in_transaction:
                    with contextlib.suppress(sqlite3.Error):
                        self._writer.execute("ROLLBACK")

    def read(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query, as last committed.

        Raises:
            JournalFailed: the disk or the file failed.
        """
        with self._reading:
            self._check()
            try:
                return list(self._reader.execute(statement, values))
            except sqlite3.Error as error:
                raise self._failed(error, "reading") from error

    def checkpoint(self, *, over_bytes: int | None = None) -> None:
        """Copies the log into the database once about `over_bytes` were written (None: half of the reserve).

        Hinders no commit and waits for nobody.

        Called here, not by SQLite after a commit, because SQLite would keep an error to itself.

        Raises:
            JournalFailed: the disk or the file failed.
        """
        if self._since_checkpoint <= (self._checkpoint_bytes if over_bytes is None else over_bytes):
            return
        with self._reading:
            self._check()
            # Before, not after: what is committed meanwhile may not be part of it.
            written, self._since_checkpoint = self._since_checkpoint, 0
            try:
                self._reader.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            except sqlite3.Error as error:
                if primary_code(error) not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY):
                    raise self._failed(error, "copying the log into the database") from error
                # The log only stays long; the next commit tells whether the disk is full.
                self._since_checkpoint = written

    def shrink(self) -> bool:
        """Gives a few MiB back to the disk while most of the file is free pages; True if there is more to give.

        Raises:
            JournalFailed: the disk or the file failed.
        """
        ((pages,),) = self.read("PRAGMA page_count")
        ((free,),) = self.read("PRAGMA freelist_count")
        if free < 4 * _VACUUM_PAGES or 2 * free < pages:
            return False
        with contextlib.suppress(DiskFull), self.transaction("shrinking", _VACUUM_PAGES * file_format.PAGE_BYTES) as db:
            db.execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})").fetchall()
            db.execute("COMMIT")
        return True

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _failed(self, error: sqlite3.Error, doing: str) -> DiskFull | JournalFailed:
        result = translated(error, doing)
        if isinstance(result, DiskFull):
            self._reserve.release()
        else:
            self._failure = result
            if primary_code(error) in DAMAGE_CODES:
                file_format.mark_damaged(self._path)
        return result
