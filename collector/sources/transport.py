"""ccxt.pro as transport: it connects, routes, subscribes and does REST; parsing and caching are not its business."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
import certifi
import msgspec

from collector.sources import lazy_ccxt
from collector.sources.errors import ConnectionLostError, RestError

lazy_ccxt.install()  # before anything of ccxt is imported

from ccxt.async_support.base.ws import client as ccxt_client  # noqa: E402
from ccxt.async_support.base.ws.client import Client  # noqa: E402
from ccxt.base.errors import NetworkError  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from collector.clock import Clock
    from collector.sources.budget import WeightBudget
    from collector.sources.endpoints import Endpoints
    from collector.sources.tap import Tap

REST_TIMEOUT_S = 10.0
_CLOSE_TIMEOUT_S = 1.0
_MESSAGE_TOO_BIG = 1009
_TEXT = aiohttp.WSMsgType.TEXT
# Our own pings prove a quiet futures connection alive, where the server's come every three minutes. On spot they count
# against five messages a second, so they are rare.
PING_INTERVAL_S = 60.0
# ccxt judges pongs by the wall clock, so a stepped clock would cut sound connections; the feed judges by its own.
_NEVER = 10**9
_CONNECTIONS = 1024  # ccxt spreads subscriptions over so many URLs; we want one for each

_CONFIG: dict[str, Any] = {
    "enableRateLimit": False,  # the weight budget does it, and knows what the exchange says
    "timeout": round(REST_TIMEOUT_S * 1000),
    "streaming": {"keepAlive": round(PING_INTERVAL_S * 1000), "maxPingPongMisses": _NEVER},
    "options": {
        "streamLimits": {"spot": _CONNECTIONS, "linear": _CONNECTIONS},
        "ws": {"compress": 0},
    },
}


class RestResponse(NamedTuple):
    """One answer as received: `body` before any parsing, the time we sent and the time the body was there."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    sent_ns: int
    recv_ns: int


class _Call:
    """What a task learns of its own request, past ccxt."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self.now_ns = now_ns
        self.sent_ns = now_ns()
        self.response: RestResponse | None = None


_CALL: ContextVar[_Call | None] = ContextVar("rest_call", default=None)


class _ExactResponse(aiohttp.ClientResponse):
    """Keeps a body as it came. ccxt sees refusals only, to classify them; a success it would parse for nothing."""

    async def text(self, encoding: str | None = None, errors: str = "strict") -> str:
        call = _CALL.get()
        if call is None:
            return await super().text(encoding, errors)
        body = await self.read()
        call.response = RestResponse(self.status, self.headers, body, call.sent_ns, call.now_ns())
        return "" if self.status == 200 else body.decode(errors="replace")


class TapClient(Client):  # type: ignore[misc]
    """ccxt's connection, with frames going to a tap and only replies to our own requests going on to ccxt."""

    tap: Tap
    now_ns: Callable[[], int]
    dial: asyncio.Task[Any] | None = None

    async def open(self, session: Any, backoff_delay: float = 0) -> None:
        self.dial = asyncio.current_task()
        await super().open(session, backoff_delay)

    def receive_loop(self) -> None:
        """Takes what has come together, but for the last message, and leaves that and the waiting to ccxt.

        ccxt would do the same, but looks the queue up anew, through six objects, twice for each message.
        """
        queue = None if self.closed() else self.buffer
        if queue:
            taken_bytes = 0
            while len(queue) > 1:
                message, size = queue.popleft()
                taken_bytes += size + ccxt_client.MSG_SIZE_OVERHEAD
                self.handle_message(message)
            # aiohttp lets the socket go on when it sees the size of the last message leave, so that stands for all.
            message, size = queue[0]
            queue[0] = message, size + taken_bytes
        super().receive_loop()

    def handle_message(self, message: Any) -> None:
        if message.type is _TEXT:
            self.tap.receive(self.now_ns(), message.data)
        else:
            self.tap.heard_ns = self.now_ns()
            super().handle_message(message)

    def handle_text_or_binary_message(self, data: str | bytes) -> None:
        self.tap.receive(self.now_ns(), data)

    @property
    def oversize(self) -> bool:
        """Whether a frame over the size limit ended the connection."""
        return self.connection is not None and self.connection.close_code == _MESSAGE_TOO_BIG

    async def end(self) -> None:
        """Gives the socket back, within about a second whatever the peer does."""
        if self.dial is not None:
            self.dial.cancel()
        # A peer that is gone never answers a close; ccxt raises what it likes on the way.
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await self.close()


class _Hooks:
    """Overrides in ccxt's exchange class."""

    timeout_on_exit = 0  # for sockets of ccxt's own session; ours closes its own
    transport: Transport

    def client(self, url: str) -> Any:
        """ccxt's only place of birth for a connection."""
        client = super().client(url)  # type: ignore[misc]
        if type(client) is Client:
            self.transport.adopt(url, client)
        return client

    def sign(self, path: str, api: Any, method: str, params: Any, *rest: Any) -> Any:
        """As ccxt does, but for old trades, for which ccxt wants a key and spot does not."""
        if path == "historicalTrades":
            url = f"{self.urls['api'][api[0]]}/{path}?{self.urlencode(params)}"  # type: ignore[attr-defined]
            return {"url": url, "method": method, "body": None, "headers": None}
        return super().sign(path, api, method, params, *rest)  # type: ignore[misc]

    def ws_dial_delay(self, url: str) -> float:
        """None of ccxt's own: the feed paces its connection attempts."""
        return 0


class Transport:
    """One exchange's REST and websockets.

    Nothing of ccxt's market data handling runs: no `watch_*` is called, so it keeps no books, trades or snapshots.
    """

    def __init__(self, exchange: str, endpoints: Endpoints, clock: Clock, budget: WeightBudget) -> None:
        """Connects nowhere yet, but must be closed. Needs a running event loop.

        Raises:
            ValueError: `exchange` is not supported.
        """
        loaded = lazy_ccxt.load(exchange)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=certifi.where())),
            response_class=_ExactResponse,
            trust_env=True,  # HTTPS_PROXY and its like
        )
        tapped = type("Tapped" + exchange.capitalize(), (_Hooks, loaded), {"transport": self})
        self._ccxt: Any = tapped({**_CONFIG, "session": self._session})
        self._spot = exchange == "binance"
        self._clock = clock
        self._budget = budget
        self._taps: dict[str, Tap] = {}
        self._clients: dict[str, TapClient] = {}
        urls = self._ccxt.urls["api"]
        self._api = "public" if self._spot else "fapiPublic"
        self._kind = "spot" if self._spot else "linear"
        if endpoints.rest:
            urls[self._api] = endpoints.rest
        if endpoints.ws:
            urls["ws"][self._kind] = endpoints.ws
        self.rest_root: str = urls[self._api]

    def adopt(self, url: str, client: Any) -> None:
        """Called by ccxt for each connection that it makes."""
        client.__class__ = TapClient
        client.tap = self._taps[url]
        client.now_ns = self._clock.now_ns
        self._clients[url] = client

    async def get(self, path: str, params: Mapping[str, Any], *, weight: int) -> RestResponse:
        """One public GET, once the weight budget has room.

        Raises:
            RestError: no answer, or one that is not 200 with JSON.
        """
        await self._budget.take(weight)
        return await self.get_now(path, params)

    async def get_now(self, path: str, params: Mapping[str, Any]) -> RestResponse:
        """As `get`, for a caller that has taken the weight itself.

        Raises:
            RestError: no answer, or one that is not 200 with JSON.
        """
        call = _Call(self._clock.now_ns)
        token = _CALL.set(call)
        try:
            async with asyncio.timeout(REST_TIMEOUT_S * 1.5):
                await self._ccxt.fetch2(path, [self._api], "GET", dict(params))
        except Exception as error:
            raise _rest_error(path, call.response, error) from error
        finally:
            _CALL.reset(token)
            if call.response is not None:
                self._budget.observe(call.response.status, call.response.headers, call.sent_ns)
        response = call.response
        if response is None or response.body.lstrip()[:1] not in {b"{", b"["}:
            raise RestError(f"{path}: the answer is not JSON", response.status if response else None)
        return response

    def ws_url(self, channel: str, names: list[str], *, wrapped: bool = False) -> str:
        """ccxt's root and route for `channel`, made unique, so that each subscription has a connection of its own.

        `wrapped` asks the exchange for `{"stream":…,"data":…}` around each message.
        """
        base: str = self._ccxt.get_ws_url(self._kind, self._ccxt.get_future_ws_category(channel))
        if wrapped:
            return f"{base.removesuffix('/ws')}/stream?streams={'/'.join(names)}"
        number: str = self._ccxt.stream(self._kind, "/".join(names), len(names))
        return f"{base}/{number}"

    async def subscribe(self, url: str, names: list[str], tap: Tap) -> None:
        """Connects, subscribes, and stays for as long as the connection lives. `detach` must follow.

        Raises:
            ConnectionLostError: in the end, always.
        """
        self._taps[url] = tap
        request_id = self._ccxt.request_id(url)
        request = {"method": "SUBSCRIBE", "params": names, "id": request_id}
        try:
            await self._ccxt.watch_multiple(url, [url], request, [url], {"id": request_id})
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise ConnectionLostError("ccxt closed the connection") from None  # it cancels its futures when it does
        except Exception as error:
            raise ConnectionLostError(str(error) or type(error).__name__) from error
        raise ConnectionLostError("the subscription ended")

    def detach(self, url: str) -> TapClient | None:
        """Forgets the connection of `url` and gives it back to be ended; None when it was never made.

        ccxt marks a stream as subscribed for as long as its client lives, even one that the exchange refused.
        """
        self._ccxt.clients.pop(url, None)
        tap = self._taps.pop(url, None)
        if tap is not None:
            tap.shut()
        return self._clients.pop(url, None)

    def reply(self, url: str, message: dict[str, Any]) -> None:
        """Lets ccxt settle its own books by a reply of the exchange."""
        client = self._clients.get(url)
        if client is not None:
            with contextlib.suppress(Exception):  # ccxt raises what it makes of an error's code
                client.on_message_callback(client, message)

    def drop(self, url: str, why: str) -> None:
        """Makes `subscribe` of `url` fail now, whether or not the peer still answers."""
        client = self._clients.get(url)
        if client is not None:
            client.reset(NetworkError(why))

    async def try_websocket(self) -> None:
        """One handshake and nothing else, to find a wrong URL at start.

        Raises:
            Exception: the handshake failed.
        """
        url = self.ws_url("depth", ["handshake"])
        async with asyncio.timeout(REST_TIMEOUT_S), self._session.ws_connect(url, compress=0):
            pass

    async def close(self) -> None:
        """Gives back every socket. May be called at any time, and twice."""
        for client in list(self._clients.values()):
            await client.end()
        await self._ccxt.close()
        await self._session.close()


def _rest_error(path: str, response: RestResponse | None, error: Exception) -> RestError:
    if response is None:
        cause = error.__cause__ or error
        return RestError(f"{path}: no answer: {type(cause).__name__}: {cause}")
    code = None
    message = response.body[:200].decode(errors="replace").strip()
    with contextlib.suppress(msgspec.DecodeError):
        decoded = msgspec.json.decode(response.body)
        if isinstance(decoded, dict) and isinstance(decoded.get("code"), int):
            code = decoded["code"]
    return RestError(f"{path}: HTTP {response.status}: {message}", response.status, code)
