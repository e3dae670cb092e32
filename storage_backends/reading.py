"""Small helpers over `Backend`, the same for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from storage_backends.interface import Backend, Market


def read(
    backend: Backend,
    table: str,
    market: Market,
    start_ns: int | None = None,
    end_ns: int | None = None,
    columns: Sequence[str] | None = None,
) -> pa.Table:
    """All that `Backend.scan` gives, as one table; it must fit in memory. Raises what `scan` raises."""
    import pyarrow as pa

    from storage_backends.schema import bare, known

    batches = backend.scan(table, market, start_ns, end_ns, columns)
    schema = bare(known(table).schema)
    wanted = schema if columns is None else pa.schema([schema.field(name) for name in columns])
    return pa.Table.from_batches(batches, schema=wanted)


@runtime_checkable
class GivesLatest(Protocol):
    """A backend that can give its newest rows without looking at the others."""

    def latest(self, table: str, market: Market, count: int, columns: Sequence[str] | None = None) -> pa.Table:
        """The newest `count` rows by time, in key order, one per key."""
        ...


_NEWEST = 1000


def ends(backend: Backend, table: str, market: Market) -> tuple[int | str | None, int | None]:
    """The largest value of the key's first column and the latest time, ns; None when there are no rows.

    What `Backend.stats` says, or the newest rows where asking for them is cheaper than counting all.
    """
    from storage_backends.schema import known

    if not isinstance(backend, GivesLatest):
        stats = backend.stats(table, market)
        return stats.last_key, stats.last_ns
    definition = known(table)
    rows = backend.latest(table, market, _NEWEST, [definition.key[0], definition.time])
    if not len(rows):
        return None, None
    return max(rows.column(0).to_pylist()), max(rows.column(1).to_pylist()) * definition.ns_per_unit


def newest_revisions(gaps: pa.Table) -> pa.Table:
    """Of rows of table `gaps`, in key order as scanned, the last revision of each gap."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if len(gaps) < 2:
        return gaps
    ids = gaps.column("gap_id").combine_chunks()
    return gaps.filter(pa.concat_arrays([pc.not_equal(ids[:-1], ids[1:]), pa.array([True])]))
