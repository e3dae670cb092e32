"""What every row of a table must hold by itself, whatever the market did. Checked for whole batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from collector.audit.batches import Columns, Flags, Floats, Lists, times_ns
from collector.audit.findings import Findings
from collector.core.bars import interval_ms, open_of
from storage_backends.schema import TABLES

if TYPE_CHECKING:
    import pyarrow as pa

Breaches = Iterator[tuple[Flags, str]]
"""Rows that break a rule, and what is wrong with them."""

_LADDER: Final = ("bid_price", "bid_quantity", "ask_price", "ask_quantity")


def check_rows(table: str, batch: pa.RecordBatch, findings: Findings) -> None:
    """Counts the rows of a batch, and finds those that contradict themselves."""
    findings.of(table).rows += batch.num_rows
    rules = RULES.get(table)
    if rules is None:
        return
    columns = Columns(batch)
    for broken, what in rules(columns):
        for row in np.flatnonzero(broken).tolist():
            findings.wrong(table, int(times_ns(table, columns)[row]), what)


def _near(one: Floats, other: Floats) -> Flags:
    """Equal but for the rounding of a sum, or one of them unknown."""
    known = ~(np.isnan(one) | np.isnan(other))
    return ~known | np.isclose(one, other, rtol=1e-9, atol=1e-12)


def _out_of_order(lists: Lists, sign: int) -> Flags:
    """Rows whose entries do not strictly rise (`sign` 1) or fall (-1)."""
    broken = np.zeros(len(lists.offsets) - 1, np.bool_)
    if len(lists.values) > 1:
        positions = np.flatnonzero(np.diff(lists.values) * sign <= 0) + 1
        rows = lists.rows_of(positions)
        broken[rows[positions != lists.offsets[rows]]] = True  # the first entry of a row follows on none
    return broken


def _ladder(columns: Columns, most: str) -> Breaches:
    """Two sides in levels, best first, of at most so many as the column `most` says."""
    lists = {name: columns.lists(name) for name in _LADDER}
    wanted = columns[most]
    for side, sign in (("bid", -1), ("ask", 1)):
        price, quantity = lists[f"{side}_price"], lists[f"{side}_quantity"]
        yield price.counts != quantity.counts, f"{side}_price and {side}_quantity differ in length"
        yield price.counts > wanted, f"more {side} levels than {most}"
        yield _out_of_order(price, sign), f"{side}_price is not in order"
    bid, ask = lists["bid_price"].ends(last=False), lists["ask_price"].ends(last=False)
    yield bid >= ask, "the best bid is not below the best ask"


def _best(columns: Columns, bid: str, ask: str, mid: str | None) -> Breaches:
    best_bid, best_ask = columns[bid].astype(float), columns[ask].astype(float)
    yield columns["valid"].astype(bool) & (best_bid >= best_ask), "valid, and the best bid is not below the best ask"
    if mid is not None:
        yield ~_near(columns[mid].astype(float), (best_bid + best_ask) / 2), f"{mid} is not the middle of the best"


def _depth(columns: Columns) -> Breaches:
    yield from _best(columns, "best_bid", "best_ask", "price")
    for side in ("bid", "ask"):
        known = columns[f"{side}_coverage"].astype(float)
        yield (known < 0) | (known > 1), f"{side}_coverage is not within 0 and 1"


def _books(columns: Columns) -> Breaches:
    yield from _best(columns, "best_bid_price", "best_ask_price", "mid_price")
    yield from _ladder(columns, "depth")
    bid, ask = columns["best_bid_price"].astype(float), columns["best_ask_price"].astype(float)
    # A difference of two near numbers is exact in the row, and not here.
    yield np.abs(columns["spread"].astype(float) - (ask - bid)) > 1e-9 * ask, "spread is not that of the best prices"
    for side, best in (("bid", bid), ("ask", ask)):
        first = columns.lists(f"{side}_price").ends(last=False)
        yield columns["valid"].astype(bool) & ~_near(first, best), f"the first {side} level is not the best one"
        sums = columns.lists(f"{side}_quantity").sums()
        yield ~_near(columns[f"{side}_volume_top"].astype(float), sums), f"{side}_volume_top is not the sum of levels"
    yield from _imbalance(columns, "volume_imbalance", columns["bid_volume_top"], columns["ask_volume_top"])
    yield columns["timestamp"] % columns["grid_ms"] != 0, "timestamp is no point of the grid"


def _imbalance(columns: Columns, name: str, bid: Floats, ask: Floats) -> Breaches:
    with np.errstate(invalid="ignore", divide="ignore"):
        wanted = (bid.astype(float) - ask.astype(float)) / (bid.astype(float) + ask.astype(float))
    found = columns[name].astype(float)
    yield ~(np.isnan(found) | np.isnan(wanted) | (np.abs(found - wanted) < 1e-9)), f"{name} is not that of the levels"


def _multitick(columns: Columns) -> Breaches:
    yield from _best(columns, "best_bid", "best_ask", None)
    yield columns["tick"] <= 0, "tick is not above 0"
    totals = []
    for side, sign in (("bid", -1), ("ask", 1)):
        price, quantity = columns.lists(f"{side}_price"), columns.lists(f"{side}_quantity")
        summed, notional = columns.lists(f"{side}_cum_quantity"), columns.lists(f"{side}_cum_notional")
        for other in (quantity, summed, notional):
            yield price.counts != other.counts, f"lists of {side} differ in length"
        yield price.counts > columns["num_levels"], f"more {side} levels than num_levels"
        yield _out_of_order(price, sign), f"{side}_price is not in order"
        yield _out_of_order(summed, 1) | _out_of_order(notional, 1), f"sums of {side} do not rise"
        totals.append(summed.ends(last=True))
        yield (
            ~_near(totals[-1], np.where(quantity.counts > 0, quantity.sums(), np.nan)),
            (f"{side}_cum_quantity is not the sum of {side}_quantity"),
        )
        steps = price.values / np.repeat(columns["tick"], price.counts)
        odd = np.zeros(columns.rows, np.bool_)
        odd[price.rows_of(np.flatnonzero(np.abs(steps - np.rint(steps)) > 1e-6 * np.maximum(1, np.abs(steps))))] = True
        yield odd, f"{side}_price is no multiple of tick"
    yield from _imbalance(columns, "imbalance", *totals)
    with np.errstate(invalid="ignore", divide="ignore"):
        yield ~_near(columns["depth_ratio"].astype(float), totals[0] / totals[1]), "depth_ratio is not bid / ask"


def _fetched(columns: Columns, most: str | None) -> Breaches:
    if most is not None:
        yield from _ladder(columns, most)
    yield columns["recv_ns"] < columns["request_ns"], "the answer came before the question"


def _bars(columns: Columns) -> Breaches:
    opened, high, low, close = (columns[name].astype(float) for name in ("open", "high", "low", "close"))
    yield (np.maximum(opened, close) > high) | (np.minimum(opened, close) < low), "open or close is not in high to low"
    buy, sell = columns["buy_volume"], columns["sell_volume"]
    yield (buy < 0) | (sell < 0), "a volume below 0"
    yield ~_near(columns["volume"], buy + sell), "volume is not buy_volume and sell_volume together"
    off = np.abs(columns["delta"] - (buy - sell))
    yield off > 1e-9 * np.maximum(1, columns["volume"]), "delta is not buy_volume less sell_volume"
    yield columns["empty"].astype(bool) != (columns["trades"] == 0), "empty and trades contradict each other"
    lengths = columns["interval_ms"]
    starts = [open_of(at, length) for at, length in zip(columns["open_time"].tolist(), lengths.tolist(), strict=True)]
    yield columns["open_time"] != np.array(starts), "open_time is not the start of a bar"


def _klines(columns: Columns) -> Breaches:
    opened, high, low, close = (columns[name] for name in ("open", "high", "low", "close"))
    yield (np.maximum(opened, close) > high) | (np.minimum(opened, close) < low), "open or close is not in high to low"
    taken, volume = columns["taker_buy_volume"], columns["volume"]
    yield (taken < 0) | (taken > volume * (1 + 1e-9)), "taker_buy_volume is not within 0 and volume"
    length = columns["close_time"] - columns["open_time"] + 1
    for name in np.unique(columns["interval"].astype(str)).tolist():
        try:
            wanted = interval_ms(name)
        except ValueError:  # months have no one length
            continue
        yield (columns["interval"] == name) & (length != wanted), f"close_time is not the end of {name}"


def _liquidations(columns: Columns) -> Breaches:
    yield ~np.isin(columns["side"].astype(str), ("BUY", "SELL")), "side is neither BUY nor SELL"
    yield columns["filled_quantity"] > columns["quantity"] * (1 + 1e-9), "more was filled than ordered"


def _trades(columns: Columns) -> Breaches:
    yield columns["last_id"] < columns["first_id"], "last_id is below first_id"
    yield (columns["price"] <= 0) | (columns["quantity"] <= 0), "price or quantity is not above 0"


def _quality(columns: Columns) -> Breaches:
    grade, fine = columns["grade"].astype(str), columns["ok"].astype(bool)
    yield ~np.isin(grade, ("ok", "degraded", "bad")), "grade is none"
    yield (grade == "ok") != fine, "ok and grade contradict each other"
    yield (columns["reasons"].astype(str) == "") != fine, "ok and reasons contradict each other"
    p50, p95, p99 = (columns[f"lag_{name}_ms"].astype(float) for name in ("p50", "p95", "p99"))
    yield (p50 > p95) | (p95 > p99), "percentiles of the lag do not rise"


def _forecasts(columns: Columns) -> Breaches:
    horizons, returns, prices = (columns.lists(name) for name in ("horizon_ms", "log_return_bp", "forecast_price"))
    uneven = (horizons.counts != returns.counts) | (horizons.counts != prices.counts)
    yield uneven, "lists differ in length"
    yield _out_of_order(horizons, 1), "horizon_ms does not rise"
    if not uneven.any():
        wanted = np.repeat(columns["price"], returns.counts) * np.exp(returns.values / 1e4)
        broken = np.zeros(columns.rows, np.bool_)
        broken[prices.rows_of(np.flatnonzero(~_near(prices.values, wanted)))] = True
        yield broken, "forecast_price is not price times exp(log_return_bp / 10000)"


def _above_0(name: str) -> Callable[[Columns], Breaches]:
    def rules(columns: Columns) -> Breaches:
        yield columns[name] <= 0, f"{name} is not above 0"

    return rules


def _open_interest(columns: Columns) -> Breaches:
    yield columns["open_interest"] < 0, "open_interest is below 0"
    yield from _fetched(columns, None)


RULES: Final[dict[str, Callable[[Columns], Breaches]]] = {
    "depth": _depth,
    "trades": _trades,
    "mark_price": _above_0("mark_price"),
    "liquidations": _liquidations,
    "klines": _klines,
    "partial_depth": lambda columns: _ladder(columns, "levels"),
    "polled_books": lambda columns: _fetched(columns, "limit"),
    "open_interest": _open_interest,
    "bars": _bars,
    "books": _books,
    "multitick": _multitick,
    "forecasts": _forecasts,
    "quality": _quality,
}
assert set(RULES) <= set(TABLES)


def check_order(
    table: str, batch: pa.RecordBatch, before: tuple[Any, ...] | None, findings: Findings
) -> tuple[Any, ...]:
    """Finds rows whose key does not follow on the one before, so that each is there once.

    Args:
        before: the last key of the batch before.

    Returns:
        The last key of this one.
    """
    keys = zip(*(batch.column(name).to_pylist() for name in TABLES[table].key), strict=True)
    last = before
    for row, key in enumerate(keys):
        if last is not None and key <= last:
            at_ns = int(times_ns(table, Columns(batch))[row])
            findings.wrong(table, at_ns, f"its key {key} does not follow on {last}")
        last = key
    assert last is not None
    return last
