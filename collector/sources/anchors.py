"""REST snapshots to start books from, and to compare them with."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from collector.sources.errors import RestError
from collector.sources.pacing import Backoff

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from collector.clock import Clock
    from collector.sources.budget import Sleep, WeightBudget
    from collector.sources.feed import FeedSink
    from collector.sources.transport import RestResponse

log = logging.getLogger(__name__)

FetchDepth = Callable[[str, int], Awaitable["RestResponse"]]

MIN_INTERVAL_S = 3.0  # between two snapshots of one market
_IN_FLIGHT = 4  # of all markets; more only queue for the budget, where others wait too
_FIRST_RETRY_S = 2.0
_RETRY_CAP_S = 60.0
_REFUSED_CAP_S = 600.0  # the exchange answered that it will not: a market that is gone, say


class Anchors:
    """Fetches a snapshot of each market that needs one: one in flight per market, all within the weight budget.

    `anchor_requested` reaches the sink right before each request goes out, `anchor` with the body as received. A failed
    request is an event and is repeated with back-off until it succeeds.
    """

    def __init__(
        self,
        symbols: Sequence[str],
        fetch: FetchDepth,
        budget: WeightBudget,
        sink: FeedSink,
        clock: Clock,
        *,
        limit: int,
        weight: int,
        interval_s: float | None,
        sleep: Sleep,
        rng: random.Random,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._symbols = list(dict.fromkeys(symbols))
        self._fetch = fetch
        self._budget = budget
        self._sink = sink
        self._clock = clock
        self._limit = limit
        self._weight = weight
        self._interval_s = interval_s
        self._sleep = sleep
        self._rng = rng
        self._on_progress = on_progress
        self._asked: dict[str, str] = {}
        self._sent_ns: dict[str, int] = {}
        self._synced: set[str] = set()
        self._slots = asyncio.Semaphore(_IN_FLIGHT)
        self._tasks: asyncio.TaskGroup | None = None

    def request(self, symbol: str, reason: str) -> bool:
        """Asks for a snapshot of `symbol`. False when one is already asked for or on its way, which then serves both.

        Raises:
            KeyError: the feed does not collect `symbol`.
        """
        if symbol not in self._symbols:
            raise KeyError(symbol)
        if symbol in self._asked:
            return False
        self._asked[symbol] = reason
        if self._tasks is not None:
            self._tasks.create_task(self._serve(symbol))
        return True

    def follow(self, symbol: str) -> None:
        """Serves one more market from now on."""
        if symbol not in self._symbols:
            self._symbols.append(symbol)

    async def run(self) -> None:
        """Serves requests, earlier ones included, and asks for one of each market every `interval_s`.

        Returns only by being cancelled. With `interval_s` None it serves requests only.
        """
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                for symbol in self._asked:
                    tasks.create_task(self._serve(symbol))
                await self._periodic()
            finally:
                self._tasks = None

    async def _periodic(self) -> None:
        if self._interval_s is None:
            await asyncio.Event().wait()
            return
        due_ns = self._clock.now_ns() + round(self._interval_s * 1e9)
        turn = 0
        while True:
            turn += 1  # one market after another, evenly over the interval; the first after one whole interval
            due_ns += round(self._interval_s * 1e9 / len(self._symbols))
            while (wait_ns := due_ns - self._clock.now_ns()) > 0:
                await self._sleep(wait_ns / 1e9)
            self.request(self._symbols[(turn - 1) % len(self._symbols)], "periodic")

    async def _serve(self, symbol: str) -> None:
        backoff = Backoff(_FIRST_RETRY_S, _RETRY_CAP_S, self._rng)
        refused = Backoff(_FIRST_RETRY_S, _REFUSED_CAP_S, self._rng)
        while True:
            await self._keep_distance(symbol)
            async with self._slots:
                error = await self._try(symbol)
            if error is None:
                break
            delay_s = (backoff if error.transient else refused).next_s()
            self._sink.event(self._clock.now_ns(), symbol, "anchor_failed", f"{error}; again in {delay_s:.1f} s")
            await self._sleep(delay_s)
        if symbol not in self._synced:
            self._synced.add(symbol)
            log.info("synced %d/%d markets", len(self._synced), len(self._symbols))
            if self._on_progress is not None:
                self._on_progress(len(self._synced), len(self._symbols))

    async def _keep_distance(self, symbol: str) -> None:
        sent_ns = self._sent_ns.get(symbol)
        if sent_ns is None:
            return
        while (wait_ns := sent_ns + round(MIN_INTERVAL_S * 1e9) - self._clock.now_ns()) > 0:
            await self._sleep(wait_ns / 1e9)

    async def _try(self, symbol: str) -> RestError | None:
        await self._budget.take(self._weight)
        reason = self._asked[symbol]
        requested_ns = self._sent_ns[symbol] = self._clock.now_ns()
        self._sink.anchor_requested(requested_ns, symbol, reason)
        try:
            response = await self._fetch(symbol, self._limit)
        except RestError as error:
            return error
        # From here on a new request is a new wish: this snapshot may be what fails to serve.
        del self._asked[symbol]
        self._sink.anchor(response.recv_ns, symbol, requested_ns, reason, self._limit, response.body)
        return None
