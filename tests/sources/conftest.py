"""A recording sink, a clock that can be pushed, and an exchange that does exactly what a test tells it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import WSMsgType, web

from collector.clock import SystemClock
from collector.sources.binance_feed import BinanceFeed
from collector.sources.feed import Stream
from collector.sources.settings import FeedSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

CHANNELS = {"depthUpdate": "depth", "markPriceUpdate": "markPrice"}


class PushedClock(SystemClock):
    """Runs like the system's, and jumps ahead when a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead_ns = 0

    def now_ns(self) -> int:
        return super().now_ns() + self.ahead_ns

    def push(self, seconds: float) -> None:
        self.ahead_ns += round(seconds * 1e9)

    async def sleep(self, seconds: float) -> None:
        """Ends when this clock says so, not the loop's."""
        until_ns = self.now_ns() + round(seconds * 1e9)
        while (left_ns := until_ns - self.now_ns()) > 0:  # noqa: ASYNC110  no event tells of a pushed clock
            await asyncio.sleep(min(left_ns / 1e9, 0.01))


class RecordingSink:
    """Keeps every call as (name, arguments), and frames besides, by connection."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.frames: dict[int, list[str | bytes]] = defaultdict(list)
        self.stamps: list[int] = []
        self.raises = False
        self.in_step = True
        self.may_listen = asyncio.Event()
        self.may_listen.set()

    async def begun(self, symbol: str) -> None:
        await self.may_listen.wait()

    def handed_over(self, connection: int) -> bool:
        return self.in_step

    def frame(self, recv_ns: int, connection: int, text: str | bytes) -> Stream | None:
        self.frames[connection].append(text)
        self.stamps.append(recv_ns)
        if self.raises:
            raise RuntimeError("a sink must not raise, but this one does")
        try:
            message = json.loads(text)
        except ValueError:
            return None
        if not isinstance(message, dict):
            return None
        symbol, at, channel = str(message.get("stream", "")).partition("@")
        if at:
            return Stream(symbol.upper(), channel.split("@")[0], message["stream"])
        kind = message.get("e", "bookTicker")
        return Stream(message["s"], CHANNELS.get(kind, kind), "") if "s" in message else None

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name not in {
            "opened",
            "closed",
            "anchor_requested",
            "anchor",
            "clock_measured",
            "event",
            "polled",
            "listed",
        }:
            raise AttributeError(name)
        return lambda *args: self.calls.append((name, args))

    def named(self, name: str) -> list[tuple[Any, ...]]:
        return [args for called, args in self.calls if called == name]

    def kinds(self) -> list[str]:
        return [event[2] for event in self.named("event")]

    def reasons(self) -> list[str]:
        return [closed[3] for closed in self.named("closed")]


class ScriptedExchange:
    """Binance's routes on loopback. Sends what a test sends, and remembers it."""

    def __init__(self) -> None:
        self.url = ""
        self.connections: list[web.WebSocketResponse] = []
        self.subscribed: dict[web.WebSocketResponse, list[str]] = {}
        self.paths: list[str] = []
        self.sent: dict[str, list[str]] = defaultdict(list)
        self.requests: Counter[str] = Counter()
        self.queries: list[dict[str, str]] = []
        self.answers: dict[str, list[tuple[int, bytes, dict[str, str]]]] = defaultdict(list)
        self.rest_book = {"lastUpdateId": 100, "bids": [["10.0", "1"]], "asks": [["11.0", "1"]]}
        self.last_trade = {"a": 7, "l": 9}
        self.refuse_subscriptions: list[dict[str, Any]] = []
        self.acknowledge = True
        self.symbols = ["BTCUSDT", "ETHUSDT"]
        self._ids = iter(range(1, 10**9))
        self._runner: web.AppRunner | None = None

    async def start(self, port: int = 0) -> None:
        app = web.Application()
        for root in ("/api/v3", "/fapi/v1"):
            app.router.add_get(root + "/{path}", self._rest)
        for path in (
            "/stream/ws/{n}",
            "/stream/stream",
            "/fstream/public/ws/{n}",
            "/fstream/public/stream",
            "/fstream/market/ws/{n}",
        ):
            app.router.add_get(path, self._websocket)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        for connection in self.connections:
            if connection._req is not None and connection._req.transport is not None:
                connection._req.transport.abort()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _rest(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        self.requests[path] += 1
        self.queries.append({"path": path, **request.query})
        if self.answers[path]:
            status, body, headers = self.answers[path].pop(0)
            return web.Response(body=body, status=status, headers=headers, content_type="application/json")
        if path == "exchangeInfo":
            futures = request.path.startswith("/fapi")
            asked = json.loads(request.query.get("symbols", "[]"))
            if set(asked) - set(self.symbols):
                return web.json_response({"code": -1121, "msg": "Invalid symbol."}, status=400)
            return web.json_response(exchange_info(asked or self.symbols, futures=futures))
        if path == "depth":
            return web.json_response(self.rest_book)
        if path == "aggTrades":
            return web.json_response([{**self.last_trade, "p": "1", "q": "1", "f": 1, "T": 1, "m": True}])
        return web.json_response({"serverTime": SystemClock().now_ns() // 1_000_000 + 5})

    async def _websocket(self, request: web.Request) -> web.WebSocketResponse:
        websocket = web.WebSocketResponse(autoping=True, max_msg_size=0)
        await websocket.prepare(request)
        self.connections.append(websocket)
        self.paths.append(request.path)
        with contextlib.suppress(ConnectionError):
            async for message in websocket:
                if message.type is WSMsgType.TEXT:
                    await self._requested(websocket, json.loads(message.data))
        return websocket

    async def _requested(self, websocket: web.WebSocketResponse, request: dict[str, Any]) -> None:
        self.requests[request["method"]] += 1
        if self.refuse_subscriptions:
            await websocket.send_json({**self.refuse_subscriptions.pop(0), "id": request["id"]})
        elif self.acknowledge:
            self.subscribed[websocket] = request["params"]
            await websocket.send_str(f'{{"result":null,"id":{request["id"]}}}')

    def carrier(self, name: str) -> web.WebSocketResponse:
        """The newest connection on which `name` is subscribed."""
        return [one for one, names in self.subscribed.items() if name in names][-1]

    async def send(self, name: str, text: str | None = None) -> str:
        """Sends a frame of the stream, by default a sound one with an id of its own."""
        if text is None:
            symbol, _, channel = name.partition("@")
            kind = {"depth": "depthUpdate"}.get(channel.split("@")[0], channel.split("@")[0])
            levels = '"b":[["1.50000000","0"]],"a":[]'
            text = f'{{"e":"{kind}","s":"{symbol.upper()}", "u":{next(self._ids)},{levels}}}'
        await self.carrier(name).send_str(text)
        self.sent[name].append(text)
        return text


def exchange_info(symbols: list[str], *, futures: bool) -> dict[str, Any]:
    extra = {"marginAsset": "USDT", "contractType": "PERPETUAL", "deliveryDate": 4133404800000} if futures else {}
    return {
        "timezone": "UTC",
        "symbols": [
            {
                "symbol": symbol,
                "status": "TRADING",
                "baseAsset": symbol.removesuffix("USDT"),
                "quoteAsset": "USDT",
                "permissionSets": [["SPOT", "TRD_GRP_004"]],
                "filters": [
                    {"filterType": "PRICE_FILTER", "minPrice": "0.10", "maxPrice": "100000", "tickSize": "0.10"},
                    {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "9000", "stepSize": "0.001"},
                ],
                **extra,
            }
            for symbol in symbols
        ],
    }


class Hasty(random.Random):
    """Draws the shortest back-off."""

    def uniform(self, a: float, b: float) -> float:
        return a


class Harness:
    """A feed on the scripted exchange, running until the test is over."""

    def __init__(self, exchange: ScriptedExchange) -> None:
        self.exchange = exchange
        self.clock = PushedClock()
        self.sink = RecordingSink()
        self.feed: BinanceFeed | None = None
        self._running: asyncio.Task[None] | None = None

    async def run(
        self,
        exchange: str = "binanceusdm",
        markets: tuple[str, ...] = ("BTCUSDT",),
        streams: tuple[str, ...] = ("depth",),
        last_seen: Any = None,
        on_progress: Any = None,
        opened: bool = True,
        **settings: Any,
    ) -> BinanceFeed:
        settings = {"url_root": self.exchange.url, "check_interval_s": 0.02, **settings}
        self.feed = feed = BinanceFeed(
            exchange,
            markets,
            streams,
            FeedSettings(**settings),
            self.clock,
            self.sink,
            last_seen=last_seen,
            on_progress=on_progress,
            sleep=self.clock.sleep,
            rng=Hasty(),
        )
        await feed.start()
        self._running = asyncio.create_task(feed.run())
        if opened:
            await self.until(lambda: len(self.sink.named("opened")) == len(streams))
        return feed

    async def until(self, condition: Callable[[], Any], within_s: float = 5.0) -> None:
        """Waits for what must come; says what was there when it does not."""
        try:
            async with asyncio.timeout(within_s):
                while not condition():
                    if self._running is not None and self._running.done():
                        self._running.result()
                    await asyncio.sleep(0.002)
        except TimeoutError:
            pytest.fail(f"did not come to pass within {within_s} s; the sink saw {self.sink.calls}")

    async def pushing(self, seconds: float, condition: Callable[[], Any]) -> None:
        """Pushes the clock again and again until what must come has come."""

        def pushed() -> Any:
            self.clock.push(seconds / 10)
            return condition()

        await self.until(pushed)

    async def stop(self) -> None:
        if self._running is not None:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running
            self._running = None
        if self.feed is not None:
            await self.feed.close()


@pytest.fixture
async def exchange() -> AsyncIterator[ScriptedExchange]:
    server = ScriptedExchange()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def harness(exchange: ScriptedExchange) -> AsyncIterator[Harness]:
    made = Harness(exchange)
    yield made
    await made.stop()


@pytest.fixture
def make_exchange_info() -> Any:
    return exchange_info
