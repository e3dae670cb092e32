"""The file formats of a part, by the suffix of its name. What only JSON lines need is imported with them."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Final

from storage_backends.errors import TransientBackendError
from storage_backends.layout import JSONL, PARQUET
from storage_backends.parquet import ParquetWriter
from storage_backends.parquet import PartFile as ParquetFile

if TYPE_CHECKING:
    import pyarrow as pa

    from storage_backends.part import PartFile, PartWriter, Sink
    from storage_backends.schema import Table

SUFFIX_OF: Final = {"parquet": PARQUET, "jsonl": JSONL}
"""The formats by the names that people use."""


class PartGone(TransientBackendError):
    """A file that was listed is not there any more: another one has its rows, or its day was deleted."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name}: gone since the store was listed; ask again")
        self.name = name


def writer_of(suffix: str, table: Table, sink: Sink) -> PartWriter:
    """Begins a file of `table` in the format of `suffix`."""
    if suffix == PARQUET:
        return ParquetWriter(table, sink)
    from storage_backends.jsonl import JsonlWriter

    return JsonlWriter(table, sink)


def encode(suffix: str, table: Table, rows: pa.Table, *, writer: str, content_hash: str) -> bytes:
    """The bytes of a file with `rows`, which are in key order and valid."""
    sink = BytesIO()
    part = writer_of(suffix, table, sink)
    part.add(rows)
    part.finish(writer=writer, content_hash=content_hash)
    return sink.getvalue()


def part_of(source: pa.NativeFile, name: str, table: Table) -> PartFile:
    """The file `name`, by its suffix, whose bytes are `source`. Raises what `part.PartFile` raises."""
    if name.endswith(PARQUET):
        return ParquetFile(source, name, table)
    from storage_backends.jsonl import JsonlFile

    return JsonlFile(source, name, table)
