"""Events as JSON lines, for people who want to look at what a strategy would have seen.

One file a market and start, `{exchange}-{symbol}_{start}.jsonl`: `{"type": kind, "time_ns": …, "data": {…}}` a line.
A consumer like any other, so it never holds up collection; what it missed is counted. The store and its captures are
what promises completeness, this does not.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np

from collector.consumers import Event
from collector.core.quality import Quality
from storage_backends.interface import Market


class EventRecorder:
    """The callback; `close` writes the rest. Lines are written at `buffer_size` of them, or each second of events."""

    kinds = frozenset({"depth", "trades", "raw_trades", "book_ticker", "epoch", "quality"})

    def __init__(self, folder: Path, start_ns: int, buffer_size: int = 100) -> None:
        self._folder = folder
        self._stamp = datetime.fromtimestamp(start_ns // 1_000_000_000, UTC).strftime("%Y%m%dT%H%M%SZ")
        self._buffer_size = buffer_size
        self._files: dict[Market, IO[bytes]] = {}
        self._waiting: dict[Market, list[bytes]] = {}
        self._written_ns: dict[Market, int] = {}

    async def __call__(self, event: Event) -> None:
        waiting = self._waiting.setdefault(event.market, [])
        line = {"type": event.kind, "time_ns": event.time_ns, "data": _plain(event.data)}
        waiting.append(msgspec.json.encode(line))
        since_ns = self._written_ns.setdefault(event.market, event.time_ns)
        if len(waiting) >= self._buffer_size or event.time_ns - since_ns >= 1_000_000_000:
            self._write(event.market, event.time_ns)

    def close(self) -> None:
        """Writes what waits and closes all files."""
        for market in list(self._waiting):
            self._write(market, 0)
        for file in self._files.values():
            file.close()
        self._files = {}

    def _write(self, market: Market, now_ns: int) -> None:
        file = self._files.get(market)
        if file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / f"{market.exchange}-{market.symbol}_{self._stamp}.jsonl"
            file = self._files[market] = path.open("ab")
        lines, self._waiting[market] = self._waiting[market], []
        if lines:
            file.write(b"\n".join(lines) + b"\n")
            file.flush()
        self._written_ns[market] = now_ns


def _plain(data: Any) -> Any:
    """What JSON can hold: arrays of buckets become lists, with null for what is not known."""
    if isinstance(data, Quality):
        return {"grade": data.grade.name.lower(), "reasons": list(data.reasons)}
    if isinstance(data, np.ndarray):
        return [None if np.isnan(value) else float(value) for value in data]
    if isinstance(data, tuple) and hasattr(data, "_asdict"):
        return {name: _plain(value) for name, value in data._asdict().items()}
    return data
