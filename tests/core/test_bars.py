"""Bars against plain arithmetic with decimals, and what is odd in trades."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.bars import trades_to_ohlcv
from collector.core.bars import PATIENCE_MS, Bars, interval_ms, open_of
from collector.core.batch import Batch
from collector.core.flow import NOTHING, EpochFlow, Liquidations, Quotes, Trades
from tests.core.script import tables

START_S = 1_795_000_000
START_MS = START_S * 1000
Trade = tuple[int, str, str, bool, int]
"""Time, price, quantity, whether the taker sold, and trades in it."""


def columns(trades: list[Trade], first: int = 0) -> Trades:
    ids = np.arange(first, first + len(trades), dtype=np.int64) * 100
    return Trades(
        ids,
        np.array([one[0] for one in trades], np.int64),
        np.array([float(one[1]) for one in trades], np.float64),
        np.array([float(one[2]) for one in trades], np.float64),
        np.array([one[3] for one in trades], np.bool_),
        ids,
        ids + np.array([one[4] for one in trades], np.int64) - 1,
        ids,
    )


def flow(epoch: int, trades: list[Trade] = (), event_ms: int | None = None, gap: bool = False) -> EpochFlow:  # type: ignore[assignment]
    return EpochFlow(
        epoch,
        None,
        None,
        False,
        epoch * 1000 if event_ms is None else event_ms,
        columns(trades) if trades else NOTHING[Trades],  # type: ignore[arg-type]
        NOTHING[Quotes],  # type: ignore[arg-type]
        None,
        NOTHING[Liquidations],  # type: ignore[arg-type]
        frozenset({"trades"} if gap else ()),
    )


class Made:
    """What `Bars` makes of flows."""

    def __init__(self, *intervals: str) -> None:
        self.events: list[tuple[int, str, str]] = []
        self._bars = Bars(intervals, 1, lambda *event: self.events.append(event))
        self._batches: list[Batch] = []

    def take(self, *flows: EpochFlow) -> None:
        for one in flows:
            self._batches += self._bars.take(one)

    @property
    def rows(self) -> list[dict[str, Any]]:
        return tables(self._batches).get("bars", [])


def expected(trades: list[Trade]) -> dict[str, Any]:
    prices = [Decimal(one[1]) for one in trades]
    quantities = [Decimal(one[2]) for one in trades]
    sold = sum((q for q, one in zip(quantities, trades, strict=True) if one[3]), Decimal(0))
    bought = sum((q for q, one in zip(quantities, trades, strict=True) if not one[3]), Decimal(0))
    return {
        "open": float(prices[0]),
        "high": float(max(prices)),
        "low": float(min(prices)),
        "close": float(prices[-1]),
        "volume": float(sold + bought),
        "quote_volume": float(sum(p * q for p, q in zip(prices, quantities, strict=True))),
        "buy_volume": float(bought),
        "sell_volume": float(sold),
        "delta": float(bought - sold),
        "trades": sum(one[4] for one in trades),
    }


def decimals(places: int, most: int) -> st.SearchStrategy[str]:
    return st.integers(1, most).map(lambda units: f"{Decimal(units).scaleb(-places):f}")


TRADES = st.lists(
    st.tuples(
        st.integers(START_MS, START_MS + 20_000),
        st.one_of(decimals(2, 10**7), st.sampled_from(["999999999999999", "0.000000000000001", "70000"])),
        st.one_of(decimals(3, 10**6), st.sampled_from(["99999999999.9999", "0.000000000000001"])),
        st.booleans(),
        st.integers(1, 5),
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=80)
@given(TRADES)
def test_bars_are_exact_whatever_the_numbers(trades: list[Trade]) -> None:
    trades.sort(key=lambda one: one[0])
    made = Made("5s")
    for second in range(1, 40):
        epoch = START_S + second
        made.take(flow(epoch, [one for one in trades if (epoch - 1) * 1000 <= one[0] < epoch * 1000]))
    assert made.events == []
    close = None
    for row in made.rows[:5]:
        inside = [one for one in trades if row["open_time"] <= one[0] < row["open_time"] + 5000]
        assert row["empty"] == (not inside)
        if inside:
            assert {name: row[name] for name in expected(inside)} == expected(inside)
            close = row["close"]
        else:
            assert (row["open"], row["high"], row["low"], row["close"]) == (close,) * 4
            assert (row["volume"], row["trades"]) == (0.0, 0)


@settings(deadline=None, max_examples=60)
@given(TRADES, st.randoms())
def test_trades_to_ohlcv_gives_the_same_bars_of_stored_trades(trades: list[Trade], chance: Any) -> None:
    trades.sort(key=lambda one: one[0])
    made = Made("5s")
    for second in range(1, 40):
        epoch = START_S + second
        made.take(flow(epoch, [one for one in trades if (epoch - 1) * 1000 <= one[0] < epoch * 1000]))
    stored = columns(trades)
    rows = {
        "agg_trade_id": stored.agg_id,
        "first_id": stored.first_id,
        "last_id": stored.last_id,
        "price": stored.price,
        "quantity": stored.quantity,
        "is_buyer_maker": stored.is_buyer_maker,
        "timestamp": stored.timestamp_ms,
    }
    order = list(range(len(trades)))
    chance.shuffle(order)
    frame = pd.DataFrame(rows).iloc[order]
    bars = trades_to_ohlcv(frame, "5s")
    table = trades_to_ohlcv(pa.Table.from_pandas(frame, preserve_index=False), "5s")
    assert isinstance(bars, pd.DataFrame)
    assert table.to_pylist() == bars.to_dict("records")
    by_time = {row["open_time"]: row for row in made.rows}
    for row in bars.to_dict("records"):
        assert row == {name: value for name, value in by_time[row["open_time"]].items() if name in row}
    assert len(bars) == (0 if not trades else (trades[-1][0] // 5000 - trades[0][0] // 5000 + 1))


def test_single_trades_and_pandas_names_of_intervals_serve_too() -> None:
    frame = pd.DataFrame(
        {
            "trade_id": [1, 2],
            "price": [1.0, 2.0],
            "quantity": [1.0, 1.0],
            "is_buyer_maker": [True, False],
            "timestamp": [0, 1],
        }
    )
    for name in ("5min", "1h", "1D", "5m"):
        (row,) = trades_to_ohlcv(frame, name).to_dict("records")
        assert (row["open"], row["close"], row["trades"], row["delta"]) == (1.0, 2.0, 2, 0.0)
    with pytest.raises(ValueError, match="1M"):
        trades_to_ohlcv(frame, "1M")


def test_a_late_trade_is_counted_and_said_once_and_in_no_bar() -> None:
    made = Made("1s")
    made.take(flow(START_S, event_ms=START_MS))
    made.take(flow(START_S + 1), flow(START_S + 2), flow(START_S + 3))
    late = (START_MS - 500, "1", "1", True, 1)
    made.take(flow(START_S + 4, [late, late]), *(flow(START_S + second) for second in range(5, 9)))
    assert sum(row["volume"] for row in made.rows) == 0
    assert [row["late_trades"] for row in made.rows if row["late_trades"]] == [2]
    assert [kind for _, kind, _ in made.events] == ["late_trades"]


def test_a_trade_that_is_one_second_late_is_in_time() -> None:
    made = Made("1s")
    made.take(flow(START_S), flow(START_S + 1))
    made.take(flow(START_S + 2, [(START_MS + 999, "5", "1", True, 1)]))
    assert made.rows[-1]["close"] == 5.0
    assert made.rows[-1]["late_trades"] == 0


def test_bars_wait_for_an_exchange_whose_clock_is_behind_but_not_for_ever() -> None:
    made = Made("1s")
    behind = START_MS - 3000
    made.take(*(flow(START_S + second, event_ms=behind + second * 1000) for second in range(10)))
    assert made.rows[-1]["open_time"] == behind + 8000
    silent = behind + 9000
    first = START_S + 10
    made.take(*(flow(first + second, event_ms=silent) for second in range(120)))
    assert made.rows[-1]["open_time"] + 1000 == (first + 119) * 1000 - 1000 - PATIENCE_MS


def test_a_time_of_another_age_does_not_close_or_begin_bars() -> None:
    made = Made("1s")
    made.take(*(flow(START_S + second, event_ms=2**60) for second in range(5)))
    assert made.rows[-1]["open_time"] + 1000 == (START_S + 4) * 1000 - 1000
    other = Made("1s")
    other.take(*(flow(START_S + second, event_ms=1) for second in range(100)))
    assert len(other.rows) < 200


def test_bars_that_a_gap_touches_are_not_complete() -> None:
    made = Made("1s", "5s")
    made.take(*(flow(START_S + s, [(START_MS + s * 1000 - 500, "1", "1", True, 1)]) for s in range(10)))
    made.take(*(flow(START_S + s, gap=True) for s in range(10, 13)))
    made.take(*(flow(START_S + s, [(START_MS + s * 1000 - 500, "1", "1", True, 1)]) for s in range(13, 30)))
    seconds = {row["open_time"] // 1000 - START_S: row["complete"] for row in made.rows if row["interval"] == "1s"}
    assert [second for second, complete in seconds.items() if not complete] == [8, 9, 10, 11, 12]
    fives = [row["complete"] for row in made.rows if row["interval"] == "5s"]
    assert fives.count(False) == 2


@pytest.mark.parametrize(("text", "ms"), [("1s", 1000), ("15s", 15_000), ("4h", 14_400_000), ("1w", 604_800_000)])
def test_intervals(text: str, ms: int) -> None:
    assert interval_ms(text) == ms


@pytest.mark.parametrize("text", ["", "0s", "1M", "s", "1.5m", "-1s", "1 s", "5 sec", "1000000s"])
def test_what_is_no_interval(text: str) -> None:
    with pytest.raises(ValueError, match="interval"):
        interval_ms(text)


def test_weeks_begin_on_monday() -> None:
    monday = 1_794_787_200_000  # 2026-11-16
    assert pd.Timestamp(monday, unit="ms").day_name() == "Monday"
    for day in range(7):
        assert open_of(monday + day * 86_400_000, interval_ms("1w")) == monday
