"""Damaged frames through every decoder: each is a row, in quarantine or a duplicate, and none stops anything."""

from __future__ import annotations

import itertools
import os
import random
from collections import Counter
from typing import Any

import msgspec
import pytest

from collector.core.inputs import Opened, SessionStarted
from collector.live_market import LiveMarket
from collector.recorder import Recorder

START_NS = 1_795_000_000 * 10**9
STREAMS = {
    "depth": "d",
    "trades": "a",
    "raw_trades": "t",
    "book_ticker": "b",
    "mark_price": "m",
    "liquidations": "f",
    "kline_1m": "k",
    "depth5": "p",
}
TABLES = (
    "diffs",
    "trades",
    "raw_trades",
    "book_ticker",
    "mark_price",
    "liquidations",
    "klines",
    "partial_depth",
)


def live_market(*, futures: bool, symbol: str = "BTCUSDT") -> LiveMarket:
    session = SessionStarted(
        exchange="binanceusdm" if futures else "binance",
        symbol=symbol,
        futures=futures,
        channels=tuple(STREAMS),
        bars=("1s",),
        tick_sizes=("10",),
        book_grid_ms=100,
    )
    live = LiveMarket(session, symbol, STREAMS, START_NS, None)
    live.apply(START_NS, Opened(1, list(STREAMS)))
    return live


class Frames:
    """Sound frames of one market, each stream counting on."""

    def __init__(self, *, futures: bool) -> None:
        self._futures = futures
        self._numbers = itertools.count(1000)

    def next(self) -> bytes:
        one = next(self._numbers)
        event_ms = START_NS // 10**6 + one
        price, times = f"{60_000 + one % 50}.10", {"E": event_ms, "T": event_ms}
        kind = one % 8
        if kind == 0:
            ids: dict[str, Any] = {"U": one - 7, "u": one}
            if self._futures:
                ids["pu"] = one - 8
            levels = {"b": [[price, "1.500"]], "a": [[f"{60_100 + one % 50}.20", "0.000"], ["60200.00", "2.250"]]}
            message: dict[str, Any] = {"e": "depthUpdate", "s": "BTCUSDT", **times, **ids, **levels}
        elif kind == 1:
            a = one // 8
            message = {"e": "aggTrade", "s": "BTCUSDT", "a": a, "p": price, "q": "0.010", "f": a, "l": a, "m": True}
            message |= times
        elif kind == 2:
            message = {"e": "trade", "s": "BTCUSDT", "t": one // 8, "p": price, "q": "0.010", "m": False, **times}
        elif kind == 4:
            message = {"e": "markPriceUpdate", "E": event_ms, "s": "BTCUSDT", "p": price, "ap": price, "i": price}
            message |= {"P": price, "r": "-0.00010000", "T": event_ms + 1000}
        elif kind == 5:
            order = {"s": "BTCUSDT", "S": "SELL", "o": "LIMIT", "f": "IOC", "q": "0.014", "p": price, "ap": price}
            order |= {"X": "FILLED", "l": "0.014", "z": "0.014", "T": event_ms}
            message = {"e": "forceOrder", "E": event_ms, "o": order}
        elif kind == 6:
            k = {"t": event_ms - event_ms % 60_000, "T": event_ms, "s": "BTCUSDT", "i": "1m", "f": 1, "L": 2}
            k |= {"o": price, "c": price, "h": price, "l": price, "v": "1", "n": 2, "x": False, "q": "1", "V": "1"}
            message = {"e": "kline", "E": event_ms, "s": "BTCUSDT", "k": k | {"Q": "1", "B": "0"}}
        elif kind == 7:
            data: dict[str, Any] = {"lastUpdateId": one, "bids": [[price, "1.5"]], "asks": [["60200.00", "2"]]}
            if self._futures:
                data = {"e": "depthUpdate", "s": "BTCUSDT", **times, "U": one - 1, "u": one, "pu": one - 2}
                data |= {"b": [[price, "1.5"]], "a": [["60200.00", "2"]]}
            message = {"stream": "btcusdt@depth5@100ms", "data": data}
        else:
            message = {"e": "bookTicker", "s": "BTCUSDT", "u": one, "b": price, "B": "1", "a": "60100.00", "A": "2"}
        return msgspec.json.encode(message)


_PIECES = (b'"', b"[", b"]", b"{", b"}", b",", b":", b"null", b"-1", b"1e400", b"NaN", b"1.", b"\\u0000", b"\xff", b"0")
_FIELDS = (b'"u"', b'"U"', b'"pu"', b'"E"', b'"a"', b'"b"', b'"p"', b'"q"', b'"t"', b'"s"', b'"e"', b'"T"')


def mutate(frame: bytes, chance: random.Random) -> bytes:
    """`frame` after one to three small damages."""
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(frame) + 1) if frame else 0
        match chance.randrange(8):
            case 0:
                frame = frame[:at] + bytes([chance.randrange(256)]) + frame[at + 1 :]
            case 1:
                frame = frame[:at] + frame[at + chance.randint(1, 8) :]
            case 2:
                frame = frame[:at] + chance.choice(_PIECES) + frame[at:]
            case 3:
                frame = frame[:at]
            case 4:
                frame = frame[:at] + frame[max(0, at - 12) :]
            case 5:
                frame = frame.replace(chance.choice(_FIELDS), chance.choice(_FIELDS), 1)
            case 6:
                digits = [i for i, byte in enumerate(frame) if 48 <= byte <= 57]
                if digits:
                    i = chance.choice(digits)
                    frame = frame[:i] + b"%d" % chance.choice((0, 9, 10**6, 2**63, 10**20)) + frame[i + 1 :]
            case _:
                frame = frame.replace(b'"1', chance.choice((b'"-1', b'"', b'"0x1', b'" 1', b'"1_', b'"1e')), 1)
    return frame


def snapshot(update_id: int) -> bytes:
    bids, asks = [["60000.10", "1.000"]], [["60300.10", "1.000"]]
    return msgspec.json.encode({"lastUpdateId": update_id, "bids": bids, "asks": asks})


def feed_mutated(count: int, seed: int, *, futures: bool) -> Counter[str]:
    """Takes `count` frames, nine of ten damaged; every one must be found again. Gives how many went where."""
    chance, frames = random.Random(seed), Frames(futures=futures)
    live = live_market(futures=futures)
    wanted: list[str] = []
    recorder = Recorder({"BTCUSDT": live}, lambda symbol, reason: wanted.append(reason))
    went: Counter[str] = Counter()
    now_ns = START_NS
    for number in range(1, count + 1):
        now_ns += 1_000_000
        frame = frames.next()
        if chance.random() < 0.9:
            frame = mutate(frame, chance)
        text: str | bytes = frame
        if chance.random() < 0.8:
            text = frame.decode("utf-8", "replace")
        recorder.frame(now_ns, 1, text)
        if wanted:
            wanted.clear()
            recorder.anchor_requested(now_ns, "BTCUSDT", "test")
            body = snapshot(number + 1000)
            recorder.anchor(now_ns, "BTCUSDT", now_ns, "test", 1000, mutate(body, chance) if number % 3 else body)
        if number % 500 == 0 or number == count:
            for batch in live.drain():
                went[batch.table] += batch.rows
                if batch.table == "events":
                    names = ("kind", "stream", "connection")
                    for kind, stream, connection in zip(*(batch.columns[name] for name in names), strict=True):  # type: ignore[arg-type]
                        went["internal_error"] += kind == "internal_error"
                        # Connection 0 and stream snapshots are snapshots that were damaged.
                        went["quarantine"] += kind == "quarantine" and connection == 1 and stream != "snapshots"
    went["duplicates"] = sum(live.market.counts.get(f"{table} duplicates", 0) for table in TABLES)
    return went


def check_mutated(count: int, seed: int, *, futures: bool) -> None:
    went = feed_mutated(count, seed, futures=futures)
    found = sum(went[table] for table in TABLES) + went["quarantine"] + went["duplicates"]
    assert went["internal_error"] == 0, (seed, went)
    assert found == count, (seed, went)
    assert went["quarantine"] > count // 4
    assert all(went[table] > 0 for table in TABLES), went


@pytest.mark.parametrize("futures", [True, False])
def test_mutated_frames_are_stored_or_quarantined(futures: bool) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    check_mutated(10_000, seed, futures=futures)


@pytest.mark.soak
@pytest.mark.parametrize("futures", [True, False])
def test_a_million_mutated_frames(futures: bool) -> None:
    seed = int(os.environ.get("SOAK_SEED", random.randrange(10**6)))
    print("seed", seed)
    for part in range(10):
        check_mutated(50_000, seed + part, futures=futures)
