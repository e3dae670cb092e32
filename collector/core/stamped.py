"""Columns of the streams without ids that count: mark price, liquidations, klines and partial books."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from collector.core.batch import Column
from collector.core.decimals import BadNumber, Decimals, parse_column, parse_levels, parse_signed
from collector.core.decode import ForceOrder, Kline, MarkPriceUpdate, PartialDepth, Stamp, event_time_ms
from collector.core.diffs import level_columns
from collector.core.entry import Entry

_SUM = re.compile(r"\d{1,30}(\.\d{1,30})?")


def mark_columns(entries: Sequence[Entry], price: Decimals, rate: Decimals) -> dict[str, Column]:
    """Columns of table `mark_price`. Raises BadNumber."""
    messages: list[MarkPriceUpdate] = [entry.message for entry in entries]
    return {
        "event_time": [event_time_ms(m.E) for m in messages],
        "mark_price": parse_column([m.p for m in messages], price),
        "mark_average": _maybe([m.ap for m in messages], price),
        "index_price": _maybe([m.i for m in messages], price),
        "settle_price": _maybe([m.P for m in messages], price),
        "funding_rate": _maybe([m.r for m in messages], rate),
        "next_funding_time": [_maybe_ms(m.T) for m in messages],
        "recv_ns": [entry.recv_ns for entry in entries],
    }


def liquidation_columns(entries: Sequence[Entry], price: Decimals, quantity: Decimals) -> dict[str, Column]:
    """Columns of table `liquidations`. Raises BadNumber."""
    messages: list[ForceOrder] = [entry.message for entry in entries]
    return {
        "trade_time": [event_time_ms(m.o.T) for m in messages],
        "side": [m.o.S for m in messages],
        "event_time": [event_time_ms(m.E) for m in messages],
        "order_type": [m.o.o for m in messages],
        "time_in_force": [m.o.f for m in messages],
        "status": [m.o.X for m in messages],
        "quantity": parse_column([m.o.q for m in messages], quantity),
        "price": parse_column([m.o.p for m in messages], price),
        "average_price": parse_column([m.o.ap for m in messages], price),
        "last_quantity": parse_column([m.o.l for m in messages], quantity),
        "filled_quantity": parse_column([m.o.z for m in messages], quantity),
        "recv_ns": [entry.recv_ns for entry in entries],
    }


def kline_ident(message: Kline) -> int:
    """Rises with the event time; a kline that closes comes before the next one of the same millisecond."""
    return event_time_ms(message.E) << 1 | (not message.k.x)


def kline_columns(entries: Sequence[Entry], price: Decimals, quantity: Decimals) -> dict[str, Column]:
    """Columns of table `klines`. Raises BadNumber."""
    messages: list[Kline] = [entry.message for entry in entries]
    candles = [m.k for m in messages]
    return {
        "open_time": [event_time_ms(k.t) for k in candles],
        "interval": [k.i for k in candles],
        "event_time": [event_time_ms(m.E) for m in messages],
        "close_time": [event_time_ms(k.T) for k in candles],
        "open": parse_column([k.o for k in candles], price),
        "high": parse_column([k.h for k in candles], price),
        "low": parse_column([k.l for k in candles], price),
        "close": parse_column([k.c for k in candles], price),
        "volume": _sums([k.v for k in candles]),
        "quote_volume": _sums([k.q for k in candles]),
        "taker_buy_volume": _sums([k.V for k in candles]),
        "taker_buy_quote_volume": _sums([k.Q for k in candles]),
        "trades": [k.n for k in candles],
        "first_id": [None if k.f < 0 else k.f for k in candles],
        "last_id": [None if k.L < 0 else k.L for k in candles],
        "closed": [k.x for k in candles],
        "recv_ns": [entry.recv_ns for entry in entries],
        "source": ["ws"] * len(entries),
    }


def partial_columns(entries: Sequence[Entry], price: Decimals, quantity: Decimals) -> dict[str, Column]:
    """Columns of table `partial_depth`. Raises BadNumber."""
    messages: list[PartialDepth] = [entry.message for entry in entries]
    bids, asks = parse_levels([m.b for m in messages], [m.a for m in messages], price, quantity)
    return {
        "last_update_id": [m.u for m in messages],
        "levels": [m.levels for m in messages],
        **level_columns(bids, asks, price.places or 0, quantity.places or 0),
        "event_time": [None if m.E is None else event_time_ms(m.E) for m in messages],
        "transact_time": [None if m.T is None else event_time_ms(m.T) for m in messages],
        "recv_ns": [entry.recv_ns for entry in entries],
    }


def _sums(texts: Sequence[str]) -> Column:
    """Totals that the exchange made, as the nearest float64: turnover of a day has more than 15 digits.

    Raises:
        BadNumber: one is no plain decimal.
    """
    if not all(_SUM.fullmatch(text) for text in texts):
        raise BadNumber("not a plain decimal number")
    return np.array([float(text) for text in texts], np.float64)


def _maybe(texts: Sequence[str], decimals: Decimals) -> Column:
    """Numbers that may be negative; None where the exchange sent none. Raises BadNumber."""
    values = iter(parse_signed([text for text in texts if text], decimals).floats().tolist())
    return [next(values) if text else None for text in texts]


def _maybe_ms(stamp: Stamp | str | None) -> int | None:
    if isinstance(stamp, str):
        stamp = int(stamp) if stamp.isascii() and stamp.isdigit() and len(stamp) < 17 else None
    return event_time_ms(stamp) if stamp else None
