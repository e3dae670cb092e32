"""The websocket endpoints: handshake, control messages, pings, limits and the end of a connection."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import WSMsgType, web

from collector.simulator.connection import Connection
from collector.simulator.names import SPOT, USDM

if TYPE_CHECKING:
    from collector.clock import Clock
    from collector.simulator.hub import Hub

_MAX_STREAMS = 1024
_TOO_MANY = 4
# Spot documents 5 incoming messages a second; futures document 10 and were seen to take bursts of 15 before they close.
_MESSAGES_PER_S = {SPOT: 5, USDM: 15}
_ATTEMPTS = 300
_ATTEMPT_WINDOW_NS = 300 * 10**9
_PING_INTERVAL_S = {SPOT: 20.0, USDM: 180.0}
_PONG_TIMEOUT_S = {SPOT: 60.0, USDM: 600.0}
_DAY_S = 86_400.0

_encode = msgspec.json.encode


class _Request(msgspec.Struct):
    method: str
    params: list[Any] = []
    id: int | str | None = None

    def names(self) -> list[str]:
        return [name for name in self.params if isinstance(name, str)]


_decode_request = msgspec.json.Decoder(_Request).decode


class Websockets:
    """Accepts the connections of both exchanges."""

    def __init__(
        self,
        hub: Hub,
        clock: Clock,
        ping_interval_s: float | None = None,
        pong_timeout_s: float | None = None,
        lifetime_s: float = _DAY_S,
    ) -> None:
        """
        Args:
            ping_interval_s: None pings as often as the exchange: every 20 s on spot, 180 s on futures.
            pong_timeout_s: None waits as long for a pong: 60 s on spot, 600 s on futures.
        """
        self._hub = hub
        self._clock = clock
        self._ping_interval_s = ping_interval_s
        self._pong_timeout_s = pong_timeout_s
        self._lifetime_s = lifetime_s
        self._numbers = 0
        self._attempts: dict[str, deque[int]] = {SPOT: deque(), USDM: deque()}

    def routes(self) -> list[web.RouteDef]:
        # ccxt tells spot by "/stream" in the URL, so the spot root has it and the futures root has not.
        return [
            web.get("/stream/{kind:ws|stream}", self.handle_spot),
            web.get("/stream/ws/{names:.*}", self.handle_spot),
            web.get("/fstream/{kind:ws|stream}", self.handle_usdm),
            web.get("/fstream/ws/{names:.*}", self.handle_usdm),
            web.get("/fstream/{route:public|market|private}/{kind:ws|stream}", self.handle_usdm),
            web.get("/fstream/{route:public|market|private}/ws/{names:.*}", self.handle_usdm),
        ]

    async def handle_spot(self, request: web.Request) -> web.StreamResponse:
        return await self._serve(request, SPOT)

    async def handle_usdm(self, request: web.Request) -> web.StreamResponse:
        return await self._serve(request, USDM)

    async def _serve(self, request: web.Request, exchange: str) -> web.StreamResponse:
        if not self._may_connect(exchange):
            return web.Response(status=429, text="Too many connection attempts")
        ws = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=1 << 20)
        await ws.prepare(request)
        if not isinstance(request.transport, asyncio.Transport):
            return ws
        self._numbers += 1
        connection = Connection(
            self._numbers,
            exchange,
            request.match_info.get("route"),
            request.path_qs,
            request.match_info.get("kind") == "stream",
            ws,
            request.transport,
        )
        self._hub.connections[connection.number] = connection
        self._hub.counters[f"websocket {exchange} connections"] += 1
        for name in _names_in(request):
            self._hub.subscribe(connection, name)
        keeper = asyncio.create_task(self._keep(connection))
        try:
            await self._listen(connection)
        finally:
            keeper.cancel()
            self._hub.forget(connection)
            self._hub.counters[f"websocket {exchange} disconnections"] += 1
        return ws

    async def _listen(self, connection: Connection) -> None:
        received: deque[int] = deque()
        async for message in connection.ws:
            await connection.thawed.wait()
            now_ns = self._clock.now_ns()
            received.append(now_ns)
            while received[0] <= now_ns - 10**9:
                received.popleft()
            if len(received) > _MESSAGES_PER_S[connection.exchange]:
                self._hub.counters["websocket too many requests"] += 1
                await connection.close(1008, "Too many requests")
                return
            if message.type is WSMsgType.PING:
                await connection.ws.pong(message.data)
            elif message.type is WSMsgType.PONG:
                connection.pongs += 1
            elif message.type is WSMsgType.TEXT:
                reply = self._control(connection, message.data)
                connection.send(_encode(reply))
                if "error" in reply and reply["error"]["code"] == _TOO_MANY:
                    await connection.close(1008, "Too many streams")
                    return

    def _control(self, connection: Connection, text: str) -> dict[str, Any]:
        """The reply to a control message. The exchange acknowledges any stream name."""
        try:
            request = _decode_request(text)
        except msgspec.ValidationError as error:
            return _refused(2, f"Invalid request: {error}", None)
        except msgspec.DecodeError as error:
            return _refused(3, f"Invalid JSON: {error}", None)
        if request.method == "SUBSCRIBE":
            return self._subscribe(connection, request)
        result: Any = None
        if request.method == "UNSUBSCRIBE":
            for name in request.names():
                self._hub.unsubscribe(connection, name)
        elif request.method == "LIST_SUBSCRIPTIONS":
            result = list(connection.names)
        elif request.method == "SET_PROPERTY" and request.params[:1] == ["combined"]:
            connection.combined = bool(request.params[1:] and request.params[1])
        elif request.method == "GET_PROPERTY" and request.params[:1] == ["combined"]:
            result = connection.combined
        else:
            return _refused(2, f"Invalid request: unknown method {request.method}", request.id)
        return {"result": result, "id": request.id}

    def _subscribe(self, connection: Connection, request: _Request) -> dict[str, Any]:
        self._hub.counters["subscribe requests"] += 1
        if self._hub.faults.take_rejection(connection.exchange):
            return _refused(2, "Invalid request: rejected on request", request.id)
        if len(connection.names.keys() | set(request.names())) > _MAX_STREAMS:
            return _refused(_TOO_MANY, "Too many subscriptions", request.id)
        for name in request.names():
            self._hub.subscribe(connection, name)
        return {"result": None, "id": request.id}

    async def _keep(self, connection: Connection) -> None:
        """Pings, closes a client that does not answer, and cuts the connection at the end of its life."""
        exchange = connection.exchange
        interval_s = self._ping_interval_s or _PING_INTERVAL_S[exchange]
        patience_s = self._pong_timeout_s or _PONG_TIMEOUT_S[exchange]
        begun_ns = pong_ns = self._clock.now_ns()
        pongs = 0
        while connection.open:
            left_s = self._lifetime_s - (self._clock.now_ns() - begun_ns) / 1e9
            if left_s <= 0:
                self._hub.counters["websocket cuts"] += 1
                await connection.close(1001, "24 hours are over")
                return
            await asyncio.sleep(min(interval_s, left_s))
            await connection.thawed.wait()
            if left_s <= interval_s or not connection.open:
                continue
            now_ns = self._clock.now_ns()
            if connection.pongs > pongs or not connection.pings:
                pongs, pong_ns = connection.pongs, now_ns
            if now_ns - pong_ns > patience_s * 1e9:
                await connection.close(1008, "Pong timeout")
                return
            with suppress(ConnectionError):
                connection.pings += 1
                await connection.ws.ping(str(now_ns // 10**6).encode())

    def _may_connect(self, exchange: str) -> bool:
        attempts, now_ns = self._attempts[exchange], self._clock.now_ns()
        while attempts and attempts[0] <= now_ns - _ATTEMPT_WINDOW_NS:
            attempts.popleft()
        attempts.append(now_ns)
        return len(attempts) <= _ATTEMPTS


def _refused(code: int, text: str, request_id: int | str | None) -> dict[str, Any]:
    return {"error": {"code": code, "msg": text}, "id": request_id}


def _names_in(request: web.Request) -> list[str]:
    """Stream names in a URL. ccxt appends a number to tell its connections apart; that is no name."""
    names = request.match_info.get("names", "").split("/") + request.query.get("streams", "").split("/")
    return [name for name in names if name and not name.isdigit()]
