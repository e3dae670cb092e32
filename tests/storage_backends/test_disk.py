from __future__ import annotations

import errno
import fcntl
import os
from stat import S_ISDIR
from typing import TYPE_CHECKING, Any

import pytest

from storage_backends import disk
from storage_backends.errors import (
    BackendError,
    PermanentBackendError,
    StorageFailed,
    StorageFull,
    TransientBackendError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PAYLOAD = memoryview(b"rows" * 1000)
SYSTEM_CALLS = ("mkdir", "open", "ftruncate", "write", "fsync", "link", "unlink", "rename")


class Killed(BaseException):
    """The process is gone: nothing after it happens, not even what stands in a `finally`."""


class System:
    """Records the calls that touch the disk; from call number `dies_at` on none of them happens any more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, dies_at: int | None = None) -> None:
        self.calls: list[str] = []
        for name in SYSTEM_CALLS:
            monkeypatch.setattr(os, name, self._watched(name, getattr(os, name), dies_at))

    def _watched(self, name: str, call: Callable[..., Any], dies_at: int | None) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            if dies_at is not None and len(self.calls) >= dies_at:
                raise Killed
            self.calls.append(name)
            return call(*args, **kwargs)

        return watched


def fails(number: int, *, when: Callable[[Any], bool] = lambda _: True) -> Callable[..., Any]:
    def failing(*args: Any, **_: Any) -> Any:
        if when(args[0]):
            raise OSError(number, os.strerror(number))
        return None

    return failing


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "part.parquet"
    assert list(tmp_path.glob(".*.tmp")) == []


def test_writes_once(path: Path) -> None:
    assert disk.write_new(path, PAYLOAD)
    assert not disk.write_new(path, memoryview(b"other"))
    assert path.read_bytes() == PAYLOAD


def test_bytes_are_durable_before_the_name_and_the_name_before_the_return(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = System(monkeypatch)
    disk.write_new(path, PAYLOAD)
    assert [call for call in system.calls if call in ("write", "fsync", "link")] == ["write", "fsync", "link", "fsync"]


def test_a_new_folder_is_durable_up_to_one_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(disk, "fsync_folder", synced.append)
    root = tmp_path / "a" / "data"
    disk.make_folder(root / "trades" / "x", root)
    assert synced == [root / "trades" / "x", root / "trades", root, tmp_path / "a", tmp_path]
    synced.clear()
    disk.make_folder(root / "trades" / "x", root)
    assert synced == [root / "trades" / "x", root / "trades", root]


def test_death_at_any_call_leaves_all_or_nothing_and_a_repeat_mends_it(tmp_path: Path) -> None:
    survived = False
    for dies_at in range(30):
        folder = tmp_path / str(dies_at)
        folder.mkdir()
        path = folder / "part.parquet"
        with pytest.MonkeyPatch.context() as patch:
            System(patch, dies_at)
            try:
                disk.write_new(path, PAYLOAD)
                survived = True
            except Killed:
                survived = False
        assert not path.exists() or path.read_bytes() == PAYLOAD
        disk.sweep(folder)
        assert list(folder.glob(".*.tmp")) == []
        disk.write_new(path, PAYLOAD)
        assert path.read_bytes() == PAYLOAD
        if survived:
            assert dies_at > 6
            return
    pytest.fail("never got through")


def test_writes_that_the_system_cuts_short_are_continued(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:700]))
    disk.write_new(path, PAYLOAD)
    assert path.read_bytes() == PAYLOAD


@pytest.mark.parametrize("call", ["open", "write", "fsync", "link"])
@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, StorageFull),
        (errno.EDQUOT, StorageFull),
        (errno.EIO, StorageFailed),
        (errno.EROFS, StorageFailed),
        (errno.EACCES, PermanentBackendError),
        (errno.EMFILE, TransientBackendError),
        (9999, TransientBackendError),
    ],
)
def test_errors_say_what_to_do(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, expected: type[BackendError]
) -> None:
    if call == "fsync" and not issubclass(expected, StorageFull):
        expected = StorageFailed
    with monkeypatch.context() as patch:
        patch.setattr(os, call, fails(number))
        with pytest.raises(expected, match=r"part\.parquet") as caught:
            disk.write_new(path, PAYLOAD)
    assert type(caught.value) is expected
    assert not path.exists()


def test_fsync_is_never_tried_twice(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def broken(descriptor: int) -> None:
        asked.append(descriptor)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(StorageFailed, match="fsync failed"):
        disk.write_new(path, PAYLOAD)
    assert len(asked) == 1


def test_a_failed_fsync_of_the_folder_is_fatal_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", fails(errno.EIO, when=lambda descriptor: S_ISDIR(os.fstat(descriptor).st_mode)))
    with pytest.raises(StorageFailed):
        disk.write_new(path, PAYLOAD)


def test_file_systems_without_hard_links(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", fails(errno.EOPNOTSUPP))
    assert disk.write_new(path, PAYLOAD)
    assert not disk.write_new(path, memoryview(b"other"))
    assert path.read_bytes() == PAYLOAD


def test_a_file_that_another_process_writes_is_left_alone(tmp_path: Path) -> None:
    hidden = tmp_path / ".part.parquet.tmp"
    hidden.write_bytes(b"half")
    with hidden.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        disk.sweep(tmp_path)
        with pytest.raises(TransientBackendError, match="another process"):
            disk.write_new(tmp_path / "part.parquet", PAYLOAD)
        assert hidden.read_bytes() == b"half"
    disk.sweep(tmp_path)
    assert not hidden.exists()


def test_probing_finds_what_a_write_would_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk.probe(tmp_path / "not" / "yet")
    assert list(tmp_path.iterdir()) == []
    for number, expected in ((errno.ENOSPC, StorageFull), (errno.EIO, StorageFailed)):
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fails(number))
            with pytest.raises(expected):
                disk.probe(tmp_path)
        assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(PermanentBackendError, match="Not a directory"):
        disk.probe(tmp_path / "file")


def test_what_is_flushed_too_late_reaches_no_other_file(path: Path) -> None:
    with disk.unfinished(path.with_name(".part.parquet.tmp")) as file:
        file.write(PAYLOAD)
    other = path.with_name("other")
    descriptor = os.open(other, os.O_WRONLY | os.O_CREAT)  # it gets the number that was just given back
    file.write(b"late")
    os.close(descriptor)
    assert other.read_bytes() == b""


def test_a_hidden_file_that_was_linked_to_its_name_is_not_written_to(tmp_path: Path) -> None:
    """Its writer died between giving it the name and removing the hidden one."""
    hidden, named = tmp_path / ".part.tmp", tmp_path / "part"
    hidden.write_bytes(b"stored")
    os.link(hidden, named)
    with disk.unfinished(hidden) as file:
        file.write(b"new")
    assert named.read_bytes() == b"stored"
