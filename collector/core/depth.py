"""The book of one market: diffs in sequence, anchors, and what is known between them.

Diffs are sequenced one by one, and parsed and applied together once a second or when something asks for the book
(`settle`). Rows do not depend on when that happens.

Without a book, diffs wait in a backlog until an anchor bridges them: the first diff beyond the anchor must follow on
an update that the anchor includes. With a book, an anchor is compared with the book as it stood at the anchor's
update. For that, the book of the moment of the request is kept, and the diffs since.
"""

from __future__ import annotations

from bisect import bisect_left

import numpy as np

from collector.core.anchors import Anchor, Request, parse_anchor, snapshot_batch
from collector.core.book import Book, Change, compare
from collector.core.decimals import BadNumber, Decimals, Ints
from collector.core.decode import DepthUpdate, Undecodable, event_time_ms
from collector.core.diffs import DiffChunk, DiffEntry, diff_batch
from collector.core.gaps import GapLedger
from collector.core.records import Records
from collector.core.sequencer import Sequencer, Verdict, depth_link

_BACKLOG = 900
"""Chunks, of a second each or so, that are kept for an anchor to come."""

_NOTHING: Ints = np.empty(0, np.int64)
_NO_CHANGE = Change(_NOTHING, _NOTHING, _NOTHING, _NOTHING)


class Depth:
    """Depth stream and book of one market.

    `book` is None while the market is out of step. `wanted` names the reason for an anchor that is needed but not
    asked for yet; whoever can ask takes it and sets it back to None.
    """

    def __init__(self, sequencer: Sequencer, ledger: GapLedger, records: Records, *, futures: bool) -> None:
        self.book: Book | None = None
        self.wanted: str | None = None
        self.last_message: DepthUpdate | None = None
        self.last_recv_ns: int | None = None
        self._sequencer = sequencer
        self._ledger = ledger
        self._records = records
        self._futures = futures
        self._price, self._quantity = Decimals(), Decimals()
        self._pending: list[DiffEntry] = []
        self._late: list[DiffEntry] = []
        self._backlog: list[DiffChunk] = []  # without a book: diffs in sequence that wait for an anchor
        self._base: Book | None = None  # with a book: an older one, and the diffs since
        self._since: list[DiffChunk] = []
        self._requested = False
        self._anchor: Anchor | None = None  # one that is ahead of the diffs received

    @property
    def event_ms(self) -> int | None:
        """When the exchange sent the last message in the book, by its clock."""
        return None if self.last_message is None else event_time_ms(self.last_message.E)

    @property
    def last_id(self) -> int | None:
        """The last update in the book."""
        return None if self.book is None else self.book.last_id

    def message(self, recv_ns: int, connection: int, message: DepthUpdate, text: str | bytes) -> None:
        """Takes one diff, in order of receipt.

        Raises:
            Undecodable: it lacks what this exchange's sequence needs.
        """
        link = depth_link(message, futures=self._futures)
        entry = DiffEntry(recv_ns, connection, link, message, text)
        verdict = self._sequencer.judge(link + 1, message.u, event_time_ms(message.E), recv_ns)
        if verdict is Verdict.DUPLICATE:
            self._records.counts["diffs duplicates"] += 1
            return
        self.last_recv_ns = recv_ns
        if verdict is Verdict.LATE:
            self._late.append(entry)
            return
        if verdict is not Verdict.NEXT:
            self.settle()
            self._lose_step(recv_ns, "gap")
        elif self.last_message is None and self.book is None:
            self.wanted = self.wanted or "first"
        self.last_message = message
        self._pending.append(entry)

    def settle(self) -> None:
        """Parses what waits, hands its rows on and brings the book up to date."""
        late, self._late = self._late, []
        if late:
            self._take(late, late=True)
        pending, self._pending = self._pending, []
        if pending:
            self._take(pending)

    def anchor_requested(self) -> None:
        """Keeps the book of this moment for the comparison."""
        self.settle()
        self._requested = True
        self._base, self._since = self.book, []

    def anchor(self, recv_ns: int, request: Request, text: bytes) -> None:
        """Takes a REST snapshot: steps into sequence with it, or compares."""
        self.settle()
        try:
            anchor = parse_anchor(recv_ns, request, text, self._price, self._quantity)
        except (Undecodable, BadNumber) as error:
            self._records.quarantine(recv_ns, "snapshots", None, str(error), text)
            self._requested = False
            if self.book is None:
                self.wanted = "quarantine"
            return
        self._let_anchor_go()
        self._anchor = anchor
        if self.book is None:
            self._step_in(anchor)
        elif anchor.update_id <= self.book.last_id:
            self._compare(anchor)

    def finish(self) -> None:
        """The session ends: hands on all rows that still wait."""
        self.settle()
        self._let_anchor_go()

    def out_of_step(self, recv_ns: int, reason: str) -> None:
        """Something shows the book to be wrong: a new anchor is needed."""
        self._lose_step(recv_ns, reason)

    def _take(self, entries: list[DiffEntry], *, late: bool = False) -> None:
        try:
            chunk = DiffChunk(entries, self._price, self._quantity)
        except BadNumber as error:
            if len(entries) > 1:
                middle = len(entries) // 2
                self._take(entries[:middle], late=late)
                self._take(entries[middle:], late=late)
            else:
                self._quarantine(entries[0], str(error))
            return
        self._records.add(diff_batch(entries, chunk, futures=self._futures))
        if not late:
            self._apply(chunk)

    def _quarantine(self, entry: DiffEntry, reason: str) -> None:
        at = entry.recv_ns
        self._records.quarantine(at, "depth", entry.connection, reason, entry.text)
        self._ledger.record("depth", "quarantine", entry.link + 1, entry.message.u, at, at, at)
        self._lose_step(at, "quarantine")

    def _apply(self, chunk: DiffChunk) -> None:
        if self.book is None:
            self._backlog.append(chunk)
            del self._backlog[:-_BACKLOG]
            if self._anchor is not None:
                self._step_in(self._anchor)
            return
        before = self.book
        self.book = self._advance(before, chunk, 0)
        if self._requested and self._base is not None:
            self._since.append(chunk)
            if len(self._since) > _BACKLOG:
                self._base = self._advance(self._base, self._since.pop(0), 0)
        else:
            self._base, self._since = before, [chunk]
        if self._anchor is not None and self._anchor.update_id <= self.book.last_id:
            self._compare(self._anchor)

    def _advance(self, book: Book, chunk: DiffChunk, start: int, stop: int | None = None) -> Book:
        """`book` after messages start…stop-1 of `chunk`, in the decimals now in use."""
        stop = len(chunk.ids) if stop is None else stop
        book = book.at_places(self._price.places or 0, self._quantity.places or 0)
        if start >= stop:
            return book
        return book.apply(chunk.change(start, stop, self._price, self._quantity), chunk.ids[stop - 1])

    def _step_in(self, anchor: Anchor) -> None:
        """Makes the anchor the book if the backlog follows on it; waits if no diff is beyond it yet."""
        start = None
        for number, chunk in enumerate(self._backlog):
            first = chunk.after(anchor.update_id)
            if first < len(chunk.ids):
                start = (number, first)
                break
        if start is None:
            return
        number, first = start
        at_ns = max(anchor.recv_ns, self._backlog[number].recv_ns[first])
        if self._backlog[number].links[first] > anchor.update_id:
            self._records.event(
                at_ns,
                "stale_anchor",
                stream="depth",
                detail=f"snapshot {anchor.update_id} is older than the first diff, which follows on "
                f"{self._backlog[number].links[first]}",
            )
            self._let_anchor_go()
            self.wanted = "stale"
            return
        book = self._advance(anchor.book, self._backlog[number], first)
        for chunk in self._backlog[number + 1 :]:
            book = self._advance(book, chunk, 0)
        self.book, self._backlog = book, []
        self._base, self._since, self._requested = book, [], False
        self.wanted = None
        self._records.event(at_ns, "in_step", stream="depth", detail=f"anchored on update {anchor.update_id}")
        self._let_anchor_go()

    def _compare(self, anchor: Anchor) -> None:
        """Compares the anchor with the book as of its update, then widens the book, or takes the anchor's word."""
        base = self._base
        self._requested = False
        if base is None or anchor.update_id < base.last_id:
            self._let_anchor_go()
            return
        touched, rest = _NO_CHANGE, len(self._since)
        first, at_ns = 0, anchor.recv_ns
        for number, chunk in enumerate(self._since):
            reached = bisect_left(chunk.ids, anchor.update_id)
            if reached < len(chunk.ids):
                at_ns = max(anchor.recv_ns, chunk.recv_ns[reached])
            first = chunk.after(anchor.update_id)
            base = self._advance(base, chunk, 0, first)
            if first < len(chunk.ids):
                rest = number
                if chunk.links[first] < anchor.update_id:
                    touched = chunk.change(first, first + 1, self._price, self._quantity)
                break
        theirs = anchor.book.at_places(self._price.places or 0, self._quantity.places or 0)
        base = base.at_places(theirs.price_places, theirs.quantity_places)
        compared, differing = compare(base, theirs, touched)
        if differing:
            self._records.event(
                at_ns,
                "book_differs",
                stream="depth",
                detail=f"{differing} of {compared} levels at update {anchor.update_id}; the snapshot's are taken",
            )
        book = theirs if differing else base.widened(theirs)
        for number, chunk in enumerate(self._since[rest:]):
            book = self._advance(book, chunk, first if number == 0 else 0)
        self.book = book
        self._base, self._since = book, []
        self._let_anchor_go(compared, differing)

    def _let_anchor_go(self, compared: int | None = None, differing: int | None = None) -> None:
        """Hands on the row of the anchor at hand, if there is one."""
        if self._anchor is not None:
            self._records.add(snapshot_batch(self._anchor, compared, differing))
            self._anchor = None

    def _lose_step(self, recv_ns: int, reason: str) -> None:
        if self.book is not None:
            self._records.event(recv_ns, "out_of_step", stream="depth", detail=reason)
            self._let_anchor_go()
        self.book = self._base = None
        self._since, self._backlog = [], []
        self._requested = False
        self.wanted = self.wanted or reason
