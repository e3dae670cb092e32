"""A store with half a minute of a market whose true books are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.audit.sample import Sample


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    """Thirty seconds: a diff and a quote each 100 ms, a snapshot each ten seconds, a gap from 12 s to 14 s."""
    return Sample(tmp_path)
