from __future__ import annotations

import logging
import threading
from pathlib import Path

import numpy as np
import pytest

from collector.core.batch import Batch
from collector.hot_writer import HotWriter
from collector.journal.codec import encode
from collector.journal.plans import Entry
from storage_backends.hot import HotStore
from storage_backends.interface import Market

MARKETS = [Market("binanceusdm", f"M{number}") for number in range(3)]


def clock_rows(market: Market, first: int, count: int) -> Entry:
    times = np.arange(first, first + count, dtype=np.int64)
    columns = {
        "time_ns": times,
        "sequence": np.zeros(count, np.int32),
        "kind": ["offset"] * count,
        "offset_ns": times,
        "round_trip_ns": times,
        "samples": np.ones(count, np.int32),
    }
    return Entry("clock", market, count, encode(Batch("clock", columns)))


def times(folder: Path, market: Market) -> list[int]:
    found: list[int] = HotStore(folder).read_hot("clock", market).column("time_ns").to_pylist()
    return found


def test_each_file_has_its_turn_and_takes_all_that_waits(tmp_path: Path) -> None:
    writer = HotWriter(tmp_path, window_rows=8)
    for first in range(0, 12, 2):
        writer.offer([clock_rows(market, first, 2) for market in MARKETS])
    for market in MARKETS:
        assert writer.step() > 0
        assert times(tmp_path, market) == list(range(4, 12))
    assert writer.step() == 0
    assert not any(writer._waiting.values())


def test_what_waits_is_bounded(tmp_path: Path) -> None:
    writer = HotWriter(tmp_path, window_rows=8)
    for first in range(0, 1000, 3):
        writer.offer([clock_rows(MARKETS[0], first, 3)])
    (waiting,) = writer._waiting.values()
    assert sum(batch.rows for batch in waiting) < 8 + 3


def test_no_more_than_its_share_of_a_core_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(1000))
    writer = HotWriter(tmp_path, share=0.05, clock_s=lambda: next(ticks) * 0.010)
    writer.offer([clock_rows(market, 0, 2) for market in MARKETS])
    stop, pauses = threading.Event(), list[float]()

    def wait(pause_s: float) -> None:
        pauses.append(pause_s)
        if len(pauses) == 3:
            stop.set()

    monkeypatch.setattr(stop, "wait", wait)
    writer.run(stop)
    assert pauses == [pytest.approx(0.19)] * 3


def test_the_end_writes_what_is_left(tmp_path: Path) -> None:
    writer, stop = HotWriter(tmp_path), threading.Event()
    writer.offer([clock_rows(market, 0, 2) for market in MARKETS])
    stop.set()
    writer.run(stop)
    assert [times(tmp_path, market) for market in MARKETS] == [[0, 1]] * 3


def test_trouble_is_said_once_and_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "hot").touch()
    writer = HotWriter(tmp_path)
    with caplog.at_level(logging.WARNING):
        for first in (0, 2):
            writer.offer([clock_rows(MARKETS[0], first, 2)])
            writer.step()
    assert len(caplog.records) == 1
    (tmp_path / "hot").unlink()
    writer.offer([clock_rows(MARKETS[0], 4, 2)])
    writer.step()
    assert times(tmp_path, MARKETS[0]) == [4, 5]
