"""What a wildcard means by now: markets that were listed since join, and those that are gone end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.sources.errors import FeedError
from collector.sources.listing import find_trading
from collector.sources.markets import exchange_ids, is_wildcard

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from collector.clock import Clock
    from collector.sources.budget import Sleep, WeightBudget
    from collector.sources.feed import FeedSink
    from collector.sources.markets import MarketInfo
    from collector.sources.subscription import Subscription
    from collector.sources.transport import Transport


class Follower:
    """Compares what the exchange lists with what is collected, each time it is told to look."""

    def __init__(
        self,
        exchange: str,
        wanted: Sequence[str],
        subscriptions: Sequence[Subscription],
        join: Callable[[MarketInfo], None],
        sink: FeedSink,
        clock: Clock,
    ) -> None:
        """`subscriptions` may grow; `join` makes them of a market that was not there before."""
        self._exchange = exchange
        self._wanted = wanted
        self._named = frozenset(exchange_ids(text for text in wanted if not is_wildcard(text)))
        self._subscriptions = subscriptions
        self._join = join
        self._sink = sink
        self._clock = clock
        self._gone: set[str] = set()

    async def look(self, transport: Transport, budget: WeightBudget, sleep: Sleep, rng: random.Random) -> None:
        """One look. A market that comes back after it was gone speaks on the connections that it had."""
        try:
            markets = await find_trading(self._exchange, self._wanted, transport, budget, sleep, rng)
        except FeedError as error:
            self._sink.event(self._clock.now_ns(), None, "listing_failed", str(error))
            return
        if not markets:  # an exchange without any market is an answer that is wrong, and no reason to end them all
            self._sink.event(self._clock.now_ns(), None, "listing_failed", "the exchange lists nothing that is wanted")
            return
        trading = {market.symbol for market in markets}
        known = {stream.symbol for subscription in self._subscriptions for stream in subscription.streams}
        self._gone &= known - trading
        for symbol in sorted(known - trading - self._named - self._gone):
            self._gone.add(symbol)
            for subscription in self._subscriptions:
                for stream in subscription.streams:
                    if stream.symbol == symbol:
                        subscription.end(stream, "delisted", f"{stream.name}: the exchange lists it no more as trading")
        for market in markets:
            if market.symbol not in known:
                self._join(market)
