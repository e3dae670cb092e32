"""Statements that change the journal's file. Each is for use within a transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storage_backends.interface import Market

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Mapping, Sequence

    from collector.journal.plans import Plan


def add_series(db: sqlite3.Connection, keys: Collection[tuple[str, Market]]) -> dict[tuple[str, Market], int]:
    """Numbers tables of markets that the file does not know yet."""
    insert = "INSERT INTO series (table_name, exchange, symbol) VALUES (?, ?, ?) RETURNING id"
    return {(table, market): db.execute(insert, (table, *market)).fetchone()[0] for table, market in sorted(keys)}


def add_batches(
    db: sqlite3.Connection, headers: Sequence[tuple[int, int, int, int, int, bytes]], bodies: Sequence[bytes]
) -> None:
    """Adds batches: headers are (id, series, rows, bytes, created_ns, digest)."""
    db.executemany("INSERT INTO batch VALUES (?, ?, ?, ?, ?, ?)", headers)
    ids = (id_ for id_, *_ in headers)
    db.executemany("INSERT INTO body VALUES (?, ?)", zip(ids, bodies, strict=True))


def set_states(db: sqlite3.Connection, states: Mapping[Market, bytes]) -> None:
    """Replaces the states of these markets."""
    db.executemany(
        "INSERT INTO state VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET body = excluded.body",
        [(*market, body) for market, body in states.items()],
    )


def add_plan(db: sqlite3.Connection, plan: Plan, series: int, now_ns: int) -> None:
    """Records a write that was decided on."""
    values = (plan.id, series, plan.writer, plan.content_hash, plan.rows, plan.bytes, plan.oldest_ns)
    db.execute("INSERT INTO plan VALUES (?,?,?,?,?,?,?,?,0,?)", (*values, now_ns, plan.ids.tobytes()))


def set_acknowledged(db: sqlite3.Connection, plan: Plan) -> bool:
    """Whether it was not so before."""
    statement = "UPDATE plan SET acknowledged = 1 WHERE id = ? AND acknowledged = 0"
    return db.execute(statement, (plan.id,)).rowcount == 1


def delete_batches(db: sqlite3.Connection, ids: Sequence[int]) -> None:
    """Forgets batches, with their bodies."""
    values = [(id_,) for id_ in ids]
    db.executemany("DELETE FROM batch WHERE id = ?", values)
    db.executemany("DELETE FROM body WHERE id = ?", values)


def delete_plans(db: sqlite3.Connection, plans: Sequence[Plan]) -> None:
    """Forgets plans, but not their batches."""
    db.executemany("DELETE FROM plan WHERE id = ?", [(plan.id,) for plan in plans])


def set_meta(db: sqlite3.Connection, **values: str | int) -> None:
    """Keeps values by name."""
    statement = "INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
    db.executemany(statement, list(values.items()))
