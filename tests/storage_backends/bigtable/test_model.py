"""Random writes, repeats, crashes and scans against a dictionary."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from storage_backends.bigtable.backend import BigtableBackend
from storage_backends.bigtable.client import Entry
from storage_backends.bigtable.options import BigtableOptions
from storage_backends.contract import got
from storage_backends.contract.rows import arrow, key_of, preferred, row, time_ns
from storage_backends.errors import BackendError, TransientBackendError
from storage_backends.interface import Market, Write
from storage_backends.schema import TABLES

_numbers = itertools.count(1)
_MINUTES = st.lists(st.integers(0, 40), min_size=1, max_size=12)
_MODELLED = ("trades", "depth", "gaps", "book_ticker", "events", "diffs")


class Crash(Exception):
    """The process ends here."""


class Machine(RuleBasedStateMachine):
    """`waiting` are writes that nobody has confirmed: some of their rows may be stored, and they will be repeated."""

    options: BigtableOptions

    def __init__(self) -> None:
        super().__init__()
        self.market = Market("model", f"M{next(_numbers)}")
        self.backend = BigtableBackend(self.options)
        self.model: dict[str, dict[tuple[Any, ...], list[dict[str, Any]]]] = {table: {} for table in _MODELLED}
        self.waiting: list[tuple[str, list[dict[str, Any]], str]] = []
        self.done: list[tuple[str, list[dict[str, Any]], str]] = []

    @rule(table=st.sampled_from(_MODELLED), minutes=_MINUTES, collector=st.integers(0, 2))
    def plan(self, table: str, minutes: list[int], collector: int) -> None:
        """Rows a minute apart: many slices of the index."""
        made = [_made(table, at, collector) for at in minutes]
        self.waiting.append((table, made, f"{next(_numbers):08x}"))

    @precondition(lambda self: self.waiting)
    @rule()
    def deliver(self) -> None:
        """All that waits, in one request."""
        outcomes = self.backend.write_many([self._write(*one) for one in self.waiting])
        assert outcomes == [None] * len(self.waiting)
        for table, made, _ in self.waiting:
            self._stored(table, made)
        self.done += self.waiting
        self.waiting = []

    @precondition(lambda self: self.waiting)
    @rule(rows=st.integers(0, 30), heard=st.booleans())
    def crash(self, rows: int, heard: bool) -> None:
        """A part of the rows arrives, and then the connection or the process is gone."""
        client = self.backend._client
        real = client._mutate_rows

        def cut(table_id: str, entries: list[Entry]) -> Iterator[tuple[int, int, str]]:
            list(real(table_id, entries[:rows]))
            raise TransientBackendError("cut off") if heard else Crash

        client._mutate_rows = cut  # type: ignore[method-assign, assignment]
        try:
            outcomes = self.backend.write_many([self._write(*one) for one in self.waiting])
        except Crash:
            self.restart()
        else:
            assert all(isinstance(outcome, BackendError) for outcome in outcomes)
        finally:
            client._mutate_rows = real  # type: ignore[method-assign]

    @precondition(lambda self: self.done)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        table, made, content_hash = data.draw(st.sampled_from(self.done))
        self.backend.write(*self._write(table, made, content_hash)[:3], writer="again", content_hash=content_hash)

    @rule()
    def restart(self) -> None:
        self.backend.close()
        self.backend = BigtableBackend(self.options)

    @precondition(lambda self: not self.waiting)
    @rule(table=st.sampled_from(_MODELLED), ends=st.tuples(*[st.none() | st.integers(-60, 60 * 42)] * 2))
    def scan(self, table: str, ends: tuple[int | None, int | None]) -> None:
        definition = TABLES[table]
        start_ns, end_ns = (None if end is None else time_ns(end) for end in ends)
        stored = self.model[table]
        kept = [preferred(definition, stored[key]) for key in sorted(stored)]
        expected = [
            made
            for made in kept
            if (start_ns is None or made[definition.time] * definition.ns_per_unit >= start_ns)
            and (end_ns is None or made[definition.time] * definition.ns_per_unit < end_ns)
        ]
        assert got(self.backend, table, self.market, start_ns=start_ns, end_ns=end_ns) == expected
        assert bool(len(self.backend.latest(table, self.market, 5))) == bool(stored)

    def teardown(self) -> None:
        if self.waiting:
            self.deliver()
        for table in _MODELLED:
            self.scan(table, (None, None))
        assert set(self.backend.tables(self.market)) == {table for table in _MODELLED if self.model[table]}
        self.backend.close()

    def _stored(self, table: str, made: list[dict[str, Any]]) -> None:
        for each in made:
            self.model[table].setdefault(key_of(TABLES[table], each), []).append(each)

    def _write(self, table: str, made: list[dict[str, Any]], content_hash: str) -> Write:
        return Write(table, self.market, arrow(table, made), "model", content_hash)


def _made(table: str, minute: int, collector: int) -> dict[str, Any]:
    """The row of a minute as one of three collectors saw it; diffs count anew in the middle."""
    at = minute * 60
    if table == "diffs" and minute >= 20:
        return row(table, at, last_id=minute)
    if any(column == "recv_ns" for column, _ in TABLES[table].prefer):
        return row(table, at, recv_ns=time_ns(at) + collector * 700_000_000)
    return row(table, at, revision=collector + 1) if table == "gaps" else row(table, at)


def test_agrees_with_a_dictionary(options: BigtableOptions) -> None:
    class Here(Machine):
        pass

    Here.options = options
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Here,
        settings=settings(
            max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
