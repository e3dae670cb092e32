"""What a deliverer has done since its start, as others see it: counts, the last error, whether the backend is away."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from collector.journal.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from collector.clock import Clock
    from collector.journal.journal import Journal
    from collector.journal.plans import Plan
    from storage_backends.interface import Market


@dataclass(frozen=True, slots=True)
class DeliveryCounts:
    """Since the start. `away_since_ns` is set while nothing reaches the backend."""

    delivered_rows: int = 0
    writes: int = 0
    refused_rows: int = 0
    failures: int = 0
    last_error: str | None = None
    last_error_ns: int | None = None
    away_since_ns: int | None = None


class Tally:
    """Counts, and tells of a backend that goes away or is back; the counts may be read from any thread."""

    def __init__(
        self, journal: Journal, clock: Clock, on_event: Callable[[int, Market | None, str, str], None]
    ) -> None:
        self.counts = DeliveryCounts()
        self._journal = journal
        self._clock = clock
        self._on_event = on_event

    def delivered(self, plans: Sequence[Plan]) -> None:
        """The journal has taken note of their writes."""
        self.counts = replace(
            self.counts,
            delivered_rows=self.counts.delivered_rows + sum(plan.rows for plan in plans),
            writes=self.counts.writes + len(plans),
        )

    def refused(self, plan: Plan, rows: int, error: Exception) -> None:
        """So many of its rows went to the dead letters."""
        self.counts = replace(self.counts, refused_rows=self.counts.refused_rows + rows)
        self.note(error)
        detail = f"{rows} rows of {plan.table} went to the dead letters: {error}"
        self._on_event(self._clock.now_ns(), plan.market, "dead_letter", detail)

    def failed(self, error: Exception) -> None:
        """One more request failed for the moment."""
        self.counts = replace(self.counts, failures=self.counts.failures + 1)
        self.note(error)

    def away(self, now_ns: int, error: Exception) -> None:
        """Nothing reaches the backend."""
        if self.counts.away_since_ns is None:
            self.counts = replace(self.counts, away_since_ns=now_ns)
            self._on_event(now_ns, None, "backend_away", str(error))

    def back(self) -> None:
        """Something reached the backend."""
        away_since_ns = self.counts.away_since_ns
        if away_since_ns is not None:
            self.counts = replace(self.counts, away_since_ns=None)
            now_ns = self._clock.now_ns()
            self._on_event(now_ns, None, "backend_back", f"after {(now_ns - away_since_ns) / 1e9:.0f} s")

    def note(self, error: Exception) -> None:
        """Keeps it as the last error."""
        now_ns = self._clock.now_ns()
        text = f"{type(error).__name__}: {error}"
        self.counts = replace(self.counts, last_error=text, last_error_ns=now_ns)
        # For the display only; a full or broken disk speaks up where it matters.
        with contextlib.suppress(JournalError):
            self._journal.record_error(text)
