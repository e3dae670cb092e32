"""The library form: objects with `update`."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas
import polars
import pyarrow as pa
import pytest

from collector import OrderBookCollector, TradesCollector
from collector.clock import SystemClock
from collector.errors import ConfigurationError
from collector.simulator.server import Simulator, SimulatorConfig
from storage_backends.interface import Market
from tests.stores import open_local, rows

HALF_HOUR = dt.timedelta(minutes=30)


class Exchange:
    """A simulator in a thread of its own, since `update` blocks."""

    def __init__(self) -> None:
        config = SimulatorConfig(symbols=2, past_s=7200, past_orders=1500, trades=20.0, depth=2500)
        self.simulator = Simulator(config, SystemClock())
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.do(self.simulator.start())

    def do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def close(self) -> None:
        self.do(self.simulator.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    started = Exchange()
    yield started
    started.close()


def test_each_update_gives_what_is_new(exchange: Exchange, tmp_path: Path) -> None:
    common = {"data_dir": tmp_path, "url_root": exchange.simulator.url, "since": HALF_HOUR}
    trades = TradesCollector(["BTC/USDT", "ETHUSDT"], **common)
    frames = [trades.update()]
    assert isinstance(frames[0], pandas.DataFrame)
    for _ in range(2):
        exchange.do(asyncio.sleep(0.7))
        frames.append(trades.update())
    frames.append(TradesCollector(["BTC/USDT", "ETHUSDT"], **common).update())
    assert all(outcome.good for outcome in trades.outcomes)
    every = pandas.concat(frames)
    for symbol in ("BTCUSDT", "ETHUSDT"):
        ids = every[every.symbol == symbol].agg_trade_id.tolist()
        assert len(ids) > 100
        assert ids == list(range(ids[0], ids[0] + len(ids))), "each once, in order, without a hole"
        stored = [row["agg_trade_id"] for row in rows(open_local(tmp_path), "trades", Market("binance", symbol))]
        assert stored == ids
    age = dt.datetime.now(dt.UTC) - dt.datetime.fromtimestamp(frames[0].timestamp.min() / 1000, dt.UTC)
    assert dt.timedelta(minutes=25) < age < dt.timedelta(minutes=31)


async def test_other_frames_and_a_running_event_loop(exchange: Exchange, tmp_path: Path) -> None:
    for number, (frame, kind) in enumerate((("polars", polars.DataFrame), ("arrow", pa.Table))):
        trades = TradesCollector(
            ["BTC/USDT"],
            exchange="binanceusdm",
            data_dir=tmp_path / str(number),
            url_root=exchange.simulator.url,
            frame=frame,  # type: ignore[arg-type]
        )
        found = trades.update()
        assert isinstance(found, kind)
        assert len(found) > 100


@pytest.mark.parametrize("exchange_name", ["binance", "binanceusdm"])
def test_books_in_levels_of_several_widths(exchange: Exchange, tmp_path: Path, exchange_name: str) -> None:
    books = OrderBookCollector(
        ["BTC/USDT"], [1, 5.0, "10"], 4, exchange=exchange_name, data_dir=tmp_path, url_root=exchange.simulator.url
    )
    frame = books.update()
    assert frame.tick_size.tolist() == [1.0, 5.0, 10.0]
    assert len(frame.columns) == 9 + 2 * 4 * 4
    market = Market(exchange_name, "BTCUSDT")
    store = open_local(tmp_path)
    (polled,) = rows(store, "polled_books", market)
    assert polled["limit"] == (5000 if exchange_name == "binance" else 1000)
    stored = rows(store, "multitick", market)
    assert [row["tick"] for row in stored] == [1.0, 5.0, 10.0]
    for row, wide in zip(stored, frame.itertuples(), strict=True):
        tick = row["tick"]
        levels: dict[float, float] = {}
        for price, quantity in zip(polled["bid_price"], polled["bid_quantity"], strict=True):
            level = price // tick * tick
            levels[level] = levels.get(level, 0.0) + quantity
        best = sorted(levels, reverse=True)[: len(row["bid_price"])]
        assert best
        assert row["bid_price"] == best
        assert row["bid_quantity"] == pytest.approx([levels[level] for level in best])
        assert (wide.bid_price_1, wide.bid_qty_1) == (row["bid_price"][0], row["bid_quantity"][0])
        assert min(row["ask_price"]) >= polled["ask_price"][0]
    assert len(books.update()) == 3


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (lambda: TradesCollector([]), "symbols"),
        (lambda: TradesCollector(["BTC-USDT!"]), "symbols"),
        (lambda: TradesCollector(["BTC/USDT"], exchange="kraken"), "kraken"),
        (lambda: TradesCollector(["BTC/USDT"], since=dt.timedelta(-1)), "since"),
        (lambda: OrderBookCollector(["BTC/USDT"], ["wide"]), "tick_sizes"),
        (lambda: OrderBookCollector(["BTC/USDT"], [0]), "tick_sizes"),
        (lambda: OrderBookCollector(["BTC/USDT"], [1], 0), "num_levels"),
        (lambda: OrderBookCollector(["BTC/USDT"], [1], limit=9000), "9000"),
    ],
)
def test_what_cannot_be_right_is_said_at_once(made: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        made()
