"""The feed on a sound exchange."""

from __future__ import annotations

import asyncio
import gc
import itertools

import pytest

from collector.clock import SystemClock
from collector.errors import ConfigurationError
from collector.sources.binance_feed import BinanceFeed
from collector.sources.errors import FeedError, SymbolError, UnreachableError
from collector.sources.settings import FeedSettings

DEPTH = "btcusdt@depth@100ms"
TRADES = "btcusdt@aggTrade"


async def test_every_frame_reaches_the_sink_exactly_as_sent_and_in_order(harness, exchange):
    await harness.run(streams=("depth", "aggTrade"))
    for _ in range(200):
        await exchange.send(DEPTH)
        await exchange.send(TRADES)
    await exchange.send(DEPTH, '{ "e" : "depthUpdate",\n"s":"BTCUSDT","é":"\\u20ac 1.50"}')
    await harness.until(lambda: sum(map(len, harness.sink.frames.values())) == 401)
    assert sorted(harness.sink.frames.values(), key=len) == [exchange.sent[TRADES], exchange.sent[DEPTH]]
    assert harness.sink.stamps == sorted(harness.sink.stamps)
    assert 0 <= harness.clock.now_ns() - harness.sink.stamps[-1] < 5e9


async def test_each_channel_has_a_connection_of_its_own_on_its_route(harness, exchange):
    streams = ("depth", "aggTrade", "bookTicker", "trade", "markPrice", "forceOrder", "kline_1m", "depth20")
    feed = await harness.run(streams=streams, markets=("BTC/USDT", "ETH/USDT:USDT"))
    routes = {names[0]: websocket for websocket, names in exchange.subscribed.items()}
    path = dict(zip(exchange.connections, exchange.paths, strict=True))
    public = {name for name, websocket in routes.items() if path[websocket].startswith("/fstream/public/")}
    market = {name for name, websocket in routes.items() if path[websocket].startswith("/fstream/market/ws/")}
    assert public == {DEPTH, "btcusdt@bookTicker", "btcusdt@trade", "btcusdt@depth20@100ms"}
    assert market == {TRADES, "btcusdt@markPrice@1s", "btcusdt@forceOrder", "btcusdt@kline_1m"}
    assert path[routes["btcusdt@depth20@100ms"]] == "/fstream/public/stream", "in the wrapper: it looks like a diff"
    opened = harness.sink.named("opened")
    assert sorted(connection for _, connection, _, _ in opened) == list(range(1, 9))
    assert {stream for _, _, group, _ in opened for stream in group} == set(feed.streams)
    assert [market.symbol for market in feed.markets] == ["BTCUSDT", "ETHUSDT"]


async def test_partial_depth_of_spot_comes_wrapped_since_it_names_no_symbol(harness, exchange):
    await harness.run("binance", streams=("depth20", "depth"))
    paths = set(exchange.paths[1:])  # the first is the handshake that proves the URL
    assert "/stream/stream" in paths
    assert len(paths) == 2
    text = '{"stream":"btcusdt@depth20@100ms","data":{"lastUpdateId":1,"bids":[],"asks":[]}}'
    await exchange.send("btcusdt@depth20@100ms", text)
    await harness.until(lambda: [text] in harness.sink.frames.values())


async def test_ccxt_fetches_no_books_and_keeps_none(harness, exchange):
    feed = await harness.run(streams=("depth", "aggTrade", "bookTicker"))
    for _ in range(20):
        await exchange.send(DEPTH)
        await exchange.send(TRADES)
    await harness.until(lambda: sum(map(len, harness.sink.frames.values())) == 40)
    assert exchange.requests["depth"] == 0
    ccxt = feed._transport._ccxt
    assert (ccxt.orderbooks, ccxt.trades, ccxt.bidsasks, ccxt.markets) == ({}, {}, {}, None)


async def test_a_snapshot_comes_as_received_after_its_request(harness, exchange):
    body = b' {"lastUpdateId": 7,\n "bids":[["1.10000000","2"]],"asks":[], "unknown":"\xc3\xa9"}'
    exchange.answers["depth"].append((200, body, {}))
    feed = await harness.run()
    assert feed.request_anchor("BTCUSDT", "first")
    assert not feed.request_anchor("BTCUSDT", "again")
    await harness.until(lambda: harness.sink.named("anchor"))
    names = [name for name, _ in harness.sink.calls]
    assert names.index("anchor_requested") < names.index("anchor")
    (requested,) = harness.sink.named("anchor_requested")
    (recv_ns, symbol, requested_ns, reason, limit, text) = harness.sink.named("anchor")[0]
    assert (symbol, reason, limit, text) == ("BTCUSDT", "first", 1000, body)
    assert requested == (requested_ns, "BTCUSDT", "first")
    assert requested_ns < recv_ns
    with pytest.raises(KeyError):
        feed.request_anchor("DOGEUSDT", "typo")


@pytest.mark.parametrize(
    ("name", "markets", "setting", "limit"),
    [("binance", 1, None, 5000), ("binance", 11, None, 1000), ("binanceusdm", 1, None, 1000), ("binance", 1, 100, 100)],
)
async def test_how_deep_a_snapshot_goes(harness, exchange, name, markets, setting, limit):
    exchange.symbols = [f"C{number}USDT" for number in range(markets)]
    feed = await harness.run(name, tuple(exchange.symbols), anchor_limit=setting)
    feed.request_anchor("C0USDT", "first")
    await harness.until(lambda: harness.sink.named("anchor"))
    (query,) = [query for query in exchange.queries if query["path"] == "depth"]
    assert query == {"path": "depth", "symbol": "C0USDT", "limit": str(limit)}


async def test_the_clock_is_measured_at_start_and_again(harness, exchange):
    await harness.run()
    await harness.until(lambda: harness.sink.named("clock_measured"))
    _, offset_ns, round_trip_ns, samples = harness.sink.named("clock_measured")[0]
    # The scripted exchange is 5 ms ahead, and its stamp is cut to the millisecond.
    assert abs(offset_ns - 5_000_000) <= 1_000_000 + round_trip_ns
    assert samples == 5
    harness.clock.push(301)
    await harness.until(lambda: len(harness.sink.named("clock_measured")) == 2)
    assert abs(harness.sink.named("clock_measured")[1][1] + 301e9) < 1e9


async def test_stopping_closes_each_connection_once_and_leaves_nothing_behind(harness, exchange):
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    await harness.run("binance", streams=("depth", "aggTrade", "bookTicker"))
    await harness.stop()
    await harness.stop()
    assert harness.sink.reasons() == ["stopped"] * 3
    opened = {(connection, tuple(streams)) for _, connection, streams, _ in harness.sink.named("opened")}
    closed = {(connection, tuple(streams)) for _, connection, streams, _ in harness.sink.named("closed")}
    assert opened == closed
    harness.feed = None
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []
    ours = [task for task in asyncio.all_tasks() if "ccxt" in repr(task) or "collector" in repr(task)]
    assert ours == []


@pytest.mark.parametrize(
    ("markets", "query"),
    [
        (("btc/usdt", "ETHUSDT"), {"symbols": '["BTCUSDT","ETHUSDT"]'}),
        (("*/USDT", "ETHUSDT"), {"showPermissionSets": "false"}),
    ],
)
async def test_spot_is_asked_for_no_more_listings_than_needed(harness, exchange, markets, query):
    feed = await harness.run("binance", markets)
    assert [asked for asked in exchange.queries if asked["path"] == "exchangeInfo"] == [
        {"path": "exchangeInfo", **query}
    ]
    assert [market.symbol for market in feed.markets] == ["BTCUSDT", "ETHUSDT"]


# -- starting


async def started(url: str, name: str = "binanceusdm", markets: tuple[str, ...] = ("BTCUSDT",), **settings: object):
    feed = BinanceFeed(
        name, markets, ["depth"], FeedSettings(url_root=url, **settings), SystemClock(), object(), sleep=no_sleep
    )
    try:
        await feed.start()
    finally:
        await feed.close()


async def no_sleep(seconds: float) -> None:
    await asyncio.sleep(0)


async def test_nobody_there(exchange):
    await exchange.stop()
    with pytest.raises(
        UnreachableError, match=r"cannot be used: exchangeInfo: no answer: .*check the network, and --url-root"
    ):
        await started(exchange.url)


@pytest.mark.parametrize(
    ("status", "mend"),
    [(451, "does not serve this country"), (403, "firewall"), (404, "--url-root"), (418, "wait"), (503, "--url-root")],
)
async def test_refusals_at_start_say_what_to_do(exchange, status, mend):
    exchange.answers["exchangeInfo"] = [(status, b'{"code":0,"msg":"no"}', {"Retry-After": "0"})] * 3
    with pytest.raises(FeedError, match=rf"HTTP {status}.*Mend: .*{mend}") as raised:
        await started(exchange.url)
    assert raised.value.exit_code == 2
    assert isinstance(raised.value, UnreachableError) == (status in {418, 503})


@pytest.mark.parametrize("body", [b"<html>welcome</html>", b"{}", b""])
async def test_something_else_at_the_url(exchange, body):
    exchange.answers["exchangeInfo"] = [(200, body, {})] * 3
    with pytest.raises(FeedError, match="--url-root"):
        await started(exchange.url)


async def test_a_fault_that_passes_is_waited_out(exchange):
    exchange.answers["exchangeInfo"] = [(502, b"", {}), (503, b"", {})]
    await started(exchange.url)
    assert exchange.requests["exchangeInfo"] == 3


async def test_a_long_ban_is_not_waited_out(exchange):
    exchange.answers["exchangeInfo"] = [(418, b"", {"Retry-After": "7200"})]
    with pytest.raises(FeedError, match=r"HTTP 418.*wait 7\d\d\d s"):
        await started(exchange.url)
    assert exchange.requests["exchangeInfo"] == 1


async def test_a_wrong_websocket_is_found_at_start(exchange):
    with pytest.raises(FeedError, match=r"FUTURES_WS: no websocket at ws://127.0.0.1:1/ws.*check the URL"):
        await started(exchange.url, futures_ws="ws://127.0.0.1:1/public")


async def test_an_unknown_market(exchange):
    for name in ("binance", "binanceusdm"):
        with pytest.raises(SymbolError, match=r"did you mean .*BTCUSDT"):
            await started(exchange.url, name, markets=("BTCUSTD",))


@pytest.mark.parametrize(
    ("name", "streams", "settings"),
    [
        ("kraken", ["depth"], {}),
        ("binance", [], {}),
        ("binance", ["markPrice"], {}),
        ("binance", ["depth"], {"depth_speed_ms": 250}),
        ("binance", ["depth"], {"anchor_limit": 6000}),
        ("binanceusdm", ["depth"], {"anchor_limit": 999}),
        ("binance", ["depth"], {"anchor_interval_s": 0}),
        ("binance", ["depth"], {"url_root": "127.0.0.1:80"}),
    ],
)
def test_settings_are_checked_before_anything_is_connected(name, streams, settings):
    with pytest.raises(ConfigurationError):
        BinanceFeed(name, ["BTCUSDT"], streams, FeedSettings(**settings), SystemClock(), object())


async def test_running_without_a_start(exchange):
    feed = BinanceFeed("binance", ["BTCUSDT"], ["depth"], FeedSettings(), SystemClock(), object())
    with pytest.raises(RuntimeError, match="not started"):
        await feed.run()
    with pytest.raises(RuntimeError, match="not started"):
        feed.request_anchor("BTCUSDT", "first")
    await feed.close()


async def test_snapshots_repeat_periodically_spread_over_the_markets(harness, exchange):
    await harness.run(markets=("BTCUSDT", "ETHUSDT"), anchor_interval_s=100)
    start_ns = harness.clock.now_ns()
    seen: list[tuple[float, str]] = []
    for _ in range(7):
        await harness.until(lambda: len(harness.sink.named("anchor")) == len(harness.sink.named("anchor_requested")))
        harness.clock.push(50)
        await asyncio.sleep(0.05)
    for now_ns, symbol, reason in harness.sink.named("anchor_requested"):
        assert reason == "periodic"
        seen.append(((now_ns - start_ns) / 1e9, symbol))
    assert len(seen) >= 4
    assert {symbol for _, symbol in seen} == {"BTCUSDT", "ETHUSDT"}
    assert all(first[1] != second[1] for first, second in itertools.pairwise(seen))
    assert seen[0][0] >= 100
