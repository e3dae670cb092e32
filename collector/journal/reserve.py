"""Room on the disk for what must be written when it is full: gaps, plans, and the deletion of delivered rows.

A file of zeros beside the journal holds the room. When a write finds the disk full, the file is deleted, and until it
can be made again only those essential writes are tried.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# Taken back only when there is clearly room again, lest it come and go with every commit.
_ROOM_FACTOR = 2


class DiskReserve:
    """`size_bytes` of disk that are `held`, or given up for the time being."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self._path = path
        self._size_bytes = size_bytes
        self.held = path.exists() and path.stat().st_size == size_bytes

    def hold(self) -> bool:
        """Whether the reserve is held now; takes it if there is room for several of it."""
        if not self.held and shutil.disk_usage(self._path.parent).free >= _ROOM_FACTOR * self._size_bytes:
            self.held = self._allocate()
        return self.held

    def release(self) -> None:
        """Gives the room to whoever writes next."""
        self.held = False
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _allocate(self) -> bool:
        try:
            with self._path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, self._size_bytes)
                os.fsync(file.fileno())
        except OSError:
            self.release()
            return False
        return True
