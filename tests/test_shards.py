from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.shards import ALONE, Shard, shard_of
from collector.sources.errors import SymbolError
from collector.sources.markets import MarketInfo, of_shard
from tests.live.harness import collector

MARKETS = [("binanceusdm", f"M{number}USDT") for number in range(2000)]


@given(st.text(max_size=20), st.text(max_size=20), st.integers(1, 40))
def test_every_market_has_exactly_one_collector(exchange: str, symbol: str, count: int) -> None:
    takers = [index for index in range(count) if Shard(index, count).takes(exchange, symbol)]
    assert takers == [shard_of(exchange, symbol, count)]


def test_markets_are_spread_evenly_and_stay_where_they_are() -> None:
    seven = {market: shard_of(*market, 7) for market in MARKETS}
    assert all(220 < number < 350 for number in Counter(seven.values()).values())
    eight = {market: shard_of(*market, 8) for market in MARKETS}
    moved = {market for market in MARKETS if seven[market] != eight[market]}
    assert all(eight[market] == 7 for market in moved)
    assert 180 < len(moved) < 320


def test_the_split_never_changes() -> None:
    """Collectors of other releases and other machines must agree."""
    symbols = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")
    assert [shard_of("binanceusdm", symbol, 5) for symbol in symbols] == [
        0,
        4,
        2,
        0,
    ]


def test_a_collector_without_a_market_says_which_setting_to_mend() -> None:
    info = MarketInfo("BTCUSDT", "BTC/USDT:USDT", "BTC", "USDT", "USDT", None, None)
    assert of_shard("binanceusdm", [info], ALONE) == [info]
    other = 1 - shard_of("binanceusdm", "BTCUSDT", 2)
    with pytest.raises(SymbolError, match=rf"--shard-index {other}.*--shard-count"):
        of_shard("binanceusdm", [info], Shard(other, 2))


def test_an_index_beyond_the_count_is_refused() -> None:
    done = collector("run", "--shard-index", "3", "--shard-count", "3", check=False)
    assert done.returncode == 2
    assert "--shard-index 3" in done.stderr
