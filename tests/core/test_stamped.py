"""Mark price, liquidations, klines and partial books: the payloads of the documentation, and what is odd in them."""

from __future__ import annotations

from typing import Any

import pytest

from collector.core.decode import PartialDepth, Undecodable, decode, decode_named
from collector.core.entry import Entry
from collector.core.gaps import GapLedger
from collector.core.records import Records
from collector.core.tapes import open_tape
from tests.core.exchange import text
from tests.core.script import tables

MARK = {
    "e": "markPriceUpdate",
    "E": 1562305380000,
    "s": "BTCUSDT",
    "p": "11794.15000000",
    "ap": "11794.15",
    "i": "11784.62659091",
    "P": "11784.25641265",
    "r": "-0.00038167",
    "T": 1562306400000,
    "st": 1,
}
ORDER = {
    "s": "BTCUSDT",
    "S": "SELL",
    "o": "LIMIT",
    "f": "IOC",
    "q": "0.014",
    "p": "9910",
    "ap": "9910.5",
    "X": "FILLED",
    "l": "0.010",
    "z": "0.014",
    "T": 1568014460893,
}
FORCED = {"e": "forceOrder", "E": 1568014460893, "o": ORDER, "ps": "BTCUSDT", "st": 1}
CANDLE = {
    "t": 1638747660000,
    "T": 1638747719999,
    "s": "BTCUSDT",
    "i": "1m",
    "f": 100,
    "L": 200,
    "o": "0.0010",
    "c": "0.0020",
    "h": "0.0025",
    "l": "0.0015",
    "v": "1000",
    "n": 101,
    "x": False,
    "q": "1.0000",
    "V": "500",
    "Q": "0.500",
    "B": "123456",
}
KLINE = {"e": "kline", "E": 1638747660007, "s": "BTCUSDT", "k": CANDLE}
SPOT_BOOK = {"lastUpdateId": 160, "bids": [["0.0024", "10"]], "asks": [["0.0026", "100"]]}
FUTURES_BOOK = {
    "e": "depthUpdate",
    "E": 1571889248277,
    "T": 1571889248276,
    "s": "BTCUSDT",
    "U": 390497796,
    "u": 390497878,
    "pu": 390497794,
    "b": [["7403.89", "0.002"]],
    "a": [["7405.96", "3.340"]],
    "st": 1,
}


def wrapped(name: str, payload: dict[str, Any]) -> str:
    return text({"stream": name, "data": payload})


class Taped:
    def __init__(self, stream: str) -> None:
        self.ledger, self.records = GapLedger(), Records()
        self.sequencer, self.tape = open_tape(stream, self.ledger, self.records)
        self.now = 0

    def take(self, *messages: str) -> None:
        for one in messages:
            self.now += 1
            self.tape.message(Entry(self.now, 1, decode(one), one))

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        self.tape.settle()
        return tables(self.records.drain())


def test_mark_price_with_a_negative_rate() -> None:
    taped = Taped("mark_price")
    taped.take(text(MARK))
    (row,) = taped.rows()["mark_price"]
    assert row == {
        "event_time": 1562305380000,
        "mark_price": 11794.15,
        "mark_average": 11794.15,
        "index_price": 11784.62659091,
        "settle_price": 11784.25641265,
        "funding_rate": -0.00038167,
        "next_funding_time": 1562306400000,
        "recv_ns": 1,
    }


def test_mark_price_of_a_contract_without_funding() -> None:
    taped = Taped("mark_price")
    one = {key: value for key, value in MARK.items() if key != "ap"}
    taped.take(text(one | {"r": "", "T": 0}), text(one | {"r": "", "T": "", "E": MARK["E"] + 1, "i": ""}))  # type: ignore[operator]
    rows = taped.rows()["mark_price"]
    assert [(row["funding_rate"], row["next_funding_time"], row["mark_average"]) for row in rows] == [(None,) * 3] * 2
    assert [row["index_price"] for row in rows] == [11784.62659091, None]


def test_a_liquidation_is_found_by_the_market_inside_its_order() -> None:
    assert decode(text(FORCED)).s == "BTCUSDT"
    taped = Taped("liquidations")
    taped.take(text(FORCED))
    (row,) = taped.rows()["liquidations"]
    assert (row["trade_time"], row["side"], row["average_price"]) == (1568014460893, "SELL", 9910.5)
    assert (row["quantity"], row["last_quantity"], row["filled_quantity"]) == (0.014, 0.010, 0.014)
    assert (row["order_type"], row["time_in_force"], row["status"], row["price"]) == ("LIMIT", "IOC", "FILLED", 9910.0)


def test_klines_with_and_without_trades_and_turnover_of_many_digits() -> None:
    taped = Taped("kline_1m")
    empty = CANDLE | {"f": -1, "L": -1, "n": 0, "x": True, "q": "12345678901.23456789"}
    taped.take(text(KLINE), text(KLINE | {"E": 1638747660008, "k": empty}))
    one, other = taped.rows()["klines"]
    assert (one["open"], one["high"], one["low"], one["close"]) == (0.001, 0.0025, 0.0015, 0.002)
    assert (one["volume"], one["quote_volume"], one["taker_buy_volume"], one["taker_buy_quote_volume"]) == (
        1000.0,
        1.0,
        500.0,
        0.5,
    )
    assert (one["first_id"], one["last_id"], one["trades"], one["closed"]) == (100, 200, 101, False)
    assert (one["interval"], one["event_time"], one["source"]) == ("1m", 1638747660007, "ws")
    assert (other["first_id"], other["last_id"], other["closed"]) == (None, None, True)
    assert other["quote_volume"] == 12345678901.23456789


def test_a_kline_that_closes_and_the_next_one_of_the_same_millisecond_are_two() -> None:
    taped = Taped("kline_1m")
    closing, opening = KLINE | {"k": CANDLE | {"x": True}}, KLINE | {"k": CANDLE | {"t": CANDLE["t"] + 60_000}}  # type: ignore[operator]
    taped.take(text(closing), text(opening), text(opening))
    assert len(taped.rows()["klines"]) == 2
    assert taped.records.counts["klines duplicates"] == 1


@pytest.mark.parametrize(
    ("name", "payload", "update_id", "times"),
    [
        ("btcusdt@depth5", SPOT_BOOK, 160, (None, None)),
        ("btcusdt@depth5@100ms", FUTURES_BOOK, 390497878, (1571889248277, 1571889248276)),
    ],
)
def test_a_partial_book_is_known_by_its_wrapper(
    name: str, payload: dict[str, Any], update_id: int, times: tuple[int | None, int | None]
) -> None:
    message = decode(wrapped(name, payload))
    assert isinstance(message, PartialDepth)
    assert (message.s, message.channel, message.payload) == ("BTCUSDT", "depth5", text(payload).encode())
    assert decode_named(name, text(payload).encode()) == message, "as it stands in a capture"
    taped = Taped("depth5")
    taped.take(wrapped(name, payload))
    (row,) = taped.rows()["partial_depth"]
    assert (row["last_update_id"], row["levels"], (row["event_time"], row["transact_time"])) == (update_id, 5, times)
    assert (len(row["bid_price"]), len(row["ask_quantity"])) == (1, 1)


@pytest.mark.parametrize(
    "frame",
    [
        wrapped("ethusdt@depth5", FUTURES_BOOK),
        wrapped("btcusdt@depth7", SPOT_BOOK),
        wrapped("btcusdt@depth5", {"lastUpdateId": 1, "bids": []}),
        wrapped("btcusdt@depth5", MARK),
        wrapped("ethusdt@markPrice@1s", MARK),
        '{"stream":"btcusdt@depth5","data":{"stream":"btcusdt@depth5","data":{}}}',
        '{"stream":"btcusdt@aggTrade","data":' * 500 + "1" + "}" * 500,
        text(KLINE | {"k": CANDLE | {"i": "7m"}}),
        text(KLINE | {"k": CANDLE | {"f": -2}}),
        text(FORCED | {"o": ORDER | {"S": "HOLD"}}),
        text(MARK | {"p": 5}),
    ],
)
def test_what_is_none_of_them_is_undecodable(frame: str) -> None:
    with pytest.raises(Undecodable):
        decode(frame)


@pytest.mark.parametrize(
    ("stream", "good", "bad"),
    [
        ("mark_price", text(MARK), text(MARK | {"E": 1562305380001, "p": "11794.1500000000001"})),
        ("mark_price", text(MARK), text(MARK | {"E": 1562305380001, "r": "--0.1"})),
        ("liquidations", text(FORCED), text(FORCED | {"E": 1568014460894, "o": ORDER | {"z": "1e3"}})),
        ("kline_1m", text(KLINE), text(KLINE | {"E": 1638747660009, "k": CANDLE | {"v": "-1"}})),
        ("kline_1m", text(KLINE), text(KLINE | {"E": 1638747660009, "k": CANDLE | {"h": "1234567890.1234567"}})),
        (
            "depth5",
            wrapped("btcusdt@depth5", SPOT_BOOK),
            wrapped("btcusdt@depth5", SPOT_BOOK | {"lastUpdateId": 161, "bids": [["abc", "1"]]}),
        ),
    ],
)
def test_a_bad_number_goes_into_quarantine_alone(stream: str, good: str, bad: str) -> None:
    taped = Taped(stream)
    taped.take(good, bad)
    rows = taped.rows()
    assert sum(len(found) for table, found in rows.items() if table != "events") == 1
    (event,) = rows["events"]
    assert (event["kind"], event["stream"], event["text"]) == ("quarantine", stream, bad.encode())
    (gap,) = taped.ledger.rows
    assert (gap.stream, gap.from_id, gap.to_id, gap.from_ns, gap.to_ns) == (stream, None, None, 2, 2)


def test_one_that_contradicts_another_of_the_same_time_is_no_duplicate() -> None:
    taped = Taped("mark_price")
    other = text(MARK | {"p": "1"})
    taped.take(text(MARK), text(MARK), other)
    rows = taped.rows()
    assert len(rows["mark_price"]) == 1
    assert taped.records.counts["mark_price duplicates"] == 1
    assert [event["text"] for event in rows["events"]] == [other.encode()]


def test_the_book_of_one_update_may_be_sent_again_at_another_time() -> None:
    taped = Taped("depth5")
    taped.take(*(wrapped("btcusdt@depth5", FUTURES_BOOK | {"E": at}) for at in (1571889248277, 1571889248377)))
    assert len(taped.rows()["partial_depth"]) == 1


def test_late_ones_are_kept_and_counted() -> None:
    taped = Taped("mark_price")
    taped.take(*(text(MARK | {"E": at}) for at in (5, 3, 4, 4)))
    assert [row["event_time"] for row in taped.rows()["mark_price"]] == [3, 4, 5]
    assert (taped.records.counts["mark_price late"], taped.records.counts["mark_price duplicates"]) == (2, 1)


def test_a_lost_connection_is_a_gap_of_times() -> None:
    taped = Taped("liquidations")
    taped.sequencer.lost("disconnect", 50)
    assert taped.ledger.rows == [], "nothing was there before"
    taped.take(text(FORCED))
    taped.sequencer.lost("disconnect", 100)
    taped.now = 200
    taped.take(text(FORCED | {"E": 1568014460999}))
    gap = taped.ledger.rows[-1]
    assert (gap.from_ns, gap.to_ns, gap.from_id, gap.to_id, gap.healed) == (1, 201, None, None, False)
