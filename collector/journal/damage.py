"""What is known of batches that the journal's file does not hold any more as they were committed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from collector.journal.plans import Damage

if TYPE_CHECKING:
    from collections.abc import Collection

    from collector.core.batch import Batch
    from collector.journal.journal import Journal
    from collector.journal.plans import Plan

_COMMITTED_WITHIN_NS = 2_000_000_000  # of receipt, unless the process stood still


class DamagedBatchError(Exception):
    """Batches of a plan do not hold what was committed; `ids` are theirs."""

    def __init__(self, message: str, ids: Collection[int]) -> None:
        super().__init__(message)
        self.ids = frozenset(ids)


def damages_in(journal: Journal, plan: Plan, ids: frozenset[int]) -> list[Damage]:
    """The unbroken runs of `ids`, which cannot be read.

    Raises:
        JournalFailed: the disk or the file failed.
    """
    batches: list[Batch] = []
    with contextlib.suppress(DamagedBatchError):
        batches.extend(journal.load(plan))
    readable = iter(batches)
    committed = zip(plan.ids, journal.committed_ns(plan), strict=True)
    found: list[Damage] = []
    before: Batch | None = None
    before_ns: int | None = None
    run: Damage | None = None
    for id_, at_ns in committed:
        if id_ in ids:
            from_ns = at_ns - _COMMITTED_WITHIN_NS if before_ns is None else before_ns
            run = Damage(plan.table, before, None, from_ns if run is None else run.from_ns, at_ns)
        else:
            before = next(readable, None)
            if run is not None:
                found.append(run._replace(after=before))
                run = None
        before_ns = at_ns
    return found if run is None else [*found, run]
