"""What lies at the edges of a question is answered alike in every mode: nothing, one row, what is not there."""

from __future__ import annotations

import pyarrow as pa
import pytest

from collector.client.questions import Client
from storage_backends.reading import read
from storage_backends.schema import TABLES, bare
from tests.audit.sample import MARKET, Sample
from tests.client.test_clients import client
from tests.client.test_remote import sshd
from tests.core.exchange import SECOND, START_NS
from tests.serve.conftest import clock, sample, served

__all__ = ["client", "clock", "sample", "served", "sshd"]  # fixtures of other tests

FAR_NS = START_NS + 10**8 * SECOND


def test_no_rows_have_the_columns_of_the_table(client: Client) -> None:
    """Of a span without rows, and of tables that were never collected: no error, in the table's own types."""
    spans = ({"start_time": FAR_NS}, {"end_time": START_NS - SECOND}, {"start_time": FAR_NS, "end_time": FAR_NS + 1})
    for table in ("trades", "depth", "klines", "features", "mark_price"):
        for span in (*spans, *([{}] if table in ("klines", "features", "mark_price") else [])):
            found = client.get_table(table, "BTCUSDT", output="arrow", **span)
            assert found.num_rows == 0, (table, span)
            assert found.schema.equals(bare(TABLES[table].schema)), (table, span)
            assert list(client.get_table(table, "BTCUSDT", **span).columns) == found.schema.names
            assert client.get_table(table, "BTCUSDT", output="polars", **span).columns == found.schema.names


def test_one_row_is_the_same_from_both_ends(client: Client, sample: Sample) -> None:
    for table in ("trades", "depth", "diffs"):
        rows = read(sample.store, table, MARKET)
        assert client.get_table(table, "BTCUSDT", limit=1, output="arrow").equals(rows.slice(len(rows) - 1))
        first = client.get_table(table, "BTCUSDT", limit=1, start_time=START_NS - SECOND, output="arrow")
        assert first.equals(rows.slice(0, 1))
        assert client.get_table(table, "BTCUSDT", limit=1).dtypes.astype(str).tolist() == [
            str(kind) for kind in client.get_table(table, "BTCUSDT", limit=2).dtypes
        ]


def test_types_are_those_of_the_schema(client: Client) -> None:
    assert client.get_trades("BTCUSDT", output="arrow").schema.equals(bare(TABLES["trades"].schema))
    bars = client.get_ohlcv("BTCUSDT", "5s", start_time=FAR_NS, output="arrow")
    assert isinstance(bars, pa.Table)
    assert bars.num_rows == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"start_time": START_NS + SECOND, "end_time": START_NS}, "not after"),
        ({"start_time": START_NS, "end_time": START_NS}, "not after"),
        ({"limit": 0}, "limit 0"),
        ({"limit": -1}, "limit -1"),
    ],
)
def test_a_span_or_limit_that_is_none_is_refused_in_the_same_words(
    client: Client, wrong: dict[str, int], message: str
) -> None:
    for ask in (client.get_trades, client.get_depth, client.get_ohlcv, client.get_gaps):
        with pytest.raises(ValueError, match=message):
            ask("BTCUSDT", **wrong)


@pytest.mark.parametrize("symbol", ["NOPEUSDT", "NOPE/USDT", "no such thing", "btc"])
def test_a_symbol_that_is_not_there_is_refused(client: Client, symbol: str) -> None:
    for ask in (client.get_trades, client.get_depth, client.get_features, client.get_ohlcv, client.get_gaps):
        with pytest.raises(ValueError, match=r"no such market|not one that is stored"):
            ask(symbol)
    with pytest.raises(ValueError, match=r"no such market|not one that is stored"):
        client.get_book(symbol, START_NS)
