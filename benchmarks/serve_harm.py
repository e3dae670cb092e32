"""1,000 requests a second with wrong keys, and 500 connections that never finish a request; for `serve.py`.

    python benchmarks/serve_harm.py PORT SECONDS

Loopback only. Says as JSON what it managed. Wrong keys go over a connection each, since the server ends those of a
refusal.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from contextlib import suppress

_PER_S = 1000
_SLOW = 500
_STEP_S = 0.02
_BYTE_EACH_S = 5.0


async def wrong(port: int, number: int, counts: dict[str, int]) -> None:
    """One request with a wrong key."""
    with suppress(OSError, asyncio.IncompleteReadError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            head = f"GET /stats HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: wrong-{number}\r\n\r\n"
            writer.write(head.encode())
            status = (await reader.readline()).split()[1:2]
            counts["asked"] += 1
            counts["let in"] += status not in ([b"401"], [b"429"])
        finally:
            writer.close()


async def slow(port: int, end_s: float, counts: dict[str, int]) -> None:
    """A byte of a head now and then; connects anew when it is cut off."""
    while time.monotonic() < end_s:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            counts["slow"] += 1
            try:
                writer.write(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-")
                while time.monotonic() < end_s:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_BYTE_EACH_S):
                            if not await reader.read(1024):
                                break
                    writer.write(b"a")
            finally:
                counts["slow"] -= 1
                writer.close()
        await asyncio.sleep(0.05)


async def main(port: int, seconds: float) -> None:
    counts = {"asked": 0, "let in": 0, "slow": 0}
    began = time.monotonic()
    end_s = began + seconds
    lazy = [asyncio.create_task(slow(port, end_s, counts)) for _ in range(_SLOW)]
    asking: set[asyncio.Task[None]] = set()
    sent = 0
    slow_ones: list[int] = []
    while (now := time.monotonic()) < end_s:
        due = int((now - began) * _PER_S)
        # Whoever falls behind does not pile up more connections than a thousand.
        for number in range(sent, min(due, sent + 1000 - len(asking))):
            task = asyncio.create_task(wrong(port, number, counts))
            asking.add(task)
            task.add_done_callback(asking.discard)
        sent = due
        if now - began > 2:
            slow_ones.append(counts["slow"])
        await asyncio.sleep(_STEP_S)
    for task in (*lazy, *asking):
        task.cancel()
    await asyncio.gather(*lazy, *asking, return_exceptions=True)
    found = {
        "wrong_keys_per_s": counts["asked"] / seconds,
        "slow_clients": statistics.median(slow_ones),
        "let_in": counts["let in"],
    }
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
