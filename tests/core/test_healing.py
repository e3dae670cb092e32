"""Trades that a gap lacks and REST brings."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.core.decode import decode
from collector.core.gaps import Unfilled
from collector.core.inputs import Closed, HealingEnded, Opened, RestTrades, Resume
from collector.core.market import Market
from tests.core.exchange import SECOND, START_NS
from tests.core.script import session, tables


def frame(ident: int) -> str:
    head = {"e": "aggTrade", "E": START_NS // 10**6 + ident, "s": "BTCUSDT"}
    return json.dumps(head | row(ident))


def row(ident: int, **changes: Any) -> dict[str, Any]:
    one = {"a": ident, "p": f"{100 + ident}.5", "q": "0.25", "nq": "0.25", "f": ident * 2, "l": ident * 2 + 1}
    return one | {"T": START_NS // 10**6 + ident, "m": ident % 2 == 0} | changes


def fetched(*rows: dict[str, Any], channel: str = "trades") -> RestTrades:
    return RestTrades(channel, msgspec.Raw(json.dumps(rows).encode()))


class Collected:
    """A market with a stream of trades, and all that it gave."""

    def __init__(self, resume: Resume | None = None, start_ns: int = START_NS) -> None:
        self.market = Market(start_ns, session(futures=True, resume=resume))
        self.now_ns = start_ns
        self.market.apply(start_ns, Opened(1, ["trades"]))
        self.batches = self.market.drain()

    def trades(self, *idents: int) -> None:
        for ident in idents:
            self.now_ns += 1000
            text = frame(ident)
            self.market.message(self.now_ns, decode(text), text)

    def apply(self, happened: Any) -> None:
        self.now_ns += 1000
        self.market.apply(self.now_ns, happened)

    @property
    def tables(self) -> dict[str, list[dict[str, Any]]]:
        self.batches += self.market.drain()
        return tables(self.batches)

    @property
    def gap(self) -> dict[str, Any]:
        return self.tables["gaps"][-1]


def test_a_gap_is_filled_by_rest_and_says_so() -> None:
    found = Collected()
    found.trades(1, 2, 6)
    (unfilled,) = found.market.unfilled()
    assert (unfilled.gap.reason, unfilled.missing) == ("sequence", [(3, 5)])
    found.apply(fetched(row(3), row(4)))
    assert found.market.unfilled()[0].missing == [(5, 5)]
    assert not found.gap["healed"]
    found.apply(fetched(row(5), row(6), row(7)))
    assert found.market.unfilled() == []
    assert (found.gap["revision"], found.gap["healed"], found.gap["healed_by"]) == (1, True, "rest")
    trades = found.tables["trades"]
    assert [one["agg_trade_id"] for one in trades] == [1, 2, 3, 4, 5, 6]
    assert [one["source"] for one in trades] == ["ws", "ws", "rest", "rest", "rest", "ws"]
    assert trades[2] | {"recv_ns": 0, "source": ""} == {
        "agg_trade_id": 3,
        "first_id": 6,
        "last_id": 7,
        "price": 103.5,
        "quantity": 0.25,
        "normal_quantity": 0.25,
        "is_buyer_maker": False,
        "timestamp": START_NS // 10**6 + 3,
        "recv_ns": 0,
        "source": "",
    }
    found.trades(7)
    assert len(found.tables["gaps"]) == 2, "what was fetched did not move the stream on"


def test_single_trades_have_rows_of_their_own() -> None:
    found = Collected()
    found.market.apply(found.now_ns, Opened(1, ["raw_trades"]))
    for ident in (1, 3):
        text = json.dumps({"e": "trade", "E": 1, "T": 1, "s": "BTCUSDT", "t": ident, "p": "1", "q": "2", "m": True})
        found.market.message(found.now_ns, decode(text), text)
    found.apply(fetched({"id": 2, "price": "1.5", "qty": "3", "time": 9, "isBuyerMaker": False}, channel="raw_trades"))
    assert [one["trade_id"] for one in found.tables["raw_trades"]] == [1, 2, 3]
    assert found.gap["healed_by"] == "rest"


def test_rows_that_cannot_be_read_stay_in_a_gap() -> None:
    found = Collected()
    found.trades(1, 6)
    found.apply(fetched(row(2), row(3, p=5), row(4, p="abc"), row(5)))
    found.apply(RestTrades("trades", msgspec.Raw(b'{"code":-1}')))
    rows = found.tables
    assert [one["agg_trade_id"] for one in rows["trades"]] == [1, 2, 5, 6]
    assert [one["kind"] for one in rows["events"]].count("quarantine") == 3
    assert found.market.unfilled()[0].missing == [(3, 3)]
    quarantined = [gap for gap in rows["gaps"] if gap["reason"] == "quarantine"]
    assert [(gap["from_id"], gap["to_id"]) for gap in quarantined] == [(4, 4)]


def test_what_nobody_lacks_is_not_taken() -> None:
    found = Collected()
    found.trades(1, 2)
    found.apply(fetched(row(1), row(2), row(3)))
    assert [one["agg_trade_id"] for one in found.tables["trades"]] == [1, 2]
    assert found.market.counts["trades duplicates"] == 3


def test_a_gap_that_is_given_up_stays_and_is_not_asked_for_again() -> None:
    found = Collected()
    found.trades(1, 4)
    (unfilled,) = found.market.unfilled()
    found.apply(HealingEnded("trades", unfilled.gap.gap_id, "too old"))
    assert found.market.unfilled() == []
    assert not found.gap["healed"]
    (event,) = [one for one in found.tables["events"] if one["kind"] == "not_healed"]
    assert "too old" in event["detail"]
    assert found.market.resume().unfilled == []


def test_the_time_between_two_sessions_is_filled_too() -> None:
    first = Collected()
    first.trades(1, 2, 5)
    first.apply(fetched(row(3)))
    first.market.drain()
    resume = msgspec.json.decode(msgspec.json.encode(first.market.resume()), type=Resume)
    assert [(one.missing, one.filled) for one in resume.unfilled] == [([(4, 4)], [(3, 3)])]
    second = Collected(resume, first.now_ns + 100 * SECOND)
    second.trades(9)
    assert [one.missing for one in second.market.unfilled()] == [[(4, 4)], [(6, 8)]]
    second.apply(fetched(*(row(ident) for ident in range(3, 10))))
    assert [one["agg_trade_id"] for one in second.tables["trades"]] == [4, 6, 7, 8, 9]
    healed = [gap for gap in second.tables["gaps"] if gap["healed"] and gap["stream"] == "trades"]
    assert {gap["reason"] for gap in healed} == {"sequence", "restart"}


@st.composite
def sessions(draw: st.DrawFn) -> list[tuple[str, list[int]]]:
    """Trades from 1 on, some dropped, and answers of REST that begin anywhere."""
    steps: list[tuple[str, list[int]]] = []
    ident = 0
    for _ in range(draw(st.integers(1, 25))):
        kind = draw(st.sampled_from(["come", "come", "lost", "rest", "late", "reconnect", "restart"]))
        count = draw(st.integers(1, 5))
        if kind in ("come", "lost"):
            steps.append((kind, list(range(ident + 1, ident + count + 1))))
            ident += count
        elif kind in ("rest", "late"):
            start = draw(st.integers(1, ident + 2))
            steps.append((kind, list(range(start, min(start + count, ident + 1)))))
        else:
            steps.append((kind, []))
    return steps


@given(sessions())
def test_every_trade_is_stored_once_or_lies_in_a_gap(steps: list[tuple[str, list[int]]]) -> None:
    found = Collected()
    rows: dict[str, list[dict[str, Any]]] = {"trades": [], "gaps": []}
    came = 0
    for kind, idents in [*steps, ("come", [1000])]:
        match kind:
            case "come":
                found.trades(*idents)
                came = idents[-1]
            case "late":
                found.trades(*(ident for ident in idents if ident < came))
            case "rest":
                found.apply(fetched(*(row(ident) for ident in idents)))
            case "reconnect":
                found.apply(Closed(1, ["trades"], "disconnect"))
                found.apply(Opened(1, ["trades"]))
            case "restart":
                for table in rows:
                    rows[table] += found.tables.get(table, [])
                found = Collected(found.market.resume(), found.now_ns + SECOND)
    for table in rows:
        rows[table] += found.tables.get(table, [])
    stored = [one["agg_trade_id"] for one in rows["trades"]]
    assert len(stored) == len(set(stored))
    newest = {gap["gap_id"]: gap for gap in sorted(rows["gaps"], key=lambda gap: gap["revision"])}
    gaps = [gap for gap in newest.values() if gap["stream"] == "trades" and not gap["healed"]]
    assert {gap["reason"] for gap in gaps if gap["from_id"] is None} <= {"disconnect"}, "before the first trade of all"
    gaps = [gap for gap in gaps if gap["from_id"] is not None]
    lacking = {ident for gap in gaps for ident in range(gap["from_id"], gap["to_id"] + 1)}
    assert set(range(min(stored), 1001)) <= set(stored) | lacking
    for gap in newest.values():
        if gap["stream"] == "trades" and gap["healed"]:
            assert set(range(gap["from_id"], gap["to_id"] + 1)) <= set(stored)
    asked = {
        ident for one in found.market.unfilled() for first, last in one.missing for ident in range(first, last + 1)
    }
    assert asked == lacking - set(stored), "asked for is exactly what is lacking"


@pytest.mark.parametrize("filled", [[], [(3, 4)], [(1, 9)]])
def test_an_unfilled_gap_knows_what_it_lacks(filled: list[tuple[int, int]]) -> None:
    found = Collected()
    found.trades(1, 6)
    gap = found.market.unfilled()[0].gap
    expected = {0: [(2, 5)], 2: [(2, 2), (5, 5)], 9: []}[sum(last - first + 1 for first, last in filled)]
    assert Unfilled(gap, filled).missing == expected
    assert Unfilled(msgspec.structs.replace(gap, to_id=None), filled).missing == []
