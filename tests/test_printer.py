"""A terminal that stands still, or is gone, holds up nobody."""

from __future__ import annotations

import io
import logging
import threading
import time
from pathlib import Path

from collector.printer import PrintedLog, Printer, lines_to


def test_lines_are_written_in_order_and_flush_waits_for_them() -> None:
    written: list[str] = []
    printer = Printer(written.append)
    for number in range(100):
        printer(str(number))
    printer.flush()
    assert written == [str(number) for number in range(100)]


def test_a_write_that_stands_still_holds_up_neither_the_caller_nor_the_end() -> None:
    go = threading.Event()
    written: list[str] = []

    def write(line: str) -> None:
        go.wait()
        written.append(line)

    printer = Printer(write)
    printer("first")
    began_s = time.monotonic()
    for number in range(5000):
        printer(str(number))
    printer.flush(0.05)
    assert time.monotonic() - began_s < 1
    go.set()
    printer.flush()
    assert len(written) <= 1002
    assert written[-1] == "4999"


def test_a_reader_that_is_gone_is_no_failure() -> None:
    def write(_: str) -> None:
        raise BrokenPipeError

    printer = Printer(write)
    printer("a")
    printer("b")
    printer.flush()


def test_the_log_goes_the_same_way() -> None:
    written: list[str] = []
    printer = Printer(written.append)
    log = logging.Logger("of its own")
    log.addHandler(PrintedLog(printer))
    log.warning("%d rows", 3)
    printer.flush()
    assert written == ["3 rows"]


def test_lines_reach_a_file_whole(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w", encoding="utf-8") as file:
        write = lines_to(file)
        write("→ one")
        write("two")
    assert (tmp_path / "out").read_text(encoding="utf-8") == "→ one\ntwo\n"
    memory = io.StringIO()
    lines_to(memory)("three")
    assert memory.getvalue() == "three\n"
