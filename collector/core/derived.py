"""What is computed from each epoch of a market besides its depth row, as its session says."""

from __future__ import annotations

from collector.core.flow import EpochConsumer
from collector.core.inputs import SessionStarted


def epoch_consumers(session: SessionStarted) -> list[EpochConsumer]:
    """The consumers of one session. What they compute depends on the session and the flows alone."""
    consumers: list[EpochConsumer] = []
    if session.features not in ("", "none"):
        from collector.core.features.catalog import choose_features
        from collector.core.features.engine import FeatureEngine

        consumers.append(FeatureEngine(choose_features(session.features), session.interval_s, session.channels))
    return consumers
