"""Days of a local store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storage_backends.file_days import FileDays
from storage_backends.local import LocalFiles

if TYPE_CHECKING:
    from pathlib import Path


class LocalDays(FileDays):
    """See `days.Days`."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(LocalFiles(data_dir))
