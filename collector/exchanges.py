"""Names of exchanges: ccxt's, with the kind of market behind a dash where there is more than one."""

from __future__ import annotations

import difflib
from typing import Final, NamedTuple

from collector.errors import ConfigurationError
from collector.markets import FUTURES

KINDS: Final = ("spot", "swap", "future", "option")


class Exchange(NamedTuple):
    """One name, taken apart. `kind` None: what the exchange mainly trades. `protocol` as in `SessionStarted`."""

    name: str
    ccxt_id: str
    kind: str | None
    protocol: str


def exchange_named(name: str) -> Exchange:
    """`binance`, `bybit`, `bybit-swap`, `okx-future`, … taken apart. Imports nothing of ccxt.

    Raises:
        ConfigurationError: ccxt.pro has no such exchange, or there is no such kind.
    """
    if name in FUTURES:
        return Exchange(name, name, None, "binance")
    from collector.sources.lazy_ccxt import available

    ccxt_id, _, kind = name.partition("-")
    if ccxt_id in FUTURES or ccxt_id not in available():
        raise ConfigurationError(
            "--exchange",
            repr(name),
            f"choose {', '.join(sorted(FUTURES))} or another of ccxt.pro, such as bybit-swap{_meant(name)}",
        )
    if kind and kind not in KINDS:
        raise ConfigurationError("--exchange", repr(name), f"after the dash stands one of {', '.join(KINDS)}")
    return Exchange(name, ccxt_id, kind or None, "bybit" if ccxt_id == "bybit" and kind != "option" else "unified")


def _meant(name: str) -> str:
    from collector.sources.lazy_ccxt import available

    plain = name.strip().lower()
    if plain.startswith("binance") and any(word in plain for word in ("swap", "future", "perp", "usdm", "usd-m")):
        return "; did you mean binanceusdm?"
    near = difflib.get_close_matches(plain, [*FUTURES, *available()], n=1)
    return f"; did you mean {near[0]}?" if near else ""
