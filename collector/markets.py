"""How people name markets, and how the exchanges do."""

from __future__ import annotations

import re

from collector.errors import ConfigurationError

FUTURES = {"binance": False, "binanceusdm": True}
"""The exchanges whose diffs are kept exactly, and whether their depth ids follow the futures' rule."""

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
        raise ConfigurationError(setting, repr(text), "write it as BTC/USDT, BTC/USDT:USDT or BTCUSDT")
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
