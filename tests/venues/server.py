"""Bybit's and OKX's public REST and websocket on loopback, as far as a collector asks: a small seeded market each.

Formats after the public documentation of both (v5 "Orderbook" and "Trade" topics; "Order book channel" and "Trades
channel"). Runs in a thread of its own, and notes what it sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
import uuid
from concurrent.futures import Future
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

LEVELS = 50
STEP_S = 0.05


class Ladder:
    """The best levels of a seeded book, as price → size in whole cents and hundredths."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self.mid = 100_000
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}
        self.step()

    def step(self) -> tuple[dict[int, int], dict[int, int]]:
        """Moves the market; what changed a side, zero for a level that is gone."""
        rng = self._rng
        self.mid += rng.choice((-2, -1, 0, 0, 1, 2))
        wanted = (
            {self.mid - at: self.bids.get(self.mid - at, rng.randint(1, 999)) for at in range(1, LEVELS + 1)},
            {self.mid + at: self.asks.get(self.mid + at, rng.randint(1, 999)) for at in range(1, LEVELS + 1)},
        )
        for side in wanted:
            for price in rng.sample(list(side), 3):
                side[price] = rng.randint(1, 999)
        before, (self.bids, self.asks) = (self.bids, self.asks), wanted
        return _changes(before[0], wanted[0]), _changes(before[1], wanted[1])


def _changes(before: dict[int, int], after: dict[int, int]) -> dict[int, int]:
    gone = {price: 0 for price in before if price not in after}
    return gone | {price: size for price, size in after.items() if before.get(price) != size}


def texts(side: dict[int, int], *more: str) -> list[list[str]]:
    """Levels as the exchanges write them."""
    return [[f"{price / 100:.2f}", f"{size / 100:.2f}" if size else "0", *more] for price, size in side.items()]


class VenueServer:
    """One market of one of the two, `BTCUSDT` there and `BTC-USDT` here. Use as a context."""

    def __init__(self, venue: str, seed: int = 1) -> None:
        self.sent_updates: list[int] = []
        self.sent_trades: list[str] = []
        self.subscriptions: list[str] = []
        self._okx = venue == "okx"
        self._ladder = Ladder(seed)
        self._rng = random.Random(seed)
        self._u = 1_000
        self._skip = 0
        self._transports: list[asyncio.Transport] = []
        self._sockets: dict[web.WebSocketResponse, set[str]] = {}
        self._loop = asyncio.new_event_loop()
        self._ready: Future[str] = Future()
        self._done = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)

    def __enter__(self) -> VenueServer:
        self._thread.start()
        self.url = self._ready.result(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(10)

    # -- faults

    def lose_deltas(self, count: int) -> None:
        """The next deltas are counted but never sent."""
        self._loop.call_soon_threadsafe(setattr, self, "_skip", count)

    def abort(self) -> None:
        """Cuts every connection without a word."""
        self._call(self._abort())

    def say(self, text: str) -> None:
        """Sends a frame to every connection."""
        self._call(self._to_all("", text))

    def restart(self) -> None:
        """The service counts anew: a snapshot with u = 1."""

        async def now() -> None:
            self._u = 1
            await self._to_all("orderbook", self._snapshot())

        self._call(now())

    def _call(self, coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _abort(self) -> None:
        for transport in self._transports:
            transport.abort()
        self._transports.clear()

    # -- serving

    async def _serve(self) -> None:
        app = web.Application()
        app.router.add_get("/v5/market/instruments-info", self._bybit_instruments)
        app.router.add_get("/v5/market/time", self._bybit_time)
        app.router.add_get("/api/v5/public/instruments", self._okx_instruments)
        app.router.add_get("/api/v5/public/time", self._okx_time)
        app.router.add_get("/v5/public/{kind}", self._websocket)
        app.router.add_get("/ws/v5/public", self._websocket)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        market = asyncio.create_task(self._market())
        self._ready.set_result(f"http://127.0.0.1:{port}")
        await self._done.wait()
        market.cancel()
        await self._abort()
        await runner.cleanup()

    async def _market(self) -> None:
        while True:
            await asyncio.sleep(STEP_S)
            bids, asks = self._ladder.step()
            before, self._u = self._u, self._u + 1
            if self._skip:
                self._skip -= 1
            else:
                await self._to_all("orderbook", self._delta(before, bids, asks))
                self.sent_updates.append(self._u)
            await self._to_all("trade", self._trades(self._rng.randint(1, 3)))

    async def _to_all(self, topic: str, text: str) -> None:
        for socket, topics in list(self._sockets.items()):
            if (not topic or topic in topics) and not socket.closed:
                with contextlib.suppress(ConnectionError):
                    await socket.send_str(text)

    async def _websocket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        topics = self._sockets[socket] = set()
        if request.transport is not None:
            self._transports.append(request.transport)
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            if message.data == "ping":
                await socket.send_str("pong")
                continue
            asked = msgspec.json.decode(message.data)
            if asked["op"] == "ping":
                await socket.send_str('{"success":true,"ret_msg":"pong","conn_id":"1","op":"ping"}')
                continue
            for one in asked["args"]:
                name = one["channel"] if self._okx else one
                self.subscriptions.append(f"{asked['op']} {name}")
                topic = "orderbook" if name.startswith(("orderbook", "books")) else "trade"
                if asked["op"] == "unsubscribe":
                    topics.discard(topic)
                    continue
                await socket.send_str(
                    _text({"event": "subscribe", "arg": one, "connId": "1"})
                    if self._okx
                    else _text({"success": True, "ret_msg": "", "conn_id": "1", "req_id": "", "op": "subscribe"})
                )
                topics.add(topic)
                if topic == "orderbook":
                    await socket.send_str(self._snapshot())
        del self._sockets[socket]
        return socket

    # -- payloads

    def _snapshot(self) -> str:
        if self._okx:
            return self._okx_book("snapshot", -1, self._ladder.bids, self._ladder.asks)
        return self._bybit_book("snapshot", self._ladder.bids, self._ladder.asks)

    def _delta(self, before: int, bids: dict[int, int], asks: dict[int, int]) -> str:
        if self._okx:
            return self._okx_book("update", before, bids, asks)
        return self._bybit_book("delta", bids, asks)

    def _bybit_book(self, kind: str, bids: dict[int, int], asks: dict[int, int]) -> str:
        data = {"s": "BTCUSDT", "b": texts(bids), "a": texts(asks), "u": self._u, "seq": self._u * 7}
        now = _now_ms()
        return _text({"topic": f"orderbook.{LEVELS}.BTCUSDT", "type": kind, "ts": now, "data": data, "cts": now - 1})

    def _okx_book(self, action: str, before: int, bids: dict[int, int], asks: dict[int, int]) -> str:
        data = {
            "asks": texts(asks, "0", "1"),
            "bids": texts(bids, "0", "1"),
            "ts": str(_now_ms()),
            "checksum": 0,
            "seqId": self._u,
            "prevSeqId": before,
        }
        return _text({"arg": {"channel": "books", "instId": "BTC-USDT"}, "action": action, "data": [data]})

    def _trades(self, count: int) -> str:
        now, price = _now_ms(), f"{self._ladder.mid / 100:.2f}"
        rows: list[dict[str, Any]] = []
        for _ in range(count):
            buy = self._rng.random() < 0.5
            if self._okx:
                ident = str(5_000_000 + len(self.sent_trades))
                side = "buy" if buy else "sell"
                rows.append({"instId": "BTC-USDT", "tradeId": ident, "px": price, "sz": "0.00001186", "side": side})
                rows[-1]["ts"] = str(now)
            else:
                ident = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
                rows.append({"T": now, "s": "BTCUSDT", "S": "Buy" if buy else "Sell", "v": "0.001", "p": price})
                rows[-1] |= {"L": "PlusTick", "i": ident, "BT": False}
            self.sent_trades.append(ident)
        if self._okx:
            return _text({"arg": {"channel": "trades", "instId": "BTC-USDT"}, "data": rows})
        return _text({"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": now, "data": rows})

    async def _bybit_instruments(self, request: web.Request) -> web.Response:
        category = request.query["category"]
        market = {
            "symbol": "BTCUSDT",
            "contractType": "LinearPerpetual",
            "status": "Trading",
            "baseCoin": "BTC",
            "quoteCoin": "USDT",
            "settleCoin": "USDT",
            "launchTime": "1585526400000",
            "deliveryTime": "0",
            "priceFilter": {"tickSize": "0.01", "minPrice": "0.01", "maxPrice": "999999"},
            "lotSizeFilter": {"qtyStep": "0.01", "basePrecision": "0.01", "minOrderQty": "0.01", "maxOrderQty": "9"},
            "leverageFilter": {"minLeverage": "1", "maxLeverage": "100", "leverageStep": "0.01"},
        }
        listed = [market] if category in ("spot", "linear") else []
        result = {"category": category, "list": listed, "nextPageCursor": ""}
        return web.json_response({"retCode": 0, "retMsg": "OK", "result": result, "time": _now_ms()})

    async def _bybit_time(self, request: web.Request) -> web.Response:
        now = time.time_ns()
        result = {"timeSecond": str(now // 10**9), "timeNano": str(now)}
        return web.json_response({"retCode": 0, "retMsg": "OK", "result": result, "time": now // 10**6})

    async def _okx_instruments(self, request: web.Request) -> web.Response:
        market = {
            "instType": "SPOT",
            "instId": "BTC-USDT",
            "baseCcy": "BTC",
            "quoteCcy": "USDT",
            "settleCcy": "",
            "ctVal": "",
            "expTime": "",
            "lever": "10",
            "lotSz": "0.00000001",
            "minSz": "0.00001",
            "tickSz": "0.01",
            "state": "live",
            "uly": "",
            "optType": "",
            "stk": "",
            "listTime": "1548133413000",
        }
        listed = [market] if request.query["instType"] == "SPOT" else []
        return web.json_response({"code": "0", "msg": "", "data": listed})

    async def _okx_time(self, request: web.Request) -> web.Response:
        return web.json_response({"code": "0", "msg": "", "data": [{"ts": str(_now_ms())}]})


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _text(message: object) -> str:
    return msgspec.json.encode(message).decode()
