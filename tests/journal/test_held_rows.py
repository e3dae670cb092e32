"""What failed to be written is in the journal, and nowhere else: a store may be away for hours."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from collector.journal.deliverer import Deliverer
from storage_backends.errors import PermanentBackendError, TransientBackendError
from storage_backends.interface import Backend, Market, Write
from tests.journal.rows import BTC, ETH, numbered

if TYPE_CHECKING:
    import pyarrow as pa

    from collector.clock import ManualClock
    from collector.journal.journal import Journal


class FailingBackend(Backend):
    """Raises `error` for each write, from within another."""

    def __init__(self, error: type[Exception]) -> None:
        self.error = error
        self.calls = 0

    def _write(self, table: str, market: Market, rows: pa.Table, writer: str, content_hash: str) -> None:
        self.calls += 1
        try:
            raise OSError("gone")
        except OSError as gone:
            raise self.error("no") from gone

    def check(self) -> None:
        raise TransientBackendError("away")

    def _scan(self, *_: Any) -> Any:
        raise NotImplementedError

    _stats = _markets = _tables = close = _scan  # type: ignore[assignment]


@pytest.fixture
def no_search_for_circles() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_search_for_circles")
@pytest.mark.parametrize("error", [TransientBackendError, PermanentBackendError, RuntimeError])
def test_rows_that_failed_are_let_go(journal: Journal, clock: ManualClock, error: type[Exception]) -> None:
    backend = FailingBackend(error)
    deliverer = Deliverer(journal, backend, clock=clock)
    for number in range(5):
        journal.commit([(BTC, numbered(number * 10, 10)), (ETH, numbered(number * 10, 10))], {})
        deliverer.step(flush=True)
        clock.advance(600)
    assert backend.calls >= 5
    assert deliverer.counts.last_error is not None
    assert not [each for each in gc.get_objects() if type(each) is Write]  # a look at `__class__` may run code
