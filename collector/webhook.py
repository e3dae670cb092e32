"""Tells an address of every change of quality for the worse, by one POST a second at most."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import tenacity

from collector.watch import Change

log = logging.getLogger(__name__)

_WAITING: Final = 1000
_TIMEOUT_S: Final = 10.0
_ATTEMPTS: Final = 4


def masked(url: str) -> str:
    """The address without what may be secret: everything behind the host."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{'/…' if parts.path.strip('/') or parts.query else ''}"


def body(changes: Sequence[Change]) -> dict[str, Any]:
    """What is posted. `text` is a line for people, which chat services show."""
    worse: list[dict[str, Any]] = [
        {
            "exchange": change.market.exchange,
            "symbol": change.market.symbol,
            "epoch": change.epoch,
            "before": change.before.name.lower(),
            "grade": change.now.grade.name.lower(),
            "reasons": list(change.now.reasons),
        }
        for change in changes
    ]
    shown = "; ".join(f"{one['symbol']} {one['grade']}: {', '.join(one['reasons'])}" for one in worse[:5])
    return {"text": shown + (f"; and {len(worse) - 5} more" if len(worse) > 5 else ""), "changes": worse}


class Webhook:
    """`tell` from the loop's thread; `run` is a task that posts until cancelled.

    Attributes:
        posted, failed: changes that arrived, and that did not after some attempts or that found too many waiting.
    """

    def __init__(self, url: str) -> None:
        self.posted = self.failed = 0
        self._url = url
        self._waiting: list[Change] = []
        self._filled = asyncio.Event()

    def tell(self, changes: Sequence[Change]) -> None:
        """Queues those that are for the worse."""
        worse = [change for change in changes if change.now.grade > change.before]
        room = _WAITING - len(self._waiting)
        self.failed += max(0, len(worse) - room)
        self._waiting += worse[:room]
        if self._waiting:
            self._filled.set()

    async def run(self) -> None:
        """Posts what waits, all of it together."""
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                await self._filled.wait()
                self._filled.clear()
                changes, self._waiting = self._waiting, []
                if changes:
                    await self._post(session, changes)
                await asyncio.sleep(1)

    async def _post(self, session: Any, changes: list[Change]) -> None:
        import aiohttp

        retrying = tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(_ATTEMPTS),
            wait=tenacity.wait_random_exponential(multiplier=1, max=20),
            retry=tenacity.retry_if_exception_type((aiohttp.ClientError, TimeoutError)),
            reraise=True,
        )
        payload = msgspec.json.encode(body(changes))
        try:
            async for attempt in retrying:
                with attempt:
                    headers = {"Content-Type": "application/json"}
                    async with session.post(self._url, data=payload, headers=headers) as answer:
                        answer.raise_for_status()
        except (aiohttp.ClientError, TimeoutError) as error:
            self.failed += len(changes)
            log.warning("the webhook %s was not reached: %s", masked(self._url), type(error).__name__)
        else:
            self.posted += len(changes)
