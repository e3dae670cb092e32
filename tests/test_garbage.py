"""Circles of objects do not outlive a minute."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from collections.abc import Iterator

import pytest

from collector import garbage


class Knot:
    def __init__(self) -> None:
        self.me = self


@pytest.fixture
def thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.mark.usefixtures("thresholds")
def test_a_circle_is_found_within_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look() -> weakref.ref[Knot]:
        garbage.look_rarely()
        knot = weakref.ref(Knot())
        assert knot() is not None
        monkeypatch.setattr(garbage, "_INTERVAL_S", 0.01)
        looking = asyncio.create_task(garbage.look_each_minute())
        for _ in range(200):
            await asyncio.sleep(0.01)
            if knot() is None:
                break
        looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await looking
        return knot

    assert asyncio.run(look())() is None
