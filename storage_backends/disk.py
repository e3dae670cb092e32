"""Files that are whole and durable, or not there.

A file is written under a hidden name in its own folder, fsynced, linked to its name and the folder fsynced. Linking
never replaces: a name is taken once. The hidden file is locked while its writer lives, so that another writer can tell
a leftover from work in progress.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from typing import TYPE_CHECKING

from storage_backends.errors import (
    BackendError,
    PermanentBackendError,
    StorageFailed,
    StorageFull,
    TransientBackendError,
)

if TYPE_CHECKING:
    from pathlib import Path

UNFINISHED_SUFFIX = ".tmp"

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FAILED = {errno.EIO, errno.EROFS, errno.ENODEV, errno.ENXIO, getattr(errno, "EUCLEAN", errno.EIO)}
_REFUSED = {errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL, errno.EFBIG}
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


def write_new(path: Path, payload: memoryview) -> bool:
    """Makes the file `path` with `payload`, durably. False, and nothing touched, when the name is taken.

    The folder exists and is durable already (`make_folder`).

    Raises:
        BackendError: as `translate` says; `path` is not there then. StorageFailed also for any failed fsync but a full
            disk's: what the disk holds is unknown then, and asking again would get a false yes.
    """
    hidden = path.with_name(f".{path.name}{UNFINISHED_SUFFIX}")
    try:
        descriptor = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise translate(error, hidden) from error
    try:
        _lock(descriptor, hidden)
        try:
            os.ftruncate(descriptor, 0)
            _write_all(descriptor, payload)
            _fsync(descriptor, hidden)
            return _publish(hidden, path)
        finally:
            with contextlib.suppress(OSError):
                hidden.unlink(missing_ok=True)
    except OSError as error:
        raise translate(error, path) from error
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
