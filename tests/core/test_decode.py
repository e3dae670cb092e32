"""Frames to messages: typed, or `Undecodable`, and nothing else."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.core.decode import (
    AggTrade,
    BookTicker,
    DepthUpdate,
    Trade,
    Undecodable,
    decode,
    decode_rest_book,
    event_time_ms,
)

DEPTH = {"e": "depthUpdate", "E": 1700000000000, "s": "BTCUSDT", "U": 5, "u": 7, "pu": 4, "b": [["1", "2"]], "a": []}
AGG = {"e": "aggTrade", "E": 1, "s": "BTCUSDT", "a": 9, "p": "1.5", "q": "2", "f": 1, "l": 2, "T": 1, "m": True}
TRADE = {"e": "trade", "E": 1, "s": "BTCUSDT", "t": 9, "p": "1.5", "q": "2", "T": 1, "m": False, "X": "MARKET"}
TICKER = {"u": 9, "s": "BTCUSDT", "b": "1", "B": "2", "a": "3", "A": "4"}
FRAMES = [(DEPTH, DepthUpdate), (AGG, AggTrade), (TRADE, Trade), (TICKER, BookTicker)]


@pytest.mark.parametrize(("frame", "kind"), FRAMES)
def test_each_kind_as_text_and_as_bytes_with_keys_that_are_new(frame: dict[str, Any], kind: type) -> None:
    text = json.dumps({**frame, "new": {"nested": [1, None]}})
    for one in (text, text.encode()):
        message = decode(one)
        assert type(message) is kind
        assert message.s == "BTCUSDT"


def test_depth_is_found_by_its_first_key_or_any_other() -> None:
    compact = json.dumps(DEPTH, separators=(",", ":"))
    turned = json.dumps(dict(reversed(DEPTH.items())))
    for text in (compact, turned, compact.encode(), turned.encode()):
        message = decode(text)
        assert isinstance(message, DepthUpdate)
        assert (message.U, message.u, message.pu) == (5, 7, 4)
        assert bytes(message.b).replace(b" ", b"") == b'[["1","2"]]'


@pytest.mark.parametrize("field", ["E", "s", "U", "u", "b", "a"])
def test_a_missing_field_is_named(field: str) -> None:
    with pytest.raises(Undecodable, match=f"`{field}`"):
        decode(json.dumps({key: value for key, value in DEPTH.items() if key != field}))


@pytest.mark.parametrize(
    "change",
    [
        {"u": -1},
        {"u": 2**63},
        {"u": 2**63 - 1},
        {"u": "7"},
        {"u": 7.0},
        {"U": 8},
        {"E": 2**62},
        {"E": -1},
        {"s": None},
        {"e": 5},
        {"e": "kline"},
        {"e": ""},
        {"pu": -1},
    ],
)
def test_a_field_that_cannot_be(change: dict[str, Any]) -> None:
    with pytest.raises(Undecodable):
        decode(json.dumps({**DEPTH, **change}))


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "5", '"x"', "\x00", "{}", '{"e":"depthUpdate"', b"\xff\xfe", "\ud800", "[" * 5000, "NaN"],
)
def test_what_is_no_message(text: str | bytes) -> None:
    with pytest.raises(Undecodable):
        decode(text)


@pytest.mark.parametrize("text", [b"", b"<html>", b"[]", b'{"lastUpdateId":1,"bids":[]}', b'{"lastUpdateId":-1}'])
def test_what_is_no_snapshot(text: bytes) -> None:
    with pytest.raises(Undecodable):
        decode_rest_book(text)


def test_stamps_in_milliseconds_and_microseconds() -> None:
    assert event_time_ms(1700000000123) == event_time_ms(1700000000123456) == 1700000000123
    assert event_time_ms(253402300799999) == event_time_ms(253402300799999999) == 253402300799999


@given(st.integers(0, 253402300799999999))
def test_every_stamp_is_a_time_before_the_year_10000(stamp: int) -> None:
    assert 0 <= event_time_ms(stamp) <= 253402300799999


def test_thousands_of_mutated_frames_raise_nothing_but_undecodable() -> None:
    chance = random.Random(7)
    originals = [json.dumps(frame, separators=(",", ":")).encode() for frame, _ in FRAMES]
    decoded = 0
    for _ in range(8000):
        frame = bytearray(chance.choice(originals))
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(frame))
            match chance.randrange(4):
                case 0:
                    frame[at] = chance.randrange(256)
                case 1:
                    del frame[at : at + chance.randint(1, 8)]
                case 2:
                    frame[at:at] = chance.choice([b"9", b'"', b"[", b"}", b"1e9", b"-", b"\\ud800", b"null", b",,"])
                case _:
                    frame[at:at] = frame[chance.randrange(len(frame)) :][:12]
            frame = frame or bytearray(b" ")
        try:
            decode(bytes(frame))
            decoded += 1
        except Undecodable:
            pass
    assert 0 < decoded < 8000
