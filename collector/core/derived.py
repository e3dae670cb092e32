"""What is computed from each epoch of a market besides its depth row, as its session says."""

from __future__ import annotations

from collector.core.flow import EpochConsumer
from collector.core.inputs import SessionStarted


def epoch_consumers(session: SessionStarted) -> list[EpochConsumer]:
    """The consumers of one session. What they compute depends on the session and the flows alone."""
    return []
