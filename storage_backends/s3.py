"""Files as objects of an S3 store: the same names, one create-only PUT each.

An object is there whole or not at all, so nothing is ever unfinished. Listings are strongly consistent: a page is of
one moment, and a date whose files lie on two pages is listed again by itself. So no listing of a date that is being
merged lacks both the old files and the new one.

Beside tables there are hidden objects: `.check`, `.compact.lock`, and `_deleted` in a date that is being deleted, which
readers pass over. Those of pandas and DuckDB do so with all of them, too.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from storage_backends import layout
from storage_backends.errors import PermanentBackendError, SetupError
from storage_backends.file_days import FileDays
from storage_backends.files import FileBackend, Found
from storage_backends.s3_client import Location, S3Client

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Sequence

    from storage_backends.files import NewFile
    from storage_backends.interface import Market

TAIL_BYTES: Final = 1 << 16
"""Read at once from a file's end: its footer, and the whole of a short one."""

LOCK_S: Final = 3600.0
"""A lock of `alone` that is older was left by a process that died, and no longer counts."""

_LARGEST_PUT = 5 << 30
_CHECK, _LOCK, _DELETED = ".check", ".compact.lock", "_deleted"
_AT_ONCE = 8


class S3Backend(FileBackend):
    """Objects under a prefix of a bucket; see `FileBackend`."""

    def __init__(self, location: Location, file_format: str = "parquet") -> None:
        super().__init__(S3Files(location), file_format)

    def erase(self, table: str, market: Market) -> None:
        """Deletes all rows of `market` in `table`, date by date."""
        base = layout.market_folder(table, market)
        for folder, _ in list(self._files.dated(base, None, None)):
            self._files.discard(f"{base}/{folder}")


class S3Days(FileDays):
    """See `days.Days`."""

    def __init__(self, location: Location) -> None:
        super().__init__(S3Files(location))


class S3Files:
    """See `files.Files`. `alone` is a lease on an object: who holds one for more than an hour may not be alone.

    That two merge one date at once costs work, and no rows: each one's file holds all that it removes.
    """

    looks_are_cheap = False

    def __init__(self, location: Location) -> None:
        self._client = S3Client(location)
        self._open: set[str] = set()  # folders of dates that were written to and that no deletion hides

    def where(self, path: str = "") -> str:
        return self._client.where(path)

    def check(self) -> None:
        next(iter(self._client.pages("", delimiter="/")))
        self._client.put(_CHECK, b"", hashlib.md5(usedforsecurity=False).digest(), {}, only_new=False)
        # A collector that only adds need not be allowed to delete; then this one empty object stays.
        with suppress(SetupError):
            self._client.delete(_CHECK)

    def close(self) -> None:
        self._client.close()

    def folders(self, parent: str) -> list[str]:
        pages = self._client.pages(f"{parent}/", delimiter="/")
        found = [self._client.path_of(each["Prefix"]) for page in pages for each in page.get("CommonPrefixes", ())]
        return [path.removesuffix("/").rpartition("/")[2] for path in found]

    def dated(self, parent: str, first: dt.date | None, last: dt.date | None) -> Iterator[tuple[str, dict[str, int]]]:
        after = "" if first is None else f"{parent}/{layout.date_folder(first)}"
        end = None if last is None else layout.date_folder(last)
        current, names, begun_at, whole = "", dict[str, int](), 0, True
        for number, page in enumerate(self._client.pages(f"{parent}/date=", after)):
            for each in page.get("Contents", ()):
                folder, _, name = self._client.path_of(each["Key"]).removeprefix(f"{parent}/").partition("/")
                if folder != current:
                    yield from self._shown(parent, current, names, whole=whole)
                    if end is not None and folder > end:
                        return
                    current, names, begun_at, whole = folder, {}, number, True
                names[name] = each["Size"]
                whole = number == begun_at
        yield from self._shown(parent, current, names, whole=whole)

    def _shown(
        self, parent: str, folder: str, names: dict[str, int], *, whole: bool
    ) -> Iterator[tuple[str, dict[str, int]]]:
        if layout.parse_date(folder) is None:
            return
        if not whole:
            names = self._names(f"{parent}/{folder}")
        if _DELETED not in names:
            yield folder, names

    def _names(self, folder: str) -> dict[str, int]:
        """All files of a folder; where they take several pages, listed until they stay the same."""
        before: dict[str, int] | None = None
        while True:
            pages = list(self._client.pages(f"{folder}/"))
            found = {
                self._client.path_of(each["Key"]).removeprefix(f"{folder}/"): each["Size"]
                for page in pages
                for each in page.get("Contents", ())
            }
            if len(pages) == 1 or found == before:
                return found
            before = found

    def find(self, path: str) -> Found | None:
        said = self._client.head(path)
        return None if said is None else Found(said["ContentLength"], said.get("Metadata", {}).get("content-hash"))

    @contextmanager
    def source(self, path: str) -> Iterator[pa.NativeFile]:
        with _RemoteFile(self._client, path) as remote, pa.PythonFile(remote, mode="r") as source:
            yield source

    def first_write(self, folder: str) -> None:
        """Nothing is left behind by a writer that died."""

    def put(self, path: str, payload: bytes, content_hash: str) -> bool:
        folder = path.rpartition("/")[0]
        if folder not in self._open:
            # Left by a deletion whose process died: what is put beside it nobody would ever see.
            if self._client.head(f"{folder}/{_DELETED}") is not None:
                self._discard(folder)
            self._open.add(folder)
        md5 = hashlib.md5(payload, usedforsecurity=False).digest()
        return self._client.put(path, payload, md5, {"content-hash": content_hash})

    def confirm(self, path: str) -> None:
        """What can be seen is durable."""

    @contextmanager
    def unfinished(self, folder: str) -> Iterator[NewFile]:
        with tempfile.TemporaryFile(prefix="collector-") as file:
            yield _NewObject(self._client, folder, file)

    def remove(self, folder: str, names: Sequence[str]) -> None:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(self._client.delete, [f"{folder}/{name}" for name in names]))

    def discard(self, folder: str) -> None:
        # Deletions whose process died are hidden from whoever lists days: they are finished with the next one.
        parent = folder.rpartition("/")[0]
        markers = f"/{_DELETED}"
        pages = self._client.pages(f"{parent}/date=")
        paths = [self._client.path_of(each["Key"]) for page in pages for each in page.get("Contents", ())]
        for path in paths:
            if path.endswith(markers):
                self._discard(path.removesuffix(markers))
        self._discard(folder)

    def _discard(self, folder: str) -> None:
        marker = f"{folder}/{_DELETED}"
        self._client.put(marker, b"", hashlib.md5(usedforsecurity=False).digest(), {}, only_new=False)
        self.remove(folder, [name for name in self._names(folder) if name != _DELETED])
        self._client.delete(marker)

    @contextmanager
    def alone(self) -> Iterator[bool]:
        nothing = hashlib.md5(usedforsecurity=False).digest()
        if not self._client.put(_LOCK, b"", nothing, {}):
            said = self._client.head(_LOCK)
            if said is not None and _age_s(said) < LOCK_S:
                yield False
                return
            self._client.delete(_LOCK)
            if not self._client.put(_LOCK, b"", nothing, {}):
                yield False
                return
        try:
            yield True
        finally:
            self._client.delete(_LOCK)


class _RemoteFile(io.RawIOBase):
    """An object as a file, read by ranges as they are asked for. The end comes with the first request."""

    def __init__(self, client: S3Client, path: str) -> None:
        super().__init__()
        self._client = client
        self._path = path
        self._tail, self._size = client.read(path, f"-{TAIL_BYTES}")
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        stop = self._size if size < 0 else min(self._at + size, self._size)
        if stop <= self._at:
            return b""
        tail_at = self._size - len(self._tail)
        if self._at >= tail_at:
            data = self._tail[self._at - tail_at : stop - tail_at]
        else:
            data, _ = self._client.read(self._path, f"{self._at}-{stop - 1}")
        self._at += len(data)
        return data


class _NewObject:
    """A file of this machine on its way into one PUT."""

    def __init__(self, client: S3Client, folder: str, file: Any) -> None:
        self._client = client
        self._folder = folder
        self._file = file
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._size = 0

    def write(self, payload: Any, /) -> int:
        view = memoryview(payload).cast("B")
        self._md5.update(view)
        self._file.write(view)
        self._size += len(view)
        return len(view)

    def publish(self, name: str, content_hash: str) -> bool:
        path = f"{self._folder}/{name}"
        if self._size > _LARGEST_PUT:
            raise PermanentBackendError(f"{self._client.where(path)}: {self._size:,} bytes are more than one PUT takes")
        return self._client.put(path, self._file, self._md5.digest(), {"content-hash": content_hash})


def _age_s(said: dict[str, Any]) -> float:
    """How old an object is, by the store's clock alone."""
    from email.utils import parsedate_to_datetime

    now = parsedate_to_datetime(said["ResponseMetadata"]["HTTPHeaders"]["date"])
    return float((now - said["LastModified"]).total_seconds())
