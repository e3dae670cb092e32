"""REST for a process of its own: one request after another, within its part of the weight, with patience."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from typing import TYPE_CHECKING, Any

from collector.sources.budget import LIMITS, WeightBudget, weight_of
from collector.sources.endpoints import endpoints
from collector.sources.errors import FeedError, RestError
from collector.sources.pacing import Backoff

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from collector.clock import Clock
    from collector.sources.budget import Sleep
    from collector.sources.transport import RestResponse, Transport

log = logging.getLogger(__name__)

_ATTEMPTS = 8
_PATIENCE_S = 900.0
_FUNDING_PACE_S = 0.7  # its own pool: 500 requests in five minutes, which all behind one address share


class Rest:
    """Asks one exchange. What the exchange says of used weight and of pauses is honoured, whoever used it."""

    def __init__(
        self, exchange: str, transport: Transport, budget: WeightBudget, sleep: Sleep, rng: random.Random
    ) -> None:
        self.exchange = exchange
        self.requests = 0
        self.root = transport.rest_root
        self._transport = transport
        self._budget = budget
        self._sleep = sleep
        self._rng = rng

    async def get(self, path: str, **params: Any) -> RestResponse:
        """One answer; faults that pass are waited out.

        Raises:
            RestError: the exchange refuses this request.
            FeedError: the exchange cannot be reached, or wants to hear nothing for long.
        """
        weight = weight_of(self.exchange, path, params.get("limit"))
        backoff = Backoff(1.0, 60.0, self._rng)
        for attempt in range(1, _ATTEMPTS + 1):
            if self._budget.pause_s > _PATIENCE_S:
                raise FeedError(f"{self.root}: this address has asked too much: wait {self._budget.pause_s:.0f} s")
            if not weight:
                await self._sleep(_FUNDING_PACE_S)
            self.requests += 1
            try:
                return await self._transport.get(path, params, weight=weight)
            except RestError as error:
                if not error.transient:
                    raise
                if attempt == _ATTEMPTS or error.status == 403:
                    raise FeedError(f"{self.root} cannot be used: {error}. Mend: check network and URL.") from error
                log.info("%s; trying again", error)
            await self._sleep(backoff.next_s())
        raise AssertionError("the last attempt returns or raises")


@contextlib.asynccontextmanager
async def open_rest(exchange: str, clock: Clock, *, url_root: str | None, headroom: float) -> AsyncIterator[Rest]:
    """REST of `exchange`, of whose weight limit the part `headroom` is left to others."""
    from collector.sources.transport import Transport

    budget = WeightBudget(LIMITS[exchange], clock, headroom=headroom)
    transport = Transport(exchange, endpoints(exchange, url_root=url_root), clock, budget)
    try:
        yield Rest(exchange, transport, budget, asyncio.sleep, random.Random())
    finally:
        await transport.close()
