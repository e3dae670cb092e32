"""One websocket connection: what it asked for, and the frames on their way to it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

_HIGH_BYTES = 1 << 20
_QUEUE_BYTES = 64 << 20
"""A client that is so far behind is cut off, as the exchange does at some point."""


def text_frame(payload: bytes) -> bytes:
    """An unmasked, unfragmented text frame (RFC 6455, section 5.2)."""
    size = len(payload)
    if size < 126:
        return b"\x81%c%b" % (size, payload)
    if size < 1 << 16:
        return b"\x81\x7e" + struct.pack("!H", size) + payload
    return b"\x81\x7f" + struct.pack("!Q", size) + payload


class Connection:
    """A client's websocket. Frames go straight to the transport, and wait here while it is frozen or slow."""

    def __init__(
        self,
        number: int,
        exchange: str,
        route: str | None,
        path: str,
        combined: bool,
        ws: web.WebSocketResponse,
        transport: asyncio.Transport,
    ) -> None:
        self.number = number
        self.exchange = exchange
        self.route = route
        self.path = path
        self.combined = combined
        self.ws = ws
        self.names: dict[str, None] = {}
        self.thawed = asyncio.Event()
        self.thawed.set()
        self.sent = self.pings = self.pongs = 0
        self._transport = transport
        self._queue: deque[tuple[bytes, Callable[[], None] | None]] = deque()
        self._queued_bytes = 0
        self._drainer: asyncio.Task[None] | None = None

    @property
    def open(self) -> bool:
        return not self.ws.closed and not self._transport.is_closing()

    @property
    def frozen(self) -> bool:
        return not self.thawed.is_set()

    def send(self, payload: bytes, on_sent: Callable[[], None] | None = None) -> None:
        """Sends a text frame; `on_sent` is called once the transport has taken it, never when it has not."""
        if not self.open:
            return
        frame = text_frame(payload)
        if not self._queue and not self.frozen and self._transport.get_write_buffer_size() < _HIGH_BYTES:
            self._write(frame, on_sent)
            return
        self._queue.append((frame, on_sent))
        self._queued_bytes += len(frame)
        if self._queued_bytes > _QUEUE_BYTES:
            self.abort()
        elif self._drainer is None:
            self._drainer = asyncio.create_task(self._drain())

    async def drained(self) -> None:
        """Waits until frames go straight to the transport again; at once when frozen."""
        while self._queue and not self.frozen and self.open:  # noqa: ASYNC110 - the transport tells no one that it has room
            await asyncio.sleep(0.001)

    async def close(self, code: int, reason: str) -> None:
        with contextlib.suppress(ConnectionError):
            await self.ws.close(code=code, message=reason.encode(), drain=False)

    def abort(self) -> None:
        """Resets the TCP connection; what the kernel holds for the client is lost."""
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()
        self.thawed.set()

    def gone(self) -> None:
        """To be called once the socket is closed."""
        self._queue.clear()
        self.thawed.set()
        if self._drainer is not None:
            self._drainer.cancel()

    def describe(self) -> dict[str, Any]:
        return {
            "connection": self.number,
            "market": self.exchange,
            "path": self.path,
            "streams": list(self.names),
            "frozen": self.frozen,
            "frames": self.sent,
            "pings": self.pings,
            "pongs": self.pongs,
        }

    def _write(self, frame: bytes, on_sent: Callable[[], None] | None) -> None:
        self._transport.write(frame)
        self.sent += 1
        if on_sent is not None:
            on_sent()

    async def _drain(self) -> None:
        while self._queue and self.open:
            await self.thawed.wait()
            if self._transport.get_write_buffer_size() >= _HIGH_BYTES:
                await asyncio.sleep(0.001)
                continue
            while self._queue and self.open and not self.frozen:
                frame, on_sent = self._queue.popleft()
                self._queued_bytes -= len(frame)
                self._write(frame, on_sent)
                if self._transport.get_write_buffer_size() >= _HIGH_BYTES:
                    break
        self._drainer = None
