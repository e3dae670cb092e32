"""Rows of a table to the bytes of a Parquet file, and back.

A file is sorted by the table's key, one row per key, and says in its metadata what it holds: table, schema version,
writer and the content hash of the write. Arrow's own copy of the schema is left out: it would cost a short file more
than its rows, and nothing in our types needs it.

Damage is found, not read. Pages carry Parquet's own checksums. The footer has none in the format, and libparquet may
abort the process over a damaged one; so eight bytes stand between the last page and the footer, where no reader looks:
`CRC1` and the CRC-32 of the footer (little-endian). They are checked before anything else is.

Encodings go by type, as measured on captures of USDⓈ-M perpetuals (`benchmarks/parquet_sizes.py`): ids and times are
near their neighbours (DELTA_BINARY_PACKED); prices and quantities repeat (dictionary, with a limit that a row group
hardly reaches); float32 buckets do neither (BYTE_STREAM_SPLIT). zstd 6 for flat rows, of which there are few bytes; 1
where rows hold lists, since 3 would gain 3 % for a quarter more CPU time.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from storage_backends.errors import PermanentBackendError
from storage_backends.merge import Chunk
from storage_backends.part import PartStats, damage, foreign, identify, select_times
from storage_backends.schema import bare, in_schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from storage_backends.layout import TimeRange
    from storage_backends.part import Sink
    from storage_backends.schema import Table

ROW_GROUP_ROWS: Final = 131_072
ROW_GROUP_BYTES: Final = 16 << 20
"""A row group is what a reader must hold at once: at most this many rows and about this many bytes in Arrow's form."""

_FEW_ROWS = 4_096
_DICTIONARY_BYTES = 4 << 20
_TAIL = struct.Struct("<I4s")  # how every Parquet file ends: the footer's size and PAR1
_SEAL = struct.Struct("<4sI")
_SEAL_MAGIC = b"CRC1"
_META = {name: f"collector.{name}".encode() for name in ("table", "schema_version", "writer", "content_hash")}


def encode(table: Table, rows: pa.Table, *, writer: str, content_hash: str) -> bytes:
    """The bytes of a file with `rows`, which are in key order and valid."""
    sink = io.BytesIO()
    part = ParquetWriter(table, sink)
    part.add(rows)
    part.finish(writer=writer, content_hash=content_hash)
    return sink.getvalue()


class ParquetWriter:
    """See `part.PartWriter`."""

    def __init__(self, table: Table, sink: Sink) -> None:
        self._table = table
        self._schema = bare(table.schema)
        self._sink = sink
        self._pages = _Pages(sink)
        self._file = pq.ParquetWriter(self._pages, self._schema, **_options(table))

    def add(self, rows: pa.Table) -> None:
        self._file.write_table(in_schema(rows, self._schema), row_group_size=rows_per_group(rows))

    def finish(self, *, writer: str, content_hash: str) -> None:
        table = self._table
        said = {"table": table.name, "schema_version": str(table.version), "writer": writer}
        said["content_hash"] = content_hash
        self._file.add_key_value_metadata({_META[name]: text for name, text in said.items()})
        self._pages.footer = bytearray()
        self._file.close()
        self._sink.write(_seal(self._pages.footer))


class _Pages(io.RawIOBase):
    """Hands pages on as they come, and holds the footer back."""

    def __init__(self, sink: Sink) -> None:
        super().__init__()
        self.footer: bytearray | None = None
        self._sink = sink
        self._size = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._size

    def write(self, payload: Any, /) -> int:
        data = bytes(payload)
        self._size += len(data)
        if self.footer is None:
            self._sink.write(data)
        else:
            self.footer += data
        return len(data)


def _seal(end: bytearray) -> bytes:
    """The end of a file, from the last page on, with the seal in it."""
    view = memoryview(end)
    tail = view[-_TAIL.size :]
    footer_at = len(end) - _TAIL.size - _TAIL.unpack(tail)[0]
    footer = view[footer_at : -_TAIL.size]
    return b"".join([view[:footer_at], _SEAL.pack(_SEAL_MAGIC, zlib.crc32(footer)), footer, tail])


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


def rows_per_group(rows: pa.Table) -> int:
    """How many rows like these a row group may hold."""
    bytes_per_row: int = max(1, rows.nbytes // max(1, len(rows)))
    return max(1, min(ROW_GROUP_ROWS, ROW_GROUP_BYTES // bytes_per_row))


def _as(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    return column if column.type == kind else column.cast(kind)


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


class PartFile:
    """One Parquet file; see `part.PartFile`."""

    def __init__(self, source: pa.NativeFile, name: str, table: Table) -> None:
        self._name = name
        self._table = table
        if not _is_sealed(source):
            raise foreign(name)
        with damage(name):
            # What is not a file of this machine costs a round trip a read, so near columns are read together.
            remote = isinstance(source, pa.PythonFile)
            self._file = pq.ParquetFile(source, page_checksum_verification=True, pre_buffer=remote)
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
            with damage(self._name):
                rows = self._read(group, columns)
            yield Chunk(select_times(self._table, rows, within), last=group == groups[-1])

    def _read(self, group: int, columns: Sequence[str]) -> pa.Table:
        # To wake other threads takes longer than to read some hundred rows.
        many = self._file.metadata.row_group(group).num_rows > _FEW_ROWS
        stored = [name for name in columns if name in self._stored]
        rows = self._file.read_row_group(group, columns=stored, use_threads=many)
        wanted = bare(self._table.schema)
        arrays = [
            _as(rows.column(name), wanted.field(name).type)
            if name in self._stored
            else pa.nulls(len(rows), wanted.field(name).type)
            for name in columns
        ]
        return pa.table(arrays, schema=pa.schema([wanted.field(name) for name in columns]))

    def _identify(self) -> str:
        stored = self._file.metadata.metadata or {}
        said = {name: stored[key].decode(errors="replace") for name, key in _META.items() if key in stored}
        content_hash = identify(self._name, self._table, said)
        missing = [f.name for f in self._table.schema if not f.nullable and f.name not in self._stored]
        if missing or not self._file.metadata.num_rows:
            raise PermanentBackendError(f"{self._name}: damaged, {', '.join(missing) or 'rows'} missing")
        return content_hash

    def _statistics(self, group: int, column: str) -> tuple[Any, Any]:
        statistics = self._file.metadata.row_group(group).column(self._leaves[column]).statistics
        if statistics is None or not statistics.has_min_max:
            raise PermanentBackendError(f"{self._name}: damaged, no statistics of {column}")
        return statistics.min, statistics.max
