"""Names on the wire: exchanges, streams and the routes that deliver them."""

from __future__ import annotations

import re
from typing import NamedTuple

from collector.core.channels import INTERVALS_MS

SPOT = "binance"
USDM = "binanceusdm"
EXCHANGES = (SPOT, USDM)

_ALIASES = {"spot": SPOT, "usdm": USDM, "linear": USDM, SPOT: SPOT, USDM: USDM}
_DEFAULT_DEPTH_MS = {SPOT: 1000, USDM: 250}
_PATTERN = re.compile(
    r"(?P<symbol>[^@!A-Z]+)@(?P<channel>depth(?:5|10|20)?|bookTicker|aggTrade|trade|markPrice|forceOrder|kline_\w+)"
    r"(?:@(?P<speed>\d+)(?P<unit>ms|s))?"
)
_SPEEDS_MS = {
    "depth": (0, 100, 250, 500, 1000),
    "depth5": (100, 250, 500, 1000),
    "depth10": (100, 250, 500, 1000),
    "depth20": (100, 250, 500, 1000),
    "markPrice": (1000,),
}
KLINE_MS = {name: span_ms for name, span_ms in INTERVALS_MS.items() if name not in ("3d", "1w")}
"""Kline intervals that are simulated; three days, weeks and months are not."""


class Subscription(NamedTuple):
    """What a stream name asks for. `symbol` is the exchange's id in upper case; `speed_ms` is 0 where none applies."""

    symbol: str
    channel: str
    speed_ms: int


def exchange_named(text: str) -> str:
    """The exchange for `binance`, `binanceusdm` or a short name of theirs (spot, usdm, linear).

    Raises:
        ValueError: any other text.
    """
    try:
        return _ALIASES[text.lower()]
    except KeyError:
        raise ValueError(f"market {text!r} is not simulated; use {SPOT} or {USDM}") from None


def parse_stream(exchange: str, name: str) -> Subscription | None:
    """What `name` asks for, None for a name that is acknowledged and never served: unknown, upper case, bad speed."""
    match = _PATTERN.fullmatch(name)
    if match is None:
        return None
    symbol, channel, speed, unit = match.group("symbol", "channel", "speed", "unit")
    if channel in ("markPrice", "forceOrder") and exchange == SPOT:
        return None
    if channel.startswith("kline_"):
        interval = channel.removeprefix("kline_")
        if interval not in KLINE_MS or speed or (interval == "1s" and exchange == USDM):
            return None
    if speed is None:
        default = {"markPrice": 3000}.get(channel, _DEFAULT_DEPTH_MS[exchange] if channel.startswith("depth") else 0)
        return Subscription(symbol.upper(), channel, default)
    speed_ms = int(speed) * (1000 if unit == "s" else 1)
    if speed_ms not in _SPEEDS_MS.get(channel, ()):
        return None
    return Subscription(symbol.upper(), channel, speed_ms)


def route_of(channel: str) -> str:
    """The prefix of USDⓈ-M websocket URLs that delivers `channel`, since 2026-04-23."""
    return "public" if channel.startswith(("depth", "bookTicker", "trade")) else "market"


def delivers(exchange: str, route: str | None, channel: str) -> bool:
    """Whether a connection serves `channel`; an un-routed futures URL takes every name and serves the public family."""
    return exchange == SPOT or route_of(channel) == (route or "public")
