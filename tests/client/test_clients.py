"""Every client gives the same rows for the same question."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from collector.audit.healing import read_remaining
from collector.bars import trades_to_ohlcv
from collector.client import BinanceCollectorAPIClient, StorageEngine, get_hot_client, get_local_client
from collector.client.questions import Client, instant_ns
from storage_backends.reading import read
from tests.audit.sample import MARKET, Sample
from tests.client.test_remote import Server, sshd
from tests.core.exchange import SECOND, START_NS
from tests.serve.conftest import KEY, clock, sample, served, with_key

__all__ = ["clock", "sample", "served", "sshd"]  # fixtures of other tests


@pytest.fixture(params=["local", "hot", "hot without files", "api", "remote"])
def client(
    request: pytest.FixtureRequest,
    sample: Sample,
    served: Callable[..., tuple[str, int]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Client]:
    if request.param == "local":
        yield get_local_client(sample.folder)
    elif request.param == "remote":
        server: Server = request.getfixturevalue("sshd")
        with server.client(sample.folder, cache_path=tmp_path_factory.mktemp("cache")) as remote:
            yield remote
    elif request.param == "api":
        host, port = served(**with_key())
        with BinanceCollectorAPIClient(f"http://{host}:{port}/", KEY) as api:
            yield api
    else:
        if request.param == "hot":
            engine = StorageEngine(sample.folder)
            for table in engine.backend.tables(MARKET):
                engine.maintain_hot_snapshot(table, MARKET)
        yield get_hot_client(sample.folder)


def test_the_last_rows_of_every_table(client: Client, sample: Sample) -> None:
    for table in sample.store.tables(MARKET):
        wanted = read(sample.store, table, MARKET)
        found = client.get_table(table, "BTC/USDT", limit=5, output="arrow")
        assert found.equals(wanted.slice(max(0, len(wanted) - 5))), table


def test_rows_from_a_time_on(client: Client, sample: Sample) -> None:
    wanted = read(sample.store, "trades", MARKET, START_NS + 5 * SECOND, START_NS + 20 * SECOND)
    start = datetime.fromtimestamp(START_NS / 1e9 + 5, UTC)
    asked: dict[str, Any] = {"start_time": start, "end_time": START_NS + 20 * SECOND, "output": "arrow"}
    assert client.get_trades("BTCUSDT", limit=100_000, **asked).equals(wanted)
    assert client.get_trades("BTCUSDT", limit=17, **asked).equals(wanted.slice(0, 17))


def test_bars_are_those_of_the_trades(client: Client, sample: Sample) -> None:
    wanted = trades_to_ohlcv(read(sample.store, "trades", MARKET), "5s")
    found = client.get_ohlcv("BTCUSDT", "5s", limit=1000, output="arrow")
    assert found.equals(wanted)
    assert client.get_ohlcv("BTCUSDT", "5s", limit=2, output="arrow").equals(wanted.slice(len(wanted) - 2))


def test_a_book(client: Client) -> None:
    book = client.get_book("BTCUSDT", START_NS + 11 * SECOND, depth=4)
    assert len(book["bids"]) == len(book["asks"]) == 4
    assert book == client.get_book("BTCUSDT", (START_NS + 11 * SECOND) // 10**6, depth=4) | {"at_ns": book["at_ns"]}
    with pytest.raises(LookupError, match="no book"):
        client.get_book("BTCUSDT", "2001-01-01")


def test_stats(client: Client, sample: Sample) -> None:
    stats = {one["table"]: one for one in client.get_stats("BTCUSDT")}
    assert stats["diffs"]["rows"] == len(sample.received)


def test_gaps(client: Client, sample: Sample) -> None:
    """The sample was cut off from second 12 to second 14: a gap of each stream, and one until its first snapshot."""
    wanted = [{**MARKET._asdict(), **msgspec.structs.asdict(gap)} for gap in read_remaining(sample.store, MARKET)]
    assert client.get_gaps("BTC/USDT") == wanted
    assert [gap["healed"] for gap in wanted] == [False] * len(wanted)
    assert client.get_gaps("BTC/USDT", limit=2) == wanted[-2:]
    within = client.get_gaps("BTC/USDT", start_time=START_NS + 13 * SECOND, end_time=START_NS + 14 * SECOND)
    assert {gap["stream"] for gap in within} == {"depth", "trades", "book_ticker"}
    assert client.get_gaps("BTC/USDT", start_time=START_NS + 20 * SECOND) == []
    assert client.get_gaps("BTC/USDT", end_time=START_NS) == []


def test_frames_of_three_kinds(client: Client) -> None:
    rows = client.get_trades("BTCUSDT", limit=3, output="arrow")
    assert isinstance(rows, pa.Table)
    pandas, polars = client.get_trades("BTCUSDT", limit=3), client.get_trades("BTCUSDT", limit=3, output="polars")
    assert isinstance(pandas, pd.DataFrame)
    assert isinstance(polars, pl.DataFrame)
    assert pandas["price"].tolist() == polars["price"].to_list() == rows["price"].to_pylist()


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.get_trades("NOPE"),
        lambda client: client.get_table("nothing", "BTCUSDT"),
        lambda client: client.get_trades("BTCUSDT", start_time="tomorrow"),
        lambda client: client.get_ohlcv("BTCUSDT", "7 parsecs"),
        lambda client: client.get_orderbook("BTCUSDT", tick_size=10),
        lambda client: client.get_trades("BTCUSDT", output="csv"),
    ],
)
def test_questions_that_cannot_be_answered(client: Client, ask: Callable[[Client], Any]) -> None:
    with pytest.raises((ValueError, LookupError)):
        ask(client)


def test_what_a_client_cannot_reach(served: Callable[..., tuple[str, int]], tmp_path: Path) -> None:
    host, port = served(**with_key())
    with pytest.raises(PermissionError, match="api_key"), BinanceCollectorAPIClient(f"http://{host}:{port}") as api:
        api.get_stats()
    with pytest.raises(ConnectionError), BinanceCollectorAPIClient("http://127.0.0.1:9") as api:
        api.get_stats()
    with pytest.raises(ValueError, match="is no folder"):
        get_local_client(tmp_path / "nothing")


@pytest.mark.parametrize(
    "value", ["2024-07-18T23:59:50Z", 1_721_347_190, 1_721_347_190.0, datetime(2024, 7, 18, 23, 59, 50, tzinfo=UTC)]
)
def test_times_are_read(value: Any) -> None:
    assert instant_ns(value) == 1_721_347_190_000_000_000


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        instant_ns(datetime(2024, 7, 18))  # noqa: DTZ001  that is the point
