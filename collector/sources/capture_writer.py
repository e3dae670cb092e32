"""Writes captures in the form that `capture` reads."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from collector.sources.capture import COLLECTOR_STREAM, OWN_NAME, RAW_STREAM

if TYPE_CHECKING:
    from io import FileIO

    from collector.clock import Clock

_DAY_NS = 86_400_000_000_000


class CaptureWriter:
    """Writes one market's inputs to rotated zstd files that survive a kill.

    Lines go out in independent zstd frames, about one a second, so that a kill loses at most what came after the last
    flush and every reader can read the rest. A power cut can lose what the system had not yet put to disk: files are
    synced when they are closed. A file is never appended to after its writer is gone, nor overwritten.

    Names are `{SYMBOL}_{exchange}_{YYYYmmddTHHMMSS}_{n}.zst`, UTC, `n` counting from 0 within a second. They rise with
    each file, also where the clock was set back: then the last one's time stays, and `n` counts on.
    """

    def __init__(
        self,
        folder: Path,
        exchange: str,
        symbol: str,
        clock: Clock,
        max_bytes: int = 256 << 20,
        *,
        flush_interval_s: float = 1.0,
        buffer_bytes: int = 1 << 20,
    ) -> None:
        """
        Args:
            max_bytes: compressed size after which the next flush begins a new file. A new UTC date begins one too.

        Raises:
            ValueError: exchange or symbol would not make a safe file name.
        """
        import zstandard

        for setting, value in (("exchange", exchange), ("symbol", symbol)):
            if not re.fullmatch(r"[\w-]+", value):
                raise ValueError(f"{setting} {value!r} cannot be part of a file name; use letters, digits, _ and -")
        self._folder = folder
        self._symbol, self._exchange = symbol, exchange
        self._clock = clock
        self._max_bytes = max_bytes
        self._flush_interval_ns = round(flush_interval_s * 1e9)
        self._buffer_bytes = buffer_bytes
        self._compress = zstandard.ZstdCompressor(level=3, write_checksum=True).compress
        self._file: FileIO | None = None
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._flushed_ns = self._created_ns = clock.now_ns()
        self.paths: list[Path] = []
        """Files made so far, oldest first."""

    @property
    def open_path(self) -> Path | None:
        """The file that is being written to."""
        return None if self._file is None else self.paths[-1]

    def write(self, recv_ns: int, stream: str, text: str | bytes) -> None:
        """Adds a frame. `text` is valid JSON, as received; what is not valid JSON the caller wraps first.

        Raises:
            ValueError: `text` cannot be kept exactly in one line: a line break inside or white space around it.
            OSError: a due flush failed, see `flush`.
        """
        self._add(recv_ns, b'{"stream":%b,"data":%b}' % (msgspec.json.encode(stream), _one_line(text)))

    def write_snapshot(self, recv_ns: int, text: str | bytes) -> None:
        """Adds a REST snapshot, as received: an object with `lastUpdateId`, `bids`, `asks`. Raises as `write`."""
        self._add(recv_ns, _one_line(text))

    def write_collector(self, recv_ns: int, payload: bytes) -> None:
        """Adds a line of the collector's own; `payload` is one JSON value. Raises as `write`."""
        self.write(recv_ns, COLLECTOR_STREAM, payload)

    def write_raw(self, recv_ns: int, text: str | bytes) -> None:
        """Adds a frame of any form to `RAW_STREAM`. Raises OSError as `write`."""
        raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        try:
            msgspec.json.decode(raw, type=msgspec.Raw)
            self.write(recv_ns, RAW_STREAM, raw)
        except ValueError:
            self.write(recv_ns, RAW_STREAM, msgspec.json.encode(raw.decode("utf-8", "backslashreplace")))

    def flush(self) -> None:
        """Hands everything written so far to the operating system, as one frame. Cheap when nothing is pending.

        Raises:
            OSError: the lines stay pending, and the next flush tries a new file.
        """
        self._flushed_ns = self._clock.now_ns()
        if not self._pending:
            return
        frame = memoryview(self._compress(b"".join(self._pending)))
        file = self._file = self._file or self._create()
        good_bytes = file.tell()
        try:
            while frame:
                frame = frame[file.write(frame) or 0 :]
        except OSError:
            self._file = None
            with file:
                file.truncate(good_bytes)
            raise
        self._pending.clear()
        self._pending_bytes = 0
        if file.tell() >= self._max_bytes or self._flushed_ns // _DAY_NS != self._created_ns // _DAY_NS:
            self._close_file()

    def close(self) -> None:
        """Flushes and syncs. Safe to call twice; a write after it begins a new file. Raises as `flush`."""
        self.flush()
        self._close_file()

    def _add(self, recv_ns: int, text: bytes) -> None:
        if recv_ns < 0:
            raise ValueError(f"a time stamp is not negative, as {recv_ns} is")
        self._pending.append(b"%019d %b\n" % (recv_ns, text))
        self._pending_bytes += len(text)
        due = self._clock.now_ns() - self._flushed_ns >= self._flush_interval_ns
        if due or self._pending_bytes >= self._buffer_bytes:
            self.flush()

    def _create(self) -> FileIO:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._created_ns = self._clock.now_ns()
        prefix = f"{self._symbol}_{self._exchange}"
        second = datetime.fromtimestamp(self._created_ns // 10**9, UTC).strftime("%Y%m%dT%H%M%S")
        named = [OWN_NAME.fullmatch(path.name) for path in self._folder.glob(f"{prefix}_*.zst")]
        there = [(one[3], int(one[4])) for one in named if one and one.groups()[:2] == (self._symbol, self._exchange)]
        last, n = max(there, default=("", 0))
        second, n = (second, 0) if second > last else (last, n + 1)
        while True:
            path = self._folder / f"{prefix}_{second}_{n}.zst"
            try:
                file = path.open("xb", buffering=0)
            except FileExistsError:
                n += 1
                continue
            self.paths.append(path)
            return file

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with file:
                os.fsync(file.fileno())


def _one_line(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    if b"\n" in data or data != data.strip():
        raise ValueError("a line break inside or white space around a frame does not survive a line; wrap it first")
    return data
