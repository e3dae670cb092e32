"""A simulator in the test's own loop, and a client that speaks to it as any program would."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import aiohttp
import pytest

from collector.clock import SystemClock
from collector.simulator.server import Simulator, SimulatorConfig


class Client:
    """REST and websocket of one simulator."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url

    async def get(self, path: str, **params: object) -> tuple[int, dict, object]:
        query = {key: str(value) for key, value in params.items()}
        async with self.session.get(self.url + path, params=query) as response:
            return response.status, dict(response.headers), await response.json(content_type=None)

    async def control(self, fault: object) -> dict:
        async with self.session.post(self.url + "/control", json={"fault": fault}) as response:
            return await response.json() | {"status": response.status}

    async def sent(self, stream: str, market: str = "binanceusdm", symbol: str = "BTCUSDT") -> dict:
        status, _, body = await self.get("/sent", market=market, symbol=symbol, stream=stream)
        assert status == 200, body
        return body

    @asynccontextmanager
    async def ws(self, path: str, *names: str):
        """A websocket; with names, subscribed to them."""
        timeout = aiohttp.ClientWSTimeout(ws_close=0.2)
        async with self.session.ws_connect(self.url + path, max_msg_size=0, autoping=False, timeout=timeout) as ws:
            if names:
                await ws.send_json({"method": "SUBSCRIBE", "params": names, "id": 1})
                assert json.loads(await text(ws, ack=True)) == {"result": None, "id": 1}
            yield ws


async def text(ws: aiohttp.ClientWebSocketResponse, timeout_s: float = 3, *, ack: bool = False) -> str:
    """The next text frame; with `ack`, the next reply to a control message."""
    while True:
        message = await ws.receive(timeout_s)
        assert message.type is aiohttp.WSMsgType.TEXT, message
        if not ack or '"id":' in message.data:
            return message.data


async def texts(ws: aiohttp.ClientWebSocketResponse, seconds: float) -> list[str]:
    """All text frames of the next `seconds`."""
    result = []
    try:
        async with asyncio.timeout(seconds):
            while True:
                result.append(await text(ws))
    except TimeoutError:
        return result


@pytest.fixture
def simulating():
    """Starts a simulator with a client: `async with simulating(symbols=1) as (simulator, client)`."""

    @asynccontextmanager
    async def start(**settings):
        settings = {"symbols": 1, "depth": 300, "trades": 40.0} | settings
        async with (
            Simulator(SimulatorConfig(**settings), SystemClock()) as simulator,
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
        ):
            yield simulator, Client(session, simulator.url)

    return start


@pytest.fixture
def next_text():
    return text


@pytest.fixture
def all_texts():
    return texts
