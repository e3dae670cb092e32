"""Callbacks: told of everything that they can keep up with, and in nobody's way."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from collector.consumers import Consumer, Event, Hub, consumes, levels, load_callback
from collector.core.decode import DepthUpdate
from collector.core.quality import Grade, Quality
from collector.errors import ConfigurationError
from collector.recording import EventRecorder
from storage_backends.interface import Market

BTC = Market("binanceusdm", "BTCUSDT")


def update(ident: int) -> DepthUpdate:
    bids = msgspec.Raw(b'[["63943.90","1.5"],["63943.80","0"]]')
    return DepthUpdate(E=1_721_347_190_000 + ident, s="BTCUSDT", U=ident, u=ident, b=bids, a=msgspec.Raw(b"[]"))


def test_a_consumer_gets_what_it_asked_for_in_order() -> None:
    got: list[Event] = []

    @consumes("depth")
    async def on_event(event: Event) -> None:
        got.append(event)

    consumer = Consumer(on_event)
    hub = Hub([consumer])
    assert hub.wants({"depth", "trades"})
    assert not hub.wants({"trades"})
    hub.start()
    for ident in range(1000):
        hub.message(ident, update(ident), BTC)
        hub.publish("epoch", BTC, ident, None)
    hub.stop()
    assert [event.data.u for event in got] == list(range(1000))
    assert {event.market for event in got} == {BTC}
    assert (consumer.delivered, consumer.missed, consumer.failures) == (1000, 0, 0)
    assert levels(got[0].data.b) == [(63943.9, 1.5), (63943.8, 0.0)]


def test_one_that_blocks_misses_events_and_holds_up_neither_the_caller_nor_others() -> None:
    release = threading.Event()
    got: list[int] = []

    async def blocks(event: Event) -> None:
        release.wait(30)

    async def quick(event: Event) -> None:
        got.append(event.time_ns)

    slow, other = Consumer(blocks, capacity=10), Consumer(quick)
    hub = Hub([slow, other])
    hub.start()
    began = time.process_time()
    for number in range(1000):
        hub.publish("epoch", BTC, number, None)
    assert time.process_time() - began < 1
    end = time.monotonic() + 20
    while len(got) < 1000 and time.monotonic() < end:
        time.sleep(0.001)
    assert got == list(range(1000))
    release.set()
    hub.stop()
    assert slow.delivered + slow.missed == 1000
    assert slow.missed >= 1000 - 12  # ten that wait, one in hand, and one that may have been taken meanwhile


def test_one_that_never_returns_is_left_behind() -> None:
    release = threading.Event()

    async def hangs(event: Event) -> None:
        release.wait(30)

    consumer = Consumer(hangs)
    consumer.start()
    for number in range(5):
        consumer.put(Event("epoch", BTC, number, None))
    consumer.stop(timeout_s=0.05)
    assert consumer.missed in (4, 5)
    release.set()


def test_one_that_raises_goes_on_with_the_next(caplog: pytest.LogCaptureFixture) -> None:
    async def fails(event: Event) -> None:
        if event.time_ns % 2:
            raise ValueError("odd")

    consumer = Consumer(fails, name="picky")
    consumer.start()
    for number in range(10):
        consumer.put(Event("epoch", BTC, number, None))
    consumer.stop()
    assert (consumer.delivered, consumer.failures) == (5, 5)
    assert caplog.text.count("the consumer picky failed") == 1


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("nothing", "MODULE:FUNCTION"),
        ("no.such.module:f", "cannot be imported"),
        ("collector.consumers:nothing", "cannot be imported"),
        ("collector.consumers:levels", "async def"),
    ],
)
def test_a_callback_that_cannot_be_used_is_named(spec: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=f"--callback {spec}.*{why}"):
        load_callback(spec)


async def test_events_are_recorded_a_file_a_market(tmp_path: Path) -> None:
    recorder = EventRecorder(tmp_path / "seen", 1_721_347_190_000_000_000, buffer_size=3)
    other = Market("binance", "ETHUSDT")
    for number in range(5):
        await recorder(Event("depth", BTC, number, update(number)))
    await recorder(Event("quality", other, 7, Quality(Grade.BAD, ("depth_down",))))
    path = tmp_path / "seen" / "binanceusdm-BTCUSDT_20240718T235950Z.jsonl"
    assert len(path.read_bytes().splitlines()) == 3
    recorder.close()
    lines: list[Any] = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
    assert [line["time_ns"] for line in lines] == [0, 1, 2, 3, 4]
    assert lines[2]["data"]["b"] == [["63943.90", "1.5"], ["63943.80", "0"]]
    (line,) = (tmp_path / "seen" / "binance-ETHUSDT_20240718T235950Z.jsonl").read_bytes().splitlines()
    assert msgspec.json.decode(line)["data"] == {"grade": "bad", "reasons": ["depth_down"]}
