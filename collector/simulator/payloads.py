"""Texts as Binance sends them in 2026, futures with `st`, `ps` and `nq`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from collector.simulator.names import SPOT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from collector.simulator.instruments import Instrument
    from collector.simulator.klines import Kline
    from collector.simulator.model import Fill, TopOfBook

encode = msgspec.json.encode
Levels = list[list[str]]


def levels(instrument: Instrument, items: Iterable[tuple[int, int]]) -> Levels:
    price, quantity = instrument.price_text, instrument.quantity_text
    return [[price(ticks), quantity(lots)] for ticks, lots in items]


def depth_update(
    instrument: Instrument,
    now_ms: int,
    first_id: int,
    last_id: int,
    prev_id: int,
    bids: Iterable[tuple[int, int]],
    asks: Iterable[tuple[int, int]],
) -> bytes:
    """A diff, or a futures' partial book, which has the same form."""
    message: dict[str, Any] = {"e": "depthUpdate", "E": now_ms}
    if instrument.exchange == SPOT:
        message |= {"s": instrument.symbol, "U": first_id, "u": last_id}
    else:
        message |= {"T": now_ms - 1, "s": instrument.symbol, "ps": instrument.symbol}
        message |= {"U": first_id, "u": last_id, "pu": prev_id}
    message |= {"b": levels(instrument, bids), "a": levels(instrument, asks)}
    if instrument.exchange != SPOT:
        message["st"] = 1
    return encode(message)


def snapshot(
    instrument: Instrument, now_ms: int, last_id: int, bids: Iterable[tuple[int, int]], asks: Iterable[tuple[int, int]]
) -> bytes:
    """The body of REST depth; also spot's partial book."""
    message: dict[str, Any] = {"lastUpdateId": last_id}
    if instrument.exchange != SPOT:
        message |= {"E": now_ms, "T": now_ms - 1}
    message |= {"bids": levels(instrument, bids), "asks": levels(instrument, asks)}
    return encode(message)


def book_ticker(instrument: Instrument, now_ms: int, top: TopOfBook) -> bytes:
    price, quantity = instrument.price_text, instrument.quantity_text
    quotes = {"b": price(top.bid), "B": quantity(top.bid_lots), "a": price(top.ask), "A": quantity(top.ask_lots)}
    if instrument.exchange == SPOT:
        return encode({"u": top.id, "s": instrument.symbol} | quotes)
    head = {"e": "bookTicker", "u": top.id, "s": instrument.symbol, "ps": instrument.symbol}
    return encode(head | quotes | {"T": now_ms - 1, "E": now_ms, "st": 1})


def agg_trade_row(
    instrument: Instrument,
    time_ms: int,
    fill_id: int,
    price: int,
    lots: int,
    first_trade_id: int,
    last_trade_id: int,
    buyer_is_maker: int,
) -> dict[str, Any]:
    """A row of REST aggTrades; the websocket sends the same with a head."""
    row: dict[str, Any] = {"a": fill_id, "p": instrument.price_text(price), "q": instrument.quantity_text(lots)}
    if instrument.exchange != SPOT:
        # One fill in 16 holds a part against retail price improvement orders, which nq leaves out.
        retail = lots // 10 if fill_id % 16 == 0 else 0
        row["nq"] = instrument.quantity_text(lots - retail)
    row |= {"f": first_trade_id, "l": last_trade_id, "T": time_ms, "m": bool(buyer_is_maker)}
    if instrument.exchange == SPOT:
        row["M"] = True
    return row


def agg_trade(instrument: Instrument, now_ms: int, row: dict[str, Any]) -> bytes:
    message = {"e": "aggTrade", "E": now_ms, "s": instrument.symbol} | row
    if instrument.exchange != SPOT:
        message["st"] = 1
    return encode(message)


def trade(instrument: Instrument, now_ms: int, trade_id: int, price: int, lots: int, buyer_is_maker: bool) -> bytes:
    message: dict[str, Any] = {"e": "trade", "E": now_ms}
    if instrument.exchange != SPOT:
        message["T"] = now_ms - 1
    message |= {"s": instrument.symbol, "t": trade_id}
    message |= {"p": instrument.price_text(price), "q": instrument.quantity_text(lots)}
    if instrument.exchange == SPOT:
        return encode(message | {"T": now_ms - 1, "m": buyer_is_maker, "M": True})
    return encode(message | {"X": "MARKET", "m": buyer_is_maker, "st": 1})


def mark_price(instrument: Instrument, now_ms: int, mark: str, index: str, funding_time_ms: int) -> bytes:
    message = {"e": "markPriceUpdate", "E": now_ms, "s": instrument.symbol, "p": mark, "ap": mark, "P": index}
    return encode(message | {"i": index, "r": "0.00010000", "T": funding_time_ms, "st": 1})


def force_order(instrument: Instrument, now_ms: int, fill: Fill) -> bytes:
    """The liquidation behind a fill; its order was larger than what the fill shows last."""
    price, quantity = instrument.price_text(fill.price), instrument.quantity_text(fill.lots)
    order = {"s": instrument.symbol, "S": "SELL" if fill.buyer_is_maker else "BUY", "o": "LIMIT", "f": "IOC"}
    order |= {"q": quantity, "p": price, "ap": price, "X": "FILLED"}
    order |= {"l": instrument.quantity_text(fill.parts[-1]), "z": quantity}
    return encode({"e": "forceOrder", "E": now_ms, "o": order | {"T": now_ms - 1}})


def trade_row(
    instrument: Instrument, time_ms: int, trade_id: int, price: int, lots: int, buyer_is_maker: int
) -> dict[str, Any]:
    """A row of REST trades and historicalTrades."""
    row: dict[str, Any] = {
        "id": trade_id,
        "price": instrument.price_text(price),
        "qty": instrument.quantity_text(lots),
        "quoteQty": turnover_text(instrument, price * lots),
        "time": time_ms,
        "isBuyerMaker": bool(buyer_is_maker),
    }
    return row | ({"isBestMatch": True} if instrument.exchange == SPOT else {})


def turnover_text(instrument: Instrument, units: int) -> str:
    """Ticks times lots in quote currency."""
    digits = instrument.price_decimals + instrument.quantity_decimals
    return f"{units // 10**digits}.{units % 10**digits:0{digits}d}" if digits else f"{units}.0"


def kline_row(instrument: Instrument, bar: Kline) -> list[Any]:
    """A row of REST klines."""
    price, quantity = instrument.price_text, instrument.quantity_text
    return [
        bar.open_ms,
        *(price(one) for one in (bar.open, bar.high, bar.low, bar.close)),
        quantity(bar.lots),
        bar.open_ms + bar.interval_ms - 1,
        turnover_text(instrument, bar.turnover),
        bar.trades,
        quantity(bar.taker_buy_lots),
        turnover_text(instrument, bar.taker_buy_turnover),
        "0",
    ]


def kline(instrument: Instrument, now_ms: int, interval: str, bar: Kline, closed: bool) -> bytes:
    price, quantity = instrument.price_text, instrument.quantity_text
    k = {"t": bar.open_ms, "T": bar.open_ms + bar.interval_ms - 1, "s": instrument.symbol, "i": interval}
    k |= {"f": bar.first_trade_id, "L": bar.last_trade_id}
    k |= {"o": price(bar.open), "c": price(bar.close), "h": price(bar.high), "l": price(bar.low)}
    k |= {"v": quantity(bar.lots), "n": bar.trades, "x": closed}
    k |= {"q": turnover_text(instrument, bar.turnover), "V": quantity(bar.taker_buy_lots)}
    k |= {"Q": turnover_text(instrument, bar.taker_buy_turnover), "B": "0"}
    return encode({"e": "kline", "E": now_ms, "s": instrument.symbol, "k": k})
