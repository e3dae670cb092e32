"""What every file format of a part has in common: how it is written, what it says about itself, how it is read."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa

from storage_backends.errors import PermanentBackendError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from storage_backends.layout import TimeRange
    from storage_backends.merge import Chunk
    from storage_backends.schema import Table


@dataclass(frozen=True)
class PartStats:
    """What one file says of itself without its rows; key and time are of the key's first column and the time column."""

    rows: int
    first_key: Any
    last_key: Any
    first_time: int
    last_time: int


class Sink(Protocol):
    """Where a file's bytes go."""

    def write(self, payload: bytes, /) -> int | None:
        """Takes all of them."""
        ...


class PartWriter(Protocol):
    """Writes one file, row group by row group, without holding more than one."""

    def add(self, rows: pa.Table) -> None:
        """Appends rows of the table's schema; over all calls they are in key order, one per key."""
        ...

    def finish(self, *, writer: str, content_hash: str) -> None:
        """Ends the file with what it says of itself. At least one row was added."""
        ...


class PartFile(Protocol):
    """One file, opened for reading; whoever opened its source closes it.

    Raises (every method, and opening):
        PermanentBackendError: not a file of this table, damaged, or of a newer schema version; names the file.
        OSError: with an errno; the file could not be read.
    """

    content_hash: str

    def stats(self) -> PartStats:
        """Counts and ends, without reading rows."""
        ...

    def chunks(self, columns: Sequence[str], within: TimeRange) -> Iterator[Chunk]:
        """Gives `columns` of the rows whose time lies in `within`, a row group at a time."""
        ...


def identify(name: str, table: Table, said: Mapping[str, str]) -> str:
    """The content hash of the file `name`, which says `said` of itself: table, schema_version, content_hash.

    Raises:
        PermanentBackendError: it is not of `table`, or of a newer version of it.
    """
    if said.get("table") != table.name:
        raise PermanentBackendError(f"{name}: not a file of table {table.name}; move it out of the data folder")
    version = said.get("schema_version", "")
    if not version.isdecimal():
        raise PermanentBackendError(f"{name}: says no schema version; move it out of the data folder")
    if int(version) > table.version:
        raise PermanentBackendError(
            f"{name}: has schema version {version} of table {table.name}, this program knows up to "
            f"{table.version}; use a newer release of the collector"
        )
    if not said.get("content_hash"):
        raise PermanentBackendError(f"{name}: damaged, hash missing")
    return said["content_hash"]


def foreign(name: str) -> PermanentBackendError:
    """The error for a file whose end is not what a writer of ours left."""
    return PermanentBackendError(
        f"{name}: damaged, or not a file of the collector; move it out of the data folder, or restore a copy"
    )


@contextmanager
def damage(name: str, *kinds: type[Exception]) -> Iterator[None]:
    """Turns what a decoder raises over damaged bytes into an error that names the file; the system's errors pass."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, LookupError, *kinds) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise PermanentBackendError(
            f"{name}: damaged ({reason}); move it out of the data folder, or restore a copy"
        ) from error


def select_times(table: Table, rows: pa.Table, within: TimeRange) -> pa.Table:
    """The rows whose time lies in `within`, in their order."""
    if within.open:
        return rows
    times = rows.column(table.time).to_numpy()
    inside = np.ones(len(times), dtype=bool)
    if within.start is not None:
        inside &= times >= within.start
    if within.end is not None:
        inside &= times < within.end
    places = np.flatnonzero(inside)
    if not len(places) or places[-1] - places[0] + 1 == len(places):  # as nearly always; a slice copies nothing
        return rows.slice(places[0] if len(places) else 0, len(places))
    return rows.filter(inside)


def validate(table: Table, rows: pa.Table) -> None:
    """Checks columns, types and nulls against the table's schema.

    Raises:
        PermanentBackendError: naming the column.
    """
    if not rows.schema.equals(table.schema):
        wanted = {field.name: str(field) for field in table.schema}
        found = {field.name: str(field) for field in rows.schema}
        wrong = [wanted[name] for name in wanted if wanted[name] != found.get(name)]
        wrong += [f"no column {name}" for name in found if name not in wanted]
        raise PermanentBackendError(f"rows do not fit table {table.name}: expected {', '.join(wrong) or list(wanted)}")
    for field, column in zip(table.schema, rows.columns, strict=True):
        if not field.nullable and column.null_count:
            raise PermanentBackendError(f"rows do not fit table {table.name}: {field.name} is null in some row")
        complete = pa.types.is_list(field.type) and not field.type.value_field.nullable
        if complete and any(_holds_null(lists) for lists in column.chunks):
            raise PermanentBackendError(f"rows do not fit table {table.name}: {field.name} holds a null")


def _holds_null(lists: pa.ListArray) -> bool:
    """Whether an element of a list is null; what no list reaches may be so."""
    return bool(lists.values.null_count and lists.flatten().null_count)
