"""A batch as bytes, for the journal: exact, compact, and cheap enough for the receive path.

Layout of a body: one byte with the format's version, then MessagePack: a map from column name to one of

    [0, values]                         plain list: null, bool, int, float, str, bytes
    [1, dtype, stored, base, data]      array: value = base + element of `data`, little-endian of type `stored`
    [2, decimals, array]                `Fixed`; the array holds the units
    [3, counts, values]                 `Nested`; counts is an array, values an array or a `Fixed`

Integers are kept as differences from their smallest value in the narrowest unsigned type that holds them: identifiers
and times of one second fit four bytes or fewer.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from collector.core.batch import Batch, Column, Fixed, Nested

if TYPE_CHECKING:
    from numpy.typing import NDArray

VERSION = 1

# Below this, finding the smallest and largest value costs more than the bytes are worth.
_NARROW_FROM = 16
_UNSIGNED = (np.dtype("<u1"), np.dtype("<u2"), np.dtype("<u4"))


class BadBody(ValueError):
    """The bytes are not a batch of a version that this program knows."""


class _Plain(msgspec.Struct, array_like=True, tag=0, frozen=True):
    values: list[Any]


class _Array(msgspec.Struct, array_like=True, tag=1, frozen=True):
    dtype: str
    stored: str
    base: int
    data: bytes


class _Fixed(msgspec.Struct, array_like=True, tag=2, frozen=True):
    decimals: int
    units: _Array


class _Nested(msgspec.Struct, array_like=True, tag=3, frozen=True):
    counts: _Array
    values: _Array | _Fixed


_Packed = _Plain | _Array | _Fixed | _Nested


def _plain_value(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a batch's list cannot hold a {type(value).__name__}: {value!r}")


_encoder = msgspec.msgpack.Encoder(enc_hook=_plain_value)
_decoder = msgspec.msgpack.Decoder(dict[str, _Packed])


def encode(batch: Batch) -> bytes:
    """The body that `decode` gives the same batch for.

    Raises:
        ValueError: columns of different lengths, or counts that do not add up to the number of nested values.
        TypeError: an array that is not one-dimensional, or not of booleans, integers or floats.
    """
    if not batch.columns:
        raise ValueError(f"a batch of {batch.table} without columns")
    packed: dict[str, _Packed] = {}
    for name, column in batch.columns.items():
        if len(column) != batch.rows:
            raise ValueError(f"{batch.table}.{name} has {len(column)} rows, the batch has {batch.rows}")
        try:
            packed[name] = _pack(column)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{batch.table}.{name}: {error}") from None
    return bytes((VERSION,)) + _encoder.encode(packed)


def decode(table: str, body: bytes) -> Batch:
    """The batch that `encode` made `body` from; its arrays may be read-only.

    Raises:
        BadBody: `body` is cut short, altered, or of another version.
    """
    if not body or body[0] != VERSION:
        raise BadBody(f"a body of {table} of version {body[0] if body else 'none'}; this program reads {VERSION}")
    try:
        packed = _decoder.decode(memoryview(body)[1:])
        return Batch(table, {name: _unpack(column) for name, column in packed.items()})
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
        raise BadBody(f"a body of {table} cannot be read: {error}") from error


def _pack(column: Column) -> _Packed:
    if isinstance(column, list):
        return _Plain(column)
    if isinstance(column, Fixed):
        return _Fixed(column.decimals, _pack_array(column.units))
    if isinstance(column, Nested):
        expected = int(np.add.reduce(np.maximum(column.counts, 0), dtype=np.int64))
        if expected != len(column.values):
            raise ValueError(f"counts add up to {expected}, there are {len(column.values)} values")
        if isinstance(column.values, Fixed):
            return _Nested(_pack_array(column.counts), _Fixed(column.values.decimals, _pack_array(column.values.units)))
        return _Nested(_pack_array(column.counts), _pack_array(column.values))
    return _pack_array(column)


@functools.cache
def _little(dtype: np.dtype[Any]) -> tuple[np.dtype[Any], str]:
    """The type as it is kept, and its name; asking numpy for it costs more than packing a short array."""
    if dtype.kind not in "biuf":
        raise TypeError(f"cannot keep an array of {dtype}")
    little = dtype.newbyteorder("<")
    return little, little.str


def _pack_array(values: NDArray[Any]) -> _Array:
    if values.ndim != 1:
        raise TypeError(f"cannot keep an array of {values.ndim} dimensions")
    dtype, name = _little(values.dtype)
    if values.size >= _NARROW_FROM and dtype.kind in "iu":
        low, high = int(np.minimum.reduce(values)), int(np.maximum.reduce(values))
        for narrow in _UNSIGNED:
            if narrow.itemsize < dtype.itemsize and high - low < 1 << (8 * narrow.itemsize):
                return _Array(name, _little(narrow)[1], low, (values - values.dtype.type(low)).astype(narrow).tobytes())
    return _Array(name, name, 0, values.astype(dtype, copy=False).tobytes())


def _unpack(column: _Packed) -> Column:
    match column:
        case _Plain(values):
            return values
        case _Array():
            return _unpack_array(column)
        case _Fixed(decimals, units):
            return Fixed(_unpack_array(units), decimals)
        case _Nested(counts, _Array() as values):
            return Nested(_unpack_array(counts), _unpack_array(values))
        case _Nested(counts, _Fixed(decimals, units)):
            return Nested(_unpack_array(counts), Fixed(_unpack_array(units), decimals))
    raise AssertionError(column)


def _unpack_array(array: _Array) -> NDArray[Any]:
    stored = np.frombuffer(array.data, array.stored)
    if array.stored == array.dtype:
        return stored
    dtype = np.dtype(array.dtype)
    values: NDArray[Any] = stored.astype(dtype)
    values += dtype.type(array.base)
    return values
