"""The rows of plans as Arrow. Needs pyarrow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.journal.arrow import to_arrow, to_arrow_each
from collector.journal.damage import DamagedBatchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from collector.journal.journal import Journal
    from collector.journal.plans import Plan


def load(journal: Journal, plans: Sequence[Plan]) -> dict[int, pa.Table | DamagedBatchError | ValueError]:
    """The rows of each plan by its id, or why they cannot be written: damage, or they do not fit their table.

    Several plans at once are small ones, of many markets: those of one table are converted together.

    Raises:
        JournalFailed: the disk or the file failed.
    """
    by_table: dict[str, list[Plan]] = {}
    for plan in plans:
        by_table.setdefault(plan.table, []).append(plan)
    found: dict[int, pa.Table | DamagedBatchError | ValueError] = {}
    for some in by_table.values():
        found |= _together(journal, some) or {plan.id: _alone(journal, plan) for plan in some}
    return found


def _together(journal: Journal, plans: Sequence[Plan]) -> dict[int, pa.Table]:
    """The rows of plans of one table; nothing when one of them is faulty, or there is only one."""
    if len(plans) == 1:
        return {}
    try:
        tables = to_arrow_each([list(journal.load(plan)) for plan in plans])
    except (DamagedBatchError, ValueError):
        return {}
    return {plan.id: rows for plan, rows in zip(plans, tables, strict=True)}


def _alone(journal: Journal, plan: Plan) -> pa.Table | DamagedBatchError | ValueError:
    try:
        return to_arrow(journal.load(plan))
    except (DamagedBatchError, ValueError) as error:
        return error
