"""Rows of a table to the bytes of a Parquet file, and back.

A file is sorted by the table's key, one row per key, and says in its metadata what it holds: table, schema version,
writer and the content hash of the write. Arrow's own copy of the schema is left out: it would cost a short file more
than its rows, and nothing in our types needs it.

Damage is found, not read. Pages carry Parquet's own checksums. The footer has none in the format, and libparquet may
abort the process over a damaged one; so eight bytes stand between the last page and the footer, where no reader looks:
`CRC1` and the CRC-32 of the footer (little-endian). They are checked before anything else is.

Encodings go by type, as measured on captures of USDⓈ-M perpetuals (`benchmarks/parquet_sizes.py`): ids and times are
near their neighbours (DELTA_BINARY_PACKED); prices and quantities repeat (dictionary, with a limit that a row group
hardly reaches); float32 buckets do neither (BYTE_STREAM_SPLIT). zstd 6 for flat rows, of which there are few bytes; 3
where rows hold lists, since 6 would gain 2 % for half as much CPU time again.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from storage_backends.errors import PermanentBackendError
from storage_backends.merge import Chunk
from storage_backends.schema import bare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from storage_backends.layout import TimeRange
    from storage_backends.schema import Table

_T = TypeVar("_T")

ROW_GROUP_ROWS: Final = 131_072
ROW_GROUP_BYTES: Final = 16 << 20
"""A row group is what a reader must hold at once: at most this many rows and about this many bytes in Arrow's form."""

_DICTIONARY_BYTES = 4 << 20
_TAIL = struct.Struct("<I4s")  # how every Parquet file ends: the footer's size and PAR1
_SEAL = struct.Struct("<4sI")
_SEAL_MAGIC = b"CRC1"
_META = {name: f"collector.{name}".encode() for name in ("table", "schema_version", "writer", "content_hash")}


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
        if pa.types.is_list(field.type) and not field.type.value_field.nullable:
            flat = pc.list_flatten(column)
            if flat.null_count:
                raise PermanentBackendError(f"rows do not fit table {table.name}: {field.name} holds a null")


def encode(table: Table, rows: pa.Table, *, writer: str, content_hash: str) -> bytes:
    """The bytes of a file with `rows`, which are in key order and valid."""
    said = {"table": table.name, "schema_version": str(table.version), "writer": writer, "content_hash": content_hash}
    schema = bare(table.schema)
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, schema, **_options(table)) as file:
        file.write_table(rows.cast(schema), row_group_size=_rows_per_group(rows))
        file.add_key_value_metadata({_META[name]: text for name, text in said.items()})
    return _seal(sink.getvalue())


def _seal(written: pa.Buffer) -> bytes:
    tail = memoryview(written)[-_TAIL.size :]
    footer_at = len(written) - _TAIL.size - _TAIL.unpack(tail)[0]
    footer = memoryview(written)[footer_at : -_TAIL.size]
    return b"".join([memoryview(written)[:footer_at], _SEAL.pack(_SEAL_MAGIC, zlib.crc32(footer)), footer, tail])


def _is_sealed(source: pa.NativeFile) -> bool:
    """Whether the footer is the one that was written."""
    size = source.size()
    if size < _TAIL.size + _SEAL.size:
        return False
    footer_size, magic = _TAIL.unpack(source.read_at(_TAIL.size, size - _TAIL.size))
    sealed_at = size - _TAIL.size - footer_size - _SEAL.size
    if magic != b"PAR1" or sealed_at < 0:
        return False
    sealed = source.read_at(_SEAL.size + footer_size, sealed_at)
    return bool(_SEAL.unpack_from(sealed) == (_SEAL_MAGIC, zlib.crc32(memoryview(sealed)[_SEAL.size :])))


def _rows_per_group(rows: pa.Table) -> int:
    bytes_per_row: int = max(1, rows.nbytes // max(1, len(rows)))
    return max(1, min(ROW_GROUP_ROWS, ROW_GROUP_BYTES // bytes_per_row))


def _options(table: Table) -> dict[str, Any]:
    encodings: dict[str, str] = {}
    dictionary: list[str] = []
    for field in table.schema:
        nested = pa.types.is_list(field.type)
        path = f"{field.name}.list.element" if nested else field.name
        kind = field.type.value_type if nested else field.type
        if pa.types.is_int64(kind):
            encodings[path] = "DELTA_BINARY_PACKED"
        elif nested and pa.types.is_float32(kind):
            encodings[path] = "BYTE_STREAM_SPLIT"
        elif not pa.types.is_binary(kind):
            dictionary.append(path)
    return {
        "compression": "zstd",
        "compression_level": 1 if any(pa.types.is_list(field.type) for field in table.schema) else 6,
        "use_dictionary": dictionary,
        "dictionary_pagesize_limit": _DICTIONARY_BYTES,
        "column_encoding": encodings,
        "write_statistics": list(dict.fromkeys((table.key[0], table.time))),
        "store_schema": False,
        "write_page_checksum": True,
    }


@dataclass(frozen=True)
class PartStats:
    """What the footer of one file says; key and time are of the key's first column and the time column."""

    rows: int
    first_key: Any
    last_key: Any
    first_time: int
    last_time: int


class PartFile:
    """One Parquet file, opened for reading; whoever opened `source` closes it.

    Raises (every method):
        PermanentBackendError: not a Parquet file of this table, damaged, or of a newer schema version; names the file.
        OSError: with an errno; the file could not be read.
    """

    def __init__(self, source: pa.NativeFile, name: str, table: Table) -> None:
        self._name = name
        self._table = table
        if not _is_sealed(source):
            raise PermanentBackendError(
                f"{name}: damaged, or not a file of the collector; move it out of the data folder, or restore a copy"
            )
        self._file = self._sound(lambda: pq.ParquetFile(source, page_checksum_verification=True))
        self._leaves = {self._file.schema.column(leaf).path: leaf for leaf in range(len(self._file.schema))}
        self._stored = set(self._file.schema_arrow.names)
        self.content_hash = self._identify()

    def stats(self) -> PartStats:
        """Counts and ends, from the footer."""
        keys = [self._statistics(group, self._table.key[0]) for group in range(self._file.num_row_groups)]
        times = [self._statistics(group, self._table.time) for group in range(self._file.num_row_groups)]
        return PartStats(
            rows=self._file.metadata.num_rows,
            first_key=min(low for low, _ in keys),
            last_key=max(high for _, high in keys),
            first_time=min(low for low, _ in times),
            last_time=max(high for _, high in times),
        )

    def chunks(self, columns: Sequence[str], within: TimeRange) -> Iterator[Chunk]:
        """Gives `columns` of the rows whose time lies in `within`, a row group at a time."""
        groups = list(range(self._file.num_row_groups))
        if not within.open:
            groups = [group for group in groups if within.meets(*self._statistics(group, self._table.time))]
        for group in groups:
            rows = self._sound(partial(self._read, group, columns))
            yield Chunk(select_times(self._table, rows, within), last=group == groups[-1])

    def _read(self, group: int, columns: Sequence[str]) -> pa.Table:
        rows = self._file.read_row_group(group, columns=[name for name in columns if name in self._stored])
        wanted = bare(self._table.schema)
        arrays = [
            rows.column(name).cast(wanted.field(name).type)
            if name in self._stored
            else pa.nulls(len(rows), wanted.field(name).type)
            for name in columns
        ]
        return pa.table(arrays, schema=pa.schema([wanted.field(name) for name in columns]))

    def _identify(self) -> str:
        said = self._file.metadata.metadata or {}
        name = self._table.name
        if said.get(_META["table"], b"").decode(errors="replace") != name:
            raise PermanentBackendError(f"{self._name}: not a file of table {name}; move it out of the data folder")
        version = said.get(_META["schema_version"], b"").decode(errors="replace")
        if not version.isdecimal():
            raise PermanentBackendError(f"{self._name}: says no schema version; move it out of the data folder")
        if int(version) > self._table.version:
            raise PermanentBackendError(
                f"{self._name}: has schema version {version} of table {name}, this program knows up to "
                f"{self._table.version}; use a newer release of the collector"
            )
        missing = [f.name for f in self._table.schema if not f.nullable and f.name not in self._stored]
        if missing or _META["content_hash"] not in said or not self._file.metadata.num_rows:
            raise PermanentBackendError(f"{self._name}: damaged, {', '.join(missing) or 'rows or hash'} missing")
        return str(said[_META["content_hash"]].decode(errors="replace"))

    def _statistics(self, group: int, column: str) -> tuple[Any, Any]:
        statistics = self._file.metadata.row_group(group).column(self._leaves[column]).statistics
        if statistics is None or not statistics.has_min_max:
            raise PermanentBackendError(f"{self._name}: damaged, no statistics of {column}")
        return statistics.min, statistics.max

    def _sound(self, call: Callable[[], _T]) -> _T:
        try:
            return call()
        except (pa.ArrowException, OSError, ValueError, LookupError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise PermanentBackendError(
                f"{self._name}: damaged ({str(error).splitlines()[0]}); "
                "move it out of the data folder, or restore a copy"
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
    return rows if inside.all() else rows.filter(inside)
