"""exchangeInfo of real size: the simulated markets first, then filler that trades but never moves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from collector.simulator.instruments import Instrument
from collector.simulator.names import SPOT
from collector.simulator.weights import LIMITS

if TYPE_CHECKING:
    from collections.abc import Sequence

MARKETS = {SPOT: 3400, "binanceusdm": 600}
_QUOTES = ("USDT", "USDC", "FDUSD", "BTC", "TRY", "EUR", "BNB", "ETH")
_SPOT_ORDERS = ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"]
_USDM_ORDERS = ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"]
# The account groups that may trade a market; by far the largest part of the real answer.
_PERMISSIONS = [["SPOT", "MARGIN", *(f"TRD_GRP_{number:03d}" for number in range(2, 132))]]


def symbols(exchange: str, simulated: Sequence[Instrument]) -> list[dict[str, Any]]:
    """The `symbols` entries: those of `simulated`, then filler up to the exchange's real number."""
    taken = {instrument.symbol for instrument in simulated}
    entry = _spot_entry if exchange == SPOT else _usdm_entry
    quotes = _QUOTES if exchange == SPOT else _QUOTES[:2]
    entries = [entry(instrument) for instrument in simulated]
    number = 0
    while len(entries) < MARKETS[exchange]:
        base, quote = f"FILL{number // len(quotes):03d}", quotes[number % len(quotes)]
        number += 1
        if base + quote not in taken:
            digits = (8, 8) if exchange == SPOT else (4, 0)
            entries.append(entry(Instrument(exchange, base + quote, base, quote, 4, 0, *digits)))
    return entries


def body(exchange: str, now_ms: int, entries: Sequence[msgspec.Raw]) -> bytes:
    """The whole answer, from entries encoded before."""
    limits = [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": LIMITS[exchange]}]
    head: dict[str, Any] = {"timezone": "UTC", "serverTime": now_ms}
    if exchange == SPOT:
        limits.append({"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 300_000})
    else:
        head["futuresType"] = "U_MARGINED"
        head["assets"] = [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}]
    return msgspec.json.encode(head | {"rateLimits": limits, "exchangeFilters": [], "symbols": entries})


def _step(decimals: int, digits: int) -> str:
    """One unit as text, padded as the exchange pads: 0.01000000 on spot, 0.10 for BTC futures."""
    if not digits:
        return "1"
    return ("0." + "0" * (decimals - 1) + "1" if decimals else "1.").ljust(digits + 2, "0")


def _filters(instrument: Instrument) -> list[dict[str, Any]]:
    tick = _step(instrument.price_decimals, instrument.price_digits)
    lot = _step(instrument.quantity_decimals, instrument.quantity_digits)
    lots = {"minQty": lot, "maxQty": "9000000", "stepSize": lot}
    return [
        {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000.00000000", "tickSize": tick},
        {"filterType": "LOT_SIZE"} | lots,
        {"filterType": "MARKET_LOT_SIZE"} | lots,
    ]


def _spot_entry(instrument: Instrument) -> dict[str, Any]:
    filters = [
        *_filters(instrument),
        {"filterType": "ICEBERG_PARTS", "limit": 100},
        {"filterType": "TRAILING_DELTA", "minTrailingAboveDelta": 10, "maxTrailingAboveDelta": 2000},
        {"filterType": "NOTIONAL", "minNotional": "5.00000000", "applyMinToMarket": True, "avgPriceMins": 5},
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": 5},
    ]
    precision = {
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
    }
    flags = dict.fromkeys(
        ("icebergAllowed", "ocoAllowed", "otoAllowed", "quoteOrderQtyMarketAllowed", "cancelReplaceAllowed"), True
    )
    head = {"symbol": instrument.symbol, "status": "TRADING"}
    head |= {"baseAsset": instrument.base, "quoteAsset": instrument.quote}
    return {
        **head,
        **precision,
        "orderTypes": _SPOT_ORDERS,
        **flags,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": True,
        "filters": filters,
        "permissions": [],
        "permissionSets": _PERMISSIONS,
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT"],
    }


def _usdm_entry(instrument: Instrument) -> dict[str, Any]:
    filters = [
        *_filters(instrument),
        {"filterType": "MAX_NUM_ORDERS", "limit": 200},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": 10},
        {"filterType": "MIN_NOTIONAL", "notional": "100"},
        {"filterType": "PERCENT_PRICE", "multiplierUp": "1.0500", "multiplierDown": "0.9500", "multiplierDecimal": "4"},
    ]
    return {
        "symbol": instrument.symbol,
        "pair": instrument.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": 4133404800000,
        "onboardDate": 1569398400000,
        "status": "TRADING",
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": instrument.base,
        "quoteAsset": instrument.quote,
        "marginAsset": instrument.quote,
        "pricePrecision": instrument.price_digits,
        "quantityPrecision": instrument.quantity_digits,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": ["PoW"],
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "maxMoveOrderLimit": 10000,
        "filters": filters,
        "orderTypes": _USDM_ORDERS,
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
    }
