"""Journal and backend of a run: what its start finds, and what its end says of what could not be delivered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from collector.clock import ManualClock
from collector.core.inputs import Resume
from collector.delivery import Delivery
from collector.journal.deliverer import Deliverer
from collector.journal.format import JOURNAL_FILE
from collector.journal.journal import Journal
from storage_backends.errors import TransientBackendError
from storage_backends.interface import Market
from tests.journal.bench import FakeBackend, always, only
from tests.journal.rows import BTC, ETH, START_NS, numbered
from tests.settings import run_settings


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START_NS)


def _said(
    folder: Path, clock: ManualClock, trouble: Callable[[Market, tuple[int, ...]], None], pause_s: float = 5.0
) -> str:
    """The last words of a run whose journal holds three rows of BTC and two of ETH."""
    journal = Journal.open(folder / JOURNAL_FILE, max_bytes=1 << 20, clock=clock)
    backend = FakeBackend()
    backend.trouble = trouble
    deliverer = Deliverer(journal, backend, clock=clock, wait=lambda state: pause_s, sleep=clock.advance)
    delivery = Delivery(journal, deliverer, backend, "the place", clock)
    journal.commit([(BTC, numbered(1, 3)), (ETH, numbered(1, 2))], {})

    async def run() -> str | None:
        delivery.start()
        return await delivery.drain(failed=False)

    said = asyncio.run(run())
    journal.close()
    assert said is not None
    return said


def test_everything_is_stored(tmp_path: Path, clock: ManualClock) -> None:
    assert _said(tmp_path, clock, lambda market, ids: None) == "stopped; everything is stored in the place"


def test_a_backend_that_is_only_slow_is_not_called_away(tmp_path: Path, clock: ManualClock) -> None:
    said = _said(tmp_path, clock, lambda market, ids: clock.advance(21))
    assert said == (
        f"stopped; 2 rows stay in {tmp_path / JOURNAL_FILE} and are delivered at the next start: "
        "the place took rows until the end, but not all of them within 20 s"
    )


def test_a_backend_that_is_away(tmp_path: Path, clock: ManualClock) -> None:
    said = _said(tmp_path, clock, always(TransientBackendError("nobody answers")))
    assert said.startswith("stopped; 5 rows stay in")
    assert said.endswith("the place is away (last error: TransientBackendError: nobody answers)")


def test_a_backend_that_does_not_take_one_market(tmp_path: Path, clock: ManualClock) -> None:
    said = _said(tmp_path, clock, only(BTC, TransientBackendError("not these")), pause_s=15)
    assert said.startswith("stopped; 3 rows stay in")
    assert said.endswith("the place did not take all of them (last error: TransientBackendError: not these)")


def nothing(*_: Any) -> None:
    """Nobody listens."""


def test_what_a_market_remembers_may_be_damaged(
    tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A bit that fell over in one market's state must not keep all of them from starting, for ever."""
    sound, damaged = Market("binance", "AUSDT"), Market("binance", "BUSDT")
    body = msgspec.json.encode(Resume(last_epoch=5, last_ns=7))
    journal = Journal.open(tmp_path / JOURNAL_FILE, clock=clock)
    journal.commit([], {sound: body, damaged: body.replace(b'"last_epoch":5', b'"last_epoch":\x85')})
    journal.close()
    delivery = Delivery.open(run_settings(tmp_path), clock, nothing, nothing, nothing)
    try:
        assert delivery.states() == {sound: Resume(last_epoch=5, last_ns=7)}
        assert "BUSDT" in caplog.text
    finally:
        delivery.close()
