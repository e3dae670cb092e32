"""Each fault does what it says, and the ledger tells it."""

from __future__ import annotations

import asyncio
import itertools
import json

import aiohttp
import pytest

from collector.simulator.faults import KINDS, Fate, Fault, FaultBox, make_fault, parse_fault
from collector.simulator.instruments import simulated
from collector.simulator.ledger import Ledger
from collector.simulator.messages import Message
from collector.simulator.names import SPOT, USDM
from collector.simulator.seeded import STEP_MS, SeededMarket

PATH = "/fstream/public/ws"
STREAM = "btcusdt@depth@100ms"


def message(number: int, channel: str = "depth", symbol: str = "BTCUSDT") -> Message:
    return Message(USDM, symbol, channel, 100, number, b'{"b":[["1.5","2"]],"a":[]}')


def through(spec: str, messages: list[Message]) -> list[tuple[int, Fate]]:
    box = FaultBox()
    box.arm(parse_fault(spec))
    return [(outcome.id, fate) for one in messages for outcome, fate in box.outcomes(one)]


@pytest.mark.parametrize(
    ("spec", "outcome"),
    [
        ("drop:n=2", [(1, Fate.DROPPED), (2, Fate.DROPPED), (3, Fate.SENT), (4, Fate.SENT)]),
        ("duplicate", [(1, Fate.SENT), (1, Fate.SENT), (2, Fate.SENT), (3, Fate.SENT), (4, Fate.SENT)]),
        ("reorder", [(2, Fate.SENT), (1, Fate.SENT), (3, Fate.SENT), (4, Fate.SENT)]),
        ("bad_level:text=1e400", [(1, Fate.DAMAGED), (2, Fate.SENT), (3, Fate.SENT), (4, Fate.SENT)]),
        ("freeze:stream=depth", [(number, Fate.DROPPED) for number in range(1, 5)]),
        ("drop:stream=depth@250ms", [(number, Fate.SENT) for number in range(1, 5)]),
        ("drop:stream=btcusdt@depth,n=1", [(1, Fate.DROPPED), *((number, Fate.SENT) for number in range(2, 5))]),
        ("drop:symbol=ETHUSDT", [(number, Fate.SENT) for number in range(1, 5)]),
        ("drop:market=spot", [(number, Fate.SENT) for number in range(1, 5)]),
    ],
)
def test_message_faults(spec, outcome):
    assert through(spec, [message(number) for number in range(1, 5)]) == outcome


def test_a_bad_level_replaces_one_price():
    box = FaultBox()
    box.arm(parse_fault("bad_level:text=abc"))
    [(damaged, _)] = box.outcomes(message(1))
    assert damaged.payload == b'{"b":[["abc","2"]],"a":[]}'


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ("disconnect@10", Fault("close", 10.0)),
        ("disconnected@10", None),
        ("close:code=1008,market=binance@10", Fault("close", 10.0, code=1008, market=SPOT)),
        ("drop:stream=depth@100ms,n=3", Fault("drop", n=3, stream="depth@100ms")),
        ("drop:stream=depth@100ms@2.5", Fault("drop", 2.5, stream="depth@100ms")),
        ("rest:status=429,retry_after=2,path=depth", Fault("rest", status="429", retry_after=2.0, path="depth")),
        ("freeze:stream=trade,for=5", Fault("freeze", stream="trade", for_s=5.0)),
        ("drop:n=some", None),
        ("drop:code=5", None),
        ("drop:n", None),
        ("drop@soon", None),
        ("rest:status=200", None),
        ("drop:market=kraken", None),
        ("close:code=-1", None),
    ],
)
def test_specifications(spec, fault):
    if fault is not None:
        assert parse_fault(spec) == fault
    else:
        with pytest.raises(ValueError, match=r"fault|market"):
            parse_fault(spec)


def test_every_kind_can_be_made():
    for kind, (keys, text) in KINDS.items():
        assert make_fault(kind, {}).kind == kind
        assert text
        for key in keys:
            value = {"market": "spot", "status": "503"}.get(key, "3")
            make_fault(kind, {key: value})


def test_the_ledger_keeps_speeds_apart():
    ledger = Ledger()
    ledger.record(message(1), Fate.SENT)
    ledger.record(message(2), Fate.DROPPED)
    ledger.record(message(3), Fate.DAMAGED)
    ledger.record(message(9)._replace(speed_ms=250), Fate.SENT)
    assert ledger.sent(USDM, "BTCUSDT", "depth", 100) == {
        "sent": [1, 3],
        "dropped": [2],
        "damaged": [3],
        "truncated": False,
        "file": None,
    }
    with pytest.raises(ValueError, match="several speeds"):
        ledger.sent(USDM, "BTCUSDT", "depth", None)
    assert ledger.sent(SPOT, "BTCUSDT", "depth", None)["sent"] == []


async def test_a_client_received_exactly_what_the_ledger_says_was_sent(simulating, all_texts):
    async with simulating() as (_, client):
        async with client.ws(PATH, STREAM, "btcusdt@trade") as ws:
            for fault in ("drop:stream=depth,n=2", "duplicate:stream=trade", "reorder:stream=trade", "bad_level"):
                assert (await client.control(fault))["status"] == 200
            frames = [json.loads(text) for text in await all_texts(ws, 1.0)]
        depth, trades = await client.sent(STREAM), await client.sent("trade")
    received = [frame["u"] for frame in frames if frame["e"] == "depthUpdate"]
    assert received == depth["sent"][: len(received)]
    assert len(depth["sent"]) - len(received) <= 2
    assert len(depth["dropped"]) == 2
    assert len(depth["damaged"]) == 1
    assert not set(depth["dropped"]) & set(received)
    damaged = next(frame for frame in frames if frame.get("u") == depth["damaged"][0])
    assert "abc" in [price for price, _ in damaged["b"] + damaged["a"]]
    received = [frame["t"] for frame in frames if frame["e"] == "trade"]
    assert received == trades["sent"][: len(received)]
    assert len(received) > 10
    assert len(set(received)) == len(received) - 1
    assert received != sorted(received)


async def test_close_and_abort_end_only_the_connections_that_match(simulating, next_text):
    async with (
        simulating() as (_, client),
        client.ws("/stream/ws", "btcusdt@trade") as spot,
        client.ws(PATH, "btcusdt@trade") as usdm,
    ):
        assert (await client.control("close:code=1008,market=spot"))["connections"] == 1
        while (closed := await spot.receive(3)).type is aiohttp.WSMsgType.TEXT:
            pass
        assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, 1008)
        assert await next_text(usdm)
        assert (await client.control("abort:route=public"))["connections"] == 1
        while (closed := await usdm.receive(3)).type is aiohttp.WSMsgType.TEXT:
            pass
        assert closed.type in (aiohttp.WSMsgType.ERROR, aiohttp.WSMsgType.CLOSED)
        assert usdm.close_code != 1000


async def test_a_frozen_connection_is_silent_and_sends_what_it_held_once_thawed(simulating, all_texts, next_text):
    async with simulating() as (_, client), client.ws(PATH, STREAM) as ws:
        await next_text(ws)
        await client.control("freeze")
        await all_texts(ws, 0.1)
        sent = len((await client.sent(STREAM))["sent"])
        assert await all_texts(ws, 0.5) == []
        assert len((await client.sent(STREAM))["sent"]) == sent
        await client.control("thaw")
        frames = [json.loads(text) for text in await all_texts(ws, 0.3)]
        assert len(frames) >= 5
        assert all(after["pu"] == before["u"] for before, after in itertools.pairwise(frames))


async def test_one_dead_stream_on_a_live_socket(simulating, all_texts):
    async with simulating() as (_, client), client.ws(PATH, STREAM, "btcusdt@bookTicker") as ws:
        await client.control({"kind": "freeze", "stream": "depth", "for": 0.5})
        await all_texts(ws, 0.05)
        assert {json.loads(text)["e"] for text in await all_texts(ws, 0.35)} == {"bookTicker"}
        assert "depthUpdate" in {json.loads(text)["e"] for text in await all_texts(ws, 0.5)}
        assert len((await client.sent(STREAM))["dropped"]) >= 3


async def test_garbage_huge_and_unknown_frames(simulating, next_text):
    async with simulating(trades=0, levels=0) as (_, client), client.ws("/stream/stream?streams=btcusdt@trade") as ws:
        await client.control("garbage:n=2,stream=trade")
        for _ in range(2):
            with pytest.raises(json.JSONDecodeError):
                json.loads(await next_text(ws))
        await client.control("unknown")
        assert json.loads(await next_text(ws))["data"]["e"] == "newThing"
        await client.control("huge:bytes=3000000")
        assert len(await next_text(ws)) > 3_000_000
        assert (await client.control("garbage:stream=depth"))["connections"] == 0


async def test_server_shutdown_is_told_on_spot_and_then_done(simulating):
    async with simulating(trades=0, levels=0) as (_, client), client.ws("/stream/stream", "btcusdt@trade") as ws:
        await client.control("shutdown:for=0.1")
        told = json.loads((await ws.receive(3)).data)
        assert (told["stream"], told["data"]["e"]) == ("!serverShutdown", "serverShutdown")
        assert (await ws.receive(3)).type is aiohttp.WSMsgType.CLOSE


async def test_a_subscription_is_rejected_and_the_next_one_is_not(simulating):
    async with simulating(trades=0, levels=0) as (_, client), client.ws(PATH) as ws:
        await client.control("reject:market=usdm")
        request = {"method": "SUBSCRIBE", "params": [STREAM], "id": 4}
        await ws.send_json(request)
        assert json.loads((await ws.receive(3)).data) == {
            "error": {"code": 2, "msg": "Invalid request: rejected on request"},
            "id": 4,
        }
        await ws.send_json(request)
        assert json.loads((await ws.receive(3)).data) == {"result": None, "id": 4}


async def test_stale_snapshots_are_older_than_the_stream(simulating, next_text):
    async with simulating() as (_, client), client.ws(PATH, STREAM) as ws:
        await next_text(ws)
        first_id = json.loads(await next_text(ws))["U"]
        await client.control("stale_snapshot:n=2")
        ids = [(await client.get("/fapi/v1/depth", symbol="BTCUSDT"))[2]["lastUpdateId"] for _ in range(3)]
        assert ids[0] == ids[1] < first_id < ids[2]


def test_a_foreign_snapshot_id_falls_between_two_diffs():
    """Real futures snapshots do so for one id in seven; the documented rule U <= lastUpdateId <= u never holds then."""
    market = SeededMarket(simulated(USDM, 1)[0], 1, 200, 5.0, 0.0, 0)
    between = 0
    diffs: list[dict] = []
    for number in range(1, 200):
        foreign_id = json.loads(market.depth(5, 0, foreign_id=True))["lastUpdateId"]
        diffs += [json.loads(m.payload) for m in market.advance(number * STEP_MS, {("depth", 0)})]
        if len(diffs) > 1 and diffs[-1]["pu"] == diffs[-2]["u"] < foreign_id < diffs[-1]["U"]:
            between += 1
    assert between > 50


async def test_the_foreign_id_fault_reaches_rest(simulating):
    async with simulating(levels=0, trades=0) as (_, client):
        await client.control("foreign_id")
        first, second = [(await client.get("/fapi/v1/depth", symbol="BTCUSDT"))[2]["lastUpdateId"] for _ in range(2)]
        assert first == second + 1


async def test_rest_faults(simulating):
    async with simulating() as (_, client):
        await client.control("rest:status=429,n=2,retry_after=7,path=depth,market=usdm")
        assert (await client.get("/fapi/v1/time"))[0] == 200
        assert (await client.get("/api/v3/depth", symbol="BTCUSDT"))[0] == 200
        for _ in range(2):
            status, headers, body = await client.get("/fapi/v1/depth", symbol="BTCUSDT")
            assert (status, headers["Retry-After"], body["code"]) == (429, "7", -1003)
        assert (await client.get("/fapi/v1/depth", symbol="BTCUSDT"))[0] == 200
        await client.control("rest:status=503")
        assert (await client.get("/api/v3/ping"))[0] == 503
        # Two, since the client repeats a request on its own when a kept connection breaks.
        await client.control("rest:status=timeout,for=0.3,n=2")
        with pytest.raises((aiohttp.ClientError, TimeoutError)):
            await client.get("/api/v3/ping")


async def test_faults_given_at_start_count_from_the_first_subscription(simulating):
    async with simulating(faults=[parse_fault("close:code=1012@0.3")]) as (_, client):
        await asyncio.sleep(0.4)
        async with client.ws(PATH, STREAM) as ws:
            begun = asyncio.get_running_loop().time()
            while (closed := await ws.receive(3)).type is aiohttp.WSMsgType.TEXT:
                pass
            assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, 1012)
            assert asyncio.get_running_loop().time() - begun > 0.2


@pytest.mark.parametrize("body", ["nonsense", "drop:code=1", {"kind": "nonsense"}, {}, None, 5])
async def test_the_control_endpoint_says_what_is_wrong(simulating, body):
    async with simulating() as (_, client):
        answer = await client.control(body)
        assert answer["status"] == 400
        assert answer["error"]
