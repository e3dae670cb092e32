"""A journal on a clock that stands still, and a deliverer for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from collector.clock import ManualClock
from collector.journal.format import JOURNAL_FILE
from collector.journal.journal import Journal
from tests.journal.bench import Bench
from tests.journal.rows import START_NS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START_NS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / JOURNAL_FILE


@pytest.fixture
def journal(path: Path, clock: ManualClock) -> Iterator[Journal]:
    journal = Journal.open(path, max_bytes=1 << 20, clock=clock)
    yield journal
    journal.close()


@pytest.fixture
def bench(journal: Journal, clock: ManualClock) -> Bench:
    return Bench(journal, clock)
