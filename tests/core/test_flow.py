"""What an epoch's consumers are handed: everything of that epoch, however often it was drained, and no more."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import fields

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.core.batch import Batch
from collector.core.flow import EpochFlow
from collector.core.inputs import Closed, Opened, Tick
from collector.core.market import Market
from tests.core.exchange import SECOND, START_NS, Exchange, text
from tests.core.script import ODD, Input, Script, hand, session, tables


class Listener:
    """Keeps the flows, and makes a row of each."""

    def __init__(self) -> None:
        self.flows: list[EpochFlow] = []

    def take(self, flow: EpochFlow) -> Iterable[Batch]:
        self.flows.append(flow)
        yield Batch("features", {"epoch": [flow.epoch]})


def listen(script: list[Input], *, futures: bool, drains: random.Random | None = None) -> tuple[Listener, list[Batch]]:
    market, listener = Market(START_NS, session(futures=futures)), Listener()
    market.add_consumer(listener)
    rows = []
    for one in script:
        hand(market, one)
        if drains is not None and drains.random() < 0.4:
            rows += market.drain()
    return listener, rows + market.drain()


def plain(flow: EpochFlow) -> list[object]:
    columns = [
        getattr(part, field.name).tolist()
        for part in (flow.trades, flow.quotes, flow.liquidations)
        for field in fields(part)
    ]
    return [flow.epoch, flow.book_recv_ns, flow.valid, flow.event_ms, flow.mark, flow.in_gap, *columns]


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**9), st.booleans())
def test_flows_do_not_depend_on_drains_and_hold_each_row_of_their_epoch_once(seed: int, futures: bool) -> None:
    script = Script(seed, futures=futures, faults=ODD)
    once, batches = listen(script.inputs, futures=futures)
    often, _ = listen(script.inputs, futures=futures, drains=random.Random(seed))
    assert [plain(flow) for flow in once.flows] == [plain(flow) for flow in often.flows]
    batches = [batch for batch in batches if batch.table != "features"]
    rows = tables(batches)
    assert [flow.epoch for flow in once.flows] == [row["epoch"] for row in rows["depth"]]
    assert [flow.valid for flow in once.flows] == [row["valid"] for row in rows["depth"]]
    before_ns = once.flows[-1].epoch * SECOND
    received = sorted(
        (row["recv_ns"], row["agg_trade_id"]) for row in rows.get("trades", []) if row["recv_ns"] < before_ns
    )
    flowed = [
        (recv_ns, ident, flow.epoch)
        for flow in once.flows
        for recv_ns, ident in zip(flow.trades.recv_ns.tolist(), flow.trades.agg_id.tolist(), strict=True)
    ]
    assert sorted((recv_ns, ident) for recv_ns, ident, _ in flowed) == received
    assert [recv_ns for recv_ns, _, _ in flowed] == sorted(recv_ns for recv_ns, _, _ in flowed)
    assert all((epoch - 1) * SECOND <= recv_ns < epoch * SECOND for recv_ns, _, epoch in flowed)


def test_the_columns_are_those_of_the_messages() -> None:
    exchange = Exchange(futures=True)
    market, listener = Market(START_NS, session(futures=True)), Listener()
    market.add_consumer(listener)
    trade = exchange.trade(START_NS) | {"p": "100.25", "q": "0.125", "m": True, "T": 7}
    inputs = [
        Input(START_NS, Opened(1, ["depth", "trades", "book_ticker"])),
        Input(START_NS + 1, text(trade)),
        Input(START_NS + 2, text(exchange.trade(START_NS) | {"p": "100.5", "q": "3", "m": False})),
        Input(START_NS + 3, text(exchange.ticker())),
        Input(START_NS + SECOND, Tick()),
    ]
    for one in inputs:
        hand(market, one)
    (flow,) = listener.flows
    assert flow.epoch == START_NS // SECOND + 1
    assert flow.trades.price.tolist() == [100.25, 100.5]
    assert flow.trades.quantity.tolist() == [0.125, 3.0]
    assert flow.trades.is_buyer_maker.tolist() == [True, False]
    assert flow.trades.timestamp_ms.tolist()[0] == 7
    assert flow.trades.agg_id.tolist() == [501, 502]
    assert (flow.trades.first_id[0], flow.trades.last_id[0]) == (trade["f"], trade["l"])
    assert flow.quotes.update_id.tolist() == [exchange.last_id]
    assert flow.quotes.bid_price[0] == max(exchange.bids) / 100
    assert flow.trades.price.dtype == np.float64
    assert flow.book is None
    assert len(flow.liquidations) == 0
    assert flow.mark is None


def test_a_stall_gives_all_to_the_first_epoch_and_nothing_to_the_others() -> None:
    exchange = Exchange(futures=True)
    inputs = [
        Input(START_NS, Opened(1, ["depth", "trades"])),
        Input(START_NS + 1, text(exchange.trade(START_NS))),
        Input(START_NS + 3 * SECOND, Tick()),
    ]
    listener, _ = listen(inputs, futures=True)
    assert [len(flow.trades) for flow in listener.flows] == [1, 0, 0]


def test_single_trades_serve_where_there_are_no_agg_trades() -> None:
    start = session(futures=True)
    start.channels = ("raw_trades",)
    market, listener = Market(START_NS, start), Listener()
    market.add_consumer(listener)
    hand(market, Input(START_NS, Opened(1, ["raw_trades"])))
    trade = {"e": "trade", "E": 5, "s": "BTCUSDT", "p": "1.5", "q": "2", "T": 4, "m": False}
    for ident, kind in enumerate(("MARKET", "INSURANCE_FUND", "MARKET")):
        hand(market, Input(START_NS + ident + 1, text(trade | {"t": ident, "X": kind})))
    hand(market, Input(START_NS + SECOND, Tick()))
    assert listener.flows[0].trades.agg_id.tolist() == [0, 2]


def test_streams_in_a_gap_are_named_in_each_epoch_that_it_touches() -> None:
    exchange = Exchange(futures=True)
    at = START_NS
    inputs = [
        Input(at, Opened(1, ["depth"])),
        Input(at + SECOND, Tick()),  # epoch 1: trades are not connected
        Input(at + SECOND + 1, Opened(2, ["trades"])),
        Input(at + SECOND + 2, text(exchange.trade(at))),
        Input(at + 2 * SECOND, Tick()),  # epoch 2: they were connected in it
        Input(at + 3 * SECOND, Tick()),  # epoch 3: all is well
        Input(at + 3 * SECOND + 1, Closed(2, ["trades"], "disconnect")),
        Input(at + 4 * SECOND, Tick()),  # epoch 4
    ]
    exchange.trade(at)
    inputs += [
        Input(at + 4 * SECOND + 1, Opened(3, ["trades"])),
        Input(at + 4 * SECOND + 2, text(exchange.trade(at))),
        Input(at + 5 * SECOND, Tick()),  # epoch 5: one trade is missing
        Input(at + 6 * SECOND, Tick()),
        Input(at + 6 * SECOND + 1, Closed(3, ["trades"], "disconnect")),
        Input(at + 6 * SECOND + 2, Opened(4, ["trades"])),
        Input(at + 6 * SECOND + 3, text(exchange.trade(at))),
        Input(at + 7 * SECOND, Tick()),  # epoch 7: the ids prove that nothing is missing
    ]
    listener, _ = listen(inputs, futures=True)
    assert ["trades" in flow.in_gap for flow in listener.flows] == [True, True, False, True, True, False, False]


def test_a_market_without_consumers_keeps_nothing() -> None:
    market = Market(START_NS, session(futures=True))
    exchange = Exchange(futures=True)
    hand(market, Input(START_NS, Opened(1, ["trades"])))
    for number in range(50):
        hand(market, Input(START_NS + number + 1, text(exchange.trade(START_NS))))
        market.drain()
    assert market._computed._flow._batches == []
