"""What the journal's file holds: states, headers and bodies of batches, plans. All of it may raise JournalFailed."""

from __future__ import annotations

import hashlib
from array import array
from typing import TYPE_CHECKING

from collector.journal.codec import BadBody, decode
from collector.journal.damage import DamagedBatchError
from collector.journal.dead_letters import DAMAGED
from collector.journal.plans import Plan
from storage_backends.interface import Market

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collector.core.batch import Batch
    from collector.journal.database import Database

_PIECE = 4096  # headers read in one go


def collector_id(file: Database) -> str:
    """Eight hex digits, made with the file."""
    ((value,),) = file.read("SELECT value FROM meta WHERE key = 'collector_id'")
    found: str = value
    return found


def states(file: Database) -> dict[Market, bytes]:
    """The last committed state of each market."""
    return {Market(*key): body for *key, body in file.read("SELECT exchange, symbol, body FROM state")}


def headers(file: Database, first_id: int, before_ns: int) -> Iterator[tuple[int, int, int, int, int, bytes]]:
    """(series, id, rows, bytes, created_ns, digest) of batches from `first_id` on, committed before `before_ns`."""
    while True:
        rows = file.read(
            "SELECT series, id, rows, bytes, created_ns, digest FROM batch WHERE id >= ? ORDER BY id LIMIT ?",
            (first_id, _PIECE),
        )
        for series, id_, count, size, created_ns, digest in rows:
            if created_ns >= before_ns:
                return
            yield series, id_, count, size, created_ns, digest
        if len(rows) < _PIECE:
            return
        first_id = rows[-1][1] + 1


def open_plans(file: Database) -> list[Plan]:
    """Plans whose write was not acknowledged, oldest first."""
    rows = file.read(
        "SELECT plan.id, table_name, exchange, symbol, rows, bytes, oldest_ns, writer, content_hash, ids"
        " FROM plan JOIN series ON series.id = plan.series WHERE acknowledged = 0 ORDER BY plan.id"
    )
    return [
        Plan(id_, table, Market(exchange, symbol), count, size, oldest_ns, writer, content_hash, array("q", ids))
        for id_, table, exchange, symbol, count, size, oldest_ns, writer, content_hash, ids in rows
    ]


def load(file: Database, plan: Plan) -> Iterator[Batch]:
    """The batches of `plan` in the order of their commits, each when it is asked for.

    Raises:
        DamagedBatchError: after the last, if some do not hold what was committed.
    """
    damaged: list[int] = []
    for id_ in plan.ids:
        rows = file.read("SELECT digest, body FROM batch JOIN body USING (id) WHERE id = ?", (id_,))
        if not rows or hashlib.sha256(rows[0][1]).digest() != rows[0][0]:
            damaged.append(id_)
            continue
        try:
            batch = decode(plan.table, rows[0][1])
        except BadBody:
            damaged.append(id_)
        else:
            yield batch
    if damaged:
        raise DamagedBatchError(f"{len(damaged)} of {len(plan.ids)} batches of {plan.table} {DAMAGED}", damaged)


def committed_ns(file: Database, plan: Plan) -> list[int]:
    """When each batch of `plan` was committed, in the order of `plan.ids`."""
    times: list[int] = []
    for id_ in plan.ids:
        found = file.read("SELECT created_ns FROM batch WHERE id = ?", (id_,))
        times.append(found[0][0] if found else (times or [plan.oldest_ns])[-1])
    return times
