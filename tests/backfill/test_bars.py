"""Bars whose trades were lost, came late or were fetched afterwards, made of what is stored by then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from collector.audit.verify import verify_market
from collector.backfill.gaps import state_healed
from collector.backfill.outcome import Outcome
from collector.backfill.rows import trade_table
from collector.backfill.run import BackfillSettings, backfill
from collector.backfill.sink import store
from collector.clock import ManualClock
from collector.core.ids import IdRanges
from collector.core.market import Market as Core
from collector.store import StoreWriter
from storage_backends.interface import Backend, Market
from tests.core.everything import START_NS, Everything, session
from tests.core.script import Input, hand
from tests.stores import open_local, rows

SPOT = Market("binance", "BTCUSDT")
SECOND = 10**9
LATER_NS = START_NS + 3600 * SECOND
Row = dict[str, Any]


class Lossy(NamedTuple):
    """A store of two sessions with five seconds between them. The first lacks a second of aggTrades, and has half of
    another one late. `sent` are all aggTrades, `klines` the exchange's own bars that are over, by opening time.
    """

    folder: Path
    backend: Backend
    sent: list[Row]
    klines: dict[int, Row]

    def bars(self) -> dict[int, Row]:
        return {row["open_time"]: row for row in rows(self.backend, "bars", SPOT)}

    async def make(self) -> Outcome:
        settings = BackfillSettings(
            kind="bars", markets=[SPOT], start_ns=START_NS, end_ns=LATER_NS, data_dir=self.folder, rest=False
        )
        (outcome,) = await backfill(settings, self.backend, ManualClock(LATER_NS))
        return outcome

    def heal(self) -> None:
        """Stores every trade that is missing, as a backfill by REST does."""
        have = {row["agg_trade_id"] for row in rows(self.backend, "trades", SPOT)}
        lost = [one for one in self.sent if one["a"] not in have]
        made, unreadable = trade_table("trades", "BTCUSDT", json.dumps(lost).encode(), LATER_NS - SECOND)
        assert unreadable == 0
        store(self.backend, SPOT, "trades", made, "backfill")
        ids = IdRanges([(self.sent[0]["a"], self.sent[-1]["a"])])
        assert state_healed(self.backend, SPOT, "trades", ids, "rest") >= 2


@pytest.fixture
def lossy(tmp_path: Path) -> Lossy:
    made = Everything("binance", 5, 30, changes=1)
    settings = session("binance", bars=("1s",), tick_sizes=None, book_grid_ms=None)
    sent, klines, resume = [], {}, None
    for message in made.sent:
        if message.channel == "aggTrade":
            sent.append(json.loads(message.payload))
        elif message.channel == "kline_1s" and (kline := json.loads(message.payload)["k"])["x"]:
            klines[kline["t"]] = kline
    backend = open_local(tmp_path / "data")
    late: list[Input] = []
    for first_s, last_s in ((0, 14), (19, 40)):
        core = Core(START_NS + first_s * SECOND, msgspec.structs.replace(settings, resume=resume))
        if first_s:
            hand(core, made.inputs[0]._replace(recv_ns=START_NS + first_s * SECOND))
        for given in made.inputs:
            at_s = (given.recv_ns - START_NS) / SECOND
            if not first_s <= at_s < last_s:
                continue
            is_trade = isinstance(given.what, str) and '"aggTrade"' in given.what
            if is_trade and 5 <= at_s < 6:
                continue
            if is_trade and 9 <= at_s < 9.5:
                late.append(given)
                continue
            while late and at_s >= 12.5:
                hand(core, late.pop(0)._replace(recv_ns=given.recv_ns))
            hand(core, given)
        writer = StoreWriter(backend, str(first_s), ("--data-dir", "here"))
        writer.add(*SPOT, core.drain())
        writer.flush()
        resume = core.resume()
    return Lossy(tmp_path / "data", backend, sent, klines)


def agrees(bar: Row, kline: Row) -> bool:
    ours = [bar[name] for name in ("open", "high", "low", "close", "volume", "quote_volume", "buy_volume", "trades")]
    theirs = [float(kline[name]) for name in ("o", "h", "l", "c", "v", "q", "V")]
    return ours == [*theirs, kline["n"]]


async def test_bars_of_a_healed_span_are_those_of_the_exchange(lossy: Lossy) -> None:
    before = lossy.bars()
    assert not all(bar["complete"] for bar in before.values())
    assert verify_market(lossy.backend, SPOT).problems == []
    lossy.heal()
    outcome = await lossy.make()
    assert outcome.good, outcome.out_of_reach
    after = lossy.bars()
    opens = sorted(after)
    assert opens == list(range(opens[0], opens[-1] + 1, 1000)), "those between the sessions are there now"
    assert len(after) > len(before) + 2
    assert all(after[open_ms]["complete"] for open_ms in opens[1:]), "the store begins with the first"
    compared = [agrees(after[open_ms], lossy.klines[open_ms]) for open_ms in opens[1:] if open_ms in lossy.klines]
    assert len(compared) > 25
    assert all(compared)
    assert outcome.made == len([one for one in opens if after[one] != before.get(one)])
    assert verify_market(lossy.backend, SPOT).problems == []
    again = await lossy.make()
    assert (again.made, again.known) == (0, len(after) - 1)


async def test_nothing_is_made_where_trades_are_missing(lossy: Lossy) -> None:
    before = lossy.bars()
    outcome = await lossy.make()
    assert not outcome.good
    assert "trades are missing for" in str(outcome.out_of_reach[0])
    after = lossy.bars()
    lost_ms = START_NS // 10**6 + 5000
    assert not after[lost_ms]["complete"]
    assert lost_ms + 10_500 not in after
    late_ms = START_NS // 10**6 + 9000
    assert after[late_ms]["trades"] > before[late_ms]["trades"], "late trades are stored, and in it now"
    assert agrees(after[late_ms], lossy.klines[late_ms])
    assert verify_market(lossy.backend, SPOT).problems == []
