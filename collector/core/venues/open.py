"""Which kind of market a session has, and what reads its frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, cast

from collector.core.decode import Message, decode
from collector.core.forecasts import RowModel
from collector.core.inputs import SessionStarted
from collector.core.market import Market

Decoder: TypeAlias = Callable[[str | bytes], Message]


def open_market(start_ns: int, session: SessionStarted, model: RowModel | None = None) -> Market:
    """A market that speaks the session's protocol; `model` is the one that the session names, for this market alone."""
    market = _opened(start_ns, session)
    if model is not None:
        market.use_model(model)
    return market


def _opened(start_ns: int, session: SessionStarted) -> Market:
    if session.protocol == "bybit":
        from collector.core.venues.bybit import BybitMarket

        return BybitMarket(start_ns, session)
    if session.protocol == "unified":
        from collector.core.venues.unified import UnifiedMarket

        return UnifiedMarket(start_ns, session)
    return Market(start_ns, session)


def frame_decoder(protocol: str) -> Decoder:
    """What makes of a frame the message that a market of this protocol takes. It raises Undecodable."""
    if protocol == "bybit":
        from collector.core.venues import bybit

        # Whoever passes messages on needs their market and channel only, which all have.
        return cast(Decoder, bybit.decode)
    return decode
