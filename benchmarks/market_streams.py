"""CPU of each stream by the message, and of what is computed by the epoch: `python benchmarks/markets.py --streams`.

Messages of a simulated market go from their text through decoding, sequence and book into rows, drained each second,
without socket, journal and files: what a stream adds to these is its own part. The best of three runs counts.
"""

from __future__ import annotations

import time
from typing import Any

from collector.core.channels import is_partial, stream_of
from collector.core.inputs import Opened, SessionStarted, Tick
from collector.live_market import LiveMarket
from collector.recorder import Recorder
from collector.simulator.instruments import simulated
from collector.simulator.messages import Message
from collector.simulator.seeded import STEP_MS, SeededMarket

START_MS = 1_795_000_000_000
_SPEEDS = {"depth": 100, "depth5": 100, "depth20": 100, "markPrice": 1000}
_CHANNELS = ("depth", "aggTrade", "trade", "bookTicker", "depth5", "depth20", "markPrice", "forceOrder", "kline_1m")
_DERIVED: dict[str, dict[str, Any]] = {
    "bars 5s,15s,1m": {"bars": ("5s", "15s", "1m")},
    "multi-tick, 5 ticks": {"tick_sizes": ("10", "50", "100", "500", "1000")},
    "books, 100 ms, 25 levels": {"book_grid_ms": 100},
}
_RUNS = 3
_SECONDS = 60


def _session(channels: tuple[str, ...], derived: dict[str, Any]) -> SessionStarted:
    streams = tuple(map(stream_of, channels))
    return SessionStarted(exchange="binanceusdm", symbol="BTCUSDT", futures=True, channels=streams, **derived)


def _messages(seconds: int) -> tuple[list[Message], bytes]:
    """What such a market sends, and its book at the beginning."""
    market = SeededMarket(simulated("binanceusdm", 1)[0], 1, 1000, 40, 40, START_MS)
    wanted = {(channel, _SPEEDS.get(channel, 0)) for channel in _CHANNELS}
    snapshot = market.depth(1000, START_MS)
    sent: list[Message] = []
    for step in range(1, round(seconds * 1000 / STEP_MS) + 1):
        sent += market.advance(START_MS + step * STEP_MS, wanted)
    return sent, snapshot


def _cpu_s(messages: list[Message], snapshot: bytes, channels: tuple[str, ...], derived: dict[str, Any]) -> float:
    """CPU time that `messages` take, spread evenly over the seconds."""
    session = _session(channels, derived)
    streams = list(session.channels)
    live = LiveMarket(session, "BTC/USDT", dict.fromkeys(streams, "s"), START_MS * 10**6, None)
    recorder = Recorder({"BTCUSDT": live}, lambda *_: None)
    live.apply(START_MS * 10**6, Opened(1, streams))
    if "depth" in channels:
        live.anchor(START_MS * 10**6, snapshot)
    frames = []
    for message in messages:
        text = message.payload.decode()
        if is_partial(message.channel):
            text = f'{{"stream":"btcusdt@{message.channel}@100ms","data":{text}}}'
        frames.append(text)
    per_second = -(-len(frames) // _SECONDS)
    begun_ns = START_MS * 10**6
    began = time.process_time()
    for second in range(_SECONDS):
        chunk = frames[second * per_second : (second + 1) * per_second]
        for number, text in enumerate(chunk):
            recorder.frame(begun_ns + second * 10**9 + (number + 1) * 10**9 // (per_second + 1), 1, text)
        live.apply(begun_ns + (second + 1) * 10**9, Tick())
        live.drain()
    return time.process_time() - began


def measure() -> dict[str, Any]:
    """Microseconds of CPU by the message of each stream, and by the epoch of each thing that is computed."""
    sent, snapshot = _messages(_SECONDS)
    found: dict[str, Any] = {"message_us": {}, "messages": {}, "epoch_us": {}}
    for channel in _CHANNELS:
        some = [message for message in sent if message.channel == channel]
        if not some:
            continue
        best_s = min(
            _cpu_s(some, snapshot, (channel,), {}) - _cpu_s([], snapshot, (channel,), {}) for _ in range(_RUNS)
        )
        found["message_us"][channel] = 1e6 * best_s / len(some)
        found["messages"][channel] = len(some)
    both = ("depth", "aggTrade")
    some = [message for message in sent if message.channel in both]
    plain_s = min(_cpu_s(some, snapshot, both, {}) for _ in range(_RUNS))
    for name, derived in _DERIVED.items():
        with_s = min(_cpu_s(some, snapshot, both, derived) for _ in range(_RUNS))
        found["epoch_us"][name] = 1e6 * max(0.0, with_s - plain_s) / _SECONDS
    return found


def show(found: dict[str, Any]) -> str:
    """The table."""
    rows = [f"{'stream':<28}{'CPU µs a message':>18}{'messages':>10}"]
    rows += [f"{name:<28}{cost:>18.1f}{found['messages'][name]:>10,}" for name, cost in found["message_us"].items()]
    rows.append(f"{'computed':<28}{'CPU µs a second':>18}")
    rows += [f"{name:<28}{cost:>18.0f}" for name, cost in found["epoch_us"].items()]
    return "\n".join(rows)
