"""Merging, retention and the disk budget, over a store of three days whose last one is today."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from collector.clock import ManualClock
from collector.retention import expired
from collector.upkeep import Upkeep, UpkeepReport, used_bytes
from storage_backends.contract import OTHER, got, put
from storage_backends.contract.rows import rows, time_ns
from storage_backends.errors import PermanentBackendError
from storage_backends.interface import Backend
from storage_backends.local_days import LocalDays
from storage_backends.open import open_backend
from tests.live.harness import collector

DAY = 86_400
FIRST, SECOND, TODAY = (dt.date(2024, 7, day) for day in (18, 19, 20))
NOW = ManualClock(time_ns(10 + DAY + 3600))  # an hour into the third day


@pytest.fixture
def backend(tmp_path: Path) -> Backend:
    backend = open_backend("local", tmp_path)
    for table in ("trades", "diffs", "gaps", "events"):
        for day in range(3):
            for first in (0, 2):
                ats = [day * DAY + first + at for at in range(3)]
                put(backend, table, rows(table, ats))
                put(backend, table, rows(table, ats), market=OTHER)
    return backend


def tidy(root: Path, **how: Any) -> tuple[UpkeepReport, list[str]]:
    """A pass that merges every day before today, with what it said."""
    said: list[str] = []
    days = LocalDays(root)
    dry_run = how.pop("dry_run", False)
    with days.alone():
        upkeep = Upkeep(days, open_backend("local", root), root, NOW, said.append, dry_run=dry_run)
        return upkeep.run(how.pop("before", TODAY), **how), said


def tables_by_date(root: Path) -> dict[dt.date, set[str]]:
    found: dict[dt.date, set[str]] = {}
    for day in LocalDays(root).days():
        found.setdefault(day.date, set()).add(day.table)
    return found


def deleted(backend: Backend) -> list[str]:
    return [row["detail"] for row in got(backend, "events") if row["kind"] == "day_deleted"]


def test_days_that_are_over_become_one_file_each(backend: Backend, tmp_path: Path) -> None:
    before = {table: got(backend, table) for table in ("trades", "diffs", "gaps", "events")}
    report, said = tidy(tmp_path)
    assert {table: got(backend, table) for table in before} == before
    assert len(report.merged) == 2 * 2 * 4
    assert len(said) == len(report.merged)
    for day in LocalDays(tmp_path).days():
        assert (day.files == 1) == (day.date < TODAY)
        assert day.compacted == (day.date < TODAY)
    assert report.used_bytes == used_bytes(tmp_path)
    assert tidy(tmp_path)[0].merged == []


def test_only_days_before_the_date_that_is_given(backend: Backend, tmp_path: Path) -> None:
    tidy(tmp_path, before=SECOND)
    assert {day.date for day in LocalDays(tmp_path).days() if day.compacted} == {FIRST}


def test_retention_deletes_whole_days_and_says_so_first(backend: Backend, tmp_path: Path) -> None:
    report, said = tidy(tmp_path, retain_days=1)
    assert tables_by_date(tmp_path) == {
        FIRST: {"gaps", "events"},
        SECOND: {"trades", "diffs", "gaps", "events"},
        TODAY: {"trades", "diffs", "gaps", "events"},
    }
    assert said[0].startswith("deleting 2024-07-18, 8 files of ")
    assert "--retain-days 1" in said[0]
    assert [one.date for one in report.deleted] == ["2024-07-18"]
    (event,) = deleted(backend)
    assert event.startswith("2024-07-18 (older than --retain-days 1): diffs 2 files ")
    assert "trades 2 files" in event
    assert got(backend, "trades")[0] == rows("trades", [DAY])[0]
    assert got(backend, "trades", OTHER)[0] == rows("trades", [DAY])[0]


def test_the_row_that_states_a_deletion_is_stored_before_it(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stated: list[int] = []
    monkeypatch.setattr(LocalDays, "delete", lambda self, day: stated.append(len(deleted(backend))))
    tidy(tmp_path, retain_days=1)
    assert stated == [1, 1, 1, 1]


def test_the_oldest_days_go_until_the_budget_holds(backend: Backend, tmp_path: Path) -> None:
    tidy(tmp_path)
    first = sum(d.bytes for d in LocalDays(tmp_path).days() if d.date == FIRST and d.table in ("trades", "diffs"))
    used = used_bytes(tmp_path)
    report, said = tidy(tmp_path, budget_bytes=used - 1)
    assert [one.date for one in report.deleted] == ["2024-07-18"]
    assert report.used_bytes == used - first
    assert not report.over_budget
    assert "--disk-budget" in said[0]
    assert set(tables_by_date(tmp_path)[SECOND]) == {"trades", "diffs", "gaps", "events"}
    assert len(deleted(backend)) == 1


def test_a_budget_that_cannot_hold_leaves_today_and_is_told(backend: Backend, tmp_path: Path) -> None:
    report, _ = tidy(tmp_path, budget_bytes=1000)
    assert report.over_budget
    assert tables_by_date(tmp_path)[TODAY] == {"trades", "diffs", "gaps", "events"}
    assert tables_by_date(tmp_path)[SECOND] == {"gaps", "events"}


def test_within_the_budget_nothing_goes(backend: Backend, tmp_path: Path) -> None:
    report, _ = tidy(tmp_path, budget_bytes=used_bytes(tmp_path) + 10**6)
    assert report.deleted == []


def test_a_dry_run_says_the_same_and_touches_nothing(backend: Backend, tmp_path: Path) -> None:
    def files() -> list[tuple[str, int]]:
        return sorted((str(path), path.stat().st_mtime_ns) for path in tmp_path.rglob("part-*"))

    before = files()
    dry, dry_said = tidy(tmp_path, dry_run=True, retain_days=1)
    assert files() == before
    real, said = tidy(tmp_path, retain_days=1)
    assert [one.date for one in dry.deleted] == [one.date for one in real.deleted]
    assert len(dry.merged) == len(real.merged)
    assert dry_said[0] == said[0]


def test_one_damaged_day_does_not_stop_the_others(backend: Backend, tmp_path: Path) -> None:
    path = next((tmp_path / "trades").rglob("date=2024-07-18")).joinpath("x")
    bad = next(path.parent.glob("part-*"))
    bad.write_bytes(b"not parquet")
    report, _ = tidy(tmp_path)
    assert len(report.problems) == 1
    assert "damaged" in report.problems[0]
    assert "stays in 2 files" in report.problems[0]
    assert len(report.merged) == 2 * 2 * 4 - 1


def test_what_could_not_be_deleted_is_not_called_deleted(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: LocalDays, day: object) -> None:
        raise PermanentBackendError("no permission")

    monkeypatch.setattr(LocalDays, "delete", refuse)
    report, _ = tidy(tmp_path, retain_days=1)
    assert report.deleted == []
    assert len(report.problems) == 4


def test_days_of_the_last_n_are_kept(tmp_path: Path, backend: Backend) -> None:
    days = list(LocalDays(tmp_path).days())
    assert expired(days, TODAY, 2) == []
    assert [one.date for one in expired(days, TODAY, 1)] == [FIRST]


# The command. Its today is the machine's, so all three days are over.


def test_the_command_merges_and_deletes(backend: Backend, tmp_path: Path) -> None:
    dry = json.loads(collector("compact", "--dry-run", "--json", "--data-dir", tmp_path).stdout)
    assert len(dry["merged"]) == 3 * 2 * 4
    assert dry["deleted"] == []
    done = collector("compact", "--before", "2024-07-20", "--data-dir", tmp_path)
    assert done.stdout.count("into one") == 2 * 2 * 4
    assert "16 days merged, 0 dates deleted" in done.stdout
    done = collector("compact", "--retain-days", "30", "--json", "--data-dir", tmp_path)
    assert [one["date"] for one in json.loads(done.stdout)["deleted"]] == ["2024-07-18", "2024-07-19", "2024-07-20"]
    assert done.stderr.startswith("deleting 2024-07-18")
    assert len(deleted(backend)) == 3
    assert got(backend, "trades") == []


def test_the_command_refuses_what_it_cannot_do(backend: Backend, tmp_path: Path) -> None:
    done = collector("compact", "--before", "2999-01-01", "--data-dir", tmp_path, check=False)
    assert (done.returncode, "--before 2999-01-01" in done.stderr) == (2, True)
    done = collector("compact", "--backend", "none", "--data-dir", tmp_path, check=False)
    assert (done.returncode, "--backend none" in done.stderr) == (2, True)
    with LocalDays(tmp_path).alone():
        done = collector("compact", "--data-dir", tmp_path, check=False)
    assert (done.returncode, "another process" in done.stderr) == (2, True)
    (tmp_path / "big").write_bytes(bytes(2 << 20))
    done = collector("compact", "--disk-budget", "1MiB", "--data-dir", tmp_path, check=False)
    assert done.returncode == 1
    assert "--raw-max-bytes" in done.stdout
