"""What a check found, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

Level: TypeAlias = Literal["ok", "warn", "FAIL"]


class Check(msgspec.Struct, frozen=True):
    """One thing looked at. `mend` says what to do and is empty when nothing is; `data` holds the figures."""

    name: str
    level: Level
    found: str
    mend: str = ""
    data: dict[str, Any] = {}


def good(checks: Sequence[Check]) -> bool:
    """Whether a run can be expected to work: nothing failed."""
    return all(check.level != "FAIL" for check in checks)


def as_json(checks: Sequence[Check]) -> bytes:
    """`{"ok": …, "checks": [{"name", "level", "found", "mend", "data"}, …]}`."""
    return msgspec.json.format(msgspec.json.encode({"ok": good(checks), "checks": checks}), indent=2)


def as_table(checks: Sequence[Check]) -> Iterator[str]:
    """Lines of level, name and finding; the mend stands under what needs one."""
    width = max((len(check.name) for check in checks), default=0)
    for check in checks:
        yield f"{check.level:<4}  {check.name:<{width}}  {check.found}"
        if check.mend:
            yield f"{'':<4}  {'':<{width}}  → {check.mend}"
    counts = {level: sum(check.level == level for check in checks) for level in ("ok", "warn", "FAIL")}
    yield f"{counts['ok']} ok, {counts['warn']} to look at, {counts['FAIL']} failed"
