"""Small helpers over `Backend`, the same for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

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


def newest_revisions(gaps: pa.Table) -> pa.Table:
    """Of rows of table `gaps`, in key order as scanned, the last revision of each gap."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if len(gaps) < 2:
        return gaps
    ids = gaps.column("gap_id").combine_chunks()
    return gaps.filter(pa.concat_arrays([pc.not_equal(ids[:-1], ids[1:]), pa.array([True])]))
