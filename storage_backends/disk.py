"""Files that are whole and durable, or not there.

A file is written under a hidden name in its own folder, fsynced, linked to its name and the folder fsynced. Linking
never replaces: a name is taken once. The hidden file is locked while its writer lives, so that another writer can tell
a leftover from work in progress.

A listing of a folder is of one moment as far as `remove` goes: listing takes the folder's own lock shared, removing
takes it alone. So whoever puts a new file in the place of others, and then removes those, is seen to have done both or
only the first: no listing misses the old files and the new one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import shutil
from typing import TYPE_CHECKING

from storage_backends.errors import (
    BackendError,
    PermanentBackendError,
    StorageFailed,
    StorageFull,
    TransientBackendError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from typing_extensions import Buffer

UNFINISHED_SUFFIX = ".tmp"
DISCARDED_SUFFIX = ".discarded"

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FAILED = {errno.EIO, errno.EROFS, errno.ENODEV, errno.ENXIO, getattr(errno, "EUCLEAN", errno.EIO)}
_REFUSED = {errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL, errno.EFBIG}
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF, errno.EINVAL}
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def translate(error: OSError, path: Path) -> BackendError:
    """What an operating system's error on `path` means to a caller. An error that is not known counts as passing."""
    reason = error.strerror or str(error)
    if error.errno in _FULL:
        return StorageFull(f"{path}: {reason}; free some space or raise the quota, writing goes on by itself")
    if error.errno in _FAILED:
        return StorageFailed(f"{path}: {reason}; the disk failed or was mounted read-only, check it before a restart")
    if error.errno in _REFUSED:
        return PermanentBackendError(f"{path}: {reason}; check --data-dir and who may write there")
    return TransientBackendError(f"{path}: {reason}")


def exists(path: Path) -> bool:
    """Whether `path` is there; raises what `translate` says where that cannot be told."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise translate(error, path) from error
    return True


def size(path: Path) -> int:
    """Bytes of a file; 0 when it is gone.

    Raises:
        BackendError: as `translate` says.
    """
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise translate(error, path) from error


def write_new(path: Path, payload: memoryview) -> bool:
    """Makes the file `path` with `payload`, durably. False, and nothing touched, when the name is taken.

    The folder exists and is durable already (`make_folder`).

    Raises:
        BackendError: as `translate` says; `path` is not there then. StorageFailed also for any failed fsync but a full
            disk's: what the disk holds is unknown then, and asking again would get a false yes.
    """
    hidden = path.with_name(f".{path.name}{UNFINISHED_SUFFIX}")
    with unfinished(hidden) as file:
        file.write(payload)
        return file.publish(path)


class UnfinishedFile(io.RawIOBase):
    """A hidden file on its way to a name; for one writer, from start to end.

    What is written after it was closed goes nowhere: a library that flushes when it is collected would otherwise write
    to whatever file has the descriptor's number by then.
    """

    def __init__(self, hidden: Path, descriptor: int) -> None:
        super().__init__()
        self._hidden = hidden
        self._descriptor: int | None = descriptor
        self._written = 0

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        assert self._descriptor is not None
        return self._descriptor

    def tell(self) -> int:
        return self._written

    def write(self, payload: Buffer, /) -> int:
        """Writes all of `payload`; an OSError is the system's own."""
        view = memoryview(payload).cast("B")
        if self._descriptor is not None:
            _write_all(self._descriptor, view)
        self._written += len(view)
        return len(view)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def publish(self, path: Path) -> bool:
        """Makes what was written durable under `path`, in the same folder. False, and nothing touched, when taken."""
        _fsync(self.fileno(), self._hidden)
        return _publish(self._hidden, path)


@contextlib.contextmanager
def unfinished(hidden: Path) -> Iterator[UnfinishedFile]:
    """An empty hidden file that is locked within the block and gone after it. Its suffix is `UNFINISHED_SUFFIX`.

    Raises:
        BackendError: as `translate` says, for every OSError within the block too.
    """
    try:
        with contextlib.closing(UnfinishedFile(hidden, _open_alone(hidden))) as file:
            try:
                os.ftruncate(file.fileno(), 0)
                yield file
            finally:
                with contextlib.suppress(OSError):
                    hidden.unlink(missing_ok=True)
    except OSError as error:
        raise translate(error, hidden) from error


def names(folder: Path) -> list[str]:
    """What lies in `folder`, sorted; empty where there is no such folder.

    Raises:
        BackendError: as `translate` says.
    """
    try:
        with _folder_lock(folder, fcntl.LOCK_SH) as descriptor:
            return sorted(os.listdir(descriptor))  # noqa: PTH208  of what is locked, not of what has the name now
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise translate(error, folder) from error


def remove(folder: Path, files: Iterable[str]) -> None:
    """Removes files of `folder`; those that are gone already are no error. No listing of `names` sees only some.

    Raises:
        BackendError: as `translate` says.
    """
    try:
        with _folder_lock(folder, fcntl.LOCK_EX):
            for name in files:
                (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise translate(error, folder) from error


def discard_folder(folder: Path) -> None:
    """Removes a folder with all that is in it: gone at once for readers, then file by file.

    A crash leaves it as it was, or hidden under a name that ends in `DISCARDED_SUFFIX`; `sweep_discarded` removes that.

    Raises:
        BackendError: as `translate` says.
    """
    gone = folder.with_name(f".{folder.name}{DISCARDED_SUFFIX}")
    try:
        if gone.exists():
            shutil.rmtree(gone)
        folder.rename(gone)
        fsync_folder(folder.parent)
        shutil.rmtree(gone)
    except OSError as error:
        raise translate(error, folder) from error


def sweep_discarded(parent: Path) -> None:
    """Removes what `discard_folder` could not finish in `parent`; what cannot be removed stays."""
    for gone in parent.glob(f".*{DISCARDED_SUFFIX}"):
        shutil.rmtree(gone, ignore_errors=True)


@contextlib.contextmanager
def held_alone(path: Path) -> Iterator[bool]:
    """Holds the lock on the file `path`, which is made if need be; False when another process holds it.

    Raises:
        BackendError: as `translate` says.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise translate(error, path) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def make_folder(folder: Path, root: Path) -> None:
    """Makes `folder`, at or below `root`, and fsyncs all from it up to `root`, or higher where `root` is new.

    Raises:
        BackendError: as `translate` says.
    """
    last = root
    while not exists(last) and last != last.parent:
        last = last.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise translate(error, folder) from error
    for each in (folder, *folder.parents):
        fsync_folder(each)
        if each == last:
            break


def fsync_folder(folder: Path) -> None:
    """Makes the names in `folder` durable.

    Raises:
        BackendError: StorageFailed when the fsync failed.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise translate(error, folder) from error
    try:
        _fsync(descriptor, folder)
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> None:
    """Removes, at any depth below `folder`, the unfinished files whose writer is dead; what cannot be removed stays."""
    for hidden in list(folder.rglob(f".*{UNFINISHED_SUFFIX}")):
        with contextlib.suppress(OSError):
            descriptor = os.open(hidden, os.O_WRONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                hidden.unlink()
            finally:
                os.close(descriptor)


def probe(folder: Path) -> None:
    """Tries a durable write in `folder`, or in the nearest folder above that exists, and removes it again.

    Raises:
        BackendError: as `translate` says.
    """
    folder = folder.absolute()
    while not exists(folder) and folder != folder.parent:
        folder = folder.parent
    hidden = folder / f".check-{os.getpid()}{UNFINISHED_SUFFIX}"
    try:
        descriptor = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _write_all(descriptor, memoryview(b"\0" * 4096))
            _fsync(descriptor, hidden)
        finally:
            os.close(descriptor)
            hidden.unlink(missing_ok=True)
    except OSError as error:
        raise translate(error, folder) from error


@contextlib.contextmanager
def _folder_lock(folder: Path, kind: int) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, kind)
        except OSError as error:
            # Where folders cannot be locked nobody can remove either, so listing needs no lock.
            if kind != fcntl.LOCK_SH or error.errno not in _NO_LOCKS:
                raise
        yield descriptor
    finally:
        os.close(descriptor)


def _open_alone(hidden: Path) -> int:
    """A locked descriptor of `hidden`, which has no other name."""
    while True:
        descriptor = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            _lock(descriptor, hidden)
            if os.fstat(descriptor).st_nlink == 1:
                return descriptor
            # Its writer died after linking it to its name: what is written here would be written there.
            hidden.unlink()
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int, hidden: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise TransientBackendError(f"{hidden}: another process is writing it") from error
    if not os.fstat(descriptor).st_nlink:
        raise TransientBackendError(f"{hidden}: another process swept it away")


def _write_all(descriptor: int, payload: memoryview) -> None:
    while payload:
        payload = payload[os.write(descriptor, payload) :]


def _fsync(descriptor: int, path: Path) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno in _FULL:
            raise translate(error, path) from error
        raise StorageFailed(f"{path}: fsync failed ({error.strerror}); the disk failed, check it") from error


def _publish(hidden: Path, path: Path) -> bool:
    try:
        os.link(hidden, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # exFAT and some network file systems have no hard links. One writer owns a name, so looking first is enough.
        if path.exists():
            return False
        hidden.rename(path)
    hidden.unlink(missing_ok=True)
    fsync_folder(path.parent)
    return True
