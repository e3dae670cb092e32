"""One exchange in a live run."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import cast

from collector.venue import Venue


async def test_nothing_is_listened_to_before_a_commit_knows_of_every_market() -> None:
    ran = asyncio.Event()

    async def run() -> None:
        ran.set()

    first, second = (SimpleNamespace(begun=asyncio.Event()) for _ in range(2))
    venue = SimpleNamespace(markets={"A": first, "B": second}, feed=SimpleNamespace(run=run))
    listening = asyncio.create_task(Venue.listen(cast(Venue, venue)))
    first.begun.set()
    await asyncio.sleep(0)
    assert not ran.is_set()
    second.begun.set()
    await listening
    assert ran.is_set()
