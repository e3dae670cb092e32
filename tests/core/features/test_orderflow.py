"""Order-flow imbalance: by hand, event by event, and level by level."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.core.features.world import BASE, World, book, flow, quotes, series

QUOTES = [
    (100.0, 5.0, 100.1, 4.0),
    (100.0, 7.0, 100.1, 4.0),  # 2 join the bid: +2
    (100.1, 1.0, 100.2, 6.0),  # the bid rises: +1; the ask goes away: +4
    (100.1, 1.0, 100.1, 3.0),  # a new best ask of 3: -3
    (99.9, 8.0, 100.1, 3.0),  # the bid of 1 is gone: -1
]


def test_by_hand() -> None:
    flows = [flow(BASE, quotes=quotes(BASE, QUOTES[:1])), flow(BASE + 1, quotes=quotes(BASE + 1, QUOTES[1:], 2))]
    ofi, bid, ask, updates = series(flows, "ofi", "bid_flow", "ask_flow", "quote_updates")
    assert ofi == [None, pytest.approx(2 + 5 - 3 - 1)]
    assert bid == [None, pytest.approx(2 + 1 - 1)]
    assert ask == [None, pytest.approx(-4 + 3)]
    assert updates == [None, 4]


def test_an_epoch_without_quotes_is_zero() -> None:
    flows = [flow(BASE, quotes=quotes(BASE, QUOTES)), flow(BASE + 1)]
    assert series(flows, "ofi") == [[None, 0.0]]


def test_a_late_quote_says_nothing() -> None:
    late = replace(quotes(BASE + 1, [QUOTES[1], QUOTES[0], QUOTES[2]]))
    late.update_id[:] = [5, 3, 6]
    first = quotes(BASE, QUOTES[:1])
    first.update_id[:] = [4]
    flows = [flow(BASE, quotes=first), flow(BASE + 1, quotes=late)]
    assert series(flows, "ofi", "quote_updates") == [[None, pytest.approx(7)], [None, 2]]


def test_event_by_event() -> None:
    flows = World(5).flows(100)
    found, ten = series(flows, "ofi", "ofi_10s")
    before, sums = None, []
    for one in flows:
        rows = zip(
            *(getattr(one.quotes, n).tolist() for n in ("bid_price", "bid_quantity", "ask_price", "ask_quantity")),
            strict=True,
        )
        total = 0.0
        for b, qb, a, qa in rows:
            if before is not None:
                b0, qb0, a0, qa0 = before
                total += (b >= b0) * qb - (b <= b0) * qb0 - (a <= a0) * qa + (a >= a0) * qa0
            before = (b, qb, a, qa)
        sums.append(total)
    assert found[0] is None
    assert found[1:] == pytest.approx(sums[1:])
    assert ten[:10] == [None] * 10
    assert ten[10:] == pytest.approx([sum(sums[at - 9 : at + 1]) for at in range(10, 100)])


def test_levels_by_hand() -> None:
    bids = [(100 - i / 10, 2.0) for i in range(10)]
    asks = [(100.1 + i / 10, 4.0) for i in range(10)]
    more = [(100.0, 5.0), *bids[1:]]  # 3 join the best bid
    flows = [flow(BASE, book=book(bids, asks)), flow(BASE + 1, book=book(more, asks))]
    one, five = series(flows, "ofi_levels_1", "ofi_levels_5")
    assert one == [None, pytest.approx(3 / ((2 + 5 + 4 + 4) / 4))]
    assert five == [None, pytest.approx(3 / ((2 + 5 + 4 + 4) / 4 + 4 * 3))]


def test_level_by_level() -> None:
    flows = World(6).flows(40)
    found = series(flows, "ofi_levels_10")[0]

    def side(levels) -> list[tuple[int, int]]:
        return sorted(zip(levels.price.tolist(), levels.quantity.tolist(), strict=True))

    def ladder(one):
        return side(one.book.bids)[:-11:-1], side(one.book.asks)[:10]

    for at in range(1, 40):
        (bids0, asks0), (bids, asks) = ladder(flows[at - 1]), ladder(flows[at])
        total = depth = 0.0
        for (b0, qb0), (a0, qa0), (b, qb), (a, qa) in zip(bids0, asks0, bids, asks, strict=True):
            total += (b >= b0) * qb - (b <= b0) * qb0 - (a <= a0) * qa + (a >= a0) * qa0
            depth += (qb + qa + qb0 + qa0) / 4
        assert found[at] == pytest.approx(total / depth)
