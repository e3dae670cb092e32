"""What a journal holds, for people: read from its file, also while a collector writes to it."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.journal.errors import JournalFailed, JournalTooNew
from collector.journal.format import APPLICATION_ID, FORMAT, connect_read_only

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class TableDepth:
    """What waits in one table, planned or not, over all markets."""

    table: str
    markets: int
    rows: int
    bytes: int
    oldest_ns: int


@dataclass(frozen=True, slots=True)
class OpenPlan:
    """A write that was decided on and is not acknowledged."""

    table: str
    exchange: str
    symbol: str
    rows: int
    planned_ns: int


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Rows that a backend refused for good, by market, table and reason."""

    table: str
    exchange: str
    symbol: str
    rows: int
    bytes: int
    refused_ns: int
    reason: str


@dataclass(frozen=True, slots=True)
class JournalStatus:
    """One moment of a journal. Times are ns since the Unix epoch, None where there is nothing."""

    collector_id: str
    rows: int
    bytes: int
    max_bytes: int | None
    file_bytes: int
    oldest_ns: int | None
    last_error: str | None
    last_error_ns: int | None
    tables: list[TableDepth]
    plans: list[OpenPlan]
    dead_letters: list[DeadLetters]


def read_status(path: Path) -> JournalStatus | None:
    """The status of the journal at `path`, all of one moment; None when there is no journal. Changes nothing.

    Raises:
        JournalTooNew: a newer version wrote it.
        JournalFailed: it cannot be read, or is no journal.
    """
    if not path.exists():
        return None
    try:
        with contextlib.closing(connect_read_only(path)) as db:
            return _read(path, db)
    except sqlite3.Error as error:
        raise JournalFailed(f"cannot read the journal {path}: {error}") from error


def _read(path: Path, db: sqlite3.Connection) -> JournalStatus:
    if db.execute("PRAGMA application_id").fetchone() != (APPLICATION_ID,):
        raise JournalFailed(f"{path} is not a journal")
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > FORMAT:
        raise JournalTooNew(f"{path} has format {version}, this program reads up to {FORMAT}: use the newer version")
    db.execute("BEGIN")
    meta = dict(db.execute("SELECT key, value FROM meta"))
    tables = db.execute(
        "SELECT table_name, count(DISTINCT series), sum(rows), sum(bytes), min(created_ns)"
        " FROM batch JOIN series ON series.id = batch.series GROUP BY table_name ORDER BY table_name"
    )
    plans = db.execute(
        "SELECT table_name, exchange, symbol, rows, created_ns"
        " FROM plan JOIN series ON series.id = plan.series WHERE acknowledged = 0 ORDER BY plan.id"
    )
    dead = db.execute(
        "SELECT table_name, exchange, symbol, sum(rows), sum(bytes), max(refused_ns), reason"
        " FROM dead_letter GROUP BY table_name, exchange, symbol, reason ORDER BY max(refused_ns)"
    )
    depths = [TableDepth(*row) for row in tables]
    return JournalStatus(
        collector_id=meta["collector_id"],
        rows=sum(depth.rows for depth in depths),
        bytes=sum(depth.bytes for depth in depths),
        max_bytes=meta.get("max_bytes"),
        file_bytes=sum(part.stat().st_size for part in (path, path.with_name(f"{path.name}-wal")) if part.exists()),
        oldest_ns=min((depth.oldest_ns for depth in depths), default=None),
        last_error=meta.get("last_error"),
        last_error_ns=meta.get("last_error_ns"),
        tables=depths,
        plans=[OpenPlan(*row) for row in plans],
        dead_letters=[DeadLetters(*row) for row in dead],
    )
