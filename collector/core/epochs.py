"""Which epochs end when. Epoch T holds every input with recv_ns < T * 1e9, and none after."""

from __future__ import annotations

SECOND_NS = 1_000_000_000


class Epochs:
    """The grid of one market: each multiple of `interval_s` once, in order, never one that an earlier session wrote.

    Attributes:
        next_epoch: the one that runs.
        end_ns: when it ends.
    """

    def __init__(self, interval_s: int, start_ns: int, last_epoch: int | None = None) -> None:
        self._interval = interval_s
        self.next_epoch = (start_ns // SECOND_NS // interval_s + 1) * interval_s
        if last_epoch is not None and self.next_epoch <= last_epoch:
            self.next_epoch = (last_epoch // interval_s + 1) * interval_s
        self.end_ns = self.next_epoch * SECOND_NS

    def ended(self, now_ns: int) -> range:
        """The epochs that have ended before an input or tick at `now_ns`, each given once."""
        if now_ns < self.end_ns:
            return range(0)
        start = self.next_epoch
        self.next_epoch = (now_ns // SECOND_NS // self._interval + 1) * self._interval
        self.end_ns = self.next_epoch * SECOND_NS
        return range(start, self.next_epoch, self._interval)
