"""Rows that the server refuses, for now or for good, or that it could not hold: the others are stored."""

from __future__ import annotations

import numpy as np
import pytest

from storage_backends.bigtable import client, writer
from storage_backends.bigtable.backend import BigtableBackend
from storage_backends.bigtable.options import BigtableOptions
from storage_backends.contract import got, put
from storage_backends.contract.rows import row, rows
from storage_backends.errors import PartialWriteError, PermanentBackendError, TransientBackendError
from storage_backends.interface import Market
from tests.bigtable_proxy import Fault, Proxy
from tests.journal.rows import BTC, ETH
from tests.storage_backends.bigtable.delivery import Delivery, always, cells


def test_of_a_hundred_rows_only_the_three_that_failed_are_sent_again(
    proxy: Proxy, through: BigtableBackend, direct: BigtableBackend
) -> None:
    put(through, "trades", rows("trades", [0]))
    seen: dict[bytes, int] = {}

    def busy(key: bytes) -> tuple[int, str] | None:
        seen[key] = seen.get(key, 0) + 1
        return (14, "tablet is moving") if key[-1:] == b"7" and key[-2:-1] in b"123" and seen[key] == 1 else None

    proxy.trouble = always(Fault(rows=busy))
    proxy.row_counts.clear()
    put(through, "trades", rows("trades", range(100)))
    assert proxy.row_counts[0] == 101, "the rows, and the index of a slice that is new"
    assert 0 < sum(proxy.row_counts[1:]) <= 3
    assert got(direct, "trades") == rows("trades", range(100))


def test_rows_that_are_refused_for_good_are_named_and_the_others_stored(
    proxy: Proxy, through: BigtableBackend, direct: BigtableBackend
) -> None:
    bad = {row("trades", at)["agg_trade_id"] for at in (3, 50, 99)}

    def refuse(key: bytes) -> tuple[int, str] | None:
        return (3, "row too large") if any(key.endswith(f"#{one}".encode()) for one in bad) else None

    proxy.trouble = always(Fault(rows=refuse))
    with pytest.raises(PartialWriteError, match=r"agg_trade_id \d+ was refused: row too large, and 2 more") as caught:
        put(through, "trades", rows("trades", range(100)))
    assert set(caught.value.failed_keys) == {(one,) for one in bad}
    assert len(got(direct, "trades")) == 97


def test_a_poisoned_row_goes_to_the_dead_letters_and_the_rest_goes_on(
    proxy: Proxy, delivery: Delivery, direct: BigtableBackend
) -> None:
    proxy.trouble = always(Fault(rows=lambda key: (3, "invalid") if key.endswith(b"#5") else None))
    for _ in range(10):
        delivery.second(BTC, ETH)
    for _ in range(5):
        delivery.second()
    for market in (BTC, ETH):
        assert delivery.stored(direct, market) == [one for one in range(10) if one != 5]
    assert delivery.deliverer.counts.refused_rows == 2
    (event, _) = delivery.events
    assert event.startswith("dead_letter: 1 rows of book_ticker")
    assert "update_id 5 was refused: invalid" in event


def test_rows_beyond_bigtables_limits_are_refused_here(
    through: BigtableBackend, direct: BigtableBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_id = row("gaps", 1, gap_id="x" * 5000)
    early = row("gaps", 2, detected_ns=-1)
    with pytest.raises(PartialWriteError, match="too long for a row key") as caught:
        put(through, "gaps", [row("gaps", 0), long_id, early])
    assert caught.value.failed_keys == (("x" * 5000, 1), (early["gap_id"], 1))
    assert got(direct, "gaps") == [row("gaps", 0)]
    monkeypatch.setattr(writer, "ROW_BYTES", 100_000)
    with pytest.raises(PartialWriteError, match=r"takes 100,\d+ bytes, 100,000 are possible"):
        put(through, "events", [row("events", 0, text=b"x" * 100_000)])
    assert got(direct, "events") == []


def test_a_row_of_several_megabytes_takes_several_cells(options: BigtableOptions, direct: BigtableBackend) -> None:
    levels = np.random.default_rng(1).random(100_000).tolist()
    made = row("snapshots", 1, bid_price=levels, bid_quantity=levels, ask_price=levels, ask_quantity=levels)
    put(direct, "snapshots", [made])
    (found,) = [found for key, found in cells(options).items() if b"!" not in key]
    assert len(found) == 4
    assert max(len(value) for *_, value in found) <= 1 << 20
    assert got(direct, "snapshots") == [made]
    assert direct.stats("snapshots", Market("binanceusdm", "BTCUSDT")).rows == 1


def test_a_row_that_may_yet_be_taken_is_tried_again_before_another_is_judged(
    proxy: Proxy, through: BigtableBackend, direct: BigtableBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "OPERATION_TIMEOUT_S", 0.3)
    answers = {b"#4984028367547": (14, "tablet is moving"), b"#4984028367546": (7, "not you")}
    proxy.trouble = always(Fault(rows=lambda key: answers.get(key[-14:])))
    with pytest.raises(TransientBackendError, match="tablet is moving"):
        put(through, "trades", rows("trades", range(4)))
    del answers[b"#4984028367547"]
    with pytest.raises(PermanentBackendError, match="not you"):
        put(through, "trades", rows("trades", range(4)))
    answers.clear()
    put(through, "trades", rows("trades", range(4)))
    assert got(direct, "trades") == rows("trades", range(4))
