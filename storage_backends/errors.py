"""What can go wrong in a backend.

    BackendError
    ├── TransientBackendError    try the same call again
    │   ├── StorageFull          the same, once there is room
    │   └── SetupError           the same, once somebody mends credentials, permissions or the store itself
    ├── PermanentBackendError    the same call fails again, however often it is repeated
    │   └── PartialWriteError    the named keys were refused, the other rows of the call are stored
    └── StorageFailed            the disk itself failed: stop, exit 3, start again on a sound one

A caller asks one question: repeat the call or not? Backends translate what their libraries raise; nothing else leaks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

AnyError = TypeVar("AnyError", bound=BaseException)


class BackendError(Exception):
    """Every error that a backend raises on purpose."""


class TransientBackendError(BackendError):
    """The call may succeed when repeated unchanged.

    `retry_after_s` is how long the other side asked to wait, None where it said nothing.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StorageFull(TransientBackendError):
    """No room, or a quota is used up; nothing of the call is visible."""


class SetupError(TransientBackendError):
    """The store as it is set up lets nobody in: credentials, permissions, bucket, region. No row is at fault.

    The message names what to mend. It is mended outside, so that the same call succeeds without a restart; meanwhile
    repeating it at once is of no use.
    """


class PermanentBackendError(BackendError):
    """Repeating the call cannot help: bad rows, bad names, no permission, a damaged or foreign file."""


class PartialWriteError(PermanentBackendError):
    """Rows with the keys in `failed_keys` (values in the order of the table's key) were refused; the rest is stored."""

    def __init__(self, message: str, failed_keys: Sequence[tuple[Any, ...]]) -> None:
        super().__init__(message)
        self.failed_keys = tuple(failed_keys)


class StorageFailed(BackendError):
    """An I/O error of the device or a failed fsync.

    After it nobody knows what the disk holds of the bytes just written, so the write is never repeated in this process.
    """


def untraced(error: AnyError) -> AnyError:
    """`error` to be kept as a value, without the frames that it came through, nor those of what it came from.

    They hold the rows of the write, and one of them the list that the error is put into: a circle, which stays in
    memory until somebody looks for circles. A store that is away for an hour would leave all that was tried meanwhile.
    """
    link: BaseException | None = error
    while link is not None:
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error
