"""Finding the wanted markets at start: the one moment when an exchange that cannot be used is an error."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from collector.sources.budget import weight_of
from collector.sources.errors import FeedError, RestError, SymbolError, UnreachableError
from collector.sources.markets import Listing, MarketInfo, ids_of, is_wildcard, read_exchange_info, resolve
from collector.sources.pacing import Backoff

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from collector.sources.budget import Sleep, WeightBudget
    from collector.sources.transport import Transport

log = logging.getLogger(__name__)

_ATTEMPTS = 3
_PATIENCE_S = 60.0


async def find_markets(
    exchange: str, wanted: Sequence[str], transport: Transport, budget: WeightBudget, sleep: Sleep, rng: random.Random
) -> list[MarketInfo]:
    """The markets meant by `wanted`; see `markets.resolve`. Faults that pass are waited out for a short while.

    Raises:
        UnreachableError: the exchange does not answer, or is too busy.
        FeedError: it refuses us for good, or is none.
        SymbolError: a market is unknown or does not trade.
    """
    # Spot lists 3,400 markets in 16 MB. A few can be asked for by name, and nine tenths be left out of the rest.
    spot = exchange == "binance"
    ids = ids_of(wanted) if spot else None
    if ids is not None:
        try:
            body = await _ask(exchange, {"symbols": msgspec.json.encode(ids).decode()}, transport, budget, sleep, rng)
            return resolve(exchange, wanted, _read(transport, body))
        except SymbolError:
            pass  # the whole list tells which names are close
        except FeedError as error:
            if not (isinstance(error.__cause__, RestError) and error.__cause__.status == 400):
                raise
    params = {"showPermissionSets": "false"} if spot else {}
    body = await _ask(exchange, params, transport, budget, sleep, rng)
    return resolve(exchange, wanted, _read(transport, body))


async def find_trading(
    exchange: str, wanted: Sequence[str], transport: Transport, budget: WeightBudget, sleep: Sleep, rng: random.Random
) -> list[MarketInfo]:
    """The markets that wildcards among `wanted` mean now; none where they match nothing.

    Raises:
        FeedError: as `find_markets`.
    """
    params = {"showPermissionSets": "false"} if exchange == "binance" else {}
    listings = _read(transport, await _ask(exchange, params, transport, budget, sleep, rng))
    found: dict[str, MarketInfo] = {}
    for text in wanted:
        if is_wildcard(text):
            try:
                found.update((market.symbol, market) for market in resolve(exchange, [text], listings))
            except SymbolError:
                continue
    return list(found.values())


def _read(transport: Transport, body: bytes) -> list[Listing]:
    try:
        return read_exchange_info(body)
    except ValueError as error:
        raise FeedError(f"{_where(transport)} is not a Binance: {error}. Mend: check --url-root.") from error


async def _ask(
    exchange: str,
    params: dict[str, str],
    transport: Transport,
    budget: WeightBudget,
    sleep: Sleep,
    rng: random.Random,
) -> bytes:
    backoff = Backoff(1.0, 4.0, rng)
    attempt = 1
    while True:
        try:
            return (await transport.get("exchangeInfo", params, weight=weight_of(exchange, "exchangeInfo"))).body
        except RestError as error:
            hopeless = error.status in {403, 451} or not error.transient or budget.pause_s > _PATIENCE_S
            if hopeless or attempt == _ATTEMPTS:
                mend = _mend(error, budget.pause_s)
                kind = UnreachableError if error.transient and error.status != 403 else FeedError
                raise kind(f"{_where(transport)} cannot be used: {error}. Mend: {mend}.") from error
            log.info("%s; trying again", error)
        attempt += 1
        await sleep(backoff.next_s())


def _mend(error: RestError, pause_s: float) -> str:
    if error.status == 451:
        return "the exchange does not serve this country: run elsewhere, or point --url-root at one that does"
    if error.status == 403:
        return "a firewall of the exchange refuses this address: run elsewhere or wait"
    if error.status in {418, 429}:
        return f"this address has asked too much: wait {pause_s:.0f} s"
    return "check the network, and --url-root if it is set"


def _where(transport: Transport) -> str:
    return f"the exchange at {transport.rest_root}"
