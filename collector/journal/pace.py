"""How delivery fares: what succeeded, what failed, whether the backend is away, and the pauses that follow from it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import tenacity

from collector.journal.errors import JournalError
from storage_backends.errors import TransientBackendError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from collector.clock import Clock
    from collector.journal.journal import Journal
    from collector.journal.plans import Plan
    from storage_backends.interface import Market

_AWAY_AFTER = 3  # failures without a success between them: not one write's fault


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


def no_event(now_ns: int, market: Market | None, kind: str, detail: str) -> None:
    """Nobody asked."""


class Pace:
    """Counts what a deliverer tells it; `on_event` hears of `backend_away` and `backend_back`.

    `paused_until_ns` is until when nothing at all is to be tried, 0 for now.
    """

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        wait: Callable[[tenacity.RetryCallState], float],
        on_event: Callable[[int, Market | None, str, str], None],
    ) -> None:
        self.counts = DeliveryCounts()
        self.paused_until_ns = 0
        self._journal = journal
        self._clock = clock
        self._wait = wait
        self._retrying = tenacity.Retrying(wait=wait)
        self._on_event = on_event
        self._failures_in_a_row = 0

    def failed(self, error: Exception) -> None:
        """One more failure in a row; pauses everything when there are many."""
        now_ns = self._clock.now_ns()
        self._failures_in_a_row += 1
        self.counts = replace(self.counts, failures=self.counts.failures + 1)
        self.note(error)
        beyond = self._failures_in_a_row - _AWAY_AFTER
        if beyond >= 0:
            self.paused_until_ns = now_ns + self.pause_ns(beyond + 1, error)
            if self.counts.away_since_ns is None:
                self.counts = replace(self.counts, away_since_ns=now_ns)
                self._on_event(now_ns, None, "backend_away", str(error))

    def succeeded(self) -> None:
        """The backend has taken a write."""
        self._failures_in_a_row, self.paused_until_ns = 0, 0
        away_since_ns = self.counts.away_since_ns
        if away_since_ns is not None:
            self.counts = replace(self.counts, away_since_ns=None)
            now_ns = self._clock.now_ns()
            self._on_event(now_ns, None, "backend_back", f"after {(now_ns - away_since_ns) / 1e9:.0f} s")

    def delivered(self, plans: Sequence[Plan]) -> None:
        """The journal has forgotten the rows of `plans`."""
        self.counts = replace(
            self.counts,
            delivered_rows=self.counts.delivered_rows + sum(plan.rows for plan in plans),
            writes=self.counts.writes + len(plans),
        )

    def refused(self, rows: int, error: Exception) -> None:
        """So many rows went to the dead letters."""
        self.counts = replace(self.counts, refused_rows=self.counts.refused_rows + rows)
        self.note(error)

    def pause_ns(self, failures: int, error: Exception) -> int:
        """How long to wait after so many failures, at least as long as the other side asked to."""
        state = tenacity.RetryCallState(self._retrying, None, (), {})
        state.attempt_number = failures
        asked_s = error.retry_after_s if isinstance(error, TransientBackendError) else None
        return round(max(self._wait(state), asked_s or 0.0) * 1e9)

    def note(self, error: Exception) -> None:
        """Keeps `error` as the last one, for people."""
        text = f"{type(error).__name__}: {error}"
        self.counts = replace(self.counts, last_error=text, last_error_ns=self._clock.now_ns())
        # For the display only; a full or broken disk speaks up where it matters.
        with contextlib.suppress(JournalError):
            self._journal.record_error(text)
