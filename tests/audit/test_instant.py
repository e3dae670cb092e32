"""The book at an instant is the exchange's, or none."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from collector.audit.instant import book_at, gap_at
from collector.commands.book import book
from tests.audit.sample import MARKET, TENTH, Sample
from tests.core.exchange import SECOND, START_NS


def test_the_book_at_any_instant_is_the_exchanges(sample: Sample) -> None:
    for at_ns in [
        START_NS + 12 * TENTH + 1,
        START_NS + 5 * SECOND,
        START_NS + 5 * SECOND + 1,
        START_NS + 10 * SECOND + TENTH + 2,
        START_NS + 12 * SECOND,
        START_NS + 13 * SECOND,  # in the gap, before anything shows it: the last that was known
        START_NS + 17 * SECOND,
        START_NS + 29 * SECOND,
        START_NS + 3600 * SECOND,
    ]:
        known = book_at(sample.store, MARKET, at_ns)
        received = [(recv_ns, update) for recv_ns, update in sample.received if recv_ns < at_ns]
        assert known is not None, at_ns
        assert (known.recv_ns, known.book.last_id) == received[-1]
        price, quantity = 10 ** (2 - known.book.price_places), 10 ** (3 - known.book.quantity_places)
        for side, truth in zip((known.book.bids, known.book.asks), sample.exchange.truth[received[-1][1]], strict=True):
            levels = zip((side.price * price).tolist(), (side.quantity * quantity).tolist(), strict=True)
            assert dict(levels) == truth


@pytest.mark.parametrize(
    "at_ns",
    [
        START_NS,
        START_NS + 11 * TENTH,  # diffs, but no snapshot yet
        START_NS + 11 * TENTH + 4,  # at the receipt of the first snapshot, which does not count any more
        START_NS + 11 * TENTH + 5,  # with a snapshot that no diff confirms yet
        START_NS + 14 * SECOND + TENTH + 1,  # after the gap
        START_NS + 16 * SECOND + TENTH,  # the last diff before the snapshot that ends it
    ],
)
def test_where_no_book_was_known_there_is_none(sample: Sample, at_ns: int) -> None:
    assert book_at(sample.store, MARKET, at_ns) is None


def test_a_diff_that_came_late_is_not_known_before_it_came(sample: Sample) -> None:
    """Two diffs changed places: between them the book cannot be known."""
    (first_ns, first), (second_ns, _) = sample.received[50:52]
    for file in sample.files("diffs"):
        sample.change(
            file,
            lambda row: {**row, "recv_ns": second_ns + 5} if row["last_id"] == first else row,
        )
    assert book_at(sample.store, MARKET, first_ns + 1) is not None
    assert book_at(sample.store, MARKET, second_ns + 1) is None
    assert book_at(sample.store, MARKET, second_ns + 6) is not None


def test_a_book_after_a_new_count_is_of_that_count(sample: Sample) -> None:
    sample.count_anew()
    at_ns = START_NS + 17 * SECOND
    known = book_at(sample.store, MARKET, at_ns)
    newest = max(received for received in sample.received if received[0] < at_ns)
    assert known is not None
    assert (known.recv_ns, known.book.last_id) == newest


def test_a_book_inside_a_gap_says_so(sample: Sample) -> None:
    last_ns = max(recv_ns for recv_ns, _ in sample.received if recv_ns < START_NS + 13 * SECOND)
    next_ns = min(recv_ns for recv_ns, _ in sample.received if recv_ns > START_NS + 13 * SECOND)
    for at_ns, inside in [(last_ns, False), (last_ns + 1, True), (next_ns, True), (next_ns + 1, False)]:
        gap = gap_at(sample.store, MARKET, at_ns)
        assert (gap is not None and gap.reason == "disconnect") == inside, at_ns


def test_the_command_says_so_too(sample: Sample) -> None:
    def ask(second: int, *more: str) -> str:
        at = str(START_NS + second * SECOND)
        result = CliRunner().invoke(book, ["--data-dir", str(sample.folder), "--at", at, *more], catch_exceptions=False)
        assert result.exit_code == 0
        return result.output

    assert "NOT the book of that moment: a gap (disconnect) lasts from" in ask(13)
    assert "NOT" not in ask(17)
    assert json.loads(ask(13, "--json"))["gap"]["reason"] == "disconnect"
    assert json.loads(ask(17, "--json"))["gap"] is None
