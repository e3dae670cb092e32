"""Mark price and funding by hand."""

from __future__ import annotations

import pytest

from collector.core.flow import Mark
from tests.core.features.world import BASE, NS, book, flow, series

NAMES = ("premium_bps", "index_premium_bps", "funding_rate_bps", "funding_in_s")
BOOK = book([(100.1, 1.0)], [(100.3, 1.0)])


def values(**changes: object) -> list[float | None]:
    told = {"recv_ns": BASE * NS - NS, "event_ms": 1, "mark_price": 100.0, "index_price": 99.9, "settle_price": None}
    told |= {"funding_rate": 0.0001, "next_funding_ms": (BASE + 600) * 1000 + 500} | changes
    return [one[0] for one in series([flow(BASE, book=BOOK, mark=Mark(**told))], *NAMES)]


def test_by_hand() -> None:
    premium, index, funding, left = values()
    assert premium == pytest.approx(1e4 * (100.2 - 100) / 100)
    assert index == pytest.approx(1e4 * (100 - 99.9) / 99.9)
    assert funding == pytest.approx(1.0)
    assert left == 600.5


def test_an_old_mark_price_is_none() -> None:
    assert values(recv_ns=(BASE - 5) * NS)[0] is not None
    assert values(recv_ns=(BASE - 5) * NS - 1) == [None] * 4


def test_what_the_exchange_leaves_out() -> None:
    assert values(index_price=None, funding_rate=None, next_funding_ms=None)[1:] == [None] * 3
    assert [one[0] for one in series([flow(BASE, book=BOOK)], *NAMES)] == [None] * 4
