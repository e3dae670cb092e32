"""The file formats of a part, by the suffix of its name."""

from __future__ import annotations

from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from storage_backends import disk
from storage_backends.errors import TransientBackendError
from storage_backends.jsonl import JsonlFile, JsonlWriter
from storage_backends.layout import JSONL, PARQUET
from storage_backends.parquet import ParquetWriter
from storage_backends.parquet import PartFile as ParquetFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from storage_backends.part import PartFile, PartWriter, Sink
    from storage_backends.schema import Table

SUFFIX_OF: Final = {"parquet": PARQUET, "jsonl": JSONL}
"""The formats by the names that people use."""

_FILES: Final[dict[str, Callable[[pa.NativeFile, str, Table], PartFile]]] = {PARQUET: ParquetFile, JSONL: JsonlFile}
_WRITERS: Final[dict[str, Callable[[Table, Sink], PartWriter]]] = {PARQUET: ParquetWriter, JSONL: JsonlWriter}


class PartGone(TransientBackendError):
    """A file that was listed is not there any more: another one has its rows, or its day was deleted."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: gone since the folder was listed; ask again")
        self.path = path


def writer_of(suffix: str, table: Table, sink: Sink) -> PartWriter:
    """Begins a file of `table` in the format of `suffix`."""
    return _WRITERS[suffix](table, sink)


def encode(suffix: str, table: Table, rows: pa.Table, *, writer: str, content_hash: str) -> bytes:
    """The bytes of a file with `rows`, which are in key order and valid."""
    sink = BytesIO()
    part = writer_of(suffix, table, sink)
    part.add(rows)
    part.finish(writer=writer, content_hash=content_hash)
    return sink.getvalue()


@contextmanager
def opened(table: Table, path: Path) -> Iterator[PartFile]:
    """The file at `path`, whatever its format.

    Raises:
        PartGone: there is none.
        BackendError: as `part.PartFile` and `disk.translate` say.
    """
    try:
        with pa.OSFile(str(path)) as source:
            yield _FILES[PARQUET if path.name.endswith(PARQUET) else JSONL](source, str(path), table)
    except FileNotFoundError as error:
        raise PartGone(path) from error
    except OSError as error:
        raise disk.translate(error, path) from error
