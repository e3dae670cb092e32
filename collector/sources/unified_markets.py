"""From what a person types to the markets of an exchange that ccxt describes."""

from __future__ import annotations

import difflib
import fnmatch
import re
from typing import TYPE_CHECKING, Any

from collector.sources.errors import SymbolError
from collector.sources.markets import MarketInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_STORED_CHARS = 64


def resolve_unified(
    exchange: str, kind: str | None, wanted: Sequence[str], listed: Iterable[Mapping[str, Any]]
) -> list[MarketInfo]:
    """The markets meant by `wanted`, in that order, each once.

    Accepts ccxt's name (`BTC/USDT`, also for a contract settled in its quote), the exchange's id, base and quote in one
    word (`BTCUSDT`), and wildcards over ccxt's names, in any case. `kind` None: spot if the exchange has any, else
    perpetual contracts.

    Raises:
        SymbolError: nothing matches.
    """
    markets = [market for market in listed if market.get("active") is not False]
    kinds = {market["type"] for market in markets}
    kind = kind or ("spot" if "spot" in kinds else "swap")
    ours = [market for market in markets if market["type"] == kind]
    if not ours:
        have = ", ".join(sorted(f"{exchange.partition('-')[0]}-{one}" for one in kinds if one)) or "nothing"
        raise SymbolError(f"--exchange {exchange} lists no {kind} markets: it has {have}")
    by_name: dict[str, Mapping[str, Any]] = {}
    for names in zip(*(_names(market) for market in ours), strict=True):  # the surest kind of name of all markets first
        for market, name in zip(ours, names, strict=True):
            by_name.setdefault(name.upper(), market)
    found: dict[str, Mapping[str, Any]] = {}
    for text in wanted:
        for market in _matches(exchange, text, by_name, ours):
            found.setdefault(market["symbol"], market)
    if not found:
        raise SymbolError("--symbol is missing: give at least one market, such as BTC/USDT")
    return [_info(market) for market in found.values()]


def stored_symbol(market_id: str) -> str:
    """The exchange's id, with a dash for what cannot be part of a folder's or a file's name."""
    return re.sub(r"[^\w-]", "-", market_id).lstrip("_-")[:_STORED_CHARS]


def _names(market: Mapping[str, Any]) -> tuple[str, str, str, str]:
    pair = f"{market['base']}/{market['quote']}" if market.get("settle") in (None, market["quote"]) else ""
    return market["symbol"], market["id"], pair, pair.replace("/", "")


def _matches(
    exchange: str, text: str, by_name: Mapping[str, Mapping[str, Any]], ours: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    name = text.strip().upper()
    if any(sign in name for sign in "*?["):
        matching = [market for market in ours if fnmatch.fnmatchcase(market["symbol"].upper(), name)]
        if not matching:
            raise SymbolError(f"--symbol {text!r} matches no market on {exchange}: try */USDT or */USDT:USDT")
        return sorted(matching, key=lambda market: str(market["symbol"]))
    one = by_name.get(name) if name else None
    if one is None:
        close = difflib.get_close_matches(name, [known for known in by_name if known], n=3, cutoff=0.6)
        hint = f": did you mean {', '.join(close)}?" if close else ": look the name up on the exchange"
        raise SymbolError(f"--symbol {text!r} is not listed on {exchange}{hint}")
    return [one]


def _info(market: Mapping[str, Any]) -> MarketInfo:
    return MarketInfo(
        symbol=stored_symbol(market["id"]),
        unified=market["symbol"],
        base=market["base"],
        quote=market["quote"],
        settle=market.get("settle"),
        tick_size=None,
        step_size=None,
    )
