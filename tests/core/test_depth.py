"""How a book starts, goes on and is widened, message by message."""

from __future__ import annotations

from typing import Any

import pytest

from collector.core.anchors import Request
from collector.core.decode import DepthUpdate, decode
from collector.core.depth import Depth
from collector.core.gaps import GapLedger
from collector.core.records import Records
from collector.core.sequencer import Sequencer
from tests.core.exchange import text
from tests.core.script import tables


class Stream:
    """A depth stream of futures: ids are made up by the test."""

    def __init__(self, *, futures: bool = True) -> None:
        self.ledger, self.records = GapLedger(), Records()
        self.depth = Depth(Sequencer("depth", self.ledger), self.ledger, self.records, futures=futures)
        self.futures = futures
        self.now = 0

    def diff(self, link: int, first: int, last: int, bids: list[list[str]] | None = None) -> None:
        self.now += 1
        message = {"e": "depthUpdate", "E": 1000, "s": "X", "U": first, "u": last, "b": bids or [], "a": []}
        self.frame(text(message | ({"pu": link} if self.futures else {})))

    def frame(self, frame: str) -> None:
        message = decode(frame)
        assert isinstance(message, DepthUpdate)
        self.depth.message(self.now, 1, message, frame)

    def anchor(self, update_id: int, bids: list[list[str]] | None = None, *, limit: int = 1000) -> None:
        self.now += 1
        body = {"lastUpdateId": update_id, "bids": bids or [["10", "1"]], "asks": [["12", "1"]]}
        self.depth.anchor(self.now, Request(self.now, "test", limit), text(body).encode())

    @property
    def last_id(self) -> int | None:
        """The update at which the book stands; None out of step."""
        self.depth.settle()
        return None if self.depth.book is None else self.depth.book.last_id

    def rows(self, table: str) -> list[dict[str, Any]]:
        return tables(self.records.drain()).get(table, [])


@pytest.mark.parametrize(
    ("update_id", "starts"),
    [
        (99, None),  # older than what the first diff follows on: fetch again
        (100, 130),  # pu == L
        (105, 130),  # between pu and U, as one id in seven is
        (110, 130),  # U == L
        (115, 130),
        (120, 130),  # u == L: the next one follows on it
        (125, 130),
    ],
)
def test_a_futures_book_starts_with_the_diff_that_follows_on_something_the_snapshot_has(
    update_id: int, starts: int | None
) -> None:
    stream = Stream()
    stream.diff(100, 110, 120)
    stream.diff(120, 123, 130)
    stream.anchor(update_id)
    assert stream.last_id == starts
    assert stream.depth.wanted == ("stale" if starts is None else None)


@pytest.mark.parametrize(("update_id", "starts"), [(108, None), (109, 130), (110, 130), (120, 130), (121, 130)])
def test_a_spot_book_starts_where_its_ids_meet(update_id: int, starts: int | None) -> None:
    stream = Stream(futures=False)
    stream.diff(0, 110, 120)
    stream.diff(0, 121, 130)
    stream.anchor(update_id)
    assert stream.last_id == starts


def test_a_snapshot_newer_than_everything_received_waits_for_the_diff_that_bridges() -> None:
    stream = Stream()
    stream.diff(100, 101, 110)
    stream.anchor(130)
    assert stream.last_id is None
    stream.diff(110, 111, 130)
    assert stream.last_id is None, "the snapshot is not behind it yet"
    stream.diff(130, 131, 140, [["11", "5"]])
    assert stream.last_id == 140
    assert stream.depth.book is not None
    assert stream.depth.book.best_bid == 11
    assert stream.depth.wanted is None


def test_a_diff_that_reaches_back_is_taken_and_a_duplicate_is_not() -> None:
    stream = Stream(futures=False)
    stream.diff(0, 101, 110)
    stream.anchor(105)
    stream.diff(0, 105, 115, [["10", "3"]])
    stream.diff(0, 105, 115, [["10", "3"]])
    assert stream.last_id == 115
    assert [row["last_id"] for row in stream.rows("diffs")] == [110, 115]
    assert stream.ledger.rows == []


def test_a_missing_diff_takes_the_book_out_of_step_until_the_next_snapshot() -> None:
    stream = Stream()
    stream.diff(100, 101, 110)
    stream.anchor(110)
    stream.diff(110, 111, 120)
    assert stream.last_id == 120
    stream.diff(130, 131, 140)
    assert stream.last_id is None
    assert stream.depth.wanted == "gap"
    assert [(gap.from_id, gap.to_id) for gap in stream.ledger.rows] == [(121, 130)]
    stream.anchor(125)
    assert stream.last_id is None, "older than the diff after the gap"
    stream.anchor(135)
    assert stream.last_id == 140


def test_a_late_diff_is_stored_but_not_applied() -> None:
    stream = Stream()
    stream.diff(100, 101, 110)
    stream.anchor(110)
    stream.diff(120, 121, 130)
    stream.anchor(130)
    stream.diff(110, 111, 120, [["9", "7"]])
    stream.diff(130, 131, 140)
    assert stream.last_id == 140
    assert stream.depth.book is not None
    assert stream.depth.book.bids.price.tolist() == [10]
    assert sorted(row["last_id"] for row in stream.rows("diffs")) == [110, 120, 130, 140]
    assert stream.ledger.rows[-1].healed


def test_a_deeper_snapshot_widens_the_book() -> None:
    stream = Stream()
    stream.depth.anchor_requested(stream.now)
    stream.diff(100, 101, 110)
    stream.anchor(110, [["10", "1"], ["9", "1"]], limit=2)
    stream.diff(110, 111, 120, [["10", "4"]])
    assert stream.last_id == 120
    assert stream.depth.book is not None
    assert stream.depth.book.bid_floor == 9
    stream.depth.anchor_requested(stream.now)
    stream.diff(120, 121, 130, [["9", "6"]])
    stream.anchor(125, [["10", "4"], ["9", "1"], ["8", "2"]], limit=3)
    assert stream.depth.book.bid_floor == 8
    assert stream.depth.book.bids.quantity.tolist() == [2, 6, 4]
    row = stream.rows("snapshots")[-1]
    assert (row["compared_levels"], row["differing_levels"]) == (2, 0), "9 is not compared: the diff straddles it"


def test_a_snapshot_from_before_the_book_of_its_request_is_not_compared() -> None:
    stream = Stream()
    stream.diff(100, 101, 110)
    stream.anchor(110)
    stream.diff(110, 111, 120, [["10", "4"]])
    stream.depth.anchor_requested(stream.now)
    stream.anchor(115)
    assert stream.last_id == 120
    assert stream.rows("snapshots")[-1]["compared_levels"] is None


def test_finer_numbers_in_the_middle_keep_the_book() -> None:
    stream = Stream()
    stream.diff(100, 101, 110)
    stream.anchor(110)
    stream.diff(110, 111, 120, [["10.5", "1"]])
    stream.diff(120, 121, 130, [["10.25", "0.125"], ["10", "0"]])
    assert stream.last_id == 130
    assert stream.depth.book is not None
    assert stream.depth.book.bids.price.tolist() == [1025, 1050]
    assert stream.depth.book.bids.quantity.tolist() == [125, 1000]
    assert stream.depth.book.best_ask == 1200
