"""The book of one market: diffs in sequence, anchors, and what is known between them.

Diffs are sequenced one by one, and parsed and applied together once a second or when something asks for the book
(`settle`). Rows do not depend on when that happens.

Without a book, diffs wait in a backlog until an anchor bridges them: the first diff beyond the anchor must follow on
an update that the anchor includes. With a book, an anchor is compared with the book as it stood at the anchor's
update. For that, the book of the moment of the request is kept, and the diffs since; or, in a capture that does not
hold the requests, the books of the last seconds.

What is kept is bounded in time, and judged by the times of single messages, never by how they were parsed together.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

import numpy as np

from collector.core.anchors import Anchor, Request, parse_anchor, snapshot_batch
from collector.core.book import Book, Change, compare
from collector.core.decimals import BadNumber, Decimals, Ints
from collector.core.decode import DepthUpdate, Undecodable, event_time_ms
from collector.core.diffs import DiffChunk, DiffEntry, diff_batch
from collector.core.gaps import GapLedger
from collector.core.records import Records
from collector.core.sequencer import Sequencer, Verdict, depth_link

_KEPT_NS = 120 * 1_000_000_000
"""How long diffs are kept for an anchor to come; one that is older is of no use."""

_UNASKED_NS = 3 * 1_000_000_000
"""How much older than its receipt an anchor may be that was not asked for by us."""

_AHEAD_NS = 60 * 1_000_000_000
"""How long an anchor waits for a stream that moves without reaching it."""

_NOTHING: Ints = np.empty(0, np.int64)
_NO_CHANGE = Change(_NOTHING, _NOTHING, _NOTHING, _NOTHING)


class Depth:
    """Depth stream and book of one market.

    `book` is None while the market is out of step. `wanted` names the reason for an anchor that is needed but not
    asked for yet; whoever can ask takes it and sets it back to None. `on_applied`, if set, is called whenever messages
    have reached the book together, with the receipt (ns) of the oldest of them.
    """

    def __init__(self, sequencer: Sequencer, ledger: GapLedger, records: Records, *, futures: bool) -> None:
        self.book: Book | None = None
        self.wanted: str | None = None
        self.last_message: DepthUpdate | None = None
        self.last_recv_ns: int | None = None
        self.on_applied: Callable[[int], object] | None = None
        self._sequencer = sequencer
        self._ledger = ledger
        self._records = records
        self._futures = futures
        self._price, self._quantity = Decimals(), Decimals()
        self._pending: list[DiffEntry] = []
        self._late: list[DiffEntry] = []
        self._backlog: list[DiffChunk] = []  # without a book: diffs in sequence that wait for an anchor
        self._asked = False  # whether anchors are asked for here, or come as they come
        self._requested_ns = 0
        self._base: Book | None = None  # the book when an anchor was asked for, and the diffs since
        self._since: list[DiffChunk] = []
        self._recent: list[tuple[Book, DiffChunk]] = []  # where nobody asks: the diffs of the last seconds
        self._anchor: Anchor | None = None  # one that is ahead of the diffs received
        self._sound_ns = 0  # when the book was last known to be right

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
        if verdict is Verdict.NEXT:
            if self.last_message is None and self.book is None:
                self.wanted = self.wanted or "first"
        elif verdict is Verdict.DUPLICATE:
            self._records.counts["diffs duplicates"] += 1
            return
        elif verdict is Verdict.LATE:
            self.last_recv_ns = recv_ns
            self._late.append(entry)
            return
        else:
            self.settle()
            self._lose_step(recv_ns, "gap")
        self.last_recv_ns = recv_ns
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
            if self.on_applied is not None and self.book is not None:
                self.on_applied(pending[0].recv_ns)

    def anchor_requested(self, recv_ns: int) -> None:
        """Keeps the book of this moment for the comparison."""
        self.settle()
        self._asked = True
        self._requested_ns = recv_ns
        self._base, self._since, self._recent = self.book, [], []

    def anchor(self, recv_ns: int, request: Request, text: bytes) -> None:
        """Takes a REST snapshot: steps into sequence with it, or compares."""
        self.settle()
        anchor = self._parse(recv_ns, request, text)
        if anchor is None:
            self._forget_request()
            if self.book is None:
                self.wanted = "quarantine"
            return
        self._let_anchor_go()
        self._anchor = anchor
        if self.book is None:
            self._step_in(anchor)
        else:
            if recv_ns > self._requested_ns + _KEPT_NS:
                self._forget_request()
            if anchor.update_id <= self.book.last_id:
                self._compare(anchor)

    def finish(self) -> None:
        """The session ends: hands on all rows that still wait."""
        self.settle()
        self._let_anchor_go()

    def wrong(self, recv_ns: int, reason: str) -> None:
        """The book shows itself to be wrong: a new anchor is needed, and the rows since the last are in doubt."""
        self._doubt(recv_ns, reason)
        self._lose_step(recv_ns, reason)

    def _take(self, entries: list[DiffEntry], *, late: bool = False) -> None:
        try:
            chunk = DiffChunk(entries, self._price, self._quantity)
        except BadNumber:
            if len(entries) > 1:
                middle = len(entries) // 2
                self._take(entries[:middle], late=late)
                self._take(entries[middle:], late=late)
                return
            alone = self._alone(entries[0], late=late)
            if alone is None:
                return
            chunk = alone
        self._records.add(diff_batch(entries, chunk, futures=self._futures))
        if not late:
            self._apply(chunk)

    def _alone(self, entry: DiffEntry, *, late: bool) -> DiffChunk | None:
        """One that does not fit with what came before: in decimals of its own; None once it is in quarantine."""
        price, quantity = Decimals(), Decimals()
        at = entry.recv_ns
        try:
            chunk = DiffChunk([entry], price, quantity)
        except BadNumber as error:
            self._records.quarantine(at, "depth", entry.connection, str(error), entry.text)
            self._ledger.record("depth", "quarantine", entry.link + 1, entry.message.u, at, at, at, fillable=False)
            self._lose_step(at, "quarantine")
            return None
        if not late:
            self._begin_decimals(at, price, quantity)
        return chunk

    def _parse(self, recv_ns: int, request: Request, text: bytes) -> Anchor | None:
        """The anchor in `text`; None once it is in quarantine."""
        try:
            return parse_anchor(recv_ns, request, text, self._price, self._quantity)
        except (Undecodable, BadNumber):
            price, quantity = Decimals(), Decimals()
        try:
            anchor = parse_anchor(recv_ns, request, text, price, quantity)
        except (Undecodable, BadNumber) as error:
            self._records.quarantine(recv_ns, "snapshots", None, str(error), text)
            return None
        self._begin_decimals(recv_ns, price, quantity)
        return anchor

    def _begin_decimals(self, recv_ns: int, price: Decimals, quantity: Decimals) -> None:
        """Numbers that no 15 digits hold together with those before: one of the two is absurd, and the book with it."""
        self._lose_step(recv_ns, "decimals")
        self._let_anchor_go()
        self._price, self._quantity = price, quantity

    def _apply(self, chunk: DiffChunk) -> None:
        anchor = self._anchor
        if anchor is not None:
            behind = bisect_left(chunk.ids, anchor.update_id)
            if behind and chunk.recv_ns[behind - 1] > anchor.recv_ns + _AHEAD_NS:
                self._let_anchor_go()
                self._forget_request()
                anchor = None
                if self.book is None:
                    self.wanted = self.wanted or "ahead"
        if self.book is None:
            self._backlog.append(chunk)
            while self._backlog[0].recv_ns[-1] < chunk.recv_ns[-1] - _KEPT_NS:
                self._backlog.pop(0)
            if anchor is not None:
                self._step_in(anchor)
            return
        before = self.book
        self.book = self._advance(before, chunk, 0)
        if self._base is not None:
            self._since.append(chunk)
            if anchor is None and chunk.recv_ns[-1] > self._requested_ns + _KEPT_NS:
                self._forget_request()
        elif not self._asked:
            self._recent.append((before, chunk))
            until_ns = chunk.recv_ns[-1] if anchor is None else anchor.recv_ns
            while self._recent[0][1].recv_ns[-1] < until_ns - _UNASKED_NS:
                self._recent.pop(0)
        if anchor is not None and anchor.update_id <= self.book.last_id:
            self._compare(anchor)

    def _take_base(self, anchor: Anchor) -> tuple[Book | None, list[DiffChunk]]:
        """An older book to compare `anchor` with, and the diffs since; None if none is known."""
        if self._asked:
            base, since = self._base, self._since
            self._forget_request()
            return base, since
        from_ns = anchor.recv_ns - _UNASKED_NS
        recent = [pair for pair in self._recent if pair[1].recv_ns[-1] >= from_ns]
        if not recent:
            return self.book, []
        book, chunk = recent[0]
        older = bisect_left(chunk.recv_ns, from_ns)
        return self._advance(book, chunk, 0, older), [chunk.rest(older), *(chunk for _, chunk in recent[1:])]

    def _go_on(self, book: Book, chunks: list[DiffChunk]) -> None:
        """Makes `book` with all of `chunks` the one to go on with."""
        self._recent = []
        for chunk in chunks:
            if not self._asked:
                self._recent.append((book, chunk))
            book = self._advance(book, chunk, 0)
        self.book = book

    def _forget_request(self) -> None:
        self._base, self._since = None, []

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
        first_ns = self._backlog[number].recv_ns[first]
        at_ns = max(anchor.recv_ns, first_ns)
        if self._backlog[number].links[first] > anchor.update_id or first_ns < anchor.recv_ns - _KEPT_NS:
            self._records.event(
                at_ns,
                "stale_anchor",
                stream="depth",
                detail=f"snapshot {anchor.update_id} is older than the diffs that wait for one",
            )
            self._let_anchor_go()
            self.wanted = "stale"
            return
        self._go_on(anchor.book, [self._backlog[number].rest(first), *self._backlog[number + 1 :]])
        self._backlog = []
        self._forget_request()
        self.wanted = None
        self._sound_ns = at_ns
        self._records.event(at_ns, "in_step", stream="depth", detail=f"anchored on update {anchor.update_id}")
        self._let_anchor_go()

    def _compare(self, anchor: Anchor) -> None:
        """Compares the anchor with the book as of its update, then widens the book, or takes the anchor's word."""
        base, since = self._take_base(anchor)
        if base is None or anchor.update_id < base.last_id:
            self._let_anchor_go()
            return
        touched, at_ns = _NO_CHANGE, anchor.recv_ns
        rest: list[DiffChunk] = []
        for number, chunk in enumerate(since):
            reached = bisect_left(chunk.ids, anchor.update_id)
            if reached < len(chunk.ids):
                at_ns = max(anchor.recv_ns, chunk.recv_ns[reached])
            first = chunk.after(anchor.update_id)
            base = self._advance(base, chunk, 0, first)
            if first < len(chunk.ids):
                rest = [chunk.rest(first), *since[number + 1 :]]
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
            self._doubt(at_ns, "book differed")
        self._sound_ns = at_ns
        self._go_on(theirs if differing else base.widened(theirs), rest)
        self._let_anchor_go(compared, differing)

    def _doubt(self, at_ns: int, reason: str) -> None:
        """The rows since the book was last known to be right cannot be trusted; no message is missing, though."""
        self._ledger.record("depth", reason, None, None, self._sound_ns, at_ns, at_ns)

    def _let_anchor_go(self, compared: int | None = None, differing: int | None = None) -> None:
        """Hands on the row of the anchor at hand, if there is one."""
        if self._anchor is not None:
            self._records.add(snapshot_batch(self._anchor, compared, differing))
            self._anchor = None

    def _lose_step(self, recv_ns: int, reason: str) -> None:
        if self.book is not None:
            self._records.event(recv_ns, "out_of_step", stream="depth", detail=reason)
            self._let_anchor_go()
        self.book = None
        self._backlog, self._recent = [], []
        self._forget_request()
        self.wanted = self.wanted or reason
