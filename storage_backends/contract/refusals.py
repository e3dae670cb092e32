"""What no store may take, and what it says then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from storage_backends.contract import MARKET, WRITER, got, put
from storage_backends.contract.rows import arrow, row, rows
from storage_backends.errors import PermanentBackendError
from storage_backends.interface import Backend, Market

if TYPE_CHECKING:
    from collections.abc import Callable


class Refusals:
    """Names, schemas and nulls."""

    @pytest.mark.parametrize(
        "symbol", ["", "..", ".hidden", "a/b", "a\\b", "A..B", "BTC USDT", "Ⓢ", "a\0", "x" * 65, "-"]
    )
    def test_symbols_that_are_refused(self, backend: Backend, symbol: str) -> None:
        market = Market("binance", symbol)
        with pytest.raises(PermanentBackendError, match="symbol"):
            put(backend, "trades", rows("trades", [1]), market=market)
        with pytest.raises(PermanentBackendError, match="symbol"):
            backend.scan("trades", market)
        with pytest.raises(PermanentBackendError, match="symbol"):
            backend.stats("trades", market)
        with pytest.raises(PermanentBackendError, match="symbol"):
            backend.tables(market)
        assert backend.markets() == []

    @pytest.mark.parametrize("symbol", ["1INCHUSDT", "BTCUSDT_240927", "BTC-USDT-SWAP", "tBTCF0", "A.B"])
    def test_symbols_that_are_taken(self, backend: Backend, symbol: str) -> None:
        put(backend, "trades", rows("trades", [1]), market=Market("okx-swap", symbol))
        assert backend.markets() == [("okx-swap", symbol)]
        assert got(backend, "trades", Market("okx-swap", symbol)) == rows("trades", [1])

    def test_other_names_that_are_refused(self, backend: Backend) -> None:
        with pytest.raises(PermanentBackendError, match="exchange"):
            put(backend, "trades", rows("trades", [1]), market=Market("../x", "BTCUSDT"))
        with pytest.raises(PermanentBackendError, match="writer"):
            put(backend, "trades", rows("trades", [1]), writer="a/b")
        with pytest.raises(PermanentBackendError, match="content hash"):
            put(backend, "trades", rows("trades", [1]), content_hash="xyz")
        for unknown in ("prices", "../trades", "Trades", ""):
            with pytest.raises(PermanentBackendError, match="table"):
                backend.write(unknown, MARKET, arrow("trades", []), writer=WRITER, content_hash="ab" * 32)
            with pytest.raises(PermanentBackendError, match="table"):
                backend.scan(unknown, MARKET)
            with pytest.raises(PermanentBackendError, match="table"):
                backend.stats(unknown, MARKET)
            with pytest.raises(PermanentBackendError, match="table"):
                backend.markets(unknown)
        assert backend.markets() == []

    def test_an_unknown_column_is_named(self, backend: Backend) -> None:
        with pytest.raises(PermanentBackendError, match="no column volume"):
            backend.scan("trades", MARKET, columns=["price", "volume"])

    @pytest.mark.parametrize(
        ("problem", "spoil"),
        [
            ("price", lambda made: made.drop_columns(["price"])),
            ("no column extra", lambda made: made.append_column("extra", made.column("price"))),
            ("quantity", lambda made: made.set_column(4, "quantity", made.column("quantity").cast("float32"))),
        ],
    )
    def test_rows_of_another_schema_are_refused(
        self, backend: Backend, problem: str, spoil: Callable[[pa.Table], pa.Table]
    ) -> None:
        with pytest.raises(PermanentBackendError, match=problem):
            backend.write(
                "trades", MARKET, spoil(arrow("trades", rows("trades", [1]))), writer=WRITER, content_hash="ab" * 32
            )
        assert backend.markets() == []

    def test_nulls_are_refused_where_there_can_be_none(self, backend: Backend) -> None:
        with pytest.raises(PermanentBackendError, match="price is null"):
            put(backend, "trades", [row("trades", 1, price=None)])
        assert backend.markets() == []
