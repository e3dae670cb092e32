"""Unmodified ccxt.pro works against the simulator."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from collector.clock import SystemClock
from collector.simulator.names import EXCHANGES, SPOT
from collector.simulator.server import Simulator, SimulatorConfig

SYMBOLS = {"binance": "BTC/USDT", "binanceusdm": "BTC/USDT:USDT"}


@asynccontextmanager
async def ccxt_at(url: str, name: str):
    import ccxt.pro

    exchange = getattr(ccxt.pro, name)({"options": {"fetchMarkets": {"types": ["spot" if name == SPOT else "linear"]}}})
    api = exchange.urls["api"]
    api["public"] = f"{url}/api/v3"
    api["fapiPublic"] = f"{url}/fapi/v1"
    api["dapiPublic"] = f"{url}/dapi/v1"
    api["ws"]["spot"] = f"{url.replace('http', 'ws')}/stream/ws"
    api["ws"]["linear"] = f"{url.replace('http', 'ws')}/fstream/ws"
    try:
        yield exchange
    finally:
        await exchange.close()


@pytest.mark.parametrize("name", EXCHANGES)
async def test_markets_books_and_trades_reach_ccxt(name):
    symbol = SYMBOLS[name]
    config = SimulatorConfig(symbols=2, depth=1500, trades=40)
    async with Simulator(config, SystemClock()) as simulator, ccxt_at(simulator.url, name) as exchange:
        async with asyncio.timeout(40):
            await exchange.load_markets()
            assert len(exchange.markets) >= (3400 if name == SPOT else 600)
            assert exchange.markets[symbol]["active"]
            assert exchange.markets[symbol]["precision"]["price"] == (0.01 if name == SPOT else 0.1)

            fetched = await exchange.fetch_order_book(symbol, 20)
            assert len(fetched["bids"]) == len(fetched["asks"]) == 20

            # The route /public serves @trade, /market serves @aggTrade; spot knows no routes.
            stream = "trade" if name == SPOT else "aggTrade"
            exchange.options["watchTrades"] = {"name": stream}
            trades = []
            while len(trades) < 5:
                trades += await exchange.watch_trades(symbol)
            assert {trade["info"]["e"] for trade in trades} == {stream}
            ids = [int(trade["id"]) for trade in trades]
            assert ids == list(range(ids[0], ids[0] + len(ids)))

            model = simulator.source(name).markets["BTCUSDT"].model
            instrument = simulator.source(name).markets["BTCUSDT"].instrument
            compared = 0
            while compared < 5:
                book = await exchange.watch_order_book(symbol)
                if book["nonce"] == model.last_id:
                    bids, asks = model.top(50)
                    assert book["bids"][:50] == [
                        [float(instrument.price_text(p)), float(instrument.quantity_text(q))] for p, q in bids
                    ]
                    assert book["asks"][:50] == [
                        [float(instrument.price_text(p)), float(instrument.quantity_text(q))] for p, q in asks
                    ]
                    compared += 1
