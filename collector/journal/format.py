"""The journal's file: layout, creation, recognition, and setting aside what cannot be read.

A SQLite database in WAL mode, `application_id` "DJNL", `user_version` = `FORMAT`. Anyone may open it with `sqlite3`;
the view `backlog` shows what waits.

    meta(key, value)              collector_id, created_ns, max_bytes, last_error, last_error_ns
    series(id, ...)               one id for each table and market
    batch(id, series, ...)        what waits: rows, bytes, when committed, sha256 of the body; ids only ever grow
    body(id, body)                its bytes (`codec`); apart, so that walking over `batch` does not read them
    plan(id, series, ids, ...)    a write that was decided on: exactly these batches, this writer, this content hash
    state(exchange, symbol, body) what a market must remember across restarts; replaced with each commit
    dead_letter(id, ...)          batches that a backend refused for good, with the reason

Invariants
 1. A batch is in `batch` and `body`, or in `dead_letter`, or a backend has acknowledged it. It leaves `batch` only
    after an acknowledgement or into `dead_letter`.
 2. Batches and states of one commit appear together or not at all.
 3. A table and market has one open plan at most. A plan never changes; only its `acknowledged` goes from 0 to 1.
    Batches of an acknowledged plan count as gone; they are deleted in pieces, and the plan last.
 4. A plan is durable before its write begins. So a write that a crash cut off is repeated with the same rows, writer
    and content hash, and the backend knows it again.
 5. The file is made under another name and renamed when complete; one without its schema is never ours.
 6. Beside it lie SQLite's `-wal` and `-shm`, the lock, `-reserve` (zeros that hold room on the disk) and, after damage
    was seen, `-check`, which has the next start check the whole file.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from collector.journal.errors import DAMAGE_CODES, JournalFailed, JournalTooNew, primary_code, translated

if TYPE_CHECKING:
    from pathlib import Path

JOURNAL_FILE = "journal.sqlite"
"""Its name in the data folder."""

FORMAT = 1
APPLICATION_ID = int.from_bytes(b"DJNL", "big")
PAGE_BYTES = 32768

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE series (
    id INTEGER PRIMARY KEY, table_name TEXT NOT NULL, exchange TEXT NOT NULL, symbol TEXT NOT NULL,
    UNIQUE (table_name, exchange, symbol)
);
CREATE TABLE batch (
    id INTEGER PRIMARY KEY, series INTEGER NOT NULL, rows INTEGER NOT NULL, bytes INTEGER NOT NULL,
    created_ns INTEGER NOT NULL, digest BLOB NOT NULL
);
CREATE TABLE body (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE plan (
    id INTEGER PRIMARY KEY, series INTEGER NOT NULL, writer TEXT NOT NULL, content_hash TEXT NOT NULL,
    rows INTEGER NOT NULL, bytes INTEGER NOT NULL, oldest_ns INTEGER NOT NULL, created_ns INTEGER NOT NULL,
    acknowledged INTEGER NOT NULL DEFAULT 0, ids BLOB NOT NULL
);
CREATE TABLE state (
    exchange TEXT NOT NULL, symbol TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (exchange, symbol)
);
CREATE TABLE dead_letter (
    id INTEGER PRIMARY KEY, table_name TEXT NOT NULL, exchange TEXT NOT NULL, symbol TEXT NOT NULL,
    rows INTEGER NOT NULL, bytes INTEGER NOT NULL, created_ns INTEGER NOT NULL, refused_ns INTEGER NOT NULL,
    reason TEXT NOT NULL, body BLOB NOT NULL
);
CREATE VIEW backlog AS
    SELECT table_name, exchange, symbol, count(*) AS batches, sum(rows) AS rows, sum(bytes) AS bytes,
           datetime(min(created_ns) / 1000000000, 'unixepoch') AS oldest_utc
    FROM batch JOIN series ON series.id = batch.series GROUP BY series.id;
"""

_BUSY_TIMEOUT_S = 10.0


def connect(path: Path) -> sqlite3.Connection:
    """A connection for the process that holds the lock; usable from any thread, by one at a time."""
    db = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    # Debian's SQLite zeroes freed pages unless told otherwise, which would write every delivered byte twice. What is
    # written is read once, minutes later, or never: a cache larger than a commit only holds memory.
    db.executescript(f"""
        PRAGMA synchronous = FULL;
        PRAGMA secure_delete = OFF;
        PRAGMA wal_autocheckpoint = 0;
        PRAGMA journal_size_limit = {16 << 20};
        PRAGMA cache_size = -1024;
        PRAGMA temp_store = MEMORY;
    """)
    return db


def connect_read_only(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing, for another process than the writer's."""
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", timeout=_BUSY_TIMEOUT_S, uri=True, isolation_level=None)
    db.execute("PRAGMA query_only = ON")
    return db


def ensure(path: Path, now_ns: int) -> tuple[Path, str] | None:
    """Makes sure that `path` is a journal that can be used; the caller holds the lock.

    Returns where an unusable file was set aside and what was wrong with it, None when nothing was.

    Raises:
        JournalTooNew: a newer version wrote it.
        JournalFailed: the disk failed, or the folder cannot be written to.
    """
    aside = None
    try:
        trouble = _trouble(path)
        if trouble is not None:
            aside = _set_aside(path, now_ns), trouble
        if not path.exists():
            _create(path, now_ns)
    except OSError as error:
        raise JournalFailed(f"cannot prepare the journal {path}: {error}") from error
    except sqlite3.Error as error:
        raise translated(error, f"preparing {path}") from error
    return aside


def mark_damaged(path: Path) -> None:
    """Has the next start check the whole file; for when SQLite said that it is damaged."""
    with contextlib.suppress(OSError):
        _mark(path).touch()


def _mark(path: Path) -> Path:
    return path.with_name(f"{path.name}-check")


def _wal(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _trouble(path: Path) -> str | None:
    """What is wrong with the file, in words for people; None if it is sound or not there at all."""
    if not path.exists():
        # SQLite would take a log that somebody left without its database for part of the new one.
        return "its database is missing, only the write-ahead log is left" if _wal(path).exists() else None
    try:
        db = connect_read_only(path)
    except sqlite3.OperationalError as error:
        raise JournalFailed(f"cannot open the journal {path}: {error}") from error
    try:
        with contextlib.closing(db):
            return _trouble_inside(path, db)
    except sqlite3.DatabaseError as error:
        # The third: a table or a column is missing.
        if primary_code(error) in {*DAMAGE_CODES, sqlite3.SQLITE_ERROR}:
            return f"it is damaged: {error}"
        raise


def _trouble_inside(path: Path, db: sqlite3.Connection) -> str | None:
    (application,) = db.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID:
        return "it is not a journal"
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > FORMAT:
        raise JournalTooNew(
            f"{path} has format {version}, this program reads up to {FORMAT}: "
            "start the newer version again, let it deliver everything, then go back"
        )
    if _mark(path).exists():
        verdicts = [text for (text,) in db.execute("PRAGMA quick_check(3)")]
        if verdicts != ["ok"]:
            return "it is damaged: " + "; ".join(verdicts)
        _mark(path).unlink()
    for table in ("meta", "series", "plan", "state"):
        db.execute(f"SELECT count(*) FROM {table} NOT INDEXED").fetchone()  # noqa: S608 - fixed names
    if db.execute("SELECT 1 FROM batch WHERE series NOT IN (SELECT id FROM series) LIMIT 1").fetchone():
        return "it is damaged: a batch belongs to no table and market"
    return None


def _set_aside(path: Path, now_ns: int) -> Path:
    """Renames the file and SQLite's companions, never over something; gives the new name."""
    stamp = datetime.fromtimestamp(now_ns / 1e9, UTC).strftime("%Y%m%dT%H%M%S")
    target = path.with_name(f"{path.stem}.damaged-{stamp}")
    number = 1
    while target.exists() or _wal(target).exists():
        number += 1
        target = path.with_name(f"{path.stem}.damaged-{stamp}-{number}")
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(target.with_name(target.name + suffix))
    _mark(path).unlink(missing_ok=True)
    _sync_folder(path.parent)
    return target


def _create(path: Path, now_ns: int) -> None:
    building = path.with_name(f"{path.name}-new")
    for suffix in ("", "-wal", "-shm", "-journal"):
        building.with_name(building.name + suffix).unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(building, isolation_level=None)) as db:
        db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA synchronous = FULL")
        db.executescript(f"BEGIN; {_SCHEMA}")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {FORMAT}")
        db.executemany(
            "INSERT INTO meta VALUES (?, ?)", [("collector_id", secrets.token_hex(4)), ("created_ns", now_ns)]
        )
        db.execute("COMMIT")
        db.execute("PRAGMA journal_mode = WAL")
    building.rename(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
