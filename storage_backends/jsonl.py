"""Rows of a table to the bytes of a file of JSON lines, and back: `zstdcat FILE | jq`, pandas and DuckDB read it.

One object a line, every column named, null where there is none; binary columns in base64. Lines lie in zstd frames with
checksums, each of which can be read by itself. A last, skippable frame, which other readers pass over, is a footer: as
JSON, what the file says of itself and where its frames are, then CRC-32 and length of that JSON (little-endian).
"""

from __future__ import annotations

import struct
import zlib
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import zstandard

from storage_backends.errors import PermanentBackendError
from storage_backends.merge import Chunk
from storage_backends.part import PartStats, damage, foreign, identify, select_times
from storage_backends.schema import bare

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from storage_backends.layout import TimeRange
    from storage_backends.part import Sink
    from storage_backends.schema import Table

FRAME_ROWS: Final = 16_384
FRAME_BYTES: Final = 4 << 20
"""A frame holds at most this many rows and about this many bytes in Arrow's form: objects take ten times more."""

_LEVEL = 6
_SKIPPABLE = struct.Struct("<II")
_SKIPPABLE_MAGIC = 0x184D2A50
_END = struct.Struct("<II")
_encode_lines = msgspec.json.Encoder().encode_lines


class _Frame(msgspec.Struct, array_like=True):
    at: int
    size: int
    rows: int
    first_key: int | str
    last_key: int | str
    first_time: int
    last_time: int


class _Footer(msgspec.Struct):
    table: str
    schema_version: str
    writer: str
    content_hash: str
    frames: list[_Frame]


class JsonlWriter:
    """See `part.PartWriter`."""

    def __init__(self, table: Table, sink: Sink) -> None:
        self._table = table
        self._sink = sink
        self._frames: list[_Frame] = []
        self._size = 0
        self._compress = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compress

    def add(self, rows: pa.Table) -> None:
        bytes_per_row = max(1, rows.nbytes // max(1, len(rows)))
        count = max(1, min(FRAME_ROWS, FRAME_BYTES // bytes_per_row))
        for first in range(0, len(rows), count):
            self._frame(rows.slice(first, count))

    def finish(self, *, writer: str, content_hash: str) -> None:
        table = self._table
        said = msgspec.json.encode(_Footer(table.name, str(table.version), writer, content_hash, self._frames))
        payload = said + _END.pack(zlib.crc32(said), len(said))
        self._sink.write(_SKIPPABLE.pack(_SKIPPABLE_MAGIC, len(payload)) + payload)

    def _frame(self, rows: pa.Table) -> None:
        keys, times = rows.column(self._table.key[0]), pc.min_max(rows.column(self._table.time)).as_py()
        data = self._compress(_encode_lines(rows.to_pylist()))
        ends = (keys[0].as_py(), keys[-1].as_py(), times["min"], times["max"])
        self._frames.append(_Frame(self._size, len(data), len(rows), *ends))
        self._sink.write(data)
        self._size += len(data)


class JsonlFile:
    """See `part.PartFile`."""

    def __init__(self, source: pa.NativeFile, name: str, table: Table) -> None:
        self._source = source
        self._name = name
        self._table = table
        self._decode_lines = _decoder(table.name, tuple(bare(table.schema)))
        footer = _read_footer(source)
        if footer is None:
            raise foreign(name)
        self.content_hash = identify(
            name,
            table,
            {"table": footer.table, "schema_version": footer.schema_version, "content_hash": footer.content_hash},
        )
        self._frames = footer.frames
        if not self._frames:
            raise PermanentBackendError(f"{name}: damaged, rows missing")

    def stats(self) -> PartStats:
        frames = self._frames
        return PartStats(
            rows=sum(frame.rows for frame in frames),
            first_key=frames[0].first_key,
            last_key=frames[-1].last_key,
            first_time=min(frame.first_time for frame in frames),
            last_time=max(frame.last_time for frame in frames),
        )

    def chunks(self, columns: Sequence[str], within: TimeRange) -> Iterator[Chunk]:
        frames = [frame for frame in self._frames if within.meets(frame.first_time, frame.last_time)]
        for frame in frames:
            with damage(self._name, zstandard.ZstdError, msgspec.MsgspecError):
                rows = self._read(frame, columns)
            yield Chunk(select_times(self._table, rows, within), last=frame is frames[-1])

    def _read(self, frame: _Frame, columns: Sequence[str]) -> pa.Table:
        data = self._source.read_at(frame.size, frame.at)
        lines = self._decode_lines(zstandard.ZstdDecompressor().decompress(data))
        if len(lines) != frame.rows:
            raise ValueError(f"{len(lines)} lines where {frame.rows} were written")
        schema = pa.schema([bare(self._table.schema).field(name) for name in columns])
        arrays = [pa.array([getattr(line, field.name) for line in lines], field.type) for field in schema]
        return pa.table(arrays, schema=schema)


def _read_footer(source: pa.NativeFile) -> _Footer | None:
    """None where the file does not end as it was written."""
    size = source.size()
    if size < _SKIPPABLE.size + _END.size:
        return None
    crc, length = _END.unpack(source.read_at(_END.size, size - _END.size))
    at = size - _END.size - length
    if at < _SKIPPABLE.size:
        return None
    said = source.read_at(length, at)
    head = _SKIPPABLE.unpack(source.read_at(_SKIPPABLE.size, at - _SKIPPABLE.size))
    if zlib.crc32(said) != crc or head != (_SKIPPABLE_MAGIC, length + _END.size):
        return None
    try:
        return msgspec.json.decode(said, type=_Footer)
    except msgspec.MsgspecError:
        return None


@cache
def _decoder(name: str, fields: tuple[pa.Field, ...]) -> Any:
    """Decodes lines into objects of the table's types; columns that came later are None."""
    columns: list[Any] = [(f.name, _python(f.type)) for f in fields if not f.nullable]
    columns += [(f.name, _python(f.type) | None, None) for f in fields if f.nullable]
    row = msgspec.defstruct(name.title(), columns, gc=False)
    return msgspec.json.Decoder(row).decode_lines


def _python(kind: pa.DataType) -> Any:
    if pa.types.is_list(kind):
        item = _python(kind.value_type)
        return list[item | None] if kind.value_field.nullable else list[item]  # type: ignore[valid-type]
    if pa.types.is_boolean(kind):
        return bool
    if pa.types.is_integer(kind):
        return int
    if pa.types.is_floating(kind):
        return float
    return bytes if pa.types.is_binary(kind) else str
