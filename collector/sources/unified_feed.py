"""Any exchange of ccxt.pro live: its frames, and either its own messages or what ccxt makes of them."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Any

import msgspec

from collector.errors import ConfigurationError
from collector.sources.clock_offset import offset_of
from collector.sources.errors import FeedError, UnreachableError
from collector.sources.feed import Stream
from collector.sources.markets import of_shard
from collector.sources.pacing import Backoff
from collector.sources.unified import read_book, unified_channels, unified_trades
from collector.sources.unified_markets import resolve_unified

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from collector.clock import Clock
    from collector.core.inputs import UnifiedTrade
    from collector.exchanges import Exchange
    from collector.sources.budget import Sleep, WeightBudget
    from collector.sources.ccxt_client import ListeningClient
    from collector.sources.markets import MarketInfo
    from collector.sources.settings import FeedSettings
    from collector.sources.unified import UnifiedSink

log = logging.getLogger(__name__)

_START_WITHIN_S = 60.0
_CLOSE_WITHIN_S = 5.0
_SILENCE_S = 60.0
_MOST_PATIENCE = 16
_RESUBSCRIBE_EVERY_S = 3.0
_BYBIT_LEVELS = (50, 200, 1000)


class _Told:
    """What one stream has said, by whom, and how long its silence is borne."""

    def __init__(self, now_ns: int) -> None:
        self.heard_ns = now_ns  # the last data
        self.seen_ns = now_ns  # the same, or when its silence was last noted
        self.client: ListeningClient | None = None
        self.patience = 1


class UnifiedFeed:
    """Hands everything that an exchange sends about some markets to a sink.

    `start`, then `run` until it is cancelled, then `close`. After `start` returned, `markets` and `streams` say what
    will be collected. For exchanges of protocol `unified` the sink hears books and trades; for others the frames, and
    ccxt is transport only.
    """

    budget: WeightBudget | None = None
    """None: ccxt spaces requests by itself, and each exchange weighs them in its own way."""

    def __init__(
        self,
        exchange: Exchange,
        markets: Sequence[str],
        streams: Sequence[str],
        settings: FeedSettings,
        clock: Clock,
        sink: UnifiedSink,
        *,
        sleep: Sleep = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        """Checks the settings; connects nowhere.

        Raises:
            ConfigurationError: a setting that cannot be right.
        """
        self._channels = unified_channels(streams)
        if not self._channels:
            raise ConfigurationError("--streams", ",".join(streams), f"{exchange.name} has depth and trade")
        self._limit = settings.anchor_limit
        if exchange.protocol == "bybit":
            self._limit = 200 if self._limit is None else self._limit
            if self._limit not in _BYBIT_LEVELS:
                raise ConfigurationError("--anchor-limit", self._limit, "bybit streams 50, 200 or 1000 levels")
        self._exchange = exchange
        self._wanted = list(markets)
        self._settings = settings
        self._clock = clock
        self._sink = sink
        self._sleep = sleep
        self._rng = rng or random.Random()
        self._exact = exchange.protocol != "unified"
        self._ccxt: Any = None
        self._symbols: dict[str, str] = {}
        self._told: dict[Stream, _Told] = {}
        self._streams: dict[tuple[str, str], Stream] = {}
        self._frame_ns: int | None = None
        self._touched: set[str] = set()
        self._fresh: dict[str, list[UnifiedTrade]] = {}
        self._last_trade: dict[str, Any] = {}
        self._resubscribing: set[str] = set()
        self._tasks: asyncio.TaskGroup | None = None
        self.markets: list[MarketInfo] = []

    @property
    def streams(self) -> list[Stream]:
        """Every stream that is watched, once `start` has returned."""
        return list(self._streams.values())

    async def start(self) -> None:
        """Reaches the exchange and finds the markets. When it raises, everything is closed again.

        Raises:
            UnreachableError: the exchange does not answer; `start` may be called again.
            FeedError: it refuses us; SymbolError when a market is unknown.
        """
        from collector.sources.ccxt_client import make_exchange  # brings ccxt in

        exchange = self._exchange
        self._ccxt = make_exchange(exchange.ccxt_id, exchange.kind, self, self._settings.url_root)
        try:
            for need, channel in (("watchOrderBook", "depth"), ("watchTrades", "trade")):
                if channel in self._channels and not self._ccxt.has.get(need):
                    raise FeedError(f"--exchange {exchange.name}: ccxt streams no {channel} of it; leave {channel} out")
            listed = await self._load()
            found = resolve_unified(exchange.name, exchange.kind, self._wanted, listed)
            self.markets = of_shard(exchange.name, found, self._settings.shard)
        except BaseException:
            await self.close()
            raise
        self._symbols = {market.unified: market.symbol for market in self.markets}
        for market in self.markets:
            for channel in self._channels:
                name = self._stream_name(channel, market)
                self._streams[market.symbol, channel] = Stream(market.symbol, channel, name)

    async def run(self) -> None:
        """Collects until cancelled. What fails on the way is an event and is tried again; nothing but a bug ends it."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for market in self.markets:
                for channel in self._channels:
                    tasks.create_task(self._watch(market, channel))
            tasks.create_task(self._check_silence())
            if self._ccxt.has.get("fetchTime"):
                tasks.create_task(self._measure_clock())

    async def close(self) -> None:
        """Gives back every socket within a few seconds. May be called at any time, and twice."""
        exchange, self._ccxt = self._ccxt, None
        if exchange is None:
            return
        try:
            async with asyncio.timeout(_CLOSE_WITHIN_S):
                await exchange.close()
        except TimeoutError:
            log.warning("sockets of %s did not close within %g s", self._exchange.name, _CLOSE_WITHIN_S)

    def request_anchor(self, symbol: str, reason: str) -> None:
        """Makes an exchange that sends its own snapshots send one, by subscribing anew; elsewhere ccxt sees to it."""
        if self._exact and self._tasks is not None and symbol not in self._resubscribing:
            self._resubscribing.add(symbol)
            self._tasks.create_task(self._resubscribe(symbol))

    # -- the listener of ccxt's clients

    def on_frame(self, client: ListeningClient, data: str | bytes) -> None:
        recv_ns = self._clock.now_ns()
        try:
            if self._exact:
                self._exact_frame(recv_ns, client, data)
            else:
                self._unified_frame(recv_ns, client, data)
        except Exception:
            log.exception("a frame of connection %d could not be handled", client.number)

    def on_news(self, client: ListeningClient, news: Any) -> None:
        from collector.sources.ccxt_client import is_book, is_trades

        try:
            if self._exact:
                return
            if is_book(news):
                symbol = self._symbols.get(news["symbol"])
                if symbol is not None and (symbol, "depth") in self._streams:
                    now_ns = self._heard(symbol, "depth", client)
                    self._sink.book_changed(now_ns, symbol, lambda: read_book(news, now_ns))
            elif is_trades(news):
                symbol = self._symbols.get(news[-1]["symbol"])
                if symbol is not None and (symbol, "trade") in self._streams:
                    now_ns = self._heard(symbol, "trade", client)
                    self._fresh.setdefault(symbol, []).extend(self._new_trades(symbol, news))
                    if self._frame_ns is None:
                        self._hand_on_trades(now_ns)
        except Exception:
            log.exception("news of %s could not be handled", self._exchange.name)

    def on_gone(self, client: ListeningClient, why: str) -> None:
        lost = [stream for stream, told in self._told.items() if told.client is client]
        if lost:
            now_ns = self._clock.now_ns()
            self._lose(now_ns, client.number, lost, "disconnect")
            self._sink.event(now_ns, None, "disconnect", f"connection {client.number}: {why}"[:500])

    # -- frames

    def _exact_frame(self, recv_ns: int, client: ListeningClient, data: str | bytes) -> None:
        if _is_reply(data):
            client.handle(data)
            return
        stream = self._sink.frame(recv_ns, client.number, data)
        if stream is not None:
            self._frame_ns = recv_ns
            self._heard(stream.symbol, stream.channel, client)
            self._frame_ns = None

    def _unified_frame(self, recv_ns: int, client: ListeningClient, data: str | bytes) -> None:
        self._sink.settle(recv_ns)
        self._frame_ns = recv_ns
        self._touched.clear()
        try:
            client.handle(data)
        except Exception as error:  # noqa: BLE001  what ccxt raises ends here, or its receive loop would
            log.info("ccxt failed on a frame: %r", error)
            self._sink.unhandled(recv_ns, client.number, data)
        finally:
            self._frame_ns = None
            self._hand_on_trades(recv_ns)
            self._sink.raw(recv_ns, client.number, sorted(self._touched), data)

    def _heard(self, symbol: str, channel: str, client: ListeningClient) -> int:
        """Notes that a stream spoke; gives the time of the frame it spoke in."""
        now_ns = self._clock.now_ns() if self._frame_ns is None else self._frame_ns
        self._touched.add(symbol)
        stream = self._streams[symbol, channel]
        told = self._told.setdefault(stream, _Told(now_ns))
        told.heard_ns = told.seen_ns = now_ns
        told.patience = 1
        if told.client is not client:
            if told.client is not None:
                self._lose(now_ns, told.client.number, [stream], "disconnect")
            told.client = client
            self._sink.opened(now_ns, client.number, [stream])
        return now_ns

    def _lose(self, now_ns: int, connection: int, streams: Sequence[Stream], reason: str) -> None:
        for stream in streams:
            self._told[stream].client = None
        self._sink.closed(now_ns, connection, streams, reason)

    def _hand_on_trades(self, recv_ns: int) -> None:
        fresh, self._fresh = self._fresh, {}
        for symbol, trades in fresh.items():
            if trades:
                self._sink.trades(recv_ns, symbol, trades)

    def _new_trades(self, symbol: str, news: Sequence[Any]) -> list[UnifiedTrade]:
        """Those behind the last one that was handed on; ccxt keeps old ones in the same list."""
        last, fresh = self._last_trade.get(symbol), []
        for number in range(len(news) - 1, -1, -1):
            if news[number] is last:
                break
            fresh.append(news[number])
        self._last_trade[symbol] = news[-1]
        fresh.reverse()
        return unified_trades(fresh)

    # -- tasks

    async def _load(self) -> list[Mapping[str, Any]]:
        try:
            async with asyncio.timeout(_START_WITHIN_S):
                return list((await self._ccxt.load_markets()).values())
        except Exception as error:
            raise (UnreachableError if _may_pass(error) else FeedError)(
                f"--exchange {self._exchange.name} cannot be used: {type(error).__name__}: {str(error)[:300]}. "
                "Mend: check the network, and --url-root if it is set."
            ) from error

    async def _watch(self, market: MarketInfo, channel: str) -> None:
        stream = self._streams[market.symbol, channel]
        backoff = Backoff(1.0, self._settings.reconnect_cap_s, self._rng)
        self._told.setdefault(stream, _Told(self._clock.now_ns()))
        while True:
            try:
                if channel == "depth":
                    await self._ccxt.watch_order_book(market.unified, self._limit)
                else:
                    await self._ccxt.watch_trades(market.unified)
                backoff.reset()
                continue
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                error: Exception = ConnectionError("ccxt closed the connection")  # it cancels its futures when it does
            except Exception as raised:  # noqa: BLE001  an exchange's fault, whatever ccxt makes of it
                error = raised
            now_ns = self._clock.now_ns()
            told = self._told[stream]
            if told.client is not None:
                self._lose(now_ns, told.client.number, [stream], "resync")
            self._sink.event(
                now_ns, market.symbol, "watch_failed", f"{stream.name}: {type(error).__name__}: {error}"[:500]
            )
            await self._sleep(backoff.next_s())

    async def _check_silence(self) -> None:
        """Looks for books that say nothing for long, and bears a silence that goes on ever longer.

        A market may just be quiet, so the others on its connection must not pay for it: where a new subscription is all
        it takes, it gets one. Connections are dropped when all of them are silent.
        """
        limit_ns = round(self._settings.silence_s.get("depth", _SILENCE_S) * 1e9)
        while True:
            await self._sleep(self._settings.check_interval_s)
            now_ns = self._clock.now_ns()
            heard_ns = max(told.heard_ns for told in self._told.values())
            for stream, told in self._told.items():
                if stream.channel != "depth" or now_ns - told.seen_ns < limit_ns * told.patience:
                    continue
                seconds = (now_ns - told.heard_ns) / 1e9
                self._sink.event(now_ns, stream.symbol, "silent", f"{stream.name} said nothing for {seconds:.0f} s")
                told.seen_ns, told.patience = now_ns, min(_MOST_PATIENCE, told.patience * 2)
                self.request_anchor(stream.symbol, "silent")
                if now_ns - heard_ns >= limit_ns:
                    heard_ns = now_ns
                    for client in list(self._ccxt.clients.values()):
                        client.drop("nothing came for long")

    async def _measure_clock(self) -> None:
        while True:
            sent_ns = self._clock.now_ns()
            try:
                server_ms = int(await self._ccxt.fetch_time())
            except Exception as error:  # noqa: BLE001  an exchange's fault, whatever ccxt makes of it
                self._sink.event(self._clock.now_ns(), None, "clock_failed", str(error)[:500])
            else:
                best = offset_of(sent_ns, self._clock.now_ns(), server_ms)
                self._sink.clock_measured(best.measured_ns, best.offset_ns, best.round_trip_ns, 1)
            await self._sleep(self._settings.clock_interval_s)

    async def _resubscribe(self, symbol: str) -> None:
        stream = self._streams[symbol, "depth"]
        try:
            told = self._told.get(stream)
            client = None if told is None else told.client
            if client is not None:
                for operation in ("unsubscribe", "subscribe"):
                    await client.send({"op": operation, "args": [stream.name]})
            await self._sleep(_RESUBSCRIBE_EVERY_S)
        except Exception as error:  # noqa: BLE001  the connection is going: a new one begins with a snapshot
            self._sink.event(self._clock.now_ns(), symbol, "resubscribe_failed", str(error)[:500])
        finally:
            self._resubscribing.discard(symbol)

    def _stream_name(self, channel: str, market: MarketInfo) -> str:
        if not self._exact:
            return f"{market.unified}@{channel}"
        market_id = self._ccxt.market(market.unified)["id"]
        return f"orderbook.{self._limit}.{market_id}" if channel == "depth" else f"publicTrade.{market_id}"


class _Reply(msgspec.Struct):
    op: str | None = None
    topic: str | None = None


_decode_reply = msgspec.json.Decoder(_Reply).decode


def _is_reply(data: str | bytes) -> bool:
    """Whether a frame of Bybit is about the connection and not about a market."""
    if len(data) > 4096:
        return False
    try:
        reply = _decode_reply(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False
    return reply.op is not None and reply.topic is None


def _may_pass(error: Exception) -> bool:
    """Whether ccxt, which puts a status into its text alone, could not reach the exchange just now."""
    from ccxt.base.errors import NetworkError

    blocked = any(f" {status} " in str(error) for status in (403, 451))
    return isinstance(error, NetworkError | TimeoutError) and not blocked
