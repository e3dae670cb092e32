"""Lines for a person, written on a thread of their own: a terminal that stands still holds up nothing.

A pipe whose reader is slow, or Ctrl-S in a terminal, lets a write wait for as long as it likes. A reader that is gone
makes it fail. Neither may cost a message.
"""

from __future__ import annotations

import collections
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Final, TextIO

_WAITING: Final = 1000
"""Lines that may wait; then the oldest are left out."""

_FLUSH_S: Final = 2.0


class Printer:
    """Call it with a line; `write` gets it on the thread. Once a write fails, what comes is dropped."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._waiting: collections.deque[str] = collections.deque(maxlen=_WAITING)
        self._filled = threading.Condition()
        self._busy = False
        self._thread: threading.Thread | None = None

    def __call__(self, line: str) -> None:
        with self._filled:
            self._waiting.append(line)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="printer", daemon=True)
                self._thread.start()
            self._filled.notify_all()

    def flush(self, timeout_s: float = _FLUSH_S) -> None:
        """Waits until everything is written, for no longer than that."""
        until_s = time.monotonic() + timeout_s
        with self._filled:
            while (self._waiting or self._busy) and (left_s := until_s - time.monotonic()) > 0:
                self._filled.wait(left_s)

    def _run(self) -> None:
        broken = False
        while True:
            with self._filled:
                self._busy = False
                self._filled.notify_all()
                while not self._waiting:
                    self._filled.wait()
                line, self._busy = self._waiting.popleft(), True
            if broken:
                continue
            try:
                self._write(line)
            except (OSError, ValueError):  # the reader is gone, or the file was closed
                broken = True


def lines_to(stream: TextIO) -> Callable[[str], None]:
    """Writes lines to `stream`, past its buffer: a thread that stands in there at the end would keep Python from it."""
    try:
        descriptor = stream.fileno()
    except OSError:  # no file, as in a test
        return lambda line: print(line, file=stream, flush=True)

    def write(line: str) -> None:
        left = f"{line}\n".encode(stream.encoding or "utf-8", "replace")
        while left:
            left = left[os.write(descriptor, left) :]

    return write


class PrintedLog(logging.Handler):
    """Hands records of the log to a `Printer`."""

    def __init__(self, printer: Printer) -> None:
        super().__init__()
        self._printer = printer

    def emit(self, record: logging.LogRecord) -> None:
        self._printer(self.format(record))

    def flush(self) -> None:
        self._printer.flush()
