"""Statements on the journal's file that several of its operations share. Each is for use within a transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storage_backends.interface import Market

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Sequence

    from collector.journal.plans import Plan


def add_series(db: sqlite3.Connection, keys: Collection[tuple[str, Market]]) -> dict[tuple[str, Market], int]:
    """Numbers tables of markets that the file does not know yet."""
    insert = "INSERT INTO series (table_name, exchange, symbol) VALUES (?, ?, ?) RETURNING id"
    return {(table, market): db.execute(insert, (table, *market)).fetchone()[0] for table, market in sorted(keys)}


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
