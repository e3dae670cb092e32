"""What becomes of rows that are refused or damaged, and which are not to be given up. Nothing sleeps."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from collector.core.batch import Batch
from storage_backends.errors import PartialWriteError, PermanentBackendError
from storage_backends.interface import Market
from tests.journal.bench import Bench, always, only
from tests.journal.rows import BTC, ETH, START_NS, numbered, numbers

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "error", [PermanentBackendError("bad rows"), PartialWriteError("3 of 100", failed_keys=[(1,)])]
)
def test_poison_goes_to_the_dead_letters_and_the_rest_goes_on(bench: Bench, error: Exception) -> None:
    bench.backend.trouble = only(BTC, error)
    bench.journal.commit([(BTC, numbered(1, 3)), (ETH, numbered(4))], {})
    bench.clock.advance(300)
    assert bench.deliverer.step() == 2
    assert bench.backend.ids(ETH) == [4]
    assert bench.events == [(BTC, "dead_letter")]
    assert bench.details[0].startswith("3 rows of book_ticker went to the dead letters: ")
    assert bench.deliverer.counts.refused_rows == 3
    assert bench.journal.open_plans() == bench.journal.groups() == []


def test_rows_that_fit_no_table_are_poison_too(bench: Bench) -> None:
    bench.journal.commit([(BTC, Batch("book_ticker", {"update_id": [1]})), (ETH, numbered(4))], {})
    bench.clock.advance(300)
    bench.deliverer.step()
    assert bench.backend.ids(ETH) == [4]
    assert bench.events == [(BTC, "dead_letter")]


def test_lost_permissions_are_not_the_rows_fault(bench: Bench) -> None:
    bench.backend.trouble = always(PermanentBackendError("no permission"))
    bench.backend.sick = PermanentBackendError("no permission")
    bench.journal.commit([(BTC, numbered(1)), (ETH, numbered(2))], {})
    bench.clock.advance(300)
    bench.run_for(100)
    assert bench.deliverer.counts.refused_rows == 0
    bench.backend.trouble, bench.backend.sick = lambda market, ids: None, None
    bench.run_for(100)
    assert bench.backend.ids(BTC) + bench.backend.ids(ETH) == [1, 2]


def test_permissions_that_come_back_while_rows_are_judged(bench: Bench) -> None:
    def check() -> None:
        bench.backend.trouble = lambda market, ids: None

    bench.backend.trouble = always(PermanentBackendError("no permission"))
    bench.backend.check = check  # type: ignore[method-assign]
    bench.journal.commit([(BTC, numbered(1)), (ETH, numbered(2))], {})
    bench.clock.advance(300)
    assert bench.deliverer.step() == 2
    assert bench.backend.ids(BTC) + bench.backend.ids(ETH) == [1, 2]
    assert bench.deliverer.counts.refused_rows == 0
    assert bench.events == []


@pytest.mark.parametrize("lost_at", [1, 2])
def test_permissions_that_are_lost_while_rows_are_judged(bench: Bench, lost_at: int) -> None:
    looks = 0

    def check() -> None:
        nonlocal looks
        looks += 1
        if looks == lost_at:
            raise PermanentBackendError("no permission")

    bench.backend.trouble = always(PermanentBackendError("no permission"))
    bench.backend.check = check  # type: ignore[method-assign]
    bench.journal.commit([(BTC, numbered(1))], {})
    bench.clock.advance(300)
    assert bench.deliverer.step() == 0
    assert bench.deliverer.counts.refused_rows == 0
    bench.backend.trouble = lambda market, ids: None
    bench.run_for(10)
    assert bench.backend.ids(BTC) == [1]


def test_what_is_known_of_damaged_batches_is_told(bench: Bench, path: Path) -> None:
    """Of each run of them: what stands beside it, and when it was committed."""
    for number in range(7):
        bench.journal.commit([(BTC, numbered(number))], {})
        bench.clock.advance(1)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE body SET body = zeroblob(40) WHERE id IN (1, 3, 4, 7)")
    bench.clock.advance(300)
    bench.run_for(5)
    assert bench.backend.ids() == [1, 4, 5]
    beside = [[one and numbers([one]) for one in (damage.before, damage.after)] for damage in bench.damages]
    assert beside == [[None, [1]], [[1], [4]], [[5], None]]
    seconds = [((one.from_ns - START_NS) / 1e9, (one.to_ns - START_NS) / 1e9) for one in bench.damages]
    assert seconds == [(-2, 0), (1, 3), (5, 6)]


def test_of_a_write_only_what_holds_the_refused_rows_goes_to_the_dead_letters(bench: Bench) -> None:
    def trouble(market: Market, ids: tuple[int, ...]) -> None:
        if 5 in ids:
            raise PartialWriteError("a poisoned row", failed_keys=[(5,)])

    bench.backend.trouble = trouble
    bench.journal.commit([(BTC, numbered(1, 3))], {})
    bench.journal.commit([(BTC, numbered(4, 3))], {})
    bench.clock.advance(300)
    bench.run_for(2)
    assert [(market, list(batch.columns["update_id"])) for market, batch in bench.refused] == [(BTC, [5])]
    assert bench.deliverer.counts.refused_rows == 3, "a dead letter is a whole batch"
    assert bench.backend.ids(BTC) == [1, 2, 3]
    assert bench.journal.open_plans() == bench.journal.groups() == []


@pytest.mark.parametrize("error", [PermanentBackendError("bad rows"), PartialWriteError("one", failed_keys=[(5,)])])
def test_what_is_damaged_between_a_write_and_its_refusal_is_told_too(
    bench: Bench, path: Path, error: Exception
) -> None:
    def trouble(market: Market, ids: tuple[int, ...]) -> None:
        if 5 in ids:
            with sqlite3.connect(path) as db:
                db.execute("UPDATE body SET body = x'00' WHERE id = 1")
            raise error

    bench.backend.trouble = trouble
    bench.journal.commit([(BTC, numbered(1, 3))], {})
    bench.journal.commit([(BTC, numbered(4, 3))], {})
    bench.clock.advance(300)
    bench.run_for(5)
    assert len(bench.damages) == 1, "a gap of the batch that cannot be read"
    assert {one for _, batch in bench.refused for one in batch.columns["update_id"]} >= {5}
    assert len(list(bench.journal.dead_letters())) == 2
    assert bench.journal.open_plans() == bench.journal.groups() == []


def test_damage_in_one_of_many_writes_that_are_loaded_together(bench: Bench, path: Path) -> None:
    bench.backend.rows_at_once = 1000
    markets = [Market("binance", f"M{number}") for number in range(5)]
    bench.journal.commit([(market, numbered(number, 3)) for number, market in enumerate(markets)], {})
    with sqlite3.connect(path) as db:
        db.execute("UPDATE body SET body = x'00' WHERE id = 3")
    bench.clock.advance(300)
    assert bench.deliverer.step() == 5
    assert [bench.backend.ids(market) for market in markets] == [[0, 1, 2], [1, 2, 3], [], [3, 4, 5], [4, 5, 6]]
    assert [letter[2] for letter in bench.journal.dead_letters()] == [markets[2]]
