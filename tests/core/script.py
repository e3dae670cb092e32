"""What a market may be handed in a session: a random script of messages, faults and snapshots, and its rows."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable
from typing import Any, NamedTuple

from collector.core.batch import Batch, Column, Fixed, Nested
from collector.core.decode import Undecodable, decode
from collector.core.inputs import (
    AnchorArrived,
    AnchorRequested,
    Closed,
    CollectorInput,
    Note,
    Opened,
    Refused,
    Resume,
    SessionStarted,
    SessionStopped,
    Tick,
    Verbatim,
)
from collector.core.market import Market
from tests.core.exchange import SECOND, START_NS, Exchange, text

KEYS = {
    "depth": ("epoch",),
    "diffs": ("last_id",),
    "snapshots": ("last_update_id", "recv_ns"),
    "trades": ("agg_trade_id",),
    "raw_trades": ("trade_id",),
    "book_ticker": ("update_id",),
    "gaps": ("gap_id", "revision"),
    "events": ("time_ns", "sequence"),
    "mark_price": ("event_time",),
    "liquidations": ("trade_time", "side", "event_time"),
    "klines": ("open_time", "interval", "event_time"),
    "partial_depth": ("last_update_id", "levels"),
    "polled_books": ("last_update_id", "limit"),
    "open_interest": ("timestamp",),
    "bars": ("open_time", "interval_ms"),
    "books": ("timestamp",),
    "multitick": ("epoch", "tick"),
    "features": ("epoch",),
    "forecasts": ("timestamp", "model", "target"),
}

FAULTS = (
    "drop",
    "twice",
    "swap",
    "bad level",
    "disconnect",
    "garbage",
    "bad trade",
    "drop trade",
    "anchor",
    "old anchor",
)
"""Those that a book must survive without ever being wrong while it says that it is right."""

ODD = (
    *FAULTS,
    "absurd",
    "unasked anchor",
    "anchor ahead",
    "wrong anchor",
    "refused",
    "tick",
    "stall",
    "late clock",
    "note",
)


class Input(NamedTuple):
    """One input: a message's text, a snapshot, or something of the collector's own."""

    recv_ns: int
    what: str | bytes | CollectorInput


def session(*, futures: bool, resume: Resume | None = None) -> SessionStarted:
    return SessionStarted(
        exchange="binanceusdm" if futures else "binance",
        symbol="BTCUSDT",
        futures=futures,
        channels=("depth", "trades"),
        resume=resume,
    )


def hand(market: Market, one: Input) -> None:
    """As the recorder does."""
    if isinstance(one.what, str):
        try:
            message = decode(one.what)
        except Undecodable:
            market.apply(one.recv_ns, Verbatim(0, one.what.encode()))
        else:
            market.message(one.recv_ns, message, one.what)
    elif isinstance(one.what, bytes):
        market.anchor(one.recv_ns, one.what)
    else:
        market.apply(one.recv_ns, one.what)


def run(
    start: SessionStarted,
    inputs: Iterable[Input],
    drains: Collection[int] | Callable[[int], bool] = (),
    *,
    start_ns: int = START_NS,
) -> list[Batch]:
    """All rows of a session that is drained after the inputs numbered in `drains`."""
    market = Market(start_ns, start)
    due = drains if callable(drains) else lambda number: number in drains
    batches: list[Batch] = []
    for number, one in enumerate(inputs):
        hand(market, one)
        if due(number):
            batches += market.drain()
    return batches + market.drain()


def tables(batches: Iterable[Batch]) -> dict[str, list[dict[str, Any]]]:
    """Rows by table in key order; floats as they would be stored."""
    found: dict[str, list[dict[str, Any]]] = {}
    for batch in batches:
        columns = {name: _values(column) for name, column in batch.columns.items()}
        assert {len(column) for column in columns.values()} == {batch.rows}, batch.table
        found.setdefault(batch.table, []).extend(
            dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
        )
    for table, rows in found.items():
        rows.sort(key=lambda row: tuple(row[name] for name in KEYS[table]))
    return found


def _values(column: Column) -> list[Any]:
    if isinstance(column, list):
        return column
    if isinstance(column, Fixed):
        return list(column.floats().tolist())
    if isinstance(column, Nested):
        values = column.values.floats() if isinstance(column.values, Fixed) else column.values
        flat, rows, at = [str(value) for value in values.tolist()], [], 0
        for count in column.counts.tolist():
            rows.append(None if count < 0 else flat[at : at + count])
            at += max(count, 0)
        return rows
    return list(column.tolist())


class Script:
    """A random session. `sent` and `sent_trades` are the ids that the exchange sent and that could reach us."""

    def __init__(
        self, seed: int, *, futures: bool, faults: Collection[str], length: int = 150, asked: bool = True
    ) -> None:
        """
        Args:
            asked: whether requests for snapshots stand among the inputs, as in captures of our own.
        """
        self.exchange = Exchange(futures, seed)
        self.inputs: list[Input] = []
        self.sent: list[tuple[int, int]] = []
        self.sent_trades: list[int] = []
        self._chance = random.Random(seed)
        self._now = START_NS
        self._connection = 1
        self._asked = asked
        self._held: list[str] = []
        faults = sorted(faults)
        self.add(Opened(1, ["depth", "trades"]))
        for number in range(length):
            self._now += self._chance.choice([0, 1, 1000, 40_000_000, 100_000_000, 250_000_000])
            if number == 4 or (number > 4 and number % 37 == 0):
                self._anchor()
            if faults and self._chance.random() < 0.15:
                self._fault(self._chance.choice(faults))
            elif self._chance.random() < 0.7:
                self.add(self._diff())
            else:
                self.add(self._trade())
            if self._held and self._chance.random() < 0.5:
                self.add(self._held.pop())
        self._now += 2 * SECOND
        self._anchor()
        self.add(self._diff())
        self._now += 2 * SECOND
        self.add(SessionStopped("stopped"))

    def add(self, what: str | bytes | CollectorInput) -> None:
        self.inputs.append(Input(self._now, what))

    def _diff(self, **changes: Any) -> str:
        message = self.exchange.diff(self._now) | changes
        link = message["pu"] if self.exchange.futures else message["U"] - 1
        self.sent.append((link + 1, message["u"]))
        return text(message)

    def _trade(self, **changes: Any) -> str:
        message = self.exchange.trade(self._now)
        self.sent_trades.append(message["a"])
        return text(message | changes)

    def _anchor(self, body: bytes | None = None, *, asked: bool = True) -> None:
        asked = asked and self._asked
        asked_ns = self._now
        if asked:
            self.add(AnchorRequested("test"))
        held = self.exchange.snapshot() if body is None else body
        for _ in range(self._chance.randint(0, 4)):
            self._now += 30_000_000
            self.add(self._diff())
        if body is None and self._chance.random() < 0.5:
            held = self.exchange.snapshot()
        self._now += 1_000_000
        if asked:
            self.add(AnchorArrived(asked_ns, "test", 1000))
        self.add(held)

    def _fault(self, fault: str) -> None:  # noqa: C901  a list of what happens
        match fault:
            case "drop":
                self._diff()
            case "twice":
                one = self._chance.choice([self._diff, self._trade])()
                self.add(one)
                self._now += self._chance.choice([0, 1, 50_000_000])
                self.add(one)
            case "swap":
                self._held.append(self._chance.choice([self._diff, self._trade])())
            case "bad level":
                bad = self._diff(b=[["100.00", self._chance.choice(["abc", "1e400", "-1", "NaN", ""])]])
                self.add(bad)
                if self._chance.random() < 0.3:
                    self.add(bad)
            case "absurd":
                number = self._chance.choice(["999999999999999", "0.000000000000001", "1234567.12345678"])
                self.add(self._diff(b=[[number, number]]))
            case "bad trade":
                self.add(self._trade(p=self._chance.choice(["abc", "0.10000000000000001", ""])))
            case "drop trade":
                self._trade()
            case "garbage":
                self.add(self._chance.choice(["{", "", "[]", '{"e":"depthUpdate","s":"BTCUSDT"}', "\x00"]))
            case "disconnect":
                self.add(Closed(self._connection, ["depth", "trades"], "disconnect"))
                for _ in range(self._chance.randint(0, 3)):
                    self._chance.choice([self._diff, self._trade])()
                self._now += self._chance.choice([0, SECOND, 7 * SECOND])
                self._connection += 1
                self.add(Opened(self._connection, ["depth", "trades"]))
            case "anchor":
                self._anchor()
            case "old anchor":
                at = self._chance.choice(list(self.exchange.truth))
                self._anchor(self.exchange.snapshot(at=at))
            case "unasked anchor":
                self._anchor(asked=False)
            case "anchor ahead":
                body = self.exchange.snapshot().replace(
                    str(self.exchange.last_id).encode(), str(self.exchange.last_id + 40).encode(), 1
                )
                self._anchor(body)
            case "wrong anchor":
                self._anchor(self.exchange.snapshot().replace(b"1", b"2", 3))
            case "refused":
                self.add(Refused("depth", "journal full", 1, 5, self._now - SECOND, self._now))
            case "stall":
                self._now += self._chance.choice([7, 70, 200]) * SECOND
            case "late clock":
                self.add(self._trade(E=self._now // 1_000_000 + 5_000))
            case "note":
                self.add(Note("note", "something"))
            case _:
                self.add(Tick())
