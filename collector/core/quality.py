"""How far the data of one market can be trusted right now, in one word with its reasons.

BAD: what comes in cannot be relied on. DEGRADED: it can, but something is missing, late or in danger. A grade gets
worse at once and better only after `CLEAN_S` seconds without cause, so that it does not flicker. Every cause is
something that happened; a quiet market, a slow stream by choice or a reader that asks for little is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

CLEAN_S: Final = 30
"""Seconds without cause before a grade gets better."""

START_S: Final = 60
"""Seconds that a session may take to its first book before that is BAD."""

LAG_BAD_MS: Final = 3000.0
LAG_DEGRADED_MS: Final = 1000.0
CLOCK_MS: Final = 500.0
CLOCK_AGE_S: Final = 900.0
LATE_TICK_MS: Final = 1000.0
JOURNAL_SHARE: Final = 0.8
BACKEND_AWAY_S: Final = 60.0
DISK_FREE_BYTES: Final = 1 << 30


class Grade(IntEnum):
    """From good to bad."""

    OK = 0
    DEGRADED = 1
    BAD = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """What one second of one market looked like. Whatever is not known or does not apply is None.

    `down` holds the wanted streams without a connection, `gaps` those with a gap that has not ended, or of which a gap
    was stated in this second. `had_book` says whether the session ever had a book. `lag_p95_ms` is
    from the exchange's stamp to our receipt, over the last minute; `late_ms`, how long after its end the second was
    closed, which is how long a frame may have waited for the loop.
    """

    age_s: float
    down: frozenset[str] = frozenset()
    gaps: frozenset[str] = frozenset()
    wants_book: bool = True
    in_step: bool = True
    had_book: bool = True
    book_stale: bool = False
    beyond_known_depth: bool = False
    lag_p95_ms: float | None = None
    late_ms: float = 0.0
    clock_offset_ms: float | None = None
    clock_age_s: float | None = None
    journal_share: float | None = None
    backend_away_s: float | None = None
    refusing: bool = False
    disk_free_bytes: int | None = None


def causes(vitals: Vitals) -> dict[str, Grade]:
    """What is wrong in this second, by a stable name, with how bad that is; empty when nothing is."""
    found: dict[str, Grade] = {}
    _streams(vitals, found)
    _times(vitals, found)
    _storage(vitals, found)
    return found


def _streams(vitals: Vitals, found: dict[str, Grade]) -> None:
    for stream in vitals.down:
        found[f"{stream}_down"] = Grade.BAD if stream == "depth" else Grade.DEGRADED
    for stream in vitals.gaps - vitals.down:
        found[f"{stream}_gap"] = Grade.DEGRADED
    if not vitals.wants_book or "depth" in vitals.down:
        return
    if not vitals.in_step:
        starting = not vitals.had_book and vitals.age_s < START_S
        found["no_book_yet" if starting else "book_out_of_step"] = Grade.DEGRADED if starting else Grade.BAD
    elif vitals.beyond_known_depth:
        found["beyond_known_depth"] = Grade.DEGRADED
    elif vitals.book_stale:
        found["book_stale"] = Grade.DEGRADED


def _times(vitals: Vitals, found: dict[str, Grade]) -> None:
    lag = vitals.lag_p95_ms
    if lag is not None and lag > LAG_DEGRADED_MS:
        found["lag"] = Grade.BAD if lag > LAG_BAD_MS else Grade.DEGRADED
    if vitals.late_ms > LATE_TICK_MS:
        found["loop_late"] = Grade.DEGRADED
    if vitals.clock_offset_ms is None or vitals.clock_age_s is None or vitals.clock_age_s > CLOCK_AGE_S:
        if vitals.age_s >= START_S:
            found["clock_unknown"] = Grade.DEGRADED
    elif abs(vitals.clock_offset_ms) > CLOCK_MS:
        found["clock_offset"] = Grade.DEGRADED


def _storage(vitals: Vitals, found: dict[str, Grade]) -> None:
    if vitals.refusing:
        found["rows_refused"] = Grade.BAD
    if vitals.journal_share is not None and vitals.journal_share > JOURNAL_SHARE:
        found["journal_nearly_full"] = Grade.DEGRADED
    if vitals.backend_away_s is not None and vitals.backend_away_s > BACKEND_AWAY_S:
        found["backend_away"] = Grade.DEGRADED
    if vitals.disk_free_bytes is not None and vitals.disk_free_bytes < DISK_FREE_BYTES:
        found["disk_low"] = Grade.DEGRADED


@dataclass(frozen=True, slots=True)
class Quality:
    """A grade with its reasons, sorted: those of now, or those that it still recovers from (`after_…`)."""

    grade: Grade
    reasons: tuple[str, ...]


@dataclass(slots=True)
class Judge:
    """Grades one market second by second."""

    _seen_s: dict[str, tuple[float, Grade]] = field(default_factory=dict)

    def step(self, now_s: float, found: Mapping[str, Grade]) -> Quality:
        """The quality at `now_s`, which never goes back, after the causes `found` of this second."""
        for name, grade in found.items():
            self._seen_s[name] = (now_s, grade)
        self._seen_s = {name: seen for name, seen in self._seen_s.items() if now_s - seen[0] < CLEAN_S}
        worst = max((grade for _, grade in self._seen_s.values()), default=Grade.OK)
        reasons = sorted(name if name in found else f"after_{name}" for name in self._seen_s)
        return Quality(worst, tuple(reasons))
