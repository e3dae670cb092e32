"""Any mixture of reads and writes, against a dict of rows by key."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage_backends.contract import counted, got, new_hash, put
from storage_backends.contract.rows import key_of, preferred, seen_by, time_ns
from storage_backends.interface import Backend, Market
from storage_backends.schema import TABLES

if TYPE_CHECKING:
    from collections.abc import Callable

_markets = itertools.count(1)
# Each example has a market of its own, so a store may serve many; a subclass runs the examples anew.
_SHARED = [HealthCheck.function_scoped_fixture, HealthCheck.differing_executors]


def model_test(examples: int) -> Callable[..., None]:
    """A test of any mixture of reads and writes, in so many random examples; a slow backend may have one with fewer."""

    @settings(max_examples=examples, deadline=None, suppress_health_check=_SHARED)
    @given(
        table=st.sampled_from(["trades", "depth", "gaps", "book_ticker", "events"]),
        writes=st.lists(
            st.tuples(st.lists(st.integers(0, 24), min_size=1, max_size=8), st.integers(0, 2), st.booleans()),
            max_size=8,
        ),
        ranges=st.lists(st.tuples(st.none() | st.integers(-1, 25), st.none() | st.integers(-1, 25)), max_size=4),
    )
    def test_agrees_with_a_model(
        self: object,
        backend: Backend,
        open_store: Callable[[], Backend],
        table: str,
        writes: list[tuple[list[int], int, bool]],
        ranges: list[tuple[int | None, int | None]],
    ) -> None:
        """Random writes by several writers, each perhaps repeated, against a dict of rows by key."""
        market = Market("model", f"M{next(_markets)}")
        definition = TABLES[table]
        model: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
        for ats, variant, repeated in writes:
            made = [seen_by(variant, table, at) for at in ats]
            content_hash = new_hash()
            for store in [backend, open_store()] if repeated else [backend]:
                put(store, table, made, market=market, writer=f"w{variant}", content_hash=content_hash)
            for each in made:
                model.setdefault(key_of(definition, each), []).append(each)
        kept = [preferred(definition, model[key]) for key in sorted(model)]
        for start, end in [(None, None), *ranges]:
            lower = None if start is None else time_ns(start)
            upper = None if end is None else time_ns(end)
            expected = [
                made
                for made in kept
                if (lower is None or made[definition.time] * definition.ns_per_unit >= lower)
                and (upper is None or made[definition.time] * definition.ns_per_unit < upper)
            ]
            assert got(backend, table, market, start_ns=lower, end_ns=upper) == expected
            assert counted(backend, table, market, start_ns=lower, end_ns=upper) == len(expected)

    return test_agrees_with_a_model
