"""Rows that the backend refused for good, in the journal's file. They stay until a person decides."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from collector.journal.codec import BadBody, decode
from storage_backends.interface import Market

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterator, Sequence

    from collector.core.batch import Batch
    from collector.journal.database import Database

DAMAGED = "do not hold what was committed"
"""In the reason of rows that nobody can read any more."""


def bury(db: sqlite3.Connection, ids: Sequence[int], now_ns: int, reason: str) -> None:
    """Copies batches to the dead letters, within a transaction."""
    db.executemany(
        "INSERT INTO dead_letter"
        " SELECT batch.id, table_name, exchange, symbol, rows, bytes, created_ns, ?, ?, coalesce(body, x'')"
        " FROM batch JOIN series ON series.id = batch.series LEFT JOIN body ON body.id = batch.id"
        " WHERE batch.id = ?",
        [(now_ns, reason, id_) for id_ in ids],
    )


def refused_ns(file: Database) -> dict[int, tuple[Market, int]]:
    """Market and time of refusal of each, by its id."""
    rows = file.read("SELECT id, exchange, symbol, refused_ns FROM dead_letter")
    return {id_: (Market(exchange, symbol), at_ns) for id_, exchange, symbol, at_ns in rows}


def letters(file: Database, ids: Collection[int] | None = None) -> Iterator[tuple[int, str, Market, int, Batch | None]]:
    """(id, table, market, created_ns, rows) of each, or of `ids`; None for rows that are damaged."""
    for id_, table, exchange, symbol, created_ns, reason in file.read(
        "SELECT id, table_name, exchange, symbol, created_ns, reason FROM dead_letter ORDER BY id"
    ):
        if ids is not None and id_ not in ids:
            continue
        batch = None
        if DAMAGED not in reason:
            with contextlib.suppress(BadBody):
                batch = decode(table, body_of(file, id_))
        yield id_, table, Market(exchange, symbol), created_ns, batch


def body_of(file: Database, id_: int) -> bytes:
    """The body of one, as it was committed."""
    ((body,),) = file.read("SELECT body FROM dead_letter WHERE id = ?", (id_,))
    found: bytes = body
    return found


def take_out(db: sqlite3.Connection, id_: int) -> None:
    """Deletes one that waits for the backend again, within a transaction."""
    db.execute("DELETE FROM dead_letter WHERE id = ?", (id_,))


def forget(db: sqlite3.Connection, ids: Sequence[int]) -> int:
    """Deletes some, within a transaction; returns the bytes of their bodies."""
    freed = 0
    for id_ in ids:
        (size,) = db.execute("SELECT bytes FROM dead_letter WHERE id = ?", (id_,)).fetchone()
        freed += size
        take_out(db, id_)
    return freed
