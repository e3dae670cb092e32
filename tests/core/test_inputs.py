"""What stands in a capture besides messages comes out of it as it went in."""

from __future__ import annotations

import msgspec
import pytest

from collector.core.gaps import Gap, Unfilled
from collector.core.inputs import (
    AnchorArrived,
    AnchorRequested,
    AvwapAnchor,
    Closed,
    CollectorInput,
    HealingEnded,
    History,
    Kline,
    Note,
    Opened,
    Refused,
    RestTrades,
    Resume,
    SessionStarted,
    SessionStopped,
    Tick,
    Verbatim,
    decode_input,
    encode_input,
)
from collector.core.sequencer import Position

GAP = Gap("5-depth-disconnect-11", 0, "depth", "disconnect", 11, None, 4, None, 5)


@pytest.mark.parametrize(
    "happened",
    [
        SessionStarted(
            exchange="binanceusdm",
            symbol="BTCUSDT",
            futures=True,
            interval_s=5,
            step=0.0001,
            steps=7,
            reference="mid",
            stale_after_s=2.5,
            channels=("depth",),
            resume=Resume({"depth": Position(10, 4, 3)}, {"depth": GAP}, 17, 18, [Unfilled(GAP, [(12, 13)])]),
        ),
        SessionStopped("stopped"),
        Opened(1, ["depth", "trades"]),
        Closed(1, ["depth"], "disconnect"),
        AnchorRequested("gap"),
        AnchorArrived(5, "gap", 1000),
        Verbatim(3, b'\x00\xff\n "{'),
        Refused("depth", "journal full", None, None, 1, 2),
        RestTrades("trades", msgspec.Raw(b'[{"a":1,"p":"1.0"}]')),
        HealingEnded("trades", "5-trades-disconnect-11", "too old"),
        Tick(),
        Note("kind", "détail\n"),
        History("1m", [Kline(60_000, 1.0, 2.0, 0.5, 1.5, 3.0, 4.0, 1.0, 1.5, 7)]),
        AvwapAnchor("manual"),
    ],
)
def test_there_and_back(happened: CollectorInput) -> None:
    line = encode_input(happened)
    assert b"\n" not in line
    again = decode_input(line)
    assert type(again) is type(happened)
    assert again == happened


@pytest.mark.parametrize("line", [b"{}", b'{"event":"of a later version"}', b'{"event":"opened"}', b"[]", b"\xff"])
def test_what_cannot_be_read_says_so(line: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode_input(line)
