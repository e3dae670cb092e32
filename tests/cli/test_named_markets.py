"""Markets that are named and are not there, in captures or in a store: an error before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector.sources.capture_markets import symbols_in
from storage_backends.interface import Market
from tests.cli.call import Call
from tests.core.exchange import SECOND, START_NS, Exchange
from tests.features.sample import collect, script, stored
from tests.test_replay import TEMPLATE, frame, own, write


def captures(folder: Path) -> list[Path]:
    """One of several markets, as others write them, and one that says itself whose it is."""
    exchange = Exchange(futures=True)
    several = [frame(exchange, START_NS + at, s=symbol) for at, symbol in enumerate(("BTCUSDT", "ETHUSDT"))]
    session = own(START_NS, TEMPLATE.__class__(exchange="binanceusdm", symbol="SOLUSDT", futures=True))
    return [write(folder / "theirs", *several), write(folder / "ours", session)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--tick-sizes", "BTCUSD=10;ETHUSDT=1"], ["--tick-sizes", "BTCUSD:", "did you mean BTCUSDT?"]),
        (["--tick-sizes", "DOGE/USDT=10"], ["--tick-sizes", "DOGEUSDT", "BTCUSDT, ETHUSDT, SOLUSDT"]),
        (["--tick-sizes", "ETHUSDT=10", "-s", "BTCUSDT"], ["--tick-sizes", "ETHUSDT", "--symbol has BTCUSDT"]),
        (["-s", "BTCUSDT", "-s", "ETHUSD"], ["--symbol", "ETHUSD:", "did you mean ETHUSDT?"]),
    ],
)
def test_a_market_that_is_not_there_is_an_error_before_anything_is_written(
    call: Call, tmp_path: Path, options: list[str], said: list[str]
) -> None:
    files = captures(tmp_path)
    code, _, err = call("replay", *files, "--data-dir", "out", *options)
    assert code == 2
    assert err.count("\n") == 1, err
    assert all(part in err for part in said), err
    assert not (tmp_path / "out").exists()


def test_settings_of_a_file_may_name_others(call: Call, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("tick_sizes:\n  DOGE/USDT: [1]\n  BTC/USDT: [10]\n")
    code, _, err = call("replay", *captures(tmp_path), "--data-dir", "out", "--config", "c.yaml", "-s", "SOLUSDT")
    assert code == 0, err


def test_captures_are_read_as_far_as_it_takes(tmp_path: Path) -> None:
    theirs, ours = captures(tmp_path)
    damaged = tmp_path / "damaged"
    damaged.write_text("no capture\n" * 10)
    named = tmp_path / "DOGEUSDT_binanceusdm_20231114T221320_0.zst"
    assert symbols_in([named, theirs, ours, damaged], ["DOGEUSDT"]) == {"DOGEUSDT"}
    assert symbols_in([named, theirs, ours, damaged], ["BTCUSDT"]) == {"DOGEUSDT", "BTCUSDT"}
    assert symbols_in([theirs, ours], ["SOLUSDT"]) == {"BTCUSDT", "ETHUSDT", "SOLUSDT"}


def test_bare_snapshots_are_of_the_market_that_the_name_of_their_file_says(tmp_path: Path) -> None:
    path = write(tmp_path / "btcusdt_books", (START_NS, Exchange(futures=True).snapshot().decode()))
    assert symbols_in([path], ["BTCUSDT"]) == {"BTCUSDT"}
    assert symbols_in([path], ["ETHUSDT"]) == set()


@pytest.mark.parametrize(
    ("command", "options", "said"),
    [
        (["backfill", "bars"], ["-s", "ETHUSDT"], ["--symbol", "ETHUSDT", "binanceusdm BTCUSDT"]),
        (["features", "recompute"], ["-s", "ETHUSDT"], ["--symbol", "ETHUSDT", "binanceusdm BTCUSDT"]),
        (["features", "recompute"], ["-s", "BTCUSDT", "--exchange", "binance"], ["--symbol", "BTCUSDT", "binance;"]),
    ],
)
def test_a_market_that_the_store_does_not_have_is_an_error(
    call: Call, tmp_path: Path, command: list[str], options: list[str], said: list[str]
) -> None:
    """Each of exchange and market may be there, and both together not."""
    rows = collect(script(3, futures=True), "mid", futures=True)
    stored(tmp_path / "data", rows)
    stored(tmp_path / "data", collect(script(4, futures=False), "mid", futures=False), Market("binance", "SOLUSDT"))
    span = ("--from", START_NS // SECOND, "--to", START_NS // SECOND + 60)
    code, _, err = call(*command, *options, *span, "--data-dir", "data")
    assert code == 2
    assert err.count("\n") == 1, err
    assert all(part in err for part in said), err
