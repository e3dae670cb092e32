"""What a live run does for its disk, one look at a time."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from collector.clock import ManualClock, SystemClock
from collector.housekeeping import Housekeeping, _next_pass_ns
from collector.settings import RunSettings
from collector.upkeep import used_bytes
from storage_backends.contract import got, put
from storage_backends.contract.rows import rows
from storage_backends.local_days import LocalDays
from storage_backends.open import open_backend
from storage_backends.settings import StoreSettings
from tests.settings import run_settings

HOUR_S = 3600
MIDNIGHT_NS = 1_721_347_200_000_000_000


@pytest.fixture
def chosen(tmp_path: Path) -> RunSettings:
    return run_settings(tmp_path)


class House(Housekeeping):
    """With what it said, on a clock that is moved."""

    def __init__(self, settings: RunSettings, keep: set[Path] | None = None) -> None:
        self.said: list[tuple[str, str]] = []
        self.moved = ManualClock(SystemClock().now_ns())
        super().__init__(
            settings,
            self.moved,
            lambda: keep or set(),
            lambda now_ns, market, kind, detail: self.said.append((kind, detail)),
            check_interval_s=0.01,
        )


def fill(folder: Path) -> None:
    for first in (0, 2):
        put(open_backend("local", folder), "trades", rows("trades", range(first, first + 3)))


def files(folder: Path) -> list[str]:
    return [path.name for path in _parts(folder)]


def _parts(folder: Path) -> list[Path]:
    return list(folder.rglob("part-*"))


async def test_once_an_hour_days_are_merged(chosen: RunSettings, tmp_path: Path) -> None:
    fill(tmp_path)
    house = House(chosen)
    await house.check()
    assert len(files(tmp_path)) == 2
    house.moved.advance(HOUR_S)
    await house.check()
    assert len(files(tmp_path)) == 1
    assert house.said == []


@pytest.mark.parametrize("changes", [{"compact": False}, {"store": StoreSettings(backend="none")}])
async def test_unless_that_is_not_wanted(chosen: RunSettings, tmp_path: Path, changes: dict[str, Any]) -> None:
    fill(tmp_path)
    house = House(replace(chosen, **changes))
    house.moved.advance(HOUR_S)
    await house.check()
    assert len(files(tmp_path)) == 2


async def test_days_are_deleted_also_where_none_are_merged(chosen: RunSettings, tmp_path: Path) -> None:
    fill(tmp_path)
    house = House(replace(chosen, compact=False, retain_days=30))
    house.moved.advance(HOUR_S)
    await house.check()
    assert [path.parent.parent.parent.parent.name for path in _parts(tmp_path)] == ["events"]


def test_the_pass_after_midnight_waits_for_the_last_rows_of_the_day() -> None:
    minute_ns = 60_000_000_000
    assert _next_pass_ns(MIDNIGHT_NS - 1) == MIDNIGHT_NS + 20 * minute_ns
    assert _next_pass_ns(MIDNIGHT_NS + 19 * minute_ns) == MIDNIGHT_NS + 20 * minute_ns
    assert _next_pass_ns(MIDNIGHT_NS + 20 * minute_ns) == MIDNIGHT_NS + 80 * minute_ns


async def test_days_go_at_once_where_the_budget_is_exceeded(chosen: RunSettings, tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "journal.sqlite").write_bytes(bytes(1 << 20))
    house = House(replace(chosen, disk_budget_bytes=used_bytes(tmp_path) - 1))
    await house.check()
    assert got(open_backend("local", tmp_path), "trades") == []
    assert not house.over_budget
    assert house.said == []


async def test_with_nothing_left_to_delete_new_rows_are_refused_until_there_is_room(
    chosen: RunSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = tmp_path / "journal.sqlite"
    big.write_bytes(bytes(3 << 20))
    house = House(replace(chosen, disk_budget_bytes=2 << 20))
    await house.check()
    assert house.over_budget
    passes = []
    monkeypatch.setattr(house, "_pass", lambda **how: passes.append(how))
    await house.check()
    big.write_bytes(b"")
    await house.check()
    assert not house.over_budget
    assert passes == []
    assert [kind for kind, _ in house.said] == ["disk_budget"] * 2
    assert "refused" in house.said[0][1]
    assert "--disk-budget is 2,097,152" in house.said[0][1]
    assert "stored again" in house.said[1][1]


async def test_captures_are_kept_in_bounds_and_that_is_said_first(chosen: RunSettings, tmp_path: Path) -> None:
    folder = tmp_path / "raw" / "binanceusdm"
    folder.mkdir(parents=True)
    paths = [folder / f"BTCUSDT_binanceusdm_20240718T12000{n}_0.zst" for n in range(3)]
    for path in paths:
        path.write_bytes(bytes(100))
    house = House(replace(chosen, raw_max_bytes=150), {paths[0]})
    await house.check()
    assert [path.exists() for path in paths] == [True, False, False]
    assert house.said == [("captures_deleted", f"2 captures, 200 bytes: {paths[1].name}, {paths[2].name}")]
    await house.check()
    assert len(house.said) == 1


async def test_captures_older_than_the_retention_go_too(chosen: RunSettings, tmp_path: Path) -> None:
    folder = tmp_path / "raw" / "binanceusdm"
    folder.mkdir(parents=True)
    now = dt.datetime.now(dt.UTC)
    old, young = (f"B_b_{now - dt.timedelta(days=days):%Y%m%dT%H%M%S}_0.zst" for days in (4, 2))
    for name in (old, young):
        (folder / name).touch()
    await House(replace(chosen, retain_days=3)).check()
    assert [path.name for path in folder.iterdir()] == [young]


async def test_what_cannot_be_merged_is_an_event(chosen: RunSettings, tmp_path: Path) -> None:
    fill(tmp_path)
    _parts(tmp_path)[0].write_bytes(b"not parquet")
    house = House(chosen)
    house.moved.advance(HOUR_S)
    await house.check()
    ((kind, detail),) = house.said
    assert kind == "compact_failed"
    assert "trades 2024-07-18 stays in 2 files" in detail


async def test_another_compaction_under_way_is_an_event(chosen: RunSettings, tmp_path: Path) -> None:
    fill(tmp_path)
    house = House(chosen)
    house.moved.advance(HOUR_S)
    with LocalDays(tmp_path).alone():
        await house.check()
    ((kind, detail),) = house.said
    assert kind == "compact_failed"
    assert "another process" in detail


async def test_no_error_ends_it(chosen: RunSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(chosen)
    looks = []

    async def broken() -> None:
        looks.append(1)
        raise OSError("no such luck")

    monkeypatch.setattr(house, "check", broken)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(house.run(), 0.2)
    assert len(looks) > 1
    assert house.said[0] == ("housekeeping_failed", "OSError('no such luck')")


async def test_a_stop_ends_the_other_process(chosen: RunSettings, tmp_path: Path) -> None:
    fill(tmp_path)
    house = House(chosen)
    house.moved.advance(HOUR_S)
    task = asyncio.create_task(house.check())
    await asyncio.sleep(0.15)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # Nobody holds the store: the process is gone.
    with LocalDays(tmp_path).alone() as held:
        assert held
    assert got(open_backend("local", tmp_path), "trades") == rows("trades", range(5))
