"""Files under one folder of this machine. pandas, DuckDB and Polars read a table's folder as is."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from storage_backends import disk, layout
from storage_backends.files import FileBackend, Found
from storage_backends.formats import PartGone

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from storage_backends.files import NewFile

LOCK_FILE = ".compact.lock"


class LocalBackend(FileBackend):
    """A folder of files; see `FileBackend`."""

    def __init__(self, data_dir: Path, file_format: str = "parquet") -> None:
        super().__init__(LocalFiles(data_dir), file_format)


class LocalFiles:
    """See `files.Files`; how names are durable, and listings of one moment, is in `disk`.

    A deleted day is renamed out of sight first. The lock of `alone` is a hidden file in the folder.
    """

    looks_are_cheap = True

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._prepared: set[Path] = set()

    def where(self, path: str = "") -> str:
        return str(self._root / path)

    def check(self) -> None:
        disk.probe(self._root)

    def close(self) -> None:
        """Nothing is held between calls."""

    def folders(self, parent: str) -> list[str]:
        return disk.names(self._root / parent)

    def dated(self, parent: str, first: dt.date | None, last: dt.date | None) -> Iterator[tuple[str, dict[str, int]]]:
        base = self._root / parent
        for folder in disk.names(base):
            date = layout.parse_date(folder)
            if date is None or (first is not None and date < first) or (last is not None and date > last):
                continue
            yield folder, {name: disk.size(base / folder / name) for name in disk.names(base / folder)}

    def find(self, path: str) -> Found | None:
        full = self._root / path
        return Found(disk.size(full), None) if disk.exists(full) else None

    @contextmanager
    def source(self, path: str) -> Iterator[pa.NativeFile]:
        full = self._root / path
        try:
            with pa.OSFile(str(full)) as source:
                yield source
        except FileNotFoundError as error:
            raise PartGone(str(full)) from error
        except OSError as error:
            raise disk.translate(error, full) from error

    def first_write(self, folder: str) -> None:
        disk.sweep(self._root / folder)

    def put(self, path: str, payload: bytes, content_hash: str) -> bool:
        full = self._root / path
        if full.parent not in self._prepared or not disk.exists(full.parent):
            disk.make_folder(full.parent, self._root)
            self._prepared.add(full.parent)
        return disk.write_new(full, memoryview(payload))

    def confirm(self, path: str) -> None:
        disk.fsync_folder((self._root / path).parent)

    @contextmanager
    def unfinished(self, folder: str) -> Iterator[NewFile]:
        base = self._root / folder
        with disk.unfinished(base / f".{layout.COMPACTED}{disk.UNFINISHED_SUFFIX}") as file:
            yield _NewLocalFile(base, file)

    def remove(self, folder: str, names: Sequence[str]) -> None:
        disk.remove(self._root / folder, names)

    def discard(self, folder: str) -> None:
        full = self._root / folder
        disk.sweep_discarded(full.parent)
        disk.discard_folder(full)

    def alone(self) -> AbstractContextManager[bool]:
        return disk.held_alone(self._root / LOCK_FILE)


class _NewLocalFile:
    def __init__(self, folder: Path, file: disk.UnfinishedFile) -> None:
        self._folder = folder
        self._file = file

    def write(self, payload: Any, /) -> int:
        return self._file.write(payload)

    def publish(self, name: str, content_hash: str) -> bool:
        return self._file.publish(self._folder / name)
