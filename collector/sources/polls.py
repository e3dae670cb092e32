"""Asks REST for the same thing again and again: whole books, and open interest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from collector.sources.budget import weight_of
from collector.sources.errors import FeedError, RestError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from collector.clock import Clock
    from collector.sources.budget import Sleep, WeightBudget
    from collector.sources.feed import FeedSink
    from collector.sources.transport import RestResponse

_PATHS = {"book": "depth", "open_interest": "openInterest"}
_FUTURES_LIMITS = (5, 10, 20, 50, 100, 500, 1000)


class Poll(NamedTuple):
    """What is asked of each market every `interval_s`; `limit` is levels a side of a book, 0 for open interest."""

    what: Literal["book", "open_interest"]
    interval_s: float
    limit: int = 0

    def weight(self, exchange: str) -> int:
        """Weight of one request. Raises ValueError: the exchange serves no book of that many levels."""
        if self.what == "open_interest":
            return weight_of(exchange, "openInterest")
        if exchange != "binance" and self.limit not in _FUTURES_LIMITS:
            raise ValueError(f"{exchange} serves 5, 10, 20, 50, 100, 500 or 1000 levels")
        return weight_of(exchange, "depth", self.limit)


def check_budget(
    exchange: str, polls: Sequence[Poll], markets: int, allowance: int, limit: int, anchors_per_minute: float
) -> None:
    """Refuses polls that the exchange would not allow beside the snapshots that books need.

    Args:
        allowance: weight a minute that is used at most, of the `limit` that the exchange grants.
        anchors_per_minute: weight that snapshots take.

    Raises:
        FeedError: with the arithmetic.
    """
    left = allowance - anchors_per_minute
    for poll in polls:
        setting = "--order-book-interval" if poll.what == "book" else "--open-interest-interval"
        try:
            weight = poll.weight(exchange)
        except ValueError as error:
            raise FeedError(f"--order-book-limit {poll.limit}: {error}") from error
        wanted = markets * weight * 60 / poll.interval_s
        if wanted > left:
            least = f"at least {markets * weight * 60 / left:.1f}" if left > 0 else "fewer markets"
            fewer = ", fewer levels" if poll.what == "book" else ""
            raise FeedError(
                f"{setting} {poll.interval_s:g}: {markets} markets x weight {weight} x {60 / poll.interval_s:g} "
                f"a minute = {wanted:.0f}, but of the {limit} that {exchange} grants a minute {left:.0f} are left "
                f"for it ({allowance} are used at most, snapshots need {anchors_per_minute:.0f}). "
                f"Mend: {least} seconds{fewer} or fewer markets."
            )
        left -= wanted


class Poller:
    """Asks one thing of each market in turn, evenly over the interval. A request that fails is an event, and the next
    one comes at its time. One that would come late, since the budget is used up, is left out: polls never pile up."""

    def __init__(
        self,
        poll: Poll,
        symbols: Sequence[str],
        fetch: Callable[[str, Mapping[str, object]], Awaitable[RestResponse]],
        budget: WeightBudget,
        weight: int,
        sink: FeedSink,
        clock: Clock,
        sleep: Sleep,
    ) -> None:
        """`symbols` may change while it runs."""
        self._poll = poll
        self._symbols = symbols
        self._fetch = fetch
        self._budget = budget
        self._weight = weight
        self._sink = sink
        self._clock = clock
        self._sleep = sleep

    async def run(self) -> None:
        """Until cancelled."""
        turn, due_ns = 0, self._clock.now_ns()
        while True:
            step_ns = round(self._poll.interval_s * 1e9 / max(1, len(self._symbols)))
            due_ns = max(due_ns + step_ns, self._clock.now_ns() - step_ns)
            while (wait_ns := due_ns - self._clock.now_ns()) > 0:
                await self._sleep(wait_ns / 1e9)
            if self._symbols:
                turn = (turn + 1) % len(self._symbols)
                await self._ask(self._symbols[turn])

    async def _ask(self, symbol: str) -> None:
        poll, params = self._poll, {"symbol": symbol}
        await self._budget.take(self._weight)
        requested_ns = self._clock.now_ns()
        try:
            response = await self._fetch(_PATHS[poll.what], {**params, "limit": poll.limit} if poll.limit else params)
        except RestError as error:
            self._sink.event(self._clock.now_ns(), symbol, "poll_failed", f"{poll.what}: {error}")
            return
        self._sink.polled(response.recv_ns, symbol, poll.what, requested_ns, poll.limit, response.body)
