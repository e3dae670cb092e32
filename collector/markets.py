"""How people name markets, and how the exchanges do."""

from __future__ import annotations

import re
from collections.abc import Sequence

from collector.errors import ConfigurationError
from storage_backends.interface import Market

FUTURES = {"binance": False, "binanceusdm": True}
"""The exchanges whose diffs are kept exactly, and whether their depth ids follow the futures' rule."""

WHEN_STORED = "a run's first rows get there after --flush-interval, 300 s, or when it stops"
"""What somebody needs to hear who finds a store empty while a collector is running."""

_NAMED = 8

_ID = re.compile(r"[^\W_]{2,}(_[^\W_]+)?")
_UNIFIED = re.compile(r"([^\W_]+)/([^\W_]+)(?::([^\W_]+)(?:-(\d{6}))?)?")


def exchange_symbol(text: str, setting: str = "--symbol") -> str:
    """`BTC/USDT`, `BTC/USDT:USDT` or `BTCUSDT`, in any case, as the exchange's id `BTCUSDT`.

    Raises:
        ConfigurationError: none of these forms.
    """
    name = text.strip().upper()
    if _ID.fullmatch(name):
        return name
    match = _UNIFIED.fullmatch(name)
    if match is None:
        more = f"; several go each with a {setting} of its own" if "," in name and setting.startswith("--") else ""
        raise ConfigurationError(setting, repr(text), f"write it as BTC/USDT, BTC/USDT:USDT or BTCUSDT{more}")
    base, quote, _, expiry = match.groups()
    return f"{base}{quote}" + (f"_{expiry}" if expiry else "")


def is_futures(exchange: str) -> bool:
    """Whether depth messages of `exchange` chain by `pu`.

    Raises:
        ConfigurationError: an exchange whose sequence is not known here.
    """
    if exchange not in FUTURES:
        raise ConfigurationError("--exchange", exchange, f"choose one of {', '.join(sorted(FUTURES))}")
    return FUTURES[exchange]


def listed(markets: Sequence[Market]) -> str:
    """The first few of `markets` for a message, and how many more there are."""
    names = ", ".join(f"{market.exchange} {market.symbol}" for market in markets[:_NAMED])
    return f"{names} and {len(markets) - _NAMED:,} more" if len(markets) > _NAMED else names
