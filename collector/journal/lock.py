"""One writer for each journal: an advisory lock on a file beside it, given back by the kernel when its holder dies."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from collector.journal.errors import JournalFailed, JournalLocked

if TYPE_CHECKING:
    from pathlib import Path


class WriterLock:
    """Held from construction to `release`; the file keeps the holder's process id for people to read."""

    def __init__(self, path: Path) -> None:
        """Takes the lock.

        Raises:
            JournalLocked: another process holds it.
            JournalFailed: the folder cannot be written to.
        """
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise JournalFailed(f"cannot open {path}: {error}; make its folder writable or choose another") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._descriptor)
            raise JournalLocked(
                f"{path.parent} is in use by process {holder} (lock {path.name}): "
                "stop that collector or choose another --data-dir"
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Gives the lock back; safe to call twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
