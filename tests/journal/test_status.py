"""Status and its command: from another connection, while the collector runs and when it does not."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from collector.commands.journal import journal as command
from collector.errors import ConfigurationError
from collector.journal.journal import Journal
from collector.journal.status import read_status
from tests.journal.rows import BTC, ETH, NO_LIMITS, START_NS, numbered

if TYPE_CHECKING:
    from pathlib import Path

    from collector.clock import ManualClock


def as_json(path: Path, code: int = 0) -> Any:
    result = CliRunner().invoke(command, ["--data-dir", str(path.parent), "--json"], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return json.loads(result.output)


def test_a_running_journal(journal: Journal, clock: ManualClock, path: Path) -> None:
    journal.commit([(BTC, numbered(1, 3)), (ETH, numbered(1, 2))], {})
    clock.advance(5)
    journal.commit([(BTC, numbered(1, 1, table="gaps"))], {})
    journal.plan(journal.groups()[:1], **NO_LIMITS)
    journal.record_error("TransientBackendError: 503")

    status = as_json(path)

    assert status["collector_id"] == journal.collector_id
    assert status["rows"] == 6
    assert status["max_bytes"] == 1 << 20
    assert status["bytes"] == sum(depth["bytes"] for depth in status["tables"])
    assert status["file_bytes"] > status["bytes"]
    assert status["oldest_ns"] == START_NS
    assert (status["last_error"], status["last_error_ns"]) == ("TransientBackendError: 503", START_NS + 5 * 10**9)
    assert [(d["table"], d["markets"], d["rows"]) for d in status["tables"]] == [("book_ticker", 2, 5), ("gaps", 1, 1)]
    assert status["plans"] == [
        {
            "table": "book_ticker",
            "exchange": "binanceusdm",
            "symbol": "BTCUSDT",
            "rows": 3,
            "planned_ns": START_NS + 5 * 10**9,
        }
    ]
    assert status["dead_letters"] == []


def test_dead_letters_are_bad_news(journal: Journal, path: Path) -> None:
    journal.commit([(BTC, numbered(1, 3))], {})
    journal.commit([(BTC, numbered(4, 3))], {})
    (plan,) = journal.plan(journal.groups(), **NO_LIMITS)
    journal.refuse(plan, "bad rows")
    (dead,) = as_json(path, code=1)["dead_letters"]
    assert (dead["symbol"], dead["rows"], dead["reason"]) == ("BTCUSDT", 6, "bad rows")
    result = CliRunner().invoke(command, ["--data-dir", str(path.parent)])
    assert result.exit_code == 1
    assert "6 rows  binanceusdm BTCUSDT  bad rows" in result.output


def test_the_last_error_survives(journal: Journal, path: Path, clock: ManualClock) -> None:
    journal.record_error("away")
    journal.close()
    Journal.open(path, clock=clock).close()
    result = CliRunner().invoke(command, ["--data-dir", str(path.parent)])
    assert result.exit_code == 0
    assert "last error: 2024-07-18 00:00:00.000  away" in result.output


def test_reading_changes_nothing(journal: Journal, path: Path, tmp_path: Path) -> None:
    journal.commit([(BTC, numbered(1))], {})
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(path.with_name(path.name + suffix), crashed)
    before = {part.name: part.read_bytes() for part in crashed.iterdir()}
    status = read_status(crashed / path.name)
    assert status is not None
    assert status.rows == 1
    assert {name: (crashed / name).read_bytes() for name in before} == before


def test_no_journal(tmp_path: Path) -> None:
    assert as_json(tmp_path / "nothing") is None
    result = CliRunner().invoke(command, ["--data-dir", str(tmp_path)])
    assert result.exit_code == 0
    assert "no journal in" in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("statement", "words"), [("user_version = 99", "newer version"), ("application_id = 1", "not a")]
)
def test_what_cannot_be_read_is_named(path: Path, clock: ManualClock, statement: str, words: str) -> None:
    Journal.open(path, clock=clock).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA {statement}")
    with pytest.raises(ConfigurationError, match=words):
        CliRunner().invoke(command, ["--data-dir", str(path.parent)], catch_exceptions=False)
