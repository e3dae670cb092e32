"""Journal and backend of a run, as its start finds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from collector.clock import ManualClock
from collector.core.inputs import Resume
from collector.delivery import Delivery
from collector.journal.format import JOURNAL_FILE
from collector.journal.journal import Journal
from storage_backends.interface import Market
from tests.core.exchange import START_NS
from tests.settings import run_settings


def nothing(*_: Any) -> None:
    """Nobody listens."""


def test_what_a_market_remembers_may_be_damaged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A bit that fell over in one market's state must not keep all of them from starting, for ever."""
    clock = ManualClock(START_NS)
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
