"""Binance live: spot (`binance`) and USDⓈ-M futures (`binanceusdm`)."""

from __future__ import annotations

import asyncio
import logging
import random
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from collector.errors import ConfigurationError
from collector.sources.anchors import Anchors
from collector.sources.budget import LIMITS, WeightBudget, weight_of
from collector.sources.clock_offset import measure_offset
from collector.sources.connection import Surroundings
from collector.sources.endpoints import Endpoints, endpoints
from collector.sources.errors import FeedError, RestError, UnreachableError
from collector.sources.following import Follower
from collector.sources.healing import Healer
from collector.sources.listing import find_markets
from collector.sources.markets import is_wildcard, of_shard
from collector.sources.pacing import Backoff, ConnectLimiter
from collector.sources.polls import Poller, check_budget
from collector.sources.silence import LastSeen, SilenceWatch, rest_probe
from collector.sources.streams import check_channel, check_depth_speed, streams_of
from collector.sources.subscription import Subscription

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from collector.clock import Clock
    from collector.sources.budget import Sleep
    from collector.sources.feed import FeedSink, Stream
    from collector.sources.healing import HealingSink
    from collector.sources.markets import MarketInfo
    from collector.sources.settings import FeedSettings
    from collector.sources.transport import RestResponse, Transport

log = logging.getLogger(__name__)

_CONNECT_WINDOW_S = 300.0
_MANY_MARKETS = 10
_CLOSE_WITHIN_S = 5.0


class BinanceFeed:
    """Hands everything that Binance sends about some markets to a sink.

    `start`, then `run` until it is cancelled, then `close`. After `start` returned, `markets` and `streams` say what
    will be collected. Each (channel, up to 200 markets) has a connection of its own. Snapshots come periodically; those
    that a book needs, the first among them, are asked for with `request_anchor`.
    """

    def __init__(
        self,
        exchange: str,
        markets: Sequence[str],
        streams: Sequence[str],
        settings: FeedSettings,
        clock: Clock,
        sink: FeedSink,
        *,
        last_seen: LastSeen | None = None,
        healing: HealingSink | None = None,
        on_progress: Callable[[int, int], None] | None = None,
        sleep: Sleep = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        """Checks the settings; connects nowhere.

        Args:
            exchange: `binance` or `binanceusdm`.
            markets: what a person typed: ids, unified names, wildcards.
            streams: channels, such as `depth` and `aggTrade`.
            last_seen: where a stream stands by what was last received of it, to judge its silence sooner.
            healing: knows the gaps that trades fetched by REST are to fill; None leaves them.
            on_progress: told (synced, of how many) when a market got its first snapshot.

        Raises:
            ConfigurationError: a setting that cannot be right.
        """
        if exchange not in LIMITS:
            raise ConfigurationError("--exchange", repr(exchange), f"choose one of {', '.join(LIMITS)}")
        if not streams:
            raise ConfigurationError("--streams", "''", "give at least one, such as depth")
        for channel in streams:
            check_channel(exchange, channel)
        check_depth_speed(exchange, settings.depth_speed_ms)
        self._endpoints = checked_endpoints(exchange, settings)
        if settings.anchor_interval_s <= 0:
            raise ConfigurationError(
                "anchor_interval_s", settings.anchor_interval_s, "give a time above 0, such as 600"
            )
        self._exchange = exchange
        self._wanted = list(markets)
        self._channels = list(streams)
        self._settings = settings
        self._clock = clock
        self._sink = sink
        self._last_seen = last_seen
        self._healing = healing
        self._on_progress = on_progress
        self._sleep = sleep
        self._rng = rng or random.Random()
        self.budget = WeightBudget(LIMITS[exchange], clock, headroom=settings.weight_headroom, sleep=sleep)
        # The spot has no open interest; one setting serves both exchanges.
        self._polls = [poll for poll in settings.polls if exchange != "binance" or poll.what == "book"]
        self._transport: Transport | None = None
        self._subscriptions: list[Subscription] = []
        self._around: Surroundings | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._symbols: list[str] = []  # of all markets; pollers look at it each time
        self._anchors: Anchors | None = None
        self.markets: list[MarketInfo] = []

    @property
    def streams(self) -> list[Stream]:
        """Every stream that is subscribed, once `start` has returned."""
        return [stream for subscription in self._subscriptions for stream in subscription.streams]

    def request_anchor(self, symbol: str, reason: str) -> bool:
        """Asks for a snapshot of `symbol` (the exchange's id). False when one is already asked for.

        Raises:
            KeyError: the feed does not collect `symbol`.
            RuntimeError: the feed was not started.
        """
        if self._anchors is None:
            raise RuntimeError("the feed was not started")
        return self._anchors.request(symbol, reason)

    async def klines(self, symbol: str, interval: str, limit: int) -> RestResponse:
        """The newest `limit` klines of a market, within the weight budget.

        Raises:
            RestError: no answer, or a refusal.
            RuntimeError: the feed was not started.
        """
        if self._transport is None:
            raise RuntimeError("the feed was not started")
        params = {"symbol": symbol, "interval": interval, "limit": limit}
        return await self._transport.get("klines", params, weight=weight_of(self._exchange, "klines"))

    async def start(self) -> None:
        """Reaches the exchange and finds the markets. When it raises, everything is closed again.

        Raises:
            UnreachableError: the exchange does not answer; `start` may be called again.
            FeedError: it refuses us, or is none; SymbolError when a market is unknown.
        """
        from collector.sources.transport import Transport  # brings ccxt in

        self._transport = transport = Transport(self._exchange, self._endpoints, self._clock, self.budget)
        try:
            found = await find_markets(self._exchange, self._wanted, transport, self.budget, self._sleep, self._rng)
            self.markets = of_shard(self._exchange, found, self._settings.shard)
            if self._endpoints.ws:
                await self._try_websocket(transport)
        except BaseException:
            await self.close()
            raise
        self._plan(transport)

    async def run(self) -> None:
        """Collects until cancelled. What fails on the way is an event and is tried again; nothing but a bug ends it.

        Raises:
            RuntimeError: the feed was not started.
        """
        transport, anchors = self._transport, self._anchors
        if transport is None or anchors is None:
            raise RuntimeError("the feed was not started")
        watch = SilenceWatch(
            self._subscriptions,
            rest_probe(
                transport,
                {"depth": weight_of(self._exchange, "depth", 5), "aggTrades": weight_of(self._exchange, "aggTrades")},
            ),
            self._sink,
            self._clock,
            silence_s=self._settings.silence_s,
            last_seen=self._last_seen,
        )
        check_s = self._settings.check_interval_s
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for subscription in self._subscriptions:
                tasks.create_task(self._guard(subscription.channel, subscription.run))
            for poll in self._polls:
                poller = Poller(
                    poll,
                    self._symbols,
                    transport.get_now,
                    self.budget,
                    poll.weight(self._exchange),
                    self._sink,
                    self._clock,
                    self._sleep,
                )
                tasks.create_task(self._guard(poll.what, poller.run))
            if any(is_wildcard(text) for text in self._wanted):
                follower = Follower(
                    self._exchange, self._wanted, self._subscriptions, self._join, self._sink, self._clock
                )
                tasks.create_task(
                    self._every(
                        self._settings.listing_interval_s,
                        "listing",
                        lambda: follower.look(transport, self.budget, self._sleep, self._rng),
                        at_once=False,
                    )
                )
            tasks.create_task(self._guard("anchors", anchors.run))
            if self._healing is not None:
                healer = Healer(
                    self._exchange,
                    transport,
                    self.budget,
                    self._healing,
                    self._clock,
                    sleep=self._sleep,
                    rng=self._rng,
                )
                tasks.create_task(self._guard("healing", healer.run))
            tasks.create_task(self._every(check_s, "connections", self._check_connections))
            tasks.create_task(self._every(check_s, "silence", watch.check))
            tasks.create_task(
                self._every(self._settings.clock_interval_s, "clock", lambda: self._measure_clock(transport))
            )

    async def close(self) -> None:
        """Gives back every socket within a few seconds. May be called at any time, and twice."""
        transport, self._transport = self._transport, None
        if transport is None:
            return
        try:
            async with asyncio.timeout(_CLOSE_WITHIN_S):
                await transport.close()
        except TimeoutError:
            log.warning("sockets of %s did not close within %g s", self._exchange, _CLOSE_WITHIN_S)

    # -- start

    async def _try_websocket(self, transport: Transport) -> None:
        try:
            await transport.try_websocket()
        except Exception as error:
            given = self._settings.spot_ws if self._exchange == "binance" else self._settings.futures_ws
            setting = "--url-root" if not given else "SPOT_WS" if self._exchange == "binance" else "FUTURES_WS"
            # Who answers with a status is there, and means it.
            kind = FeedError if getattr(error, "status", None) in range(400, 500) else UnreachableError
            raise kind(f"{setting}: no websocket at {self._endpoints.ws}: {error!r}. Mend: check the URL.") from error

    def _plan(self, transport: Transport) -> None:
        settings, symbols = self._settings, [market.symbol for market in self.markets]
        self._symbols = list(symbols)
        self._around = around = Surroundings(
            transport=transport,
            sink=self._sink,
            clock=self._clock,
            connects=ConnectLimiter(settings.max_connects_per_5min, _CONNECT_WINDOW_S, self._clock, self._sleep),
            numbers=count(1),
            sleep=self._sleep,
            rng=self._rng,
            reconnect_cap_s=settings.reconnect_cap_s,
            rotate_after_s=settings.rotate_after_s,
        )
        self._subscriptions = [
            Subscription(self._exchange, channel, streams, around)
            for channel, streams in streams_of(self._exchange, self._channels, symbols, settings.depth_speed_ms)
        ]
        limit = settings.anchor_limit
        if limit is None:
            limit = 5000 if self._exchange == "binance" and len(symbols) <= _MANY_MARKETS else 1000
        # Without diffs there is no book to compare a snapshot with.
        anchor_interval_s = settings.anchor_interval_s if "depth" in self._channels else None
        weight = weight_of(self._exchange, "depth", limit)
        anchored = 0.0 if anchor_interval_s is None else len(symbols) * weight * 60 / anchor_interval_s
        granted = LIMITS[self._exchange]
        check_budget(self._exchange, self._polls, len(symbols), self.budget.allowance, granted, anchored)
        self._anchors = Anchors(
            symbols,
            lambda symbol, levels: transport.get_now("depth", {"symbol": symbol, "limit": levels}),
            self.budget,
            self._sink,
            self._clock,
            limit=limit,
            weight=weight,
            interval_s=anchor_interval_s,
            sleep=self._sleep,
            rng=self._rng,
            on_progress=self._on_progress,
        )

    # -- run

    def _join(self, market: MarketInfo) -> None:
        """Collects one more market, unless another shard does: on connections of its own, since the others deliver."""
        if not self._settings.shard.takes(self._exchange, market.symbol):
            return
        around, anchors, tasks = self._around, self._anchors, self._tasks
        assert around is not None
        assert anchors is not None
        assert tasks is not None
        self.markets.append(market)
        self._symbols.append(market.symbol)
        anchors.follow(market.symbol)
        new = [
            Subscription(self._exchange, channel, streams, around)
            for channel, streams in streams_of(
                self._exchange, self._channels, [market.symbol], self._settings.depth_speed_ms
            )
        ]
        self._sink.listed(
            self._clock.now_ns(), market, [stream for subscription in new for stream in subscription.streams]
        )
        self._subscriptions += new

        async def listen(subscription: Subscription) -> None:
            await self._sink.begun(market.symbol)
            await subscription.run()

        for subscription in new:
            tasks.create_task(self._guard(subscription.channel, partial(listen, subscription)))

    async def _check_connections(self) -> None:
        now_ns = self._clock.now_ns()
        for subscription in self._subscriptions:
            subscription.check(now_ns, self._settings.dead_after_s)

    async def _measure_clock(self, transport: Transport) -> None:
        try:
            best = await measure_offset(transport, weight_of(self._exchange, "time"))
        except RestError as error:
            self._sink.event(self._clock.now_ns(), None, "clock_failed", str(error))
            return
        self._sink.clock_measured(self._clock.now_ns(), best.offset_ns, best.round_trip_ns, best.samples)

    async def _every(
        self, interval_s: float, name: str, step: Callable[[], Awaitable[None]], *, at_once: bool = True
    ) -> None:
        async def repeat() -> None:
            if not at_once:
                await self._sleep(interval_s)
            while True:
                await step()
                await self._sleep(interval_s)

        await self._guard(name, repeat)

    async def _guard(self, name: str, forever: Callable[[], Awaitable[None]]) -> None:
        """Keeps one task's bug from ending the others: it is reported, and the task begins again."""
        backoff = Backoff(1.0, 60.0, self._rng)
        while True:
            try:
                await forever()
            except Exception as error:
                log.exception("%s failed and begins again", name)
                self._sink.event(self._clock.now_ns(), None, "internal_error", f"{name}: {error!r}")
            await self._sleep(backoff.next_s())


def checked_endpoints(exchange: str, settings: FeedSettings) -> Endpoints:
    """Where the exchange is, once the settings of its requests can be right. Connects nowhere.

    Raises:
        ConfigurationError: a URL or a number of levels that cannot be right.
    """
    if settings.anchor_limit is not None:
        _check_anchor_limit(exchange, settings.anchor_limit)
    for poll in settings.polls:
        try:
            if poll.what == "book":
                poll.weight(exchange)
        except ValueError as error:
            raise ConfigurationError("--order-book-limit", poll.limit, str(error)) from error
    return endpoints(
        exchange,
        url_root=settings.url_root,
        rest_url=settings.rest_url,
        spot_ws=settings.spot_ws,
        futures_ws=settings.futures_ws,
    )


def _check_anchor_limit(exchange: str, limit: int) -> None:
    try:
        weight_of(exchange, "depth", limit)
    except ValueError as error:
        raise ConfigurationError("--anchor-limit", limit, str(error)) from error
    if exchange == "binanceusdm" and limit not in {5, 10, 20, 50, 100, 500, 1000}:
        raise ConfigurationError("--anchor-limit", limit, f"{exchange} serves 5, 10, 20, 50, 100, 500 or 1000")
