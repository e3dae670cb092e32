"""From what a person types to the exchange's markets."""

from __future__ import annotations

import difflib
import fnmatch
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from collector.sources.errors import NotOursError, SymbolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from collector.shards import Shard


class MarketInfo(NamedTuple):
    """One market. `symbol` is the exchange's id; sizes are the exchange's own texts, None where it has no such rule."""

    symbol: str
    unified: str
    base: str
    quote: str
    settle: str | None
    tick_size: str | None
    step_size: str | None


class Listing(msgspec.Struct, rename="camel"):
    """What resolving needs of an exchangeInfo entry; its filters stay text until the market is wanted."""

    symbol: str
    status: str
    base_asset: str
    quote_asset: str
    filters: msgspec.Raw
    margin_asset: str | None = None
    contract_type: str | None = None
    delivery_date: int | None = None

    @property
    def perpetual(self) -> bool:
        return self.contract_type is not None and self.contract_type.endswith("PERPETUAL")

    @property
    def unified(self) -> str:
        """ccxt's name: `BTC/USDT`, `BTC/USDT:USDT`, `BTC/USDT:USDT-260925`."""
        pair = f"{self.base_asset}/{self.quote_asset}"
        if self.margin_asset is None:
            return pair
        if self.perpetual or self.delivery_date is None:
            return f"{pair}:{self.margin_asset}"
        return f"{pair}:{self.margin_asset}-{datetime.fromtimestamp(self.delivery_date / 1000, UTC):%y%m%d}"


class _ExchangeInfo(msgspec.Struct):
    symbols: list[Listing]


class _Filter(msgspec.Struct, rename="camel"):
    filter_type: str
    tick_size: str | None = None
    step_size: str | None = None


_MOST_BY_NAME = 50  # keeps the URL short

_DECODER = msgspec.json.Decoder(_ExchangeInfo)
_FILTERS = msgspec.json.Decoder(list[_Filter])


def read_exchange_info(body: bytes) -> list[Listing]:
    """The listings of an exchangeInfo body (16 MB on spot) without building objects for what nobody asked for.

    Raises:
        ValueError: the body is not an exchangeInfo.
    """
    try:
        return _DECODER.decode(body).symbols
    except msgspec.MsgspecError as error:
        raise ValueError(f"not an exchangeInfo: {error}") from error


def resolve(exchange: str, wanted: Sequence[str], listings: Iterable[Listing]) -> list[MarketInfo]:
    """The markets meant by `wanted`, in that order, each once.

    Accepts the exchange's id (`BTCUSDT`), ccxt's name (`BTC/USDT`, on futures also for `BTC/USDT:USDT`) and wildcards
    (`*/USDT:USDT`), in any case. Wildcards match what trades now, on futures perpetual contracts only.

    Raises:
        SymbolError: nothing matches, or the market does not trade.
    """
    by_name: dict[str, Listing] = {}
    for listing in listings:
        for name in _names(listing):
            by_name.setdefault(name.upper(), listing)
    found: dict[str, Listing] = {}
    for text in wanted:
        for listing in _matches(exchange, text, by_name):
            found.setdefault(listing.symbol, listing)
    if not found:
        raise SymbolError("--symbol is missing: give at least one market, such as BTC/USDT")
    return [_market(listing) for listing in found.values()]


def is_wildcard(text: str) -> bool:
    """Whether `text` may mean markets that are listed later."""
    return any(sign in text for sign in "*?[")


def exchange_ids(wanted: Iterable[str]) -> list[str]:
    """The ids that names without wildcards can mean, on either exchange."""
    ids = []
    for text in wanted:
        pair, _, settle = text.strip().upper().partition(":")
        expiry = settle.partition("-")[2]
        ids.append(pair.replace("/", "") + (f"_{expiry}" if expiry else ""))
    return ids


def of_shard(exchange: str, markets: list[MarketInfo], shard: Shard) -> list[MarketInfo]:
    """Those of the markets that this collector takes.

    Raises:
        NotOursError: none of them.
    """
    mine = [market for market in markets if shard.takes(exchange, market.symbol)]
    if not mine:
        raise NotOursError(
            f"--shard-index {shard.index} of --shard-count {shard.count}: none of {len(markets)} markets of {exchange} "
            "falls to this collector; name more markets, or lower --shard-count (SHARD_COUNT)"
        )
    return mine


def ids_of(wanted: Sequence[str]) -> list[str] | None:
    """The spot ids that `wanted` can only mean, to ask the exchange for no more; None with a wildcard or many."""
    ids = [text.strip().upper().replace("/", "") for text in wanted]
    plain = all(name.isascii() and name.isalnum() for name in ids)
    return list(dict.fromkeys(ids)) if plain and 0 < len(ids) <= _MOST_BY_NAME else None


def _names(listing: Listing) -> list[str]:
    names = [listing.symbol, listing.unified]
    if listing.perpetual:
        names.append(f"{listing.base_asset}/{listing.quote_asset}")
    return names


def _matches(exchange: str, text: str, by_name: dict[str, Listing]) -> list[Listing]:
    name = text.strip().upper()
    if is_wildcard(name):
        matching = {
            listing.symbol: listing
            for known, listing in by_name.items()
            if listing.status == "TRADING"
            and (listing.perpetual or listing.contract_type is None)
            and fnmatch.fnmatchcase(known, name)
        }
        if not matching:
            raise SymbolError(f"--symbol {text!r} matches no trading market on {exchange}: try */USDT")
        return [matching[symbol] for symbol in sorted(matching)]
    one = by_name.get(name)
    if one is None:
        raise SymbolError(f"--symbol {text!r} is not listed on {exchange}{_hint(name, by_name)}")
    if one.status != "TRADING":
        raise SymbolError(f"--symbol {text!r} does not trade on {exchange}: its status is {one.status}")
    return [one]


def _hint(name: str, by_name: dict[str, Listing]) -> str:
    trading = [known for known, listing in by_name.items() if listing.status == "TRADING"]
    close = difflib.get_close_matches(name, trading, n=3, cutoff=0.6)
    return f": did you mean {', '.join(close)}?" if close else ": look the name up on the exchange"


def _market(listing: Listing) -> MarketInfo:
    filters = {entry.filter_type: entry for entry in _FILTERS.decode(listing.filters)}
    price, lot = filters.get("PRICE_FILTER"), filters.get("LOT_SIZE")
    return MarketInfo(
        symbol=listing.symbol,
        unified=listing.unified,
        base=listing.base_asset,
        quote=listing.quote_asset,
        settle=listing.margin_asset,
        tick_size=price.tick_size if price else None,
        step_size=lot.step_size if lot else None,
    )
