"""The connection: rows out in batches, rows in as a stream, every deadline set and every error translated.

This is the generated client of google-cloud-bigtable and not its `data` client: that one costs 47 µs of CPU a row where
this costs 8 (`benchmarks/storage.py`), keeps retrying where our deliverer should, and outside an emulator reports to
Cloud Monitoring, for which the account would need another role.
"""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from storage_backends.bigtable.failures import OK, of_status, refuses_row, translating
from storage_backends.bigtable.keys import KeyRange
from storage_backends.errors import BackendError, TransientBackendError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from google.cloud.bigtable_v2.services.bigtable import BigtableClient
    from google.cloud.bigtable_v2.types import ReadRowsRequest

    from storage_backends.bigtable.options import BigtableOptions

ATTEMPT_TIMEOUT_S: Final = 5.0
OPERATION_TIMEOUT_S: Final = 12.0
"""For all attempts of one request, since a stop of the process waits for it. Beyond that the deliverer repeats."""

_READ_TIMEOUT_S: Final = 20.0
_READ_TRIES: Final = 3
"""Attempts in a row that bring nothing. A long read goes on behind the last row that came."""

_FIRST_PAUSE_S: Final = 0.05

_REQUEST_BYTES: Final = 4 << 20
_REQUEST_ROWS: Final = 2000
_CELL_OVERHEAD: Final = 64

# gRPC waits up to two minutes before it tries an address again; after an outage rows should be current within one.
_RECONNECT = [("grpc.initial_reconnect_backoff_ms", 200), ("grpc.max_reconnect_backoff_ms", 3000)]
_UNBOUNDED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
_KEEPALIVE = [("grpc.keepalive_time_ms", 30_000), ("grpc.keepalive_timeout_ms", 10_000)]


class Cell(NamedTuple):
    """One cell to set. `timestamp_ms` is never left to the server: a repeated write must set the same version."""

    family: str
    qualifier: bytes
    timestamp_ms: int
    value: bytes


class Entry(NamedTuple):
    """Cells of one row, set together or not at all. Without cells the row is deleted."""

    key: bytes
    cells: Sequence[Cell]

    @property
    def size(self) -> int:
        """About what it takes in a request."""
        return len(self.key) + sum(len(cell.value) + _CELL_OVERHEAD for cell in self.cells)


class Row(NamedTuple):
    """A row as read: (qualifier, timestamp in ms, value) of each cell, in order of family and qualifier."""

    key: bytes
    cells: list[tuple[bytes, int, bytes]]


class Written(NamedTuple):
    """What came of a write: rows refused for good, by index, and rows not written for another reason."""

    refused: dict[int, str]
    failed: dict[int, BackendError]


class Client:
    """One channel to one instance, opened when first needed. Safe for any number of threads."""

    def __init__(self, options: BigtableOptions) -> None:
        self.options = options
        self._lock = threading.Lock()
        self._opened: BigtableClient | None = None

    def write(self, table_id: str, entries: Sequence[Entry]) -> Written:
        """Sets the cells of `entries`, in requests of bounded size.

        Single rows that the server could not take for the moment are sent again until `OPERATION_TIMEOUT_S` is over. A
        request that fails as a whole is not repeated here, and none is sent after it.
        """
        outcome = Written({}, {})
        until = time.monotonic() + OPERATION_TIMEOUT_S
        requests = list(_requests(entries))
        for number, indices in enumerate(requests):
            pause_s = _FIRST_PAUSE_S
            while indices:
                try:
                    waiting = self._attempt(table_id, entries, indices, outcome)
                except BackendError as error:
                    unsent = [index for later in requests[number + 1 :] for index in later]
                    outcome.failed.update(dict.fromkeys([*indices, *unsent], error))
                    return outcome
                if time.monotonic() + pause_s > until:
                    outcome.failed.update(waiting)
                    break
                if waiting:
                    time.sleep(random.uniform(pause_s / 2, pause_s))
                    pause_s *= 2
                indices = list(waiting)
        return outcome

    def _attempt(
        self, table_id: str, entries: Sequence[Entry], indices: Sequence[int], outcome: Written
    ) -> dict[int, BackendError]:
        """One request. Gives the rows that are worth another one; those that are not go to `outcome`."""
        waiting: dict[int, BackendError] = {}
        unanswered = set(indices)
        for position, code, message in self._mutate_rows(table_id, [entries[index] for index in indices]):
            index = indices[position]
            unanswered.discard(index)
            if code == OK:
                continue
            if refuses_row(code, message):
                outcome.refused[index] = message
                continue
            error = of_status(code, message, self.options, table_id)
            (waiting if isinstance(error, TransientBackendError) else outcome.failed)[index] = error
        silence = TransientBackendError("Bigtable gave no answer for some rows of a write")
        return waiting | dict.fromkeys(unanswered, silence)

    def _mutate_rows(self, table_id: str, entries: Sequence[Entry]) -> Iterator[tuple[int, int, str]]:
        """(position, status code, message) of each row."""
        from google.cloud.bigtable_v2.types import MutateRowsRequest, MutateRowsResponse

        # The plain protobuf classes: the wrappers cost five times as much.
        request = MutateRowsRequest.pb()(table_name=self._name(table_id))
        for key, cells in entries:
            entry = request.entries.add()
            entry.row_key = key
            if not cells:
                entry.mutations.add().delete_from_row.SetInParent()
            for family, qualifier, timestamp_ms, value in cells:
                cell = entry.mutations.add().set_cell
                cell.family_name = family
                cell.column_qualifier = qualifier
                cell.timestamp_micros = timestamp_ms * 1000
                cell.value = value
        with translating(self.options, table_id):
            wrapped = MutateRowsRequest.wrap(request)
            for response in self._api().mutate_rows(request=wrapped, timeout=ATTEMPT_TIMEOUT_S, retry=None):
                for answer in MutateRowsResponse.pb(response).entries:
                    yield answer.index, answer.status.code, answer.status.message

    def read(
        self, table_id: str, wanted: KeyRange | Sequence[bytes], *, limit: int = 0, values: bool = True
    ) -> Iterator[Row]:
        """Gives the rows of a range, or those of single keys, in key order, each cell in its newest version.

        `limit` 0 is no limit; without `values` the cells come empty. Goes on behind the last row after a broken
        connection.

        Raises:
            BackendError: translated; what was given so far is right.
        """
        from google.cloud.bigtable_v2.types import ReadRowsRequest

        last: bytes | None = None
        given = tries = 0
        while True:
            request = ReadRowsRequest.pb()(table_name=self._name(table_id), rows_limit=limit - given if limit else 0)
            if not _select(request, wanted, last):
                return
            only = request.filter.chain.filters
            only.add().cells_per_column_limit_filter = 1
            if values:
                only.add().pass_all_filter = True
            else:
                only.add().strip_value_transformer = True
            try:
                for row in self._stream(table_id, ReadRowsRequest.wrap(request)):
                    last, given, tries = row.key, given + 1, 0
                    yield row
                    if given == limit:
                        return
            except TransientBackendError:
                tries += 1
                if tries == _READ_TRIES:
                    raise
                time.sleep(random.uniform(0, _FIRST_PAUSE_S * 2**tries))
            else:
                return

    def _stream(self, table_id: str, request: ReadRowsRequest) -> Iterator[Row]:
        from google.cloud.bigtable_v2.types import ReadRowsResponse

        with translating(self.options, table_id):
            responses: Any = self._api().read_rows(request=request, timeout=_READ_TIMEOUT_S, retry=None)
            try:
                yield from _rows(ReadRowsResponse.pb(response).chunks for response in responses)
            finally:
                responses.cancel()

    def first(self, table_id: str, wanted: KeyRange) -> bytes | None:
        """The first key in a range; None when there is none. Costs one row. Raises as `read`."""
        return next((row.key for row in self.read(table_id, wanted, limit=1, values=False)), None)

    def probe(self, table_id: str, key: bytes, families: Sequence[str]) -> None:
        """Sets a cell in each family and deletes the row, in one step that leaves nothing.

        Raises:
            BackendError: a write would fail.
        """
        from google.cloud.bigtable_v2.types import MutateRowRequest

        request = MutateRowRequest.pb()(table_name=self._name(table_id), row_key=key)
        for family in families:
            cell = request.mutations.add().set_cell
            cell.family_name, cell.column_qualifier = family, b"probe"
        request.mutations.add().delete_from_row.SetInParent()
        with translating(self.options, table_id):
            self._api().mutate_row(request=MutateRowRequest.wrap(request), timeout=ATTEMPT_TIMEOUT_S, retry=None)

    def close(self) -> None:
        """Closes the channel; safe to call twice."""
        with self._lock:
            if self._opened is not None:
                self._opened.transport.close()
                self._opened = None

    def _name(self, table_id: str) -> str:
        return f"{self.options.instance}/tables/{table_id}"

    def _api(self) -> BigtableClient:
        """Raises what Google's libraries raise, for want of credentials."""
        with self._lock:
            if self._opened is None:
                from google.cloud.bigtable_v2.services.bigtable import BigtableClient
                from google.cloud.bigtable_v2.services.bigtable.transports import BigtableGrpcTransport

                channel = open_channel(self.options, BigtableGrpcTransport, BigtableClient.DEFAULT_ENDPOINT)
                self._opened = BigtableClient(transport=BigtableGrpcTransport(channel=channel))
            return self._opened


def open_channel(options: BigtableOptions, transport: Any, endpoint: str) -> Any:
    """A gRPC channel to the emulator, or with the account's credentials to the cloud's `endpoint`."""
    if options.emulator_host is None:
        return transport.create_channel(endpoint, options=_RECONNECT + _UNBOUNDED + _KEEPALIVE)
    import grpc

    return grpc.insecure_channel(options.emulator_host, options=_RECONNECT + _UNBOUNDED)


def _requests(entries: Sequence[Entry]) -> Iterator[list[int]]:
    """Indices of `entries`, as many together as one request should hold."""
    indices: list[int] = []
    size = 0
    for index, entry in enumerate(entries):
        if indices and (len(indices) == _REQUEST_ROWS or size + entry.size > _REQUEST_BYTES):
            yield indices
            indices, size = [], 0
        indices.append(index)
        size += entry.size
    if indices:
        yield indices


def _select(request: Any, wanted: KeyRange | Sequence[bytes], last: bytes | None) -> bool:
    """Asks for what lies behind `last`; False when nothing does."""
    if isinstance(wanted, KeyRange):
        start = wanted.start if last is None else last + b"\0"
        if start >= wanted.end:
            return False
        request.rows.row_ranges.add(start_key_closed=start, end_key_open=wanted.end)
        return True
    request.rows.row_keys.extend(key for key in wanted if last is None or key > last)
    return bool(request.rows.row_keys)


def _rows(responses: Iterator[Any]) -> Iterator[Row]:
    """Rows from the chunks of a read: a row may come in several, a cell too, and what was begun may be taken back."""
    key = qualifier = b""
    timestamp_ms = 0
    cells: list[tuple[bytes, int, bytes]] = []
    begun: list[bytes] = []
    for chunks in responses:
        for chunk in chunks:
            if chunk.reset_row:
                cells, begun = [], []
                continue
            if chunk.row_key:
                key = chunk.row_key
            if not begun:
                timestamp_ms = chunk.timestamp_micros // 1000
                if chunk.HasField("qualifier"):
                    qualifier = chunk.qualifier.value
            if chunk.value_size:
                begun.append(chunk.value)
                continue
            value = chunk.value
            if begun:
                value = b"".join([*begun, value])
                begun = []
            cells.append((qualifier, timestamp_ms, value))
            if chunk.commit_row:
                yield Row(key, cells)
                cells = []
