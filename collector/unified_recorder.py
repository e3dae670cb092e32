"""The sink of a feed whose frames only ccxt understands: books by the second and trades, with the raw frames beside."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from collector.core.epochs import SECOND_NS
from collector.core.inputs import Closed, CollectorInput, UnifiedBook, UnifiedTrade, UnifiedTrades, Verbatim
from collector.live_market import LiveMarket
from collector.recorder import Recorder

log = logging.getLogger(__name__)


class UnifiedLiveMarket(LiveMarket):
    """One such market while it runs.

    A book that changed is read when its second is over, before anything of the next second reaches market or capture:
    that is the state which the epoch needs, and the only one that is kept.
    """

    _last_ns = 0
    _changed_ns = 0
    _read: Callable[[], UnifiedBook] | None = None

    def apply(self, recv_ns: int, happened: CollectorInput) -> None:
        # Before a connection is reported as gone the book still is what it told.
        self.settle(recv_ns, ending=isinstance(happened, Closed))
        super().apply(recv_ns, happened)
        self._last_ns = max(self._last_ns, recv_ns)

    def book_changed(self, now_ns: int, read: Callable[[], UnifiedBook]) -> None:
        """The book changed at `now_ns`; `read` gives it as it stands when called."""
        self.settle(now_ns)
        self._read, self._changed_ns = read, now_ns

    def settle(self, now_ns: int, *, ending: bool = False) -> None:
        """Takes the book in, if it changed in a second that is over at `now_ns`, or in the present one, at an end."""
        read = self._read
        if read is None or not (ending or now_ns // SECOND_NS > self._changed_ns // SECOND_NS):
            return
        self._read = None
        try:
            book = read()
        except Exception:  # a book of a shape that ccxt never promised must not end the others
            log.exception("the book of %s could not be read", self.name)
            return
        super().apply(max(self._last_ns, self._changed_ns), book)

    def raw(self, recv_ns: int, text: str | bytes) -> None:
        """Keeps a frame in the capture."""
        if self._capture is None:
            return
        try:
            self._capture.write_raw(recv_ns, text)
        except OSError as error:
            self._stop_capture(recv_ns, error)


class UnifiedRecorder(Recorder):
    """Hands books and trades to their markets. After `stop` it takes nothing more."""

    _markets: dict[str, UnifiedLiveMarket]  # type: ignore[assignment]

    def settle(self, now_ns: int) -> None:
        if not self._stopped:
            for live in self._markets.values():
                live.settle(now_ns)

    def book_changed(self, now_ns: int, symbol: str, read: Callable[[], UnifiedBook]) -> None:
        if not self._stopped:
            self._markets[symbol].book_changed(now_ns, read)

    def trades(self, recv_ns: int, symbol: str, trades: list[UnifiedTrade]) -> None:
        if not self._stopped:
            self._markets[symbol].apply(recv_ns, UnifiedTrades(trades))

    def raw(self, recv_ns: int, connection: int, symbols: Sequence[str], text: str | bytes) -> None:
        self.frames += 1
        if self._stopped:
            return
        for symbol in symbols or [self._of(connection)]:
            self._markets[symbol].raw(recv_ns, text)

    def unhandled(self, recv_ns: int, connection: int, text: str | bytes) -> None:
        if not self._stopped:
            raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
            self._markets[self._of(connection)].apply(recv_ns, Verbatim(connection, raw))

    def stop(self, now_ns: int, reason: str) -> None:
        for live in self._markets.values():
            live.settle(now_ns, ending=True)
        super().stop(now_ns, reason)

    def _of(self, connection: int) -> str:
        """A market of that connection, or any: a frame that names none is kept once."""
        return self._by_connection.get(connection, next(iter(self._markets)))
