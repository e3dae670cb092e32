"""Rows to cells, several writes in one request.

A cell's qualifier is a hash of the row, before it is compressed. So a repeated write sets the same cell again, and two
collectors that tell one key differently leave a cell each, whoever comes first: which of them counts is decided by who
reads (`schema.Table.prefer`).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pyarrow as pa

from storage_backends.bigtable import legacy
from storage_backends.bigtable.client import Cell, Client, Entry, Written
from storage_backends.bigtable.codec import compressed, encode, values_of
from storage_backends.bigtable.index import Index, Slice
from storage_backends.bigtable.keys import DATA_FAMILY, DATA_TABLE, LEGACY_TABLE, row_keys
from storage_backends.errors import BackendError, PartialWriteError, PermanentBackendError, TransientBackendError
from storage_backends.part import validate
from storage_backends.schema import known

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from storage_backends.interface import Market, Write
    from storage_backends.schema import Table

CELL_BYTES: Final = 1_000_000
"""Of one cell; Bigtable advises 1 MiB at most. What is longer takes several cells."""

ROW_BYTES: Final = 32_000_000
"""Of one row, at most; Bigtable refuses rows of 256 MB, and a request has to hold it."""

_HASH_BYTES: Final = 6


class _Job(NamedTuple):
    """One write on its way. `rows` are those that have a key; `refused` is why others are not written, by key."""

    table: Table
    market: Market
    rows: pa.Table
    slices: list[Slice]
    refused: dict[tuple[Any, ...], str]


class _Prepared(NamedTuple):
    """What to send for a write. `times` and `leads` (the first column of the key) are those of `entries`."""

    job: _Job
    entries: list[Entry]
    times: list[int]
    leads: list[Any]


class Writer:
    """Writes through one client; used by one thread at a time."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._index = Index(client)

    def write(self, writes: Sequence[Write]) -> list[BackendError | None]:
        """What each of `writes` came to; None when all its rows are stored. One request serves many small ones."""
        outcomes: list[BackendError | None] = [None] * len(writes)
        jobs: dict[int, _Job] = {}
        entries: list[Entry] = []
        sources: list[tuple[int, int | None]] = []  # write and row of each entry; None: it is of the index
        old_entries: list[Entry] = []
        old_sources: list[tuple[int, int | None]] = []
        for number, prepared in _prepare(writes):
            if isinstance(prepared, PermanentBackendError):
                outcomes[number] = prepared
                continue
            job, made, times, leads = prepared
            jobs[number] = job
            if not made:
                continue
            slices = self._index.missing(job.table, job.market, times, leads)
            job.slices.extend(each for each, _ in slices)
            entries += [entry for _, entry in slices] + made
            sources += [(number, None)] * len(slices) + [(number, row) for row in range(len(made))]
            old = legacy.entries(job.table, job.market, job.rows)
            old_entries += [entry for _, entry in old]
            old_sources += [(number, row) for row, _ in old]
        self._note(jobs, outcomes, sources, self._client.write(DATA_TABLE, entries))
        self._note(jobs, outcomes, old_sources, self._client.write(LEGACY_TABLE, old_entries))
        for number, job in jobs.items():
            if outcomes[number] is None:
                self._index.remember(job.table.name, job.market, job.slices)
                if job.refused:
                    outcomes[number] = _partly(job)
        return outcomes

    @staticmethod
    def _note(
        jobs: dict[int, _Job],
        outcomes: list[BackendError | None],
        sources: Sequence[tuple[int, int | None]],
        written: Written,
    ) -> None:
        """Files what came of the entries under the writes that they are from."""
        for index, error in written.failed.items():
            number, _ = sources[index]
            before = outcomes[number]
            # What may yet succeed is tried again before anything is judged.
            if before is None or isinstance(error, TransientBackendError):
                outcomes[number] = error
        for index, why in written.refused.items():
            number, row = sources[index]
            if row is None:
                outcomes[number] = outcomes[number] or PermanentBackendError(f"Bigtable refuses the index row: {why}")
                continue
            job = jobs[number]
            key = tuple(job.rows.column(name)[row].as_py() for name in job.table.key)
            job.refused.setdefault(key, f"was refused: {why}")


def _prepare(writes: Sequence[Write]) -> Iterator[tuple[int, _Prepared | PermanentBackendError]]:
    """Each write by its number, ready to be sent, or why it never can be; those of one table are packed together."""
    by_table: dict[str, list[int]] = {}
    for number, write in enumerate(writes):
        by_table.setdefault(write.table, []).append(number)
    for numbers in by_table.values():
        try:
            yield from zip(numbers, _pack([writes[number] for number in numbers]), strict=True)
        except PermanentBackendError as error:
            if len(numbers) == 1:
                yield numbers[0], error
                continue
            # No other write should have to suffer for the one that is at fault.
            for number in numbers:
                try:
                    yield number, _pack([writes[number]])[0]
                except PermanentBackendError as own:
                    yield number, own


def _pack(writes: Sequence[Write]) -> list[_Prepared]:
    """Writes of one table: dozens of small ones cost little more than one.

    Raises:
        PermanentBackendError: one of them cannot be stored.
    """
    table = known(writes[0].table)
    if len(writes) == 1:
        rows = writes[0].rows
    else:
        try:
            rows = pa.concat_tables([write.rows for write in writes])
        except pa.ArrowInvalid as error:
            raise PermanentBackendError(f"rows do not fit table {table.name}: {error}") from error
    validate(table, rows)
    keys_of_rows = [values_of(rows.column(name)) for name in table.key]
    times = rows.column(table.time).to_pylist()
    try:
        payloads = encode(table, rows)
    except (TypeError, ValueError, OverflowError) as error:
        raise PermanentBackendError(f"rows of table {table.name} cannot be packed: {error}") from error
    prepared = []
    start = 0
    for write in writes:
        part = slice(start, start + write.rows.num_rows)
        prepared.append(_entries(table, write, [values[part] for values in keys_of_rows], times[part], payloads[part]))
        start = part.stop
    return prepared


def _entries(
    table: Table, write: Write, keys_of_rows: list[list[Any]], times: list[int], payloads: list[bytes]
) -> _Prepared:
    """What to set for the rows of a write: key columns, time and packed bytes of each."""
    keys = row_keys(table, write.market, keys_of_rows, times)
    refused: dict[tuple[Any, ...], str] = {}
    entries = []
    kept = []
    factor = table.ns_per_unit
    for at, (key, payload) in enumerate(zip(keys, payloads, strict=True)):
        if key is None or len(payload) > ROW_BYTES:
            why = "is too long for a row key, or its time lies before 1970 or after 2286"
            if key is not None:
                why = f"takes {len(payload):,} bytes, {ROW_BYTES:,} are possible"
            refused[tuple(values[at] for values in keys_of_rows)] = why
            continue
        kept.append(at)
        entries.append(Entry(key, _cells(payload, times[at] * factor // 1_000_000)))
    rows, leads = write.rows, keys_of_rows[0]
    if refused:
        rows = rows.take(pa.array(kept, pa.int64()))
        times, leads = [times[at] for at in kept], [leads[at] for at in kept]
    return _Prepared(_Job(table, write.market, rows, [], refused), entries, times, leads)


def _cells(payload: bytes, timestamp_ms: int) -> list[Cell]:
    """The cells of one row: one, unless it is very long."""
    name = hashlib.blake2b(payload, digest_size=_HASH_BYTES).hexdigest().encode()
    payload = compressed(payload)
    if len(payload) <= CELL_BYTES:
        return [Cell(DATA_FAMILY, name, timestamp_ms, payload)]
    pieces = [payload[start : start + CELL_BYTES] for start in range(0, len(payload), CELL_BYTES)]
    return [
        Cell(DATA_FAMILY, b"%s.%02d-%02d" % (name, number, len(pieces)), timestamp_ms, piece)
        for number, piece in enumerate(pieces)
    ]


def payloads(cells: Iterable[tuple[bytes, int, bytes]]) -> list[bytes]:
    """What the cells of one row hold, its pieces put together; in the order of their qualifiers."""
    found: dict[bytes, bytes] = {}
    for qualifier, _, value in cells:
        name = qualifier.partition(b".")[0]
        found[name] = found[name] + value if name in found else value
    return list(found.values())


def _partly(job: _Job) -> PartialWriteError:
    key, why = next(iter(job.refused.items()))
    names = ", ".join(f"{name} {value}" for name, value in zip(job.table.key, key, strict=True))
    more = f", and {len(job.refused) - 1} more" if len(job.refused) > 1 else ""
    return PartialWriteError(
        f"{job.table.name} of {job.market.exchange} {job.market.symbol}: the row with {names} {why}{more}",
        list(job.refused),
    )
