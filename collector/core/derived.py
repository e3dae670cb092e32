"""What is computed from each epoch of a market besides its depth row, as its session says."""

from __future__ import annotations

import re
from collections.abc import Collection

from collector.core.bars import Bars
from collector.core.flow import EpochConsumer
from collector.core.inputs import SessionStarted
from collector.core.multitick import MultiTick
from collector.core.records import Tell

_BTC_IN_DOLLARS = re.compile(r"BTC(USD.?|FDUSD|TUSD|BUSD)(_.*)?")
_BTC_TICKS = ("10", "50", "100", "500", "1000")


def trades_stream(channels: Collection[str], unheard: Collection[str]) -> str:
    """Where trades are taken from: aggTrades, or single trades where those are not collected or have not been heard.

    Captures of others do not say what they hold, so that only what is heard tells.
    """
    if "trades" in channels and ("trades" not in unheard or "raw_trades" not in channels or "raw_trades" in unheard):
        return "trades"
    return "raw_trades"


def epoch_consumers(session: SessionStarted, tell: Tell) -> list[EpochConsumer]:
    """The consumers of one session. What they compute depends on the session and the flows alone.

    `tell` makes an event.
    """
    consumers: list[EpochConsumer] = []
    if session.bars:
        consumers.append(Bars(session.bars, session.interval_s, tell))
    if session.tick_sizes is not None:
        ticks = session.tick_sizes
        if not ticks and _BTC_IN_DOLLARS.fullmatch(session.symbol):
            ticks = _BTC_TICKS
        consumers.append(MultiTick(ticks, session.num_levels, session.ask_rounding))
    if session.features not in ("", "none"):
        from collector.core.features.catalog import choose_features
        from collector.core.features.engine import FeatureEngine

        chosen = choose_features(session.features)
        consumers.append(FeatureEngine(chosen, session.interval_s, session.channels, tell))
    return consumers
