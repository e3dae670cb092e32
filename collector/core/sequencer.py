"""Whether a message follows on the last one: the rules of each exchange, and what a break means.

Every numbered message covers ids first…last. What it follows on is `first - 1`:

- Spot depth: `U - 1`. Binance spot "How to manage a local order book correctly" (as corrected 2025-11-12): an event
  with `u` not above the book's id is ignored, `U` above id + 1 is a gap.
- USDⓈ-M depth: `pu`. Binance USDⓈ-M "How to manage a local order book correctly": `pu` must equal the previous `u`.
  Update ids there are not contiguous, so `U` says nothing about what was missed.
- aggTrade and trade: the id before. Both count without holes (10,700 of 10,700 steps in two real captures).
- bookTicker: ids rise, with holes that mean nothing.
- Mark price, liquidations, klines, partial books: no ids that count; event times, or update ids, tell messages apart.

A message that reaches back before the last one and also beyond it is taken: its absolute quantities repeat nothing
wrong and leave nothing out.

The same page of the documentation starts a futures book with the event whose `U <= lastUpdateId <= u`. That never
matches when the snapshot falls between `pu` and `U`, as one id in seven does, so `pu <= lastUpdateId` is asked here:
the snapshot includes all that the message follows on.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto

import msgspec

from collector.core.decode import DepthUpdate, Undecodable
from collector.core.gaps import GapLedger

_RESTARTED_MS = 1000
_RECENT = 256


class Verdict(Enum):
    """What a message is to its stream. All but DUPLICATE are stored."""

    NEXT = auto()
    BREAK = auto()  # ids before it are missing
    LATE = auto()  # it fills a gap that is known
    DUPLICATE = auto()
    RESTART = auto()  # the exchange began to count anew


class Position(msgspec.Struct):
    """How far a stream got; kept across sessions. `offset` is added to the exchange's ids, where it counted anew."""

    last_id: int | None = None
    recv_ns: int = 0
    event_ms: int | None = None
    offset: int = 0


def depth_link(message: DepthUpdate, *, futures: bool) -> int:
    """The update id that a depth message follows on.

    Raises:
        Undecodable: a futures message without `pu`.
    """
    if not futures:
        return message.U - 1
    if message.pu is None:
        raise Undecodable("a futures depth message without pu")
    return message.pu


class Sequencer:
    """The ids of one stream. States gaps in the ledger; never forgets how far the stream got."""

    def __init__(
        self, stream: str, ledger: GapLedger, position: Position | None = None, *, contiguous: bool = True
    ) -> None:
        self.stream = stream
        self.position = position or Position()
        self._ledger = ledger
        self._contiguous = contiguous
        self._fresh = True
        self._recent: deque[int] = deque(maxlen=_RECENT)

    def judge(self, first_id: int, last_id: int, event_ms: int | None, recv_ns: int) -> Verdict:
        """Takes one message into account; opens, closes and fills gaps as it tells."""
        position = self.position
        previous = position.last_id
        verdict = Verdict.NEXT
        if previous is not None and last_id <= previous:
            if not self._counts_anew(last_id, event_ms):
                return self._behind(first_id, last_id)
            self._ledger.open(self.stream, "ids restarted", previous + 1, position.recv_ns, recv_ns)
            self._ledger.close(self.stream, None, recv_ns)
            self._recent.clear()
            verdict = Verdict.RESTART
        elif previous is not None:
            missing = self._contiguous and first_id > previous + 1
            if self.stream in self._ledger.open_gaps:
                self._ledger.close(self.stream, first_id - 1, recv_ns)
            elif missing:
                self._ledger.record(
                    self.stream, "sequence", previous + 1, first_id - 1, position.recv_ns, recv_ns, recv_ns
                )
            if missing:
                verdict = Verdict.BREAK
        self._fresh = False
        self._recent.append(last_id)
        position.last_id, position.recv_ns = last_id, recv_ns
        if event_ms is not None:
            position.event_ms = event_ms
        return verdict

    def lost(self, reason: str, detected_ns: int) -> None:
        """The connection is gone, or was gone since the last session: what follows the last message may be missing."""
        self._fresh = True
        if self.position.last_id is not None:
            self._ledger.open(self.stream, reason, self.position.last_id + 1, self.position.recv_ns, detected_ns)

    def _counts_anew(self, last_id: int, event_ms: int | None) -> bool:
        """Whether a message that is behind by its id is the first of a new count.

        It is if it is newer by its own clock: what is sent twice or too late is older. Without a clock only the first
        message after a connect can be, if it was not seen before.
        """
        if last_id == self.position.last_id or last_id in self._recent:
            return False
        if event_ms is None or self.position.event_ms is None:
            return self._fresh
        return event_ms > self.position.event_ms + _RESTARTED_MS

    def _behind(self, first_id: int, last_id: int) -> Verdict:
        if self._contiguous:
            return Verdict.LATE if self._ledger.fill(self.stream, first_id, last_id) else Verdict.DUPLICATE
        known = last_id == self.position.last_id or last_id in self._recent
        if known or (self._recent and last_id < self._recent[0]):
            return Verdict.DUPLICATE
        self._recent.append(last_id)
        return Verdict.LATE


class StampedSequencer(Sequencer):
    """A stream without ids that count. Messages are told apart by a number that rises with time; one that was missed
    leaves no trace, so gaps have times only, and are stated where the connection was lost."""

    def judge(self, first_id: int, last_id: int, event_ms: int | None, recv_ns: int) -> Verdict:
        """Takes one message into account. LATE is one that is older than the newest; it is stored all the same."""
        position = self.position
        if last_id in self._recent:
            return Verdict.DUPLICATE
        self._recent.append(last_id)
        late = position.last_id is not None and last_id <= position.last_id
        if self.stream in self._ledger.open_gaps:
            self._ledger.close(self.stream, None, recv_ns)
        position.recv_ns = recv_ns
        if late:
            return Verdict.LATE
        position.last_id = last_id
        if event_ms is not None:
            position.event_ms = event_ms
        return Verdict.NEXT

    def lost(self, reason: str, detected_ns: int) -> None:
        """The connection is gone: what the exchange sends meanwhile is missed unseen."""
        if self.position.recv_ns:
            self._ledger.open(self.stream, reason, None, self.position.recv_ns, detected_ns)
