"""A session with every stream of a simulated market on, its faults, and what is computed of it."""

from __future__ import annotations

import random
from collections.abc import Iterator

from collector.core.channels import stream_of
from collector.core.inputs import (
    AnchorArrived,
    AnchorRequested,
    Closed,
    Opened,
    Polled,
    SessionStarted,
    SessionStopped,
    Tick,
)
from collector.simulator.instruments import simulated
from collector.simulator.messages import Message
from collector.simulator.seeded import STEP_MS, SeededMarket
from tests.core.script import Input

START_MS = 1_795_000_000_000
START_NS = START_MS * 1_000_000
SPEEDS = {"depth": 100, "depth5": 100, "markPrice": 1000}
BOTH = ("depth", "depth5", "aggTrade", "trade", "bookTicker", "kline_1m")
CHANNELS = {"binance": (*BOTH, "kline_1s"), "binanceusdm": (*BOTH, "markPrice", "forceOrder")}


def session(exchange: str, **changes: object) -> SessionStarted:
    """All streams, and all that is computed of them."""
    settings: dict[str, object] = {
        "bars": ("1s", "5s", "1m"),
        "tick_sizes": ("10", "0.25"),
        "book_grid_ms": 100,
        "book_depth": 10,
        "channels": tuple(stream_of(channel) for channel in CHANNELS[exchange]),
    }
    return SessionStarted(
        exchange=exchange,
        symbol="BTCUSDT",
        futures=exchange == "binanceusdm",
        **(settings | changes),  # type: ignore[arg-type]
    )


class Everything:
    """Inputs of a session of so many seconds. With `faults` above 0 that part of the messages is dropped, repeated,
    swapped or damaged, and connections are lost. `sent` holds what the exchange sent. A damaged message has one of the
    bytes of `damage` somewhere; a digit may make another sound message of it.
    """

    def __init__(
        self,
        exchange: str,
        seed: int,
        seconds: float,
        faults: float = 0.0,
        changes: float = 8,
        damage: bytes = b'0x"9}',
    ) -> None:
        self.exchange = exchange
        self.market = SeededMarket(simulated(exchange, 1)[0], seed, 200, changes, 20, START_MS)
        self.sent: list[Message] = []
        self._chance = random.Random(seed)
        self._faults = faults
        self._damage = damage
        self._connections = dict.fromkeys(CHANNELS[exchange], 1)
        self._held: list[Message] = []
        self.inputs = list(self._make(seconds))

    def _make(self, seconds: float) -> Iterator[Input]:
        streams = [stream_of(channel) for channel in CHANNELS[self.exchange]]
        yield Input(START_NS, Opened(1, streams))
        subscribed = {(channel, SPEEDS.get(channel, 0)) for channel in CHANNELS[self.exchange]}
        chance, requested_ns = self._chance, 0
        for step in range(1, round(seconds * 1000 / STEP_MS) + 1):
            now_ms = START_MS + step * STEP_MS
            # The clock of the collector is ahead; what is sent takes up to 40 ms.
            now_ns = (now_ms + 15) * 1_000_000
            for message in self.market.advance(now_ms, subscribed):
                self.sent.append(message)
                now_ns += chance.randrange(1_000_000)
                yield from self._deliver(now_ns, message)
            if step in (10, 400) or (self._faults and step % 150 == 10):
                requested_ns = now_ns
                yield Input(now_ns, AnchorRequested("test"))
            if requested_ns and now_ns > requested_ns + 80_000_000:
                yield Input(now_ns, AnchorArrived(requested_ns, "test", 1000))
                yield Input(now_ns, self.market.depth(1000, now_ms))
                yield Input(now_ns, Polled("book", requested_ns, self.market.depth(20, now_ms), 20))
                requested_ns = 0
            if step % (1000 // STEP_MS) == 0:
                yield Input(now_ns, Tick())
        yield Input(now_ns, SessionStopped("stopped"))

    def _deliver(self, now_ns: int, message: Message) -> Iterator[Input]:
        chance = self._chance
        if chance.random() >= self._faults:
            yield self._frame(now_ns, message)
            if self._held:
                yield self._frame(now_ns, self._held.pop())
            return
        match chance.randrange(6):
            case 0:
                pass
            case 1:
                yield self._frame(now_ns, message)
                yield self._frame(now_ns, message)
            case 2:
                self._held.append(message)
            case 3:
                payload = bytearray(message.payload)
                payload[chance.randrange(len(payload))] = chance.choice(self._damage)
                yield self._frame(now_ns, message._replace(payload=bytes(payload)))
            case 4:
                channel = message.channel
                number = self._connections[channel]
                yield Input(now_ns, Closed(number, [stream_of(channel)], "disconnect"))
                self._connections[channel] += 1
                yield Input(now_ns, Opened(number + 1, [stream_of(channel)]))
            case _:
                yield self._frame(now_ns, message)

    def _frame(self, now_ns: int, message: Message) -> Input:
        text = message.payload.decode("utf-8", "replace")
        if message.channel == "depth5":
            text = f'{{"stream":"btcusdt@depth5@100ms","data":{text}}}'
        return Input(now_ns, text)
