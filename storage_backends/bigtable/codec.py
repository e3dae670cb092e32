"""One row as bytes: the format, the schema's version, and the columns as a MessagePack array.

Format 1 has the array as it is, format 2 a zstd frame of it, where that is shorter.
The array has the columns of `storage_backends.schema` in their order, null as nil. A list of numbers is the bytes of
its values, little-endian; where some of its values are null it is an array of those bytes and a bit a value (1: there
is a value; the first one is the lowest bit of the first byte). Other lists are arrays. Rows of older schema versions
end earlier: the columns that were added since are null.
"""

from __future__ import annotations

import threading
from itertools import pairwise, zip_longest
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import zstandard

from storage_backends.errors import PermanentBackendError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from storage_backends.schema import Table

PLAIN: Final = 1
COMPRESSED: Final = 2
_HEAD_BYTES: Final = 2
_WORTH_BYTES: Final = 256
_LONGEST: Final = 1 << 28


class _Zstd(threading.local):
    """One pair a thread: they keep state while they work."""

    def __init__(self) -> None:
        self.shrink = zstandard.ZstdCompressor(level=1).compress
        self.expand = zstandard.ZstdDecompressor().decompress


_zstd = _Zstd()
_pack = msgspec.msgpack.Encoder().encode
_unpack: Any = msgspec.msgpack.Decoder().decode


def encode(table: Table, rows: pa.Table) -> list[bytes]:
    """Each row of `rows`, which are in the schema of `table`, in format 1: the same bytes for the same row."""
    head = bytes((PLAIN, table.version))
    columns = [values_of(column) for column in rows.columns]
    return [head + _pack(row) for row in zip(*columns, strict=True)]


def compressed(payload: bytes) -> bytes:
    """What `encode` gave in format 2, if that is shorter. Its bytes may differ between versions of zstd."""
    if len(payload) < _WORTH_BYTES:
        return payload
    shorter = bytes((COMPRESSED, payload[1])) + _zstd.shrink(payload[_HEAD_BYTES:])
    return shorter if len(shorter) < len(payload) else payload


def decode(table: Table, payloads: Sequence[bytes], columns: Iterable[str], names: Sequence[bytes]) -> pa.Table:
    """`columns` of the rows that were encoded as `payloads`; `names` are their row keys, for messages.

    Raises:
        PermanentBackendError: a payload is damaged, or of a newer version; names its row.
    """
    try:
        rows = [_unpack(_body(payload)) for payload in payloads if _known(table, payload)]
        by_name = dict(zip(table.schema.names, zip_longest(*rows), strict=False)) if len(rows) == len(payloads) else {}
        missing = (None,) * len(rows)
        arrays = []
        fields = []
        for name in columns:
            field = table.schema.field(name).remove_metadata()
            fields.append(field)
            arrays.append(_array(field.type, by_name.get(name, missing)))
        if len(rows) == len(payloads):
            return pa.Table.from_arrays(arrays, schema=pa.schema(fields))
    except (msgspec.DecodeError, zstandard.ZstdError, pa.ArrowException, ValueError, TypeError, OverflowError):
        pass
    raise _first_fault(table, payloads, names)


def _known(table: Table, payload: bytes) -> bool:
    return len(payload) > _HEAD_BYTES and payload[0] in (PLAIN, COMPRESSED) and payload[1] <= table.version


def _body(payload: bytes) -> bytes | memoryview:
    body = memoryview(payload)[_HEAD_BYTES:]
    if payload[0] == PLAIN:
        return body
    if not 0 <= zstandard.frame_content_size(body) <= _LONGEST:
        raise ValueError("a frame that does not say how long it is, or absurdly long")
    expanded: bytes = _zstd.expand(body)
    return expanded


def _first_fault(table: Table, payloads: Sequence[bytes], names: Sequence[bytes]) -> PermanentBackendError:
    for payload, name in zip(payloads, names, strict=True):
        shown = name.decode(errors="replace")
        if len(payload) > _HEAD_BYTES and (payload[0] > COMPRESSED or payload[1] > table.version):
            return PermanentBackendError(
                f"Bigtable row {shown}: has format {payload[0]} and schema version {payload[1]} of table {table.name}, "
                f"this program knows up to {COMPRESSED} and {table.version}; use a newer release of the collector"
            )
        if len(payloads) == 1 or not _known(table, payload) or not _sound(table, payload, name):
            return PermanentBackendError(f"Bigtable row {shown}: damaged, or not written by the collector")
    return PermanentBackendError(f"Bigtable rows of table {table.name} do not fit its columns")


def _sound(table: Table, payload: bytes, name: bytes) -> bool:
    try:
        decode(table, [payload], table.schema.names, [name])
    except PermanentBackendError:
        return False
    return True


def values_of(column: pa.ChunkedArray) -> list[Any]:
    """A column as what MessagePack takes."""
    array = column.combine_chunks()
    kind = array.type
    if pa.types.is_list(kind) and _is_number(kind.value_type):
        return _number_lists(array)
    if array.null_count or not _is_number(kind):
        values: list[Any] = array.to_pylist()
        return values
    numbers: list[Any] = array.to_numpy().tolist()
    return numbers


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_float32(kind) or pa.types.is_float64(kind))


def _number_lists(array: pa.ListArray) -> list[Any]:
    kind = _dtype(array.type)
    values = array.values
    offsets = array.offsets.to_numpy()
    if values.null_count:
        flat = values.fill_null(0).to_numpy(zero_copy_only=False)
        present = values.is_valid().to_numpy(zero_copy_only=False)
    else:
        flat, present = values.to_numpy(zero_copy_only=False), None
    data = flat.astype(kind, copy=False).tobytes()
    edges = offsets.tolist()
    size = kind.itemsize
    lists: list[Any] = [data[start * size : end * size] for start, end in pairwise(edges)]
    if present is not None:
        for at, (start, end) in enumerate(pairwise(edges)):
            there = present[start:end]
            if not there.all():
                lists[at] = [lists[at], np.packbits(there, bitorder="little").tobytes()]
    if array.null_count:
        for at in np.flatnonzero(~array.is_valid().to_numpy(zero_copy_only=False)).tolist():
            lists[at] = None
    return lists


def _array(kind: pa.DataType, values: Sequence[Any]) -> pa.Array:
    if not (pa.types.is_list(kind) and _is_number(kind.value_type)):
        return pa.array(values, kind)
    dtype = _dtype(kind)
    plain: Sequence[Any] = values
    partial = {at: value for at, value in enumerate(values) if isinstance(value, list)}
    if partial:
        plain = [value[0] if isinstance(value, list) else value for value in values]
    counts = [0 if value is None else len(value) // dtype.itemsize for value in plain]
    offsets = np.zeros(len(counts) + 1, np.int32)
    np.cumsum(counts, out=offsets[1:])
    flat = np.frombuffer(b"".join([value for value in plain if value is not None]), dtype)
    mask = _missing(len(flat), offsets, partial) if partial else None
    absent = pa.array([value is None for value in values]) if None in values else None
    return pa.ListArray.from_arrays(
        pa.array(offsets), pa.array(flat, kind.value_type, mask=mask), type=kind, mask=absent
    )


def _missing(count: int, offsets: NDArray[np.int32], partial: dict[int, list[bytes]]) -> NDArray[np.bool_]:
    """Which of all list values are null."""
    mask = np.zeros(count, np.bool_)
    for at, (_, bits) in partial.items():
        start, end = int(offsets[at]), int(offsets[at + 1])
        there = np.unpackbits(np.frombuffer(bits, np.uint8), count=end - start, bitorder="little")
        mask[start:end] = there == 0
    return mask


def _dtype(kind: pa.ListType) -> np.dtype[Any]:
    """Of a list's values, in the byte order of the format."""
    # Arrow's own `to_pandas_dtype` wants pandas, which is not in the image.
    dtype: np.dtype[Any] = pa.array([], kind.value_type).to_numpy().dtype
    return dtype.newbyteorder("<")
