"""How much disk captures may take: files of bounded size, the oldest of which are deleted."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection
from pathlib import Path

_FILE_BYTES = 256 << 20
_SMALLEST_FILE_BYTES = 1 << 20
_OPEN_SHARE = 4
_NAME = re.compile(r".+_(\d{8}T\d{6})_(\d+)\.zst")


def capture_file_bytes(max_bytes: int | None, markets: int) -> int:
    """The size at which a market's capture begins a new file: together the open ones are a quarter of the room.

    A file cannot be deleted while it is written to. It is at least 1 MiB and at most 256 MiB.
    """
    if max_bytes is None:
        return _FILE_BYTES
    return min(_FILE_BYTES, max(_SMALLEST_FILE_BYTES, max_bytes // (_OPEN_SHARE * max(1, markets))))


def dispensable(
    folder: Path, keep: Collection[Path], max_bytes: int | None, before: dt.date | None
) -> list[tuple[Path, int]]:
    """Captures below `folder` that are to go, oldest first, with their bytes.

    Those that began before the UTC date `before`, and then the oldest until the rest, `keep` included, is within
    `max_bytes`. None of `keep`, and no file that a capture's writer did not name.
    """
    found = []
    for path in folder.glob("*/*.zst"):
        match = _NAME.fullmatch(path.name)
        if match is not None:
            found.append((match[1], int(match[2]), path, path.stat().st_size))
    found.sort()
    excess = 0 if max_bytes is None else sum(size for *_, size in found) - max_bytes
    oldest = "" if before is None else f"{before:%Y%m%d}"
    chosen = []
    for stamp, _, path, size in found:
        if path not in keep and (excess > 0 or stamp < oldest):
            chosen.append((path, size))
            excess -= size
    return chosen
