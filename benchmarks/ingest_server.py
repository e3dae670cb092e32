"""The exchange of the ingest benchmark: a few REST answers, and a websocket that sends one stream as fast as it can.

    python benchmarks/ingest_server.py PLAN MESSAGES CAPTURE...

Serves `make_stream` on a free port of loopback and writes PLAN, a JSON file with `port`, `ids`, `event_ms`, `levels`
and `bytes`. Plain asyncio, framing of its own (RFC 6455, no extensions): a message costs it a few microseconds, far
less than any client. Standard library only.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import struct
import sys
from pathlib import Path

from ingest_stream import STREAM, Stream, make_stream

PAUSE_S = 1.5
"""After the first message, in which a client that fetches its snapshot on that message gets into step."""

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_DRAIN_EVERY = 32


def frame(payload: bytes) -> bytes:
    """An unmasked text frame."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", 0x81, size) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", 0x81, 126, size) + payload
    return struct.pack("!BBQ", 0x81, 127, size) + payload


class Server:
    """Serves one stream to each connection that asks for it."""

    def __init__(self, stream: Stream) -> None:
        self._snapshot = stream.snapshot
        self._plain = [frame(message) for message in stream.messages]
        self._wrapped: list[bytes] = []
        self._messages = stream.messages

    async def client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One TCP connection: requests, until one of them upgrades to a websocket."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                target = head.split(" ", 2)[1]
                rows = (line.partition(": ") for line in head.split("\r\n"))
                headers = {name.lower(): value for name, _, value in rows}
                if "websocket" in headers.get("upgrade", "").lower():
                    await self._websocket(reader, writer, target, headers["sec-websocket-key"])
                    return
                body = self._answer(target)
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-MBX-USED-WEIGHT-1M: 20\r\n"
                    b"Content-Length: %d\r\n\r\n" % len(body) + body
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _answer(self, target: str) -> bytes:
        path = target.partition("?")[0]
        if path.endswith("/depth"):
            return self._snapshot
        if path.endswith("/time"):
            return b'{"serverTime":1721347022504}'
        return json.dumps({"rateLimits": [], "symbols": [_LISTING]}).encode()

    async def _websocket(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: str, key: str
    ) -> None:
        accept = base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest())
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        sending: asyncio.Task[None] | None = None
        if "streams=" in target:
            sending = asyncio.create_task(self._send(writer, wrapped=True))
        try:
            while True:
                opcode, payload = await _read_frame(reader)
                if opcode == 8:
                    return
                if opcode == 9:
                    writer.write(bytes([0x8A, len(payload)]) + payload)
                elif opcode == 1:
                    request = json.loads(payload)
                    writer.write(frame(json.dumps({"result": None, "id": request.get("id")}).encode()))
                    if request.get("method") == "SUBSCRIBE" and sending is None:
                        sending = asyncio.create_task(self._send(writer, wrapped=False))
        finally:
            if sending is not None:
                sending.cancel()

    async def _send(self, writer: asyncio.StreamWriter, *, wrapped: bool) -> None:
        """The first message, a pause, then all the others as fast as the client reads."""
        if wrapped and not self._wrapped:
            prefix = b'{"stream":"%b","data":' % STREAM.encode()
            self._wrapped = [frame(prefix + message + b"}") for message in self._messages]
        frames = self._wrapped if wrapped else self._plain
        writer.write(frames[0])
        await writer.drain()
        await asyncio.sleep(PAUSE_S)
        for number, one in enumerate(frames[1:]):
            writer.write(one)
            if number % _DRAIN_EVERY == 0:
                await writer.drain()
        await writer.drain()


async def _read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Opcode and payload of a client's frame."""
    first, second = await reader.readexactly(2)
    size = second & 0x7F
    if size == 126:
        (size,) = struct.unpack("!H", await reader.readexactly(2))
    elif size == 127:
        (size,) = struct.unpack("!Q", await reader.readexactly(8))
    mask = await reader.readexactly(4) if second & 0x80 else bytes(4)
    masked = await reader.readexactly(size)
    return first & 0x0F, bytes(byte ^ mask[at & 3] for at, byte in enumerate(masked))


_LISTING = {
    "symbol": "BTCUSDT",
    "pair": "BTCUSDT",
    "contractType": "PERPETUAL",
    "deliveryDate": 4133404800000,
    "status": "TRADING",
    "baseAsset": "BTC",
    "quoteAsset": "USDT",
    "marginAsset": "USDT",
    "pricePrecision": 2,
    "quantityPrecision": 3,
    "filters": [
        {"filterType": "PRICE_FILTER", "minPrice": "0.10", "maxPrice": "1000000", "tickSize": "0.10"},
        {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "1000", "stepSize": "0.001"},
    ],
}


async def main(plan: Path, messages: int, captures: list[Path]) -> None:
    """Serves until it is ended from outside."""
    stream = make_stream(captures, messages)
    server = await asyncio.start_server(Server(stream).client, "127.0.0.1", 0, limit=1 << 20)
    port = server.sockets[0].getsockname()[1]
    size = sum(map(len, stream.messages)) / len(stream.messages)
    told = {"port": port, "ids": stream.ids, "event_ms": stream.event_ms, "levels": stream.levels, "bytes": size}
    waiting = plan.with_suffix(".part")
    waiting.write_text(json.dumps(told))
    waiting.rename(plan)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), [Path(name) for name in sys.argv[3:]]))
