"""What Google's libraries raise, as the one answer that callers want: repeat or not, and what to mend."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from google.api_core import exceptions as api
from google.auth import exceptions as auth

from storage_backends.errors import BackendError, PermanentBackendError, TransientBackendError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from storage_backends.bigtable.options import BigtableOptions

# google.rpc.Code. Bigtable answers each row of a write with one.
OK = 0
_REFUSES_ROW = frozenset(
    {3, 6, 9, 11, 12, 15}
)  # invalid argument, exists, precondition, range, unimplemented, data loss
_REFUSES_ALL = frozenset({5, 7, 16})  # not found, permission denied, unauthenticated
_FAMILY = re.compile(r"\bfamily\b", re.IGNORECASE)

_CREATE = "create what is missing with `collector tables create`"
_ROLE = "grant the account roles/bigtable.user on the instance"
_LOGIN = (
    "set GOOGLE_APPLICATION_CREDENTIALS to a key file, run `gcloud auth application-default login`, or set "
    "BIGTABLE_EMULATOR_HOST for an emulator"
)


def refuses_row(code: int, message: str) -> bool:
    """Whether this answer for one row means that the row, and nothing else, is at fault."""
    return code in _REFUSES_ROW and not _FAMILY.search(message)


def of_status(code: int, message: str, options: BigtableOptions, table_id: str) -> BackendError:
    """The error for a row's answer that says nothing against the row itself."""
    return translated(api.from_grpc_status(code, message), options, table_id)


@contextmanager
def translating(options: BigtableOptions, table_id: str) -> Iterator[None]:
    """Turns what Google's libraries raise into a BackendError."""
    try:
        yield
    except (api.GoogleAPIError, auth.GoogleAuthError) as error:
        raise translated(error, options, table_id) from error


def translated(error: Exception, options: BigtableOptions, table_id: str) -> BackendError:
    """The error for people and for the deliverer, on one line."""
    said = " ".join(str(error).split())
    # The cloud calls it not found or invalid, the emulator internal or unknown.
    if isinstance(error, api.GoogleAPICallError) and _FAMILY.search(said):
        return PermanentBackendError(
            f"Bigtable table {table_id} lacks a column family ({said}); {_CREATE} ({options.where})"
        )
    if isinstance(error, auth.DefaultCredentialsError):
        return PermanentBackendError(f"no Google Cloud credentials ({said}); {_LOGIN}")
    if isinstance(error, auth.GoogleAuthError):
        if isinstance(error, auth.TransportError) or error.retryable:
            return TransientBackendError(f"Google's sign-in does not answer ({said})")
        return PermanentBackendError(f"Google refuses the credentials ({said}); {_LOGIN}")
    if isinstance(error, api.NotFound):
        return PermanentBackendError(
            f"Bigtable has no table {table_id} there ({said}); {_CREATE}, or mend {options.where}"
        )
    if isinstance(error, api.Unauthenticated):
        return PermanentBackendError(f"Bigtable refuses the credentials ({said}); {_LOGIN}")
    if isinstance(error, api.Forbidden):
        return PermanentBackendError(f"Bigtable does not permit it ({said}); {_ROLE}, or mend {options.where}")
    if isinstance(error, api.BadRequest | api.MethodNotImplemented):
        return PermanentBackendError(f"Bigtable refuses the request ({said}); {options.where}")
    if isinstance(error, api.TooManyRequests):
        return TransientBackendError(f"Bigtable asks for fewer requests ({said}); add a node if this goes on")
    place = f"BIGTABLE_EMULATOR_HOST {options.emulator_host}" if options.emulator_host else options.where
    return TransientBackendError(f"Bigtable does not answer ({said}); is it up, and reachable from here? {place}")
