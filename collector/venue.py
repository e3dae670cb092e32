"""One exchange in a live run: its feed, the recorder that the feed tells, and the markets that the recorder fills."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable, Sequence

import click
import msgspec

from collector.clock import Clock
from collector.context import Context
from collector.core.channels import stream_of
from collector.core.epochs import SECOND_NS
from collector.core.inputs import Resume
from collector.core.venues.open import frame_decoder
from collector.exchanges import exchange_named
from collector.live_market import LiveMarket
from collector.markets import FUTURES
from collector.recorder import Recorder
from collector.settings import RunSettings
from collector.sources.binance_feed import BinanceFeed
from collector.sources.capture_room import capture_file_bytes
from collector.sources.capture_writer import CaptureWriter
from collector.sources.errors import NotOursError, UnreachableError
from collector.sources.feed import Stream
from collector.sources.markets import MarketInfo
from collector.sources.pacing import Backoff
from collector.sources.streams import channels_there
from collector.sources.unified_feed import UnifiedFeed
from collector.unified_recorder import UnifiedLiveMarket, UnifiedRecorder
from storage_backends.interface import Market

log = logging.getLogger(__name__)

_RETRY_CAP_S = 60.0
_TELL_EACH_NS = 60 * SECOND_NS


class Venue:
    """One exchange: its feed, its recorder, its markets."""

    def __init__(self, exchange: str, settings: RunSettings, clock: Clock) -> None:
        self.exchange = exchange
        self.markets: dict[str, LiveMarket] = {}
        self.not_ours: NotOursError | None = None
        """Why there is nothing to collect here, where other collectors have all the markets."""
        self.on_joined: Callable[[str, LiveMarket], None] | None = None
        """Told of a market that begins while others run."""
        self._named = exchange_named(exchange)
        self._settings = settings
        self._clock = clock
        self._progress_ns = 0
        self._resumes: dict[Market, Resume] = {}
        self.recorder: Recorder
        self.feed: BinanceFeed | UnifiedFeed
        self.history: Context | None = None
        if self._named.protocol == "binance":
            # Of several exchanges each gives what it has; a single one must have all that was asked for.
            streams = settings.streams if len(settings.exchanges) == 1 else channels_there(exchange, settings.streams)
            self.recorder = Recorder(self.markets, self._request_anchor)
            self.recorder.on_listed = self._joined
            self.feed = BinanceFeed(
                exchange,
                settings.symbols,
                streams,
                settings.feed,
                clock,
                self.recorder,
                healing=self.recorder if settings.heal and not settings.dry_run else None,
                on_progress=self._show_progress,
            )
            if settings.context_intervals and settings.features != "none":
                self.history = Context(
                    self.markets, self.feed.klines, settings.context_intervals, settings.context_limit, clock
                )
            return
        decode = frame_decoder(self._named.protocol)
        self.recorder = sink = UnifiedRecorder(self.markets, self._request_anchor, decode)
        self.feed = UnifiedFeed(self._named, settings.symbols, settings.streams, settings.feed, clock, sink)

    async def start(self) -> None:
        """Reaches the exchange, however long that takes, and finds its markets.

        An exchange that does not answer is asked again with growing pauses, and once a minute that is said. So a run
        that a supervisor starts in an outage collects when the outage is over.

        Raises:
            FeedError: the exchange refuses us for good, a market is unknown, or the duration that is set is over.
        """
        try:
            await self._reach()
        except NotOursError as error:
            self.not_ours = error

    async def _reach(self) -> None:
        backoff = Backoff(1.0, _RETRY_CAP_S, random.Random())
        began_ns, told_ns = self._clock.now_ns(), 0
        while True:
            try:
                await self.feed.start()
            except UnreachableError as error:
                now_ns = self._clock.now_ns()
                left_s = (self._settings.duration_s or math.inf) - (now_ns - began_ns) / 1e9
                if left_s <= 0:
                    raise
                if now_ns - told_ns >= _TELL_EACH_NS:
                    log.error("%s Asking again until it answers.", error)
                    told_ns = now_ns
                await asyncio.sleep(min(backoff.next_s(), left_s))
            else:
                return

    def begin(self, resumes: dict[Market, Resume]) -> None:
        """Begins a session of every market."""
        self._resumes = resumes
        names: dict[str, dict[str, str]] = {}
        for stream in self.feed.streams:
            names.setdefault(stream.symbol, {})[stream_of(stream.channel)] = stream.name
        for info in self.feed.markets:
            self._begin(info, names[info.symbol])

    async def listen(self) -> None:
        """Collects, as `Feed.run`, once a commit knows of every market: of one that is new, where there is no room for
        that either, a kill would leave no trace."""
        for live in tuple(self.markets.values()):
            await live.begun.wait()
        await self.feed.run()

    def _joined(self, info: MarketInfo, streams: Sequence[Stream]) -> None:
        self._begin(info, {stream_of(stream.channel): stream.name for stream in streams})
        if self.on_joined is not None:
            self.on_joined(info.symbol, self.markets[info.symbol])

    def _begin(self, info: MarketInfo, names: dict[str, str]) -> None:
        """Begins a session of one market; `names` are the exchange's names of its streams."""
        settings, now_ns = self._settings, self._clock.now_ns()
        session = msgspec.structs.replace(
            settings.session(info.symbol),
            exchange=self.exchange,
            futures=FUTURES.get(self.exchange, False),
            protocol=self._named.protocol,
            channels=tuple(names),
            resume=self._resumes.get(Market(self.exchange, info.symbol)),
        )
        capture = None
        if settings.raw:
            folder = settings.data_dir / "raw" / self.exchange
            most = capture_file_bytes(settings.raw_max_bytes, len(self.feed.markets) * len(settings.exchanges))
            capture = CaptureWriter(folder, self.exchange, info.symbol, self._clock, most)
        kind = LiveMarket if self._named.protocol == "binance" else UnifiedLiveMarket
        model = None if settings.model is None else settings.model.open
        self.markets[info.symbol] = kind(session, info.unified, names, now_ns, capture, model)

    def _request_anchor(self, symbol: str, reason: str) -> None:
        self.feed.request_anchor(symbol, reason)

    def _show_progress(self, synced: int, total: int) -> None:
        now_ns = self._clock.now_ns()
        if total > 1 and (synced == total or now_ns - self._progress_ns >= SECOND_NS):
            self._progress_ns = now_ns
            click.echo(f"{self.exchange}: {synced} of {total} markets have their first snapshot", err=True)
