"""The simulator as one server on loopback: sources, hub, REST, websockets, faults and the control endpoint."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web

from collector.simulator.captured import CaptureSource, exchange_of
from collector.simulator.control import Control
from collector.simulator.hub import Hub
from collector.simulator.instruments import simulated
from collector.simulator.model import REACH_TICKS
from collector.simulator.names import EXCHANGES
from collector.simulator.players import CapturePlayer, play_seeded
from collector.simulator.rest import Rest
from collector.simulator.seeded import SeededMarket, SeededSource
from collector.simulator.strikes import Strikes
from collector.simulator.websocket import Websockets

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from pathlib import Path

    from collector.clock import Clock
    from collector.simulator.faults import Fault
    from collector.simulator.names import Subscription


@dataclass(frozen=True, slots=True)
class SimulatorConfig:
    """What is simulated, and how."""

    host: str = "127.0.0.1"
    port: int = 0
    """0 takes a free one."""
    seed: int = 1
    symbols: int = 2
    """Seeded markets on each exchange that has no capture."""
    depth: int = 3000
    """Levels a side of a seeded book."""
    levels: float = 20.0
    """Mean changed levels in a seeded 100 ms diff."""
    trades: float = 5.0
    """Mean taker orders a second in a seeded market."""
    past_s: float = 0.0
    """How long seeded markets have traded when the server starts; `past_orders` taker orders, evenly spread."""
    past_orders: int = 0
    signal: float = 0.0
    """How much a seeded book tells of the next moves, 0 to 1."""
    reach_ticks: float = REACH_TICKS
    """Mean distance of most changes of a seeded book from its best price."""
    captures: Sequence[Path] = ()
    speed: float = 1.0
    """How much faster than recorded a capture runs; 0 is as fast as clients take it."""
    start_delay_s: float = 0.5
    """Pause between the first subscription and a capture's first line."""
    faults: Sequence[Fault] = ()
    sent: Path | None = None
    """Folder for the ids of all that was sent; without it only the newest half million of a stream are known."""
    ping_interval_s: float | None = None
    pong_timeout_s: float | None = None
    lifetime_s: float = 86_400.0


@dataclass(slots=True)
class _Exchange:
    name: str
    source: SeededSource | CaptureSource
    rest: Rest
    player: CapturePlayer | None = None


class Simulator:
    """Both exchanges on one port. Use as an async context manager; `url` is the root for `--url-root`."""

    def __init__(self, config: SimulatorConfig, clock: Clock) -> None:
        self.config = config
        self.clock = clock
        self.hub = Hub(config.sent)
        self.strikes = Strikes(self.hub, clock, self._spawn)
        self.url = ""
        self._exchanges: dict[str, _Exchange] = {}
        self._runner: web.AppRunner | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: asyncio.Future[None] | None = None
        self._waiting = list(config.faults)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        await self.stop()
        if kind is None and self._failure is not None and self._failure.done():
            self._failure.result()

    async def start(self) -> None:
        """Reads the captures, listens, and sets `url`.

        Raises:
            CaptureError: a capture cannot be served.
            OSError: the address cannot be listened on.
        """
        self._failure = asyncio.get_running_loop().create_future()
        for name in EXCHANGES:
            self._exchanges[name] = self._exchange(name)
        self.hub.on_subscribed.append(self._start_faults)
        config = self.config
        websockets = Websockets(self.hub, self.clock, config.ping_interval_s, config.pong_timeout_s, config.lifetime_s)
        app = web.Application()
        for exchange in self._exchanges.values():
            app.add_routes(exchange.rest.routes())
        app.add_routes(websockets.routes())
        app.add_routes(Control(self.hub, self.strikes, self._describe).routes())
        app.add_routes([web.get("/dapi/v1/exchangeInfo", self._no_coin_margined)])
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.config.host, self.config.port)
        try:
            await site.start()
        except OSError:
            await self._runner.cleanup()
            raise
        port = self._runner.addresses[0][1]
        host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
        self.url = f"http://{host}:{port}"
        for exchange in self._exchanges.values():
            if isinstance(exchange.source, SeededSource):
                self._spawn(play_seeded(exchange.source, self.hub, self.clock))
            elif exchange.player is not None:
                self._spawn(exchange.player.run())

    async def stop(self) -> None:
        """Closes all connections and the port. Safe to call twice."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in list(self.hub.connections.values()):
            connection.thawed.set()
            await connection.close(1001, "simulator ends")
        self.hub.ledger.flush()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def failure(self) -> None:
        """Waits until a task of the simulator dies, and raises what killed it."""
        if self._failure is not None:
            await asyncio.shield(self._failure)

    def source(self, exchange: str) -> SeededSource | CaptureSource:
        return self._exchanges[exchange].source

    def apply(self, fault: Fault) -> int:
        """Makes a fault happen now; gives the number of connections that it hit at once."""
        return self.strikes.apply(fault)

    def _exchange(self, name: str) -> _Exchange:
        paths = [path for path in self.config.captures if exchange_of(path) == name]
        if paths:
            captured = CaptureSource(name, paths)
            rest = Rest(name, captured, captured.instruments, self.hub, self.clock)
            player = CapturePlayer(captured, self.hub, self.clock, self.config.speed, self.config.start_delay_s)
            return _Exchange(name, captured, rest, player)
        config = self.config
        instruments = simulated(name, config.symbols)
        markets = [
            SeededMarket(
                one,
                config.seed,
                config.depth,
                config.levels,
                config.trades,
                self._now_ms(),
                past_ms=round(config.past_s * 1000),
                past_orders=config.past_orders,
                signal=config.signal,
                reach_ticks=config.reach_ticks,
            )
            for one in instruments
        ]
        source = SeededSource(markets)
        return _Exchange(name, source, Rest(name, source, instruments, self.hub, self.clock))

    def _start_faults(self, _exchange: str, _wanted: Subscription) -> None:
        """The first subscription: the faults given at start count from here."""
        waiting, self._waiting = self._waiting, []
        for fault in waiting:
            self.strikes.schedule(fault, fault.after_s or 0.0)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None and self._failure and not self._failure.done():
            self._failure.set_exception(task.exception() or RuntimeError())

    def _now_ms(self) -> int:
        return self.clock.now_ns() // 10**6

    async def _no_coin_margined(self, _request: web.Request) -> web.Response:
        answer = {"timezone": "UTC", "serverTime": self._now_ms(), "rateLimits": [], "symbols": []}
        return web.json_response(answer)

    def _describe(self) -> dict[str, Any]:
        players = {name: one.player for name, one in self._exchanges.items() if one.player is not None}
        return {
            "waiting": [fault.spec for fault in self._waiting],
            "captures": {name: player.describe() for name, player in players.items()},
        }
