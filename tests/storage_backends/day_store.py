"""Days of a store of files, merged and listed, for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storage_backends.local_days import LocalDays

if TYPE_CHECKING:
    from pathlib import Path

    from storage_backends.days import Day


def compact(root: Path) -> list[Day]:
    days = LocalDays(root)
    with days.alone() as held:
        assert held
        return [days.compact(day) for day in list(days.days())]


def parts(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("part-*"))
