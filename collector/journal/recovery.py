"""What a start finds in the journal's file: the end of what a crash cut off, and a count of what waits."""

from __future__ import annotations

import json
from array import array
from typing import TYPE_CHECKING, NamedTuple

from collector.journal.plans import Group
from collector.journal.statements import delete_batches, set_meta
from storage_backends.interface import Market

if TYPE_CHECKING:
    from collector.journal.database import Database


class Found(NamedTuple):
    """What the file holds.

    Attributes:
        series: number of each table of a market.
        planned: those with an open plan.
        groups: what waits and is in no plan.
        bytes: of all bodies, dead letters included.
        last_id, last_plan_id: the highest that were given.
    """

    series: dict[tuple[str, Market], int]
    planned: set[tuple[str, Market]]
    groups: list[Group]
    bytes: int
    last_id: int
    last_plan_id: int


def recover(file: Database, now_ns: int, max_bytes: int) -> Found:
    """Finishes what a crash cut off and counts what waits.

    Raises:
        DiskFull, JournalFailed: as a transaction.
    """
    with file.transaction("recovering") as db:
        acknowledged = db.execute("SELECT id, ids FROM plan WHERE acknowledged = 1").fetchall()
        delete_batches(db, [id_ for _, ids in acknowledged for id_ in array("q", ids)])
        db.execute("DELETE FROM plan WHERE acknowledged = 1")
        # The wall clock was set back between two runs. Times must not fall as ids grow: planning relies on it.
        db.execute("UPDATE batch SET created_ns = ? WHERE created_ns > ?", (now_ns, now_ns))
        set_meta(db, max_bytes=max_bytes)
        db.execute("COMMIT")
    keys = {
        id_: (table, Market(exchange, symbol))
        for id_, table, exchange, symbol in file.read("SELECT id, table_name, exchange, symbol FROM series")
    }
    plans = file.read("SELECT series, ids FROM plan")
    planned_ids = [id_ for _, ids in plans for id_ in array("q", ids)]
    ((held, last),) = file.read("SELECT coalesce(sum(bytes), 0), coalesce(max(id), 0) FROM batch")
    ((dead, last_dead),) = file.read("SELECT coalesce(sum(bytes), 0), coalesce(max(id), 0) FROM dead_letter")
    ((last_plan,),) = file.read("SELECT coalesce(max(id), 0) FROM plan")
    waiting = file.read(
        "SELECT series, sum(rows), sum(bytes), min(created_ns), min(id), max(id) FROM batch"
        " WHERE id NOT IN (SELECT value FROM json_each(?)) GROUP BY series",
        (json.dumps(planned_ids),),
    )
    return Found(
        {key: id_ for id_, key in keys.items()},
        {keys[series] for series, _ in plans},
        [Group(*keys[series], *counts) for series, *counts in waiting],
        held + dead,
        max(last, last_dead),
        last_plan,
    )
