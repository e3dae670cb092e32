"""Commands to a run from other processes of this machine: `DATA_DIR/live/control.sock`, for its owner alone.

A line of JSON, `{"command": "anchor_reset", "mode": "manual", "exchange": null, "symbol": "BTCUSDT"}`, is answered by
one: `{"markets": [["binanceusdm", "BTCUSDT"]]}` or `{"error": "…"}`. A command becomes an input of the markets that it
names, so it stands in captures and a replay does the same.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from collector.core.inputs import AvwapAnchor

if TYPE_CHECKING:
    from collector.venue import Venue

log = logging.getLogger(__name__)

SOCKET: Final = Path("live") / "control.sock"
"""Within the data folder."""

_LINE_BYTES = 4096
_ANSWER_BYTES = 1 << 20
_WAIT_S = 5.0
_MOST = 16
_LONGEST_PATH = 100  # systems allow 104 to 108 bytes for the path of a socket


class AnchorReset(msgspec.Struct, tag_field="command", tag="anchor_reset", forbid_unknown_fields=True):
    """Starts the anchored VWAP anew, of one market or of all that match."""

    mode: Literal["auto", "manual"] = "manual"
    exchange: str | None = None
    symbol: str | None = None


class Done(msgspec.Struct):
    """The markets that a command reached, as (exchange, symbol)."""

    markets: list[tuple[str, str]]


class Refusal(msgspec.Struct):
    """Why it reached none."""

    error: str


class Control:
    """The socket of one run. Commands are bounded in length, time and number, and carried out in the event loop."""

    def __init__(self, data_dir: Path, venues: Sequence[Venue], now_ns: Callable[[], int]) -> None:
        self._path = data_dir / SOCKET
        self._venues = venues
        self._now_ns = now_ns
        self._server: asyncio.Server | None = None
        self._open = 0

    async def start(self) -> None:
        """Listens; a run goes on without if the system does not let it."""
        path = str(self._path)
        if len(os.fsencode(path)) > _LONGEST_PATH:
            log.warning("no commands are taken, since the path of their socket is too long: %s", path)
            return
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            self._path.unlink(missing_ok=True)
            listening.bind(path)
        except OSError as error:
            listening.close()
            log.warning("no commands are taken: %s", error)
            return
        finally:
            os.umask(before)
        self._server = await asyncio.start_unix_server(self._serve, sock=listening, limit=_LINE_BYTES)

    def stop(self) -> None:
        """Listens no more."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            with suppress(OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
                async with asyncio.timeout(_WAIT_S):
                    line = await reader.readuntil(b"\n") if self._open <= _MOST else b""
                    writer.write(msgspec.json.encode(self._carry_out(line)) + b"\n")
                    await writer.drain()
        except asyncio.LimitOverrunError:
            pass
        finally:
            self._open -= 1
            writer.close()

    def _carry_out(self, line: bytes) -> Done | Refusal:
        try:
            command = msgspec.json.decode(line, type=AnchorReset)
            if b'"command"' not in line:  # the decoder takes an object without its tag
                raise msgspec.ValidationError("it names no command")
        except msgspec.MsgspecError as error:
            return Refusal(f"not a command: {error}")
        reached = []
        for venue in self._venues:
            for symbol, live in venue.markets.items():
                if command.exchange in (None, venue.exchange) and command.symbol in (None, symbol):
                    live.apply(self._now_ns(), AvwapAnchor(command.mode))
                    reached.append((venue.exchange, symbol))
        return Done(reached) if reached else Refusal("no such market is collected")


async def send(data_dir: Path, command: AnchorReset) -> Done:
    """Has the run on `data_dir` carry out a command.

    Raises:
        LookupError: no such market is collected.
        ConnectionError: no run takes commands there.
    """
    path = str(data_dir / SOCKET)
    try:
        async with asyncio.timeout(_WAIT_S):
            reader, writer = await asyncio.open_unix_connection(path, limit=_ANSWER_BYTES)
            try:
                writer.write(msgspec.json.encode(command) + b"\n")
                await writer.drain()
                line = await reader.readuntil(b"\n")
            finally:
                writer.close()
    except (OSError, TimeoutError, EOFError) as error:
        raise ConnectionError("no collector takes commands on this data folder") from error
    answer = msgspec.json.decode(line)
    if "error" in answer:
        raise LookupError(answer["error"])
    return msgspec.convert(answer, Done)
