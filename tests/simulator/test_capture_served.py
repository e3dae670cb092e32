"""A capture is served with its own text, and its snapshots fit its diffs."""

from __future__ import annotations

import asyncio
import json
import os
from itertools import pairwise
from pathlib import Path

import pytest

from collector.simulator.captured import CapturedBook, CaptureSource, exchange_of
from collector.simulator.names import SPOT, USDM
from collector.sources.capture import CaptureError, merge_captures, read_capture

CAPTURES = Path(os.environ.get("CAPTURE_DIR", Path(__file__).parents[2] / "../shared/data"))
SPOT_FILE = "spot_btcusdt_20240808.gz"
USDM_FILES = ("usdm_btcusdt_20240718.gz", "usdm_btcusdt_20240719.gz")


def captures(*names: str) -> list[Path]:
    paths = [CAPTURES / name for name in names]
    for path in paths:
        if not path.exists():
            pytest.skip(f"no {path}; set CAPTURE_DIR to the folder of real captures")
    return paths


def diff(first: int, last: int, price: str, quantity: str, prev: int | None = None) -> bytes:
    head = {"e": "depthUpdate", "E": last, "s": "BTCUSDT", "U": first, "u": last}
    return json.dumps(head | ({} if prev is None else {"pu": prev}) | {"b": [[price, quantity]], "a": []}).encode()


def write_capture(path: Path, *inputs: tuple[int, bytes | None, bytes]) -> Path:
    lines = [
        b"%d %b\n" % (stamp, data if stream is None else b'{"stream":"%b","data":%b}' % (stream, data))
        for stamp, stream, data in inputs
    ]
    path.write_bytes(b"".join(lines))
    return path


SNAPSHOT = b'{"lastUpdateId":10,"bids":[["100.10","1"],["100.00","2.5"]],"asks":[["100.20","1"]]}'


def test_the_book_answers_with_the_snapshot_until_diffs_pass_it():
    book = CapturedBook(SPOT, [SNAPSHOT])
    book.apply(diff(7, 8, "99.0", "1"), 0)
    book.apply(diff(9, 10, "99.0", "1"), 0)
    assert json.loads(book.text(5)) == json.loads(SNAPSHOT)
    book.apply(diff(11, 12, "100.10", "0"), 0)
    assert json.loads(book.text(1))["bids"] == [["100.00", "2.5"]]
    assert book.last_id == 12
    assert json.loads(book.first_text(1))["lastUpdateId"] == 10


def test_after_a_break_the_captures_next_snapshot_counts():
    later = b'{"lastUpdateId":31,"bids":[["90.0","1"]],"asks":[["91.0","1"]]}'
    book = CapturedBook(USDM, [SNAPSHOT, later])
    book.apply(diff(9, 12, "100.15", "1", prev=8), 0)
    book.apply(diff(25, 30, "90.0", "7", prev=24), 0)
    assert (book.last_id, json.loads(book.text(5))["bids"]) == (31, [["90.0", "1"]])
    book.apply(diff(31, 32, "90.0", "7", prev=30), 0)
    assert (book.last_id, json.loads(book.text(5))["bids"]) == (32, [["90.0", "7"]])


async def test_frames_keep_their_text_whatever_speed_was_asked_for(simulating, next_text, tmp_path):
    odd = b'{"e":"depthUpdate",  "E":1,"s":"BTCUSDT","U":11,"u":12,"b":[["100.10","0"]],"a":[]}'
    path = write_capture(
        tmp_path / "btcusdt.ndjson",
        (10**18, b"btcusdt@depth@0ms", odd),
        (10**18 + 1, None, SNAPSHOT),
        (10**18 + 2, b"!collector", b'{"kind":"opened"}'),
        (10**18 + 3, b"btcusdt@trade", b'{"e":"trade","t":5,"M":true}'),
    )
    async with simulating(captures=[path], speed=0, start_delay_s=0.2) as (_, client):
        _, _, before = await client.get("/api/v3/depth", symbol="BTCUSDT")
        assert (before["lastUpdateId"], before["bids"][0]) == (10, ["100.10", "1"])
        async with (
            client.ws("/stream/ws", "btcusdt@depth") as raw,
            client.ws("/stream/stream", "btcusdt@depth@100ms", "btcusdt@trade") as combined,
        ):
            assert await next_text(raw) == odd.decode()
            wrapped = await next_text(combined)
            assert wrapped == '{"stream":"btcusdt@depth@100ms","data":' + odd.decode() + "}"
            assert json.loads(await next_text(combined))["data"]["t"] == 5
            _, _, after = await client.get("/api/v3/depth", symbol="BTCUSDT")
            assert (after["lastUpdateId"], after["bids"][0]) == (12, ["100.00", "2.5"])
            _, _, stat = await client.get("/stat")
            assert stat["captures"]["binance"]["ended"]
            assert not raw.closed
            assert (await client.sent("depth", "binance"))["sent"] == [12]
            info = (await client.get("/api/v3/exchangeInfo", symbol="BTCUSDT"))[2]["symbols"][0]
            filters = {entry["filterType"]: entry for entry in info["filters"]}
            assert filters["PRICE_FILTER"]["tickSize"] == "0.10"
            assert filters["LOT_SIZE"]["stepSize"] == "0.1"
        # The other exchange is made up as ever.
        assert (await client.get("/fapi/v1/depth", symbol="BTCUSDT"))[0] == 200


async def test_its_time_starts_with_the_first_subscription_to_a_stream_it_holds(simulating, next_text, tmp_path):
    frames = [(10**18 + n * 200_000_000, b"btcusdt@trade", b'{"e":"trade","t":%d,"M":true}' % n) for n in range(3)]
    path = write_capture(tmp_path / "btcusdt.ndjson", *frames)
    async with (
        simulating(captures=[path], start_delay_s=0) as (_, client),
        client.ws("/stream/ws", "btcusdt@aggTrade") as ws,
    ):
        await asyncio.sleep(0.3)
        assert not (await client.get("/stat"))[2]["captures"]["binance"]["started"]
        await ws.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 2})
        await next_text(ws, ack=True)
        begun = asyncio.get_running_loop().time()
        assert [json.loads(await next_text(ws))["t"] for _ in range(3)] == [0, 1, 2]
        assert 0.3 < asyncio.get_running_loop().time() - begun < 1.5


@pytest.mark.parametrize(("names", "exchange"), [((SPOT_FILE,), SPOT), (USDM_FILES, USDM)])
async def test_real_captures_reach_a_client_whole(simulating, next_text, names, exchange):
    paths = captures(*names)
    assert {exchange_of(path) for path in paths} == {exchange}
    channels = ("depth", "bookTicker", "trade")
    expected = [line.data for _, line in merge_captures(paths) if line.stream is not None]
    url = "/stream/ws" if exchange == SPOT else "/fstream/public/ws"
    async with simulating(captures=paths, speed=0) as (_, client):
        async with client.ws(url, *(f"btcusdt@{channel}" for channel in channels)) as ws:
            for data in expected:
                assert await next_text(ws) == data.decode()
            sent = (await client.sent("depth", exchange))["sent"]
        assert sent == [json.loads(data)["u"] for data in expected if b"depthUpdate" in data[:40]]


@pytest.mark.parametrize("names", [(SPOT_FILE,), USDM_FILES[:1]])
def test_snapshots_of_a_real_capture_bridge_at_every_moment(names):
    paths = captures(*names)
    source = CaptureSource(exchange_of(paths[0]), paths)
    assert source.instruments[0].price_decimals == (2 if source.exchange == SPOT else 1)
    diffs, ids = [], []
    for number, (_, message) in enumerate(source.play()):
        if message is not None and message.channel == "depth":
            diffs.append(json.loads(message.payload))
            ids.append(source.books["BTCUSDT"].last_id)
            if number % 1000 == 0:
                json.loads(source.depth("BTCUSDT", 1000, 0))
    for (before, after), last_id in zip(pairwise(diffs), ids, strict=False):
        assert last_id >= before["u"]
        if last_id == before["u"]:
            assert after.get("pu", after["U"] - 1) == last_id
    body = json.loads(source.depth("BTCUSDT", 5000, 0))
    assert float(body["bids"][0][0]) < float(body["asks"][0][0])


def test_a_capture_that_cannot_be_served_is_named(tmp_path):
    path = write_capture(tmp_path / "only.ndjson", (1, None, SNAPSHOT))
    with pytest.raises(CaptureError, match=r"only\.ndjson"):
        exchange_of(path)
    with pytest.raises(CaptureError, match=r"only\.ndjson"):
        CaptureSource(SPOT, [path])
    assert len(list(read_capture(path))) == 1


async def test_a_failure_of_the_server_is_not_silent(simulating, next_text, tmp_path):
    frames = [(10**18 + n * 100_000_000, b"btcusdt@trade", b'{"e":"trade","t":%d,"M":true}' % n) for n in range(3)]
    path = write_capture(tmp_path / "btcusdt.ndjson", *frames)
    async with simulating(captures=[path], start_delay_s=0.1) as (simulator, client):
        async with client.ws("/stream/ws", "btcusdt@trade"):
            path.unlink()
            with pytest.raises(CaptureError, match="No such file"):
                await simulator.failure()
        simulator._failure = None
