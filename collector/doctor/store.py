"""The backend: rows in, the same rows out, nothing left behind."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from collector.doctor.machine import nearest
from collector.doctor.report import Check
from storage_backends.errors import BackendError
from storage_backends.interface import Market

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collector.clock import Clock
    from storage_backends.interface import Backend
    from storage_backends.settings import StoreSettings

_WRITER = "doctor"
_MARKET = Market("doctor", "PROBE")
_ROWS = 3


@runtime_checkable
class Erases(Protocol):
    """A backend whose place is no folder that could be deleted, and so takes back what was written."""

    def erase(self, table: str, market: Market) -> None:
        """Deletes all rows of `market` in `table`."""
        ...


def check_backend(store: StoreSettings, clock: Clock) -> Check:
    """Writes rows twice, as a retry would, reads them once, and deletes them."""
    title = f"backend {store.backend}"
    if store.backend == "none":
        return Check(title, "ok", "nothing is stored in a dry run")
    start_ns = clock.now_ns()
    try:
        with _scratch(store) as backend:
            wrong = _round_trip(backend, start_ns)
    except (BackendError, OSError) as error:
        return Check(title, "FAIL", str(error), "mend what is named; rows would wait in the journal meanwhile")
    took_s = (clock.now_ns() - start_ns) / 1e9
    if wrong:
        return Check(title, "FAIL", wrong, "do not collect into it: it does not give back what it takes")
    return Check(title, "ok", f"written, read and deleted in {took_s:.2f} s", data={"seconds": took_s})


@contextmanager
def _scratch(store: StoreSettings) -> Iterator[Backend]:
    """A backend in a place of its own beside the real tables, or in them; nothing is left of it afterwards."""
    from storage_backends.open import open_store

    folder = Path(tempfile.mkdtemp(prefix=".doctor-", dir=nearest(store.data_dir)))
    try:
        backend = open_store(replace(store, data_dir=folder, s3_prefix=f"{store.s3_prefix}/{folder.name}"))
        try:
            backend.check()
            yield backend
        finally:
            if isinstance(backend, Erases):
                backend.erase("events", _MARKET)
            backend.close()
    finally:
        shutil.rmtree(folder)


def _round_trip(backend: Backend, now_ns: int) -> str:
    """What is wrong; empty when nothing is."""
    import pyarrow as pa

    from storage_backends.schema import TABLES

    schema = TABLES["events"].schema
    made = [
        {
            "time_ns": now_ns + number,
            "sequence": 0,
            "kind": "doctor",
            "stream": None,
            "connection": None,
            "detail": "a probe",
            "text": b"",
        }
        for number in range(_ROWS)
    ]
    rows = pa.Table.from_pylist(made, schema=schema)
    for _ in range(2):
        backend.write("events", _MARKET, rows, writer=_WRITER, content_hash="d0c70a5e")
    read = [row for batch in backend.scan("events", _MARKET) for row in batch.to_pylist()]
    return "" if read == rows.to_pylist() else f"{_ROWS} rows were written, and other ones read: {len(read)}"
