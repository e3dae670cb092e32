"""Commands to a run: what they reach, what is refused, and who may send them."""

from __future__ import annotations

import asyncio
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collector.control import SOCKET, AnchorReset, Control, send
from collector.core.inputs import AvwapAnchor


class Market:
    def __init__(self) -> None:
        self.heard: list[tuple[int, Any]] = []

    def apply(self, recv_ns: int, happened: Any) -> None:
        self.heard.append((recv_ns, happened))


class Venue:
    exchange = "binanceusdm"

    def __init__(self) -> None:
        self.markets = {"BTCUSDT": Market(), "ETHUSDT": Market()}


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, since paths of sockets must be."""
    path = Path(tempfile.mkdtemp(dir="/tmp"))
    yield path
    shutil.rmtree(path)


def control(folder: Path, venue: Venue) -> Control:
    venues: Any = [venue]
    return Control(folder, venues, lambda: 17)


async def test_a_command_reaches_its_markets(folder: Path) -> None:
    venue = Venue()
    running = control(folder, venue)
    await running.start()
    assert stat.S_IMODE((folder / SOCKET).stat().st_mode) == 0o600
    done = await send(folder, AnchorReset(symbol="BTCUSDT"))
    assert done.markets == [("binanceusdm", "BTCUSDT")]
    assert venue.markets["BTCUSDT"].heard == [(17, AvwapAnchor("manual"))]
    assert venue.markets["ETHUSDT"].heard == []
    assert len((await send(folder, AnchorReset("auto"))).markets) == 2
    with pytest.raises(LookupError, match="no such market"):
        await send(folder, AnchorReset(symbol="NOPE"))
    running.stop()
    with pytest.raises(ConnectionError):
        await send(folder, AnchorReset())


@pytest.mark.parametrize("line", [b"{}\n", b"nonsense\n", b'{"command":"rm"}\n', b"x" * 10_000 + b"\n", b""])
async def test_anything_else_is_refused_and_nothing_breaks(folder: Path, line: bytes) -> None:
    venue = Venue()
    running = control(folder, venue)
    await running.start()
    reader, writer = await asyncio.open_unix_connection(str(folder / SOCKET))
    writer.write(line)
    writer.write_eof()
    answer = await reader.read()
    assert answer == b"" or b"error" in answer
    writer.close()
    assert venue.markets["BTCUSDT"].heard == []
    assert (await send(folder, AnchorReset(symbol="BTCUSDT"))).markets
    running.stop()


async def test_a_path_that_is_too_long_is_said(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    running = control(folder / ("x" * 120), Venue())
    await running.start()
    assert "too long" in caplog.text
    running.stop()
