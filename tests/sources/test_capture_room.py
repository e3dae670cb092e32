from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from collector.clock import ManualClock
from collector.sources.capture_room import capture_file_bytes, dispensable
from collector.sources.capture_writer import CaptureWriter

START_NS = 1_721_347_190_000_000_000  # 2024-07-18 23:59:50


@pytest.fixture
def captures(tmp_path: Path) -> list[Path]:
    """Four captures of 100 bytes over three days, in two exchanges, oldest first."""
    names = [
        "spot/BTCUSDT_spot_20240718T120000_0.zst",
        "usdm/BTCUSDT_usdm_20240718T120000_1.zst",
        "usdm/ETHUSDT_usdm_20240719T000000_0.zst",
        "usdm/BTCUSDT_usdm_20240720T000000_0.zst",
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(bytes(100))
    return [tmp_path / name for name in names]


def chosen(folder: Path, keep: set[Path], max_bytes: int | None, before: dt.date | None = None) -> list[Path]:
    return [path for path, _ in dispensable(folder, keep, max_bytes, before)]


def test_the_oldest_go_until_the_rest_fits(captures: list[Path], tmp_path: Path) -> None:
    assert chosen(tmp_path, set(), 400) == []
    assert chosen(tmp_path, set(), 399) == captures[:1]
    assert chosen(tmp_path, set(), 200) == captures[:2]
    assert chosen(tmp_path, set(), 0) == captures


def test_open_ones_and_files_of_others_stay(captures: list[Path], tmp_path: Path) -> None:
    for name in ("notes.zst", "BTCUSDT_usdm_2024_0.zst", "BTCUSDT_usdm_20240718T120000_0.gz"):
        (tmp_path / "usdm" / name).write_bytes(bytes(1000))
    assert chosen(tmp_path, {captures[0], captures[3]}, 0) == captures[1:3]


def test_those_before_a_date_go_whatever_their_size(captures: list[Path], tmp_path: Path) -> None:
    assert chosen(tmp_path, set(), None, dt.date(2024, 7, 20)) == captures[:3]
    assert chosen(tmp_path, set(), None) == []


def test_no_folder_yet(tmp_path: Path) -> None:
    assert chosen(tmp_path / "raw", set(), 1, dt.date(2024, 7, 20)) == []


def test_open_files_take_a_quarter_at_most() -> None:
    assert capture_file_bytes(None, 50) == 256 << 20
    assert capture_file_bytes(1 << 40, 50) == 256 << 20
    assert capture_file_bytes(1 << 30, 4) == 1 << 26
    assert capture_file_bytes(1 << 20, 50) == 1 << 20


def test_a_new_date_begins_a_new_file(tmp_path: Path) -> None:
    clock = ManualClock(START_NS)
    writer = CaptureWriter(tmp_path, "spot", "BTCUSDT", clock)
    for _ in range(4):
        writer.write(clock.now_ns(), "btcusdt@trade", "{}")
        writer.flush()
        clock.advance(4)
    assert [path.name for path in writer.paths] == ["BTCUSDT_spot_20240718T235950_0.zst"]
    assert writer.open_path is None
    writer.write(clock.now_ns(), "btcusdt@trade", "{}")
    writer.flush()
    assert writer.open_path == writer.paths[1]
    assert writer.paths[1].name == "BTCUSDT_spot_20240719T000006_0.zst"
    writer.close()
    assert writer.open_path is None
