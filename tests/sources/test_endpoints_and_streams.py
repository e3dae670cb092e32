from __future__ import annotations

import pytest

from collector.errors import ConfigurationError
from collector.sources.endpoints import endpoints
from collector.sources.streams import check_channel, check_depth_speed, stream_name, streams_of


def test_an_exchange_elsewhere():
    assert endpoints("binance", url_root="http://h:1/") == ("http://h:1/api/v3", "ws://h:1/stream/ws")
    assert endpoints("binanceusdm", url_root="https://h") == ("https://h/fapi/v1", "wss://h/fstream/ws")


def test_left_alone():
    assert endpoints("binance") == (None, None)
    assert endpoints("binance", futures_ws="wss://h") == (None, None)
    assert endpoints("binanceusdm", spot_ws="wss://h") == (None, None)


@pytest.mark.parametrize(
    "tail", ["", "/", "/ws", "/stream", "/public", "/market", "/private", "/public/ws", "/market/stream/"]
)
def test_a_futures_root_may_be_given_with_any_prefix(tail):
    assert endpoints("binanceusdm", futures_ws="wss://fstream.example.com" + tail).ws == "wss://fstream.example.com/ws"


@pytest.mark.parametrize("tail", ["", "/", "/ws", "/stream"])
def test_a_spot_root_may_be_given_with_either_form(tail):
    assert endpoints("binance", spot_ws="wss://stream.example.com:9443" + tail).ws == "wss://stream.example.com:9443/ws"


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ({"url_root": "localhost:80"}, "--url-root"),
        ({"url_root": "ws://h"}, "--url-root"),
        ({"url_root": "http://h:port"}, "--url-root"),
        ({"futures_ws": "https://h"}, "FUTURES_WS"),
        ({"futures_ws": "wss://"}, "FUTURES_WS"),
    ],
)
def test_what_is_no_url_is_named(setting, name):
    with pytest.raises(ConfigurationError, match=name):
        endpoints("binanceusdm", **setting)


@pytest.mark.parametrize(
    ("exchange", "channel", "speed_ms", "name"),
    [
        ("binance", "depth", 100, "btcusdt@depth@100ms"),
        ("binance", "depth", None, "btcusdt@depth"),
        ("binance", "depth", 1000, "btcusdt@depth"),
        ("binanceusdm", "depth", 500, "btcusdt@depth@500ms"),
        ("binanceusdm", "depth", 250, "btcusdt@depth"),
        ("binanceusdm", "depth20", 100, "btcusdt@depth20@100ms"),
        ("binanceusdm", "markPrice", 100, "btcusdt@markPrice@1s"),
        ("binance", "kline_1m", 100, "btcusdt@kline_1m"),
    ],
)
def test_names(exchange, channel, speed_ms, name):
    check_channel(exchange, channel)
    check_depth_speed(exchange, speed_ms)
    assert stream_name(exchange, channel, "BTCUSDT", speed_ms) == name


@pytest.mark.parametrize(
    ("exchange", "channel"),
    [
        ("binance", "markPrice"),
        ("binance", "Depth"),
        ("binanceusdm", "kline_1s"),
        ("binance", "kline_7m"),
        ("binance", ""),
    ],
)
def test_what_the_exchange_would_acknowledge_and_never_send_is_refused(exchange, channel):
    with pytest.raises(ConfigurationError, match="--streams"):
        check_channel(exchange, channel)


def test_a_connection_carries_one_channel_and_at_most_two_hundred_markets():
    symbols = [f"C{number}USDT" for number in range(450)]
    planned = list(streams_of("binance", ["depth", "aggTrade", "depth"], symbols, 100))
    assert [(channel, len(streams)) for channel, streams in planned] == [
        ("depth", 200),
        ("depth", 200),
        ("depth", 50),
        ("aggTrade", 200),
        ("aggTrade", 200),
        ("aggTrade", 50),
    ]
    assert [stream.symbol for channel, streams in planned if channel == "depth" for stream in streams] == symbols
