from __future__ import annotations

import json

import pytest

from collector.sources.errors import FeedError, SymbolError
from collector.sources.markets import read_exchange_info, resolve


def listing(symbol: str, base: str, quote: str, status: str = "TRADING", **extra: object) -> dict[str, object]:
    filters = [{"filterType": "PRICE_FILTER", "tickSize": "0.01"}, {"filterType": "LOT_SIZE", "stepSize": "0.5"}]
    return {"symbol": symbol, "status": status, "baseAsset": base, "quoteAsset": quote, "filters": filters, **extra}


def perpetual(base: str, quote: str = "USDT", status: str = "TRADING", kind: str = "PERPETUAL") -> dict[str, object]:
    return listing(base + quote, base, quote, status, marginAsset=quote, contractType=kind, deliveryDate=4133404800000)


SPOT = [
    listing("ETHUSDT", "ETH", "USDT"),
    listing("BTCUSDT", "BTC", "USDT"),
    listing("BTCFDUSD", "BTC", "FDUSD"),
    listing("LUNAUSDT", "LUNA", "USDT", "BREAK"),
    listing("币安人生USDT", "币安人生", "USDT"),
]
FUTURES = [
    perpetual("BTC"),
    perpetual("ETH"),
    perpetual("BTC", "USDC"),
    perpetual("LUNA", status="SETTLING"),
    perpetual("TSLA", kind="TRADIFI_PERPETUAL"),
    listing(
        "BTCUSDT_260925", "BTC", "USDT", marginAsset="USDT", contractType="CURRENT_QUARTER", deliveryDate=1790323200000
    ),
]


def symbols(exchange: str, *wanted: str) -> list[str]:
    body = json.dumps({"timezone": "UTC", "symbols": SPOT if exchange == "binance" else FUTURES}).encode()
    return [market.symbol for market in resolve(exchange, wanted, read_exchange_info(body))]


@pytest.mark.parametrize("text", ["BTC/USDT", "BTCUSDT", "btc/usdt", " btcusdt "])
def test_spot_names(text):
    assert symbols("binance", text) == ["BTCUSDT"]


@pytest.mark.parametrize("text", ["BTC/USDT", "BTC/USDT:USDT", "BTCUSDT", "btc/usdt:usdt"])
def test_futures_names(text):
    assert symbols("binanceusdm", text) == ["BTCUSDT"]


def test_names_of_delivery_contracts_and_foreign_scripts():
    assert symbols("binanceusdm", "BTC/USDT:USDT-260925") == ["BTCUSDT_260925"]
    assert symbols("binanceusdm", "BTCUSDT_260925") == ["BTCUSDT_260925"]
    assert symbols("binance", "币安人生/USDT") == ["币安人生USDT"]


def test_wildcards_match_what_trades_and_perpetuals_only():
    assert symbols("binance", "*/USDT") == ["BTCUSDT", "ETHUSDT", "币安人生USDT"]
    assert symbols("binanceusdm", "*/USDT:USDT") == ["BTCUSDT", "ETHUSDT", "TSLAUSDT"]
    assert symbols("binanceusdm", "*/USDT") == ["BTCUSDT", "ETHUSDT", "TSLAUSDT"]
    assert symbols("binanceusdm", "BTC/*") == ["BTCUSDC", "BTCUSDT"]


def test_the_order_asked_for_is_kept_and_repeats_are_not():
    assert symbols("binance", "ETH/USDT", "*/USDT", "BTCUSDT") == ["ETHUSDT", "BTCUSDT", "币安人生USDT"]


def test_what_a_market_carries():
    body = json.dumps({"symbols": FUTURES}).encode()
    (market,) = resolve("binanceusdm", ["BTC/USDT"], read_exchange_info(body))
    assert market == ("BTCUSDT", "BTC/USDT:USDT", "BTC", "USDT", "USDT", "0.01", "0.5")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("BTC/USTD", r"--symbol 'BTC/USTD' is not listed on binance: did you mean .*BTC/USDT"),
        ("QWERTYUIOP", r"--symbol 'QWERTYUIOP' is not listed on binance: look"),
        ("LUNA/USDT", r"--symbol 'LUNA/USDT' does not trade on binance: its status is BREAK"),
        ("*/EUR", r"--symbol '\*/EUR' matches no trading market"),
    ],
)
def test_unknown_markets_are_named_with_a_mend(text, message):
    with pytest.raises(SymbolError, match=message) as raised:
        symbols("binance", text)
    assert isinstance(raised.value, ValueError)
    assert isinstance(raised.value, FeedError)


def test_no_market_at_all():
    with pytest.raises(SymbolError, match="--symbol is missing"):
        symbols("binance")


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"symbols":[{}]}', b"[]"])
def test_a_body_that_is_no_exchange_info(body):
    with pytest.raises(ValueError, match="not an exchangeInfo"):
        read_exchange_info(body)
