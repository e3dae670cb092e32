"""One stream while two connections carry it: which of them speaks, and what the other one says meanwhile.

A connection is replaced before it ends. For a while both deliver the same ids, though not at the same time, and depth
messages perhaps cut at other ids. The market must get each id once, in order, and know whose frame it gets.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from collector.core.decode import DepthUpdate, Message
from collector.core.tapes import kind_of

_PATIENCE_NS = 2_000_000_000
"""How far one connection may run ahead of the other before that one counts as stuck."""


class Frame(NamedTuple):
    """A decoded frame that waits."""

    recv_ns: int
    last_id: int
    message: Message
    text: str | bytes


class Handover:
    """The old connection speaks until the new one has reached what the market has or follows on it; then that one does.

    A stream changes hands once, so that it has one seam, where a depth message may reach back before the last one. What
    the silent connection repeats is dropped and counted. What it says ahead of the speaker is kept until the speaker
    has said it too, in case the speaker dies or is stuck.

    What the speaker has left out lies in a gap where ids count. Where they do not, nothing would tell of it, so it is
    for the market, which takes it as late: see `take_unsaid`.

    Attributes:
        speaker: the connection whose frames go to the market.
        silent: the other one.
        repeated: messages that came on both.
    """

    def __init__(self, old: int, new: int, since_ns: int, channel: str, *, futures: bool) -> None:
        self.old = old
        self.new = new
        self.speaker, self.silent = old, new
        self.repeated = 0
        self._since_ns = since_ns
        self._counted = channel == "depth" or kind_of(channel).contiguous
        self._futures = futures
        self._heard: int | None = None
        self._linked = False  # the two are known to leave no hole between them
        self._kept: deque[Frame] = deque()
        self._said: set[str | bytes] = set()  # where ids do not count: all that went to the market since two deliver
        self._unsaid: list[Frame] = []

    def said(self, text: str | bytes) -> None:
        """Takes note of a frame of the speaker. Two connections deliver together for seconds, so all fit in memory."""
        if not self._counted:
            self._said.add(text)

    def offer(self, recv_ns: int, message: Message, text: str | bytes, position: int | None) -> bool:
        """Takes a frame of the silent connection. True: that one is to speak from now on, see `take_over`.

        `position` is the last id that the market has, None before the first.
        """
        follows_on, last_id = _span(message, futures=self._futures)
        if follows_on is None:  # ids with holes that mean nothing: only what was heard before shows the order
            follows_on = self._heard
        self._heard = last_id
        self._kept.append(Frame(recv_ns, last_id, message, text))
        self._drop_repeated(position)
        follows = position is None or (follows_on is not None and follows_on <= position)
        self._linked = self._linked or follows
        if self.speaker == self.new:  # the old one, about to be closed, is heard only in case the new one dies
            while self._kept and recv_ns - self._kept[0].recv_ns > _PATIENCE_NS:
                frame = self._kept.popleft()
                if not self._counted:
                    self._unsaid.append(frame)
            return False
        if last_id == position or (follows and self._kept):
            return True
        # One that is always behind, or always ahead, takes over in the end; so does one whose speaker is stuck.
        waited_ns = recv_ns - (self._since_ns if self._linked else self._kept[0].recv_ns)
        return waited_ns > _PATIENCE_NS

    def take_over(self, position: int | None) -> list[Frame]:
        """Makes the silent connection the speaker. Gives what the market lacks of it, in the order of its ids."""
        self.speaker, self.silent = self.silent, self.speaker
        frames = self.take_unsaid(position)
        kept, self._kept = self._kept, deque()
        for frame in kept:
            self.said(frame.text)
        return frames + sorted(kept, key=lambda frame: frame.last_id)

    def take_unsaid(self, position: int | None, *, ahead: bool = False) -> list[Frame]:
        """What the silent connection alone has said, up to `position` or also `ahead` of it, in the order of its ids.

        Empty where ids count.
        """
        self._drop_repeated(position)
        if ahead and not self._counted:
            self._unsaid += self._kept
            self._kept.clear()
        frames, self._unsaid = self._unsaid, []
        for frame in frames:
            self.said(frame.text)
        return sorted(frames, key=lambda frame: frame.last_id)

    def held_since_ns(self, position: int | None) -> int | None:
        """Since when frames wait here that the market, which is at `position`, may never be given if the process dies.

        None where none does, or where ids tell of them.
        """
        self._drop_repeated(position)
        if self._counted:
            return None
        return min((frame.recv_ns for frame in (*self._unsaid, *self._kept)), default=None)

    def is_seamless(self, now_ns: int, position: int | None) -> bool:
        """Whether the silent connection can take over without a gap being stated at once.

        Where ids are contiguous they tell what is missing as soon as the next message comes. Elsewhere the two
        connections must be known to overlap, or have lived side by side for long enough.
        """
        self._drop_repeated(position)
        return self._counted or self._linked or now_ns - self._since_ns > _PATIENCE_NS

    def _drop_repeated(self, position: int | None) -> None:
        while position is not None and self._kept and self._kept[0].last_id <= position:
            frame = self._kept.popleft()
            self._linked = True
            if self._counted or frame.text in self._said:
                self.repeated += 1
            else:
                self._unsaid.append(frame)


def _span(message: Message, *, futures: bool) -> tuple[int | None, int]:
    """The id that a message follows on, None where ids do not tell, and its last id."""
    if isinstance(message, DepthUpdate):
        return message.pu if futures else message.U - 1, message.u
    kind = kind_of(message.channel)
    ident = kind.ident(message)
    return ident - 1 if kind.contiguous else None, ident
