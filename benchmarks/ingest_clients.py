"""The systems that the ingest benchmark compares, each in a process of its own.

    python benchmarks/ingest_clients.py collector|journal|ccxt|cryptofeed|bare PLAN FOLDER

PLAN is what `ingest_server.py` wrote. Prints one JSON line: CPU seconds of the whole process from the third message to
the end, wall seconds, peak memory, and what was checked. The end is the last message in the book, for the collector
everything in Parquet, for `journal` everything in the journal. Imports happen in the functions: cryptofeed may live in
another environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

PATIENCE_S = 240.0
_POLL_S = 0.004


def taken(update_id: int | None, ids: list[int]) -> int:
    """Messages up to an update."""
    return 0 if update_id is None else bisect_right(ids, update_id)


class Meter:
    """CPU and wall time from the third message on.

    It polls. The server pauses after the first message, so the last look before the third costs no more than idling.
    """

    def __init__(self, messages: int, progress: Callable[[], int]) -> None:
        """
        Args:
            messages: how many there will be.
            progress: how many have come so far.
        """
        self._messages = messages
        self._progress = progress
        self._cpu_s = self._wall_s = 0.0

    async def all_taken(self) -> None:
        """Returns once every message has come.

        Raises:
            TimeoutError: they did not come.
        """
        async with asyncio.timeout(PATIENCE_S):
            while self._progress() < 3:
                self._cpu_s, self._wall_s = time.process_time(), time.perf_counter()
                await asyncio.sleep(_POLL_S)
            while self._progress() < self._messages:  # noqa: ASYNC110  the systems measured have no event for it
                await asyncio.sleep(_POLL_S)

    def stop(self) -> dict[str, float]:
        """The figures as of now."""
        status = Path("/proc/self/status").read_text().splitlines()
        peak_kb = next(int(row.split()[1]) for row in status if row.startswith("VmHWM"))
        return {
            "messages": self._messages - 2,
            "cpu_s": time.process_time() - self._cpu_s,
            "wall_s": time.perf_counter() - self._wall_s,
            "peak_mb": peak_kb / 1024,
        }


# -- this project


class MarketClock:
    """The market's time: the event time of the message that comes next.

    At full speed a second of the market passes in milliseconds. By this clock epochs close as often for each message as
    they do live; the pipeline's own waits are real seconds all the same. Like a real clock it never gives a time twice:
    inputs of one time make a market settle each by itself.
    """

    def __init__(self, event_ms: list[int]) -> None:
        self._stamps = [one * 1_000_000 for one in (*event_ms, event_ms[-1])]
        self._latest = 0
        self.counter: Any = None
        """What has the number of messages so far as `frames`."""

    def now_ns(self) -> int:
        # As cheap as may be: it stands for a system's call that costs a tenth of a microsecond.
        now = self._stamps[self.counter.frames if self.counter else 0]
        self._latest = now if now > self._latest else self._latest + 1
        return self._latest

    def wall_step_ns(self) -> int:
        return 0


async def run_collector(plan: dict[str, Any], folder: Path) -> dict[str, float]:
    """The live way of `collector run`: ccxt.pro's socket, tap, core, journal, deliverer, Parquet."""
    return await _run_pipeline(plan, folder) | _stored(folder)


async def run_journal(plan: dict[str, Any], folder: Path) -> dict[str, float]:
    """The same with a deliverer that never delivers."""
    from collector.clock import SystemClock
    from collector.journal import deliverer
    from collector.journal.journal import Journal

    class Idle(deliverer.Deliverer):
        def step(self, **_: Any) -> int:
            return 0

        def drain(self, deadline_ns: int) -> bool:
            return False

    deliverer.Deliverer = Idle  # type: ignore[misc]
    figures = await _run_pipeline(plan, folder)
    journal = Journal.open(folder / "journal.sqlite", clock=SystemClock())
    waiting = {group.table: group.rows for group in journal.groups()}
    journal.close()
    return figures | {table: waiting.get(table, 0) for table in ("diffs", "depth", "gaps")}


async def _run_pipeline(plan: dict[str, Any], folder: Path) -> dict[str, float]:
    from collector.lean_pyarrow import with_system_memory, without_pandas
    from collector.pipeline import Pipeline
    from collector.sources.settings import FeedSettings
    from tests.settings import run_settings

    with_system_memory()  # as the command does
    without_pandas()
    never_s = 1e9
    settings = replace(
        run_settings(folder),
        journal_max_bytes=4 << 30,
        # Hot files take up to 3 % of a core whatever comes: `storage_hot.py` measures them.
        hot=False,
        # What goes by the clock of the market would come a thousand times too often.
        feed=FeedSettings(
            url_root=f"http://127.0.0.1:{plan['port']}",
            anchor_interval_s=never_s,
            silence_s={"depth": never_s},
            dead_after_s=never_s,
            clock_interval_s=never_s,
        ),
    )
    clock = MarketClock(plan["event_ms"])
    pipeline = Pipeline(settings, clock, say=lambda _: None)
    (venue,) = pipeline.venues
    clock.counter = venue.recorder
    meter = Meter(len(plan["ids"]), lambda: venue.recorder.frames)

    async def stop_at_the_end() -> None:
        await meter.all_taken()
        os.kill(os.getpid(), signal.SIGTERM)  # the ordinary way to stop: what waits is committed and delivered

    ending = asyncio.create_task(stop_at_the_end())
    await pipeline.run()
    await ending
    return meter.stop()


def _stored(folder: Path) -> dict[str, int]:
    """What is in the store: rows, valid epochs, bytes of `diffs`."""
    from storage_backends.interface import Market
    from storage_backends.open import open_backend

    store, market = open_backend("local", data_dir=folder), Market("binanceusdm", "BTCUSDT")
    counts = {table: sum(rows.num_rows for rows in store.scan(table, market)) for table in ("diffs", "depth", "gaps")}
    counts["valid"] = sum(rows.column("valid").true_count for rows in store.scan("depth", market))
    counts["parquet_bytes"] = sum(file.stat().st_size for file in (folder / "diffs").rglob("*.parquet"))
    return counts


# -- peers


async def run_ccxt(plan: dict[str, Any], _: Path) -> dict[str, float]:
    """The loop of ccxt.pro's manual: `watch_order_book` for ever. It stores nothing."""
    import ccxt.pro

    exchange = ccxt.pro.binanceusdm({"enableRateLimit": False})
    root = f"127.0.0.1:{plan['port']}"
    urls = exchange.urls["api"]
    urls["fapiPublic"] = f"http://{root}/fapi/v1"
    urls["ws"]["linear"] = f"ws://{root}/fstream/ws"
    exchange.set_markets([_MARKET])
    ids, returns, position = plan["ids"], 0, 0

    async def watch() -> None:
        nonlocal returns, position
        while position < len(ids):
            book = await exchange.watch_order_book("BTC/USDT:USDT", 1000)
            returns += 1
            position = taken(book["nonce"], ids)

    meter = Meter(len(ids), lambda: position)
    watching = asyncio.create_task(watch())
    await asyncio.wait({watching, asyncio.create_task(meter.all_taken())}, return_when=asyncio.ALL_COMPLETED)
    watching.result()
    figures = meter.stop() | {"returns": returns}
    await exchange.close()
    return figures


_MARKET = {
    "id": "BTCUSDT",
    "lowercaseId": "btcusdt",
    "symbol": "BTC/USDT:USDT",
    "base": "BTC",
    "quote": "USDT",
    "settle": "USDT",
    "baseId": "BTC",
    "quoteId": "USDT",
    "settleId": "USDT",
    "type": "swap",
    "spot": False,
    "margin": False,
    "swap": True,
    "future": False,
    "option": False,
    "active": True,
    "contract": True,
    "linear": True,
    "inverse": False,
    "contractSize": 1,
    "precision": {"price": 0.1, "amount": 0.001},
    "limits": {},
    "info": {},
}


async def run_cryptofeed(plan: dict[str, Any], _: Path) -> dict[str, float]:
    """BinanceFutures with a callback that takes each delta as floats, as its own backends do. It stores nothing."""
    from cryptofeed.connection import RestEndpoint, Routes, WebsocketEndpoint
    from cryptofeed.defines import BINANCE_FUTURES, L2_BOOK
    from cryptofeed.exchanges import BinanceFutures
    from cryptofeed.symbols import Symbols

    root = f"127.0.0.1:{plan['port']}"
    routes = Routes("/fapi/v1/exchangeInfo", l2book="/fapi/v1/depth?symbol={}&limit={}", authentication="/none")

    class Loopback(BinanceFutures):  # type: ignore[misc]
        websocket_endpoints = (WebsocketEndpoint(f"wss://{root}", options={"compression": None}, authentication=True),)
        rest_endpoints = (RestEndpoint(f"http://{root}", routes=routes),)

        async def _ws_authentication(self, address: str, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
            # Without TLS, as the others: cryptofeed asks for wss:// by name only.
            return address.replace("wss://", "ws://", 1), options

    listing = {"tick_size": {}, "instrument_type": {"BTC-USDT-PERP": "perpetual"}}
    Symbols.set(BINANCE_FUTURES, {"BTC-USDT-PERP": "BTCUSDT"}, listing)
    ids, position, deltas = plan["ids"], 0, 0

    async def on_book(book: Any, _receipt: float) -> None:
        nonlocal position, deltas
        book.to_dict(delta=book.delta is not None, numeric_type=float)
        deltas += 1
        position = taken(book.sequence_number, ids)

    feed = Loopback(symbols=["BTC-USDT-PERP"], channels=[L2_BOOK], callbacks={L2_BOOK: on_book}, timeout=-1)
    feed.start(asyncio.get_running_loop())
    meter = Meter(len(ids), lambda: position)
    await meter.all_taken()
    return meter.stop() | {"deltas": deltas}


async def run_bare(plan: dict[str, Any], _: Path) -> dict[str, float]:
    """The least that keeps a book: aiohttp, orjson, two dicts by the text of the price, a look at `pu`."""
    import aiohttp
    import orjson

    root = f"127.0.0.1:{plan['port']}"
    ids, position = plan["ids"], 0
    bids: dict[str, str] = {}
    asks: dict[str, str] = {}
    meter = Meter(len(ids), lambda: position)

    async def follow(session: aiohttp.ClientSession) -> None:
        nonlocal position
        last = -1
        async with session.ws_connect(f"ws://{root}/stream?streams=btcusdt@depth@100ms", compress=0) as socket:
            async for frame in socket:
                diff = orjson.loads(frame.data)["data"]
                if last < 0:
                    async with session.get(f"http://{root}/fapi/v1/depth?symbol=BTCUSDT&limit=1000") as answer:
                        snapshot = orjson.loads(await answer.read())
                    bids.update(snapshot["bids"])
                    asks.update(snapshot["asks"])
                elif diff["pu"] != last:
                    raise ValueError("a message is missing")
                last = diff["u"]
                for side, levels in ((bids, diff["b"]), (asks, diff["a"])):
                    for price, quantity in levels:
                        if float(quantity):
                            side[price] = quantity
                        else:
                            side.pop(price, None)
                position += 1
                if position == len(ids):
                    return

    async with aiohttp.ClientSession() as session:
        following = asyncio.create_task(follow(session))
        await asyncio.wait({following, asyncio.create_task(meter.all_taken())}, return_when=asyncio.ALL_COMPLETED)
        following.result()
        return meter.stop() | {"levels": len(bids) + len(asks)}


CLIENTS = {
    "collector": run_collector,
    "journal": run_journal,
    "ccxt": run_ccxt,
    "cryptofeed": run_cryptofeed,
    "bare": run_bare,
}

if __name__ == "__main__":
    name, plan_file, data = sys.argv[1:4]
    with contextlib.suppress(KeyboardInterrupt):
        print(json.dumps(asyncio.run(CLIENTS[name](json.loads(Path(plan_file).read_text()), Path(data)))), flush=True)
        os._exit(0)  # not every peer's threads end by themselves
