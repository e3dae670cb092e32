"""Websockets behave as Binance's do, their silent failures included."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest

PUBLIC = ["btcusdt@depth@100ms", "btcusdt@bookTicker", "btcusdt@trade"]
MARKET = ["btcusdt@aggTrade", "btcusdt@markPrice@1s", "btcusdt@kline_1m"]
EVENTS = {
    "btcusdt@depth@100ms": "depthUpdate",
    "btcusdt@bookTicker": "bookTicker",
    "btcusdt@trade": "trade",
    "btcusdt@aggTrade": "aggTrade",
    "btcusdt@markPrice@1s": "markPriceUpdate",
    "btcusdt@kline_1m": "kline",
}


async def test_a_futures_url_acknowledges_all_and_delivers_only_its_family(simulating, all_texts):
    expected = {
        "/fstream/public/ws": PUBLIC,
        "/fstream/market/ws": MARKET,
        "/fstream/private/ws": [],
        "/fstream/ws": PUBLIC,
        "/fstream/ws/7": PUBLIC,
    }
    async with simulating() as (_, client):

        async def delivered(path: str) -> set[str]:
            async with client.ws(path, *PUBLIC, *MARKET) as ws:
                events = {json.loads(text)["e"] for text in await all_texts(ws, 1.2)}
                await ws.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 2})
                while "result" not in (reply := json.loads((await ws.receive(3)).data)):
                    pass
                assert reply == {"result": [*PUBLIC, *MARKET], "id": 2}
                return events

        events = await asyncio.gather(*map(delivered, expected))
    assert events == [{EVENTS[name] for name in names} for names in expected.values()]


async def test_raw_and_combined_urls_name_streams_and_numbers_are_no_names(simulating, next_text):
    async with simulating() as (_, client):
        async with client.ws("/stream/ws/1/btcusdt@aggTrade") as ws:
            assert json.loads(await next_text(ws))["e"] == "aggTrade"
        async with client.ws("/stream/stream?streams=btcusdt@aggTrade/btcusdt@depth@100ms") as ws:
            seen = {json.loads(await next_text(ws))["stream"] for _ in range(20)}
            assert seen == {"btcusdt@aggTrade", "btcusdt@depth@100ms"}
        async with client.ws("/stream/ws", "btcusdt@trade") as ws:
            await ws.send_json({"method": "SET_PROPERTY", "params": ["combined", True], "id": "x"})
            assert json.loads(await next_text(ws, ack=True)) == {"result": None, "id": "x"}
            assert json.loads(await next_text(ws))["stream"] == "btcusdt@trade"


async def test_spot_payloads_have_spot_fields(simulating, all_texts):
    async with (
        simulating() as (_, client),
        client.ws("/stream/stream", *PUBLIC, "btcusdt@depth20@100ms", "btcusdt@aggTrade") as ws,
    ):
        keys = {}
        for text in await all_texts(ws, 0.8):
            frame = json.loads(text)
            keys[frame["stream"]] = set(frame["data"])
    assert keys == {
        "btcusdt@depth@100ms": set("eEsUuba"),
        "btcusdt@bookTicker": set("usbBaA"),
        "btcusdt@trade": set("eEstpqTmM"),
        "btcusdt@aggTrade": set("eEsapqflTmM"),
        "btcusdt@depth20@100ms": {"lastUpdateId", "bids", "asks"},
    }


async def test_unsubscribing_ends_a_stream_and_a_bogus_name_is_acknowledged(simulating, all_texts, next_text):
    async with simulating() as (_, client), client.ws("/stream/ws", "btcusdt@trade", "BTCUSDT@trade", "nonsense") as ws:
        assert await all_texts(ws, 0.3)
        await ws.send_json({"method": "UNSUBSCRIBE", "params": ["btcusdt@trade"], "id": 5})
        assert json.loads(await next_text(ws, ack=True)) == {"result": None, "id": 5}
        assert await all_texts(ws, 0.3) == []


@pytest.mark.parametrize(
    ("message", "code"),
    [("{", 3), ('{"params":[]}', 2), ('{"method":"DANCE","id":1}', 2)],
)
async def test_a_bad_request_gets_an_error(simulating, message, code):
    async with simulating() as (_, client), client.ws("/stream/ws") as ws:
        await ws.send_str(message)
        assert json.loads((await ws.receive(3)).data)["error"]["code"] == code


@pytest.mark.parametrize(("path", "allowed"), [("/stream/ws", 5), ("/fstream/public/ws", 15)])
async def test_too_many_messages_close_the_connection(simulating, path, allowed):
    async with simulating() as (_, client), client.ws(path) as ws:
        for number in range(allowed + 1):
            await ws.send_json({"method": "LIST_SUBSCRIPTIONS", "id": number})
        for number in range(allowed):
            assert json.loads((await ws.receive(3)).data)["id"] == number
        assert (await ws.receive(3)).type is aiohttp.WSMsgType.CLOSE
        assert ws.close_code == 1008


async def test_the_1025th_stream_closes_the_connection(simulating, next_text):
    names = [f"x{number}usdt@trade" for number in range(1025)]
    async with simulating() as (_, client), client.ws("/stream/ws") as ws:
        await ws.send_json({"method": "SUBSCRIBE", "params": names, "id": 1})
        assert json.loads(await next_text(ws))["error"]["code"] == 4
        assert (await ws.receive(3)).type is aiohttp.WSMsgType.CLOSE


async def test_the_server_pings_and_hears_pongs(simulating):
    async with simulating(ping_interval_s=0.1) as (_, client), client.ws("/stream/ws") as ws:
        for _ in range(3):
            message = await ws.receive(3)
            assert message.type is aiohttp.WSMsgType.PING
            await ws.pong(message.data)
        await ws.receive(3)
        _, _, stat = await client.get("/stat")
        assert stat["connections"][0]["pongs"] == 3


async def test_a_client_that_does_not_answer_pings_is_closed(simulating):
    async with simulating(ping_interval_s=0.1, pong_timeout_s=0.25) as (_, client), client.ws("/stream/ws") as ws:
        while (closed := await ws.receive(3)).type is aiohttp.WSMsgType.PING:
            pass
        assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, 1008)


async def test_connection_attempts_are_limited(simulating):
    async with simulating() as (_, client):
        statuses = []
        for _ in range(301):
            async with client.session.get(client.url + "/stream/ws") as response:
                statuses.append(response.status)
        assert 429 not in statuses[:300]
        assert statuses[300] == 429


async def test_a_connection_is_cut_at_the_end_of_its_life(simulating):
    async with simulating(lifetime_s=0.2) as (_, client), client.ws("/stream/ws") as ws:
        assert (await ws.receive(3)).type is aiohttp.WSMsgType.CLOSE


async def test_two_connections_get_the_same_text(simulating, next_text):
    stream = "btcusdt@depth@100ms"
    async with (
        simulating() as (_, client),
        client.ws("/stream/ws", stream) as one,
        client.ws("/stream/ws", stream) as two,
    ):
        first = {json.loads(text)["u"]: text for text in [await next_text(one) for _ in range(6)]}
        second = {json.loads(text)["u"]: text for text in [await next_text(two) for _ in range(4)]}
        common = first.keys() & second.keys()
        assert common
        assert all(first[u] == second[u] for u in common)
