"""Markets of which only ccxt's book and trades are known."""

from __future__ import annotations

import pytest

from collector.core.inputs import Closed, Opened, Tick, UnifiedBook, UnifiedTrade, UnifiedTrades, Verbatim
from collector.core.venues.trades import trade_key
from collector.errors import ConfigurationError
from collector.exchanges import exchange_named
from collector.sources.errors import SymbolError
from collector.sources.unified import plain, unified_channels, unified_trades
from collector.sources.unified_markets import resolve_unified, stored_symbol
from collector.unified_recorder import UnifiedLiveMarket, UnifiedRecorder
from tests.venues.rows import SECOND, START, begin, newest_gaps, session, tables

BOTH = ["depth", "raw_trades"]


def told(changed_ns: int, bid: float = 100.25, ask: float = 100.5, nonce: int | None = 9) -> UnifiedBook:
    return UnifiedBook(changed_ns, changed_ns // 1_000_000, nonce, [(bid, 2.0), (bid - 1, 0.5)], [(ask, 1.5)])


def test_an_epoch_is_valid_while_its_book_is_fresh_and_connected() -> None:
    market = begin("unified")
    market.apply(START, Opened(1, BOTH))
    market.apply(START + 10, told(START + 5))
    market.apply(START + 8 * SECOND, Tick())
    market.apply(START + 8 * SECOND + 5, Closed(1, BOTH, "disconnect"))
    market.apply(START + 10 * SECOND, Tick())
    market.apply(START + 10 * SECOND + 1, Opened(2, BOTH))
    market.apply(START + 10 * SECOND + 2, told(START + 10 * SECOND + 2, nonce=None))
    market.apply(START + 11 * SECOND, Tick())
    rows = tables(market.drain())
    depth = rows["depth"]
    first = START // SECOND
    assert [row["epoch"] for row in depth] == list(range(first + 1, first + 12))
    assert [row["valid"] for row in depth] == [True] * 5 + [False] * 5 + [True]
    assert (depth[0]["best_bid"], depth[0]["best_ask"], depth[0]["price"]) == (100.25, 100.5, 100.375)
    assert depth[0]["bid_buckets"][0] == 200.5
    assert depth[0]["bid_buckets"][1] == 0.0  # the book was told down to 99.25
    assert depth[0]["ask_buckets"][9] is None  # and up to 100.5 only
    assert [row["last_update_id"] for row in depth] == [9] * 8 + [None] * 3
    assert depth[8]["best_bid"] is None
    gaps = {gap["stream"]: gap for gap in newest_gaps(rows["gaps"])}
    assert {name: (gap["from_id"], gap["to_id"], gap["from_ns"], gap["to_ns"]) for name, gap in gaps.items()} == {
        "depth": (None, None, START + 5, START + 10 * SECOND + 2),
        "raw_trades": (None, None, START, START + 10 * SECOND + 1),  # it had said nothing
    }
    assert "unified" in [row["kind"] for row in rows["events"]]
    assert not {"diffs", "snapshots"} & rows.keys()


def test_the_time_between_sessions_is_a_gap_of_each_stream() -> None:
    market = begin("unified")
    market.apply(START, Opened(1, BOTH))
    market.apply(START + 1, told(START + 1))
    market.apply(START + 2, UnifiedTrades([UnifiedTrade("1", 5, "1.5", "2", "buy")]))
    market.drain()
    later = begin("unified", market.resume(), START + 60 * SECOND)
    later.apply(START + 61 * SECOND, Opened(1, BOTH))
    later.apply(START + 61 * SECOND, told(START + 61 * SECOND))
    gaps = {gap["stream"]: gap for gap in newest_gaps(tables(later.drain())["gaps"])}
    assert {(gap["reason"], gap["from_ns"], gap["to_ns"]) for gap in gaps.values()} == {
        ("restart", START + 1, START + 61 * SECOND),
        ("restart", START + 2, None),
    }


def test_what_cannot_be_kept_exactly_is_quarantined() -> None:
    market = begin("unified")
    market.apply(START, Opened(1, BOTH))
    market.apply(START + 1, told(START + 1))
    market.apply(START + 2, told(START + 2, bid=1e-17))
    market.apply(
        START + 3,
        UnifiedTrades(
            [
                UnifiedTrade("a", 5, "nan", "2", "buy"),
                UnifiedTrade("b", None, "1", "2", "buy"),
                UnifiedTrade("c", 5, "1", "2", None),
                UnifiedTrade("d", 5, "1", "2", "sell"),
                UnifiedTrade("d", 5, "1", "2", "sell"),
            ]
        ),
    )
    market.apply(START + 4, Verbatim(1, b"\xff"))
    market.apply(START + SECOND, Tick())
    rows = tables(market.drain())
    assert [row["venue_id"] for row in rows["raw_trades"]] == ["d"]
    assert [row["kind"] for row in rows["events"]].count("quarantine") == 5
    assert not rows["depth"][0]["valid"]
    assert market.counts["raw_trades duplicates"] == 1


def test_a_crossed_book_is_not_shown() -> None:
    market = begin("unified")
    market.apply(START, Opened(1, BOTH))
    market.apply(START + 1, told(START + 1, bid=101.0))
    market.apply(START + SECOND, Tick())
    (row,) = tables(market.drain())["depth"]
    assert row["best_bid"] is None
    assert not row["valid"]


class Book:
    """A book that changes in place, as ccxt's do."""

    def __init__(self) -> None:
        self.bid = 1.0
        self.reads = 0

    def read(self) -> UnifiedBook:
        self.reads += 1
        return told(START, bid=self.bid)


def recording() -> tuple[UnifiedRecorder, UnifiedLiveMarket, Book]:
    live = UnifiedLiveMarket(session("unified"), "BTC/USDT", {"depth": "x"}, START, None)
    recorder = UnifiedRecorder({"BTCUSDT": live}, lambda *_: None)
    live.apply(START, Opened(1, BOTH))
    return recorder, live, Book()


def test_a_book_is_read_once_a_second_before_the_next_second_touches_it() -> None:
    recorder, live, book = recording()
    for number in range(5):
        book.bid = number + 1.0
        recorder.book_changed(START + number * SECOND // 10, "BTCUSDT", book.read)
    recorder.settle(START + SECOND + 1)  # a frame of the next second has come in, and is about to be handled
    book.bid = 77.0
    recorder.book_changed(START + SECOND + 1, "BTCUSDT", book.read)
    live.apply(START + SECOND + 2, Tick())
    assert book.reads == 1
    live.apply(START + 2 * SECOND, Tick())
    depth = tables(live.drain())["depth"]
    assert [row["best_bid"] for row in depth] == [5.0, 77.0]
    assert book.reads == 2


def test_a_book_that_changed_right_before_the_connection_went_does_not_end_the_gap() -> None:
    recorder, live, book = recording()
    recorder.book_changed(START + 1, "BTCUSDT", book.read)
    live.apply(START + 2, Closed(1, BOTH, "disconnect"))
    live.apply(START + 3 * SECOND, Tick())
    rows = tables(live.drain())
    assert [row["valid"] for row in rows["depth"]] == [False] * 3
    assert [gap["to_ns"] for gap in newest_gaps(rows["gaps"]) if gap["stream"] == "depth"] == [None]


def test_keys_of_trades() -> None:
    assert trade_key("12", 5) == (12, None)
    assert trade_key(str(2**63 - 1), 5) == (2**63 - 1, None)
    for text in (str(2**63), "007", "x", "", "-1", "٣"):
        ident, kept = trade_key(text, 5)
        assert (ident >> 20, kept) == (5, text)
    first, _ = trade_key("x", 5)
    second, _ = trade_key("x", 5, {first})
    assert second >> 20 == 5
    assert second != first


def test_trades_as_ccxt_gives_them() -> None:
    trade = {"id": None, "timestamp": 5, "price": 1e-7, "amount": 250, "side": "buy"}
    made = unified_trades([trade, trade, {**trade, "id": "9", "price": 0.1}])
    assert [(one.price, one.quantity) for one in made] == [("0.0000001", "250"), ("0.0000001", "250"), ("0.1", "250")]
    assert len({one.ident for one in made}) == 3
    assert unified_trades([trade, trade])[1].ident == made[1].ident
    assert plain(None) == "None"


def test_names_of_exchanges() -> None:
    assert exchange_named("binanceusdm").protocol == "binance"
    assert exchange_named("bybit-swap") == ("bybit-swap", "bybit", "swap", "bybit")
    assert exchange_named("bybit-option").protocol == "unified"
    assert exchange_named("okx") == ("okx", "okx", None, "unified")
    for wrong in ("krakatoa", "okx-perp", "binance-swap", ""):
        with pytest.raises(ConfigurationError, match="--exchange"):
            exchange_named(wrong)
    assert unified_channels(("depth", "aggTrade", "trade", "bookTicker")) == ("depth", "trade")


def market(symbol: str, ident: str, kind: str, *, active: bool = True) -> dict[str, object]:
    pair, _, settle = symbol.partition(":")
    base, quote = pair.split("/")
    names = {"symbol": symbol, "id": ident, "base": base, "quote": quote}
    return {**names, "settle": settle or None, "type": kind, "active": active}


LISTED = [
    market("BTC/USDT", "BTC-USDT", "spot"),
    market("ETH/USDT", "ETH-USDT", "spot"),
    market("OLD/USDT", "OLD-USDT", "spot", active=False),
    market("BTC/USDT:USDT", "BTC-USDT-SWAP", "swap"),
    market("BTC/USD:BTC", "BTC-USD-SWAP", "swap"),
]


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (None, "btc/usdt", ["BTC-USDT"]),
        ("spot", "BTCUSDT", ["BTC-USDT"]),
        ("spot", "*/USDT", ["BTC-USDT", "ETH-USDT"]),
        ("swap", "BTC/USDT", ["BTC-USDT-SWAP"]),
        ("swap", "BTC/USDT:USDT", ["BTC-USDT-SWAP"]),
        ("swap", "BTC-USD-SWAP", ["BTC-USD-SWAP"]),
    ],
)
def test_names_of_markets(kind: str | None, text: str, expected: list[str]) -> None:
    assert [found.symbol for found in resolve_unified("okx", kind, [text], LISTED)] == expected


@pytest.mark.parametrize(
    ("kind", "text", "says"),
    [
        ("spot", "BTC/USDC", "did you mean"),
        ("spot", "OLD/USDT", "not listed"),
        ("swap", "BTC/USD", "not listed"),
        ("spot", "*/EUR", "matches no market"),
        ("future", "BTC/USDT", "lists no future markets: it has okx-spot, okx-swap"),
    ],
)
def test_names_that_mean_nothing(kind: str, text: str, says: str) -> None:
    with pytest.raises(SymbolError, match=says):
        resolve_unified("okx", kind, [text], LISTED)


def test_ids_that_no_folder_can_have() -> None:
    assert stored_symbol("BTC/USD:BTC") == "BTC-USD-BTC"
    assert stored_symbol("@107") == "107"
