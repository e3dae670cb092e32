"""One market while it runs: every input into its capture first, and a fault of ours in it kept from the others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import msgspec

from collector.core.batch import Batch
from collector.core.decode import Message, PartialDepth, decode_rest_book
from collector.core.forecasts import RowModel
from collector.core.inputs import CollectorInput, Note, Resume, SessionStarted, Verbatim, encode_input
from collector.core.market import Market
from collector.core.venues.open import open_market
from collector.handover import Handover
from collector.sources.capture_writer import CaptureWriter

log = logging.getLogger(__name__)


class LiveMarket:
    """One market while it runs, with its capture when there is one."""

    def __init__(
        self,
        session: SessionStarted,
        name: str,
        streams: dict[str, str],
        start_ns: int,
        capture: CaptureWriter | None,
        model: Callable[[SessionStarted], RowModel] | None = None,
    ) -> None:
        """`model` opens the one that the session names, anew for each session."""
        self.name = name
        self.process_rows: list[Batch] = []
        """Rows that tell of the process, such as `clock`: no replay gives them."""
        self.on_message: Callable[[int, Message], object] | None = None
        self._on_book: Callable[[int], object] | None = None
        self._session = session
        self._rows: list[Batch] = []  # of a market that failed
        self.remembered = msgspec.json.encode(session.resume or Resume(last_ns=start_ns - 1, unheard=session.channels))
        """What a next session needs beside the rows drained so far, as JSON of a `Resume`. Before the first drain it
        ends before this session's beginning, of which nothing is drained."""
        self.begun = asyncio.Event()
        """Set once a commit has something that it remembers. A kill before that leaves no trace of what it listened
        for."""
        if session.resume is not None:
            self.begun.set()
        self.handovers: dict[str, Handover] = {}
        """Of each stream that two connections carry."""
        self._streams = streams
        self._capture = capture
        self._model = model
        self.market = self._begin(start_ns, session)

    def message(self, recv_ns: int, message: Message, text: str | bytes) -> None:
        """Hands one decoded frame to the market."""
        payload = message.payload if isinstance(message, PartialDepth) else text
        if self._capture is not None:
            try:
                self._capture.write(recv_ns, self._streams[message.channel], payload)
            except OSError as error:
                self._stop_capture(recv_ns, error)
            except (ValueError, KeyError):  # of a form, or of a stream, that a capture line does not have
                raw = text.encode() if isinstance(text, str) else text
                self.apply(recv_ns, Verbatim(self.market.connection(message.channel) or 0, raw))
                return
        try:
            self.market.message(recv_ns, message, payload)
        except Exception as error:  # noqa: BLE001  a bug in one market must not reach the others
            self._begin_anew(recv_ns, error)
        if self.on_message is not None:
            try:
                self.on_message(recv_ns, message)
            except Exception:  # who looks on must not end the collection
                log.exception("%s: messages are not handed on any more", self.name)
                self.on_message = None

    def anchor(self, recv_ns: int, text: bytes) -> None:
        """Hands a snapshot to the market; what a capture line cannot hold goes there as `Verbatim`."""
        try:
            text = text.strip()
            decode_rest_book(text)
            if self._capture is not None:
                self._capture.write_snapshot(recv_ns, text)
        except OSError as error:
            self._stop_capture(recv_ns, error)
        except ValueError:
            self.apply(recv_ns, Verbatim(0, text))
            return
        try:
            self.market.anchor(recv_ns, text)
        except Exception as error:  # noqa: BLE001  a bug in one market must not reach the others
            self._begin_anew(recv_ns, error)

    def apply(self, recv_ns: int, happened: CollectorInput) -> None:
        """Hands anything else to the market."""
        self._write(recv_ns, happened)
        try:
            self.market.apply(recv_ns, happened)
        except Exception as error:  # noqa: BLE001  a bug in one market must not reach the others
            self._begin_anew(recv_ns, error)

    def watch_book(self, applied: Callable[[int], object]) -> None:
        """As `Market.watch_book`, also for the market that replaces one that failed. `applied` must not raise."""
        self._on_book = applied
        self.market.watch_book(applied)

    @property
    def capture_path(self) -> Path | None:
        """The file that the capture is being written to."""
        return None if self._capture is None else self._capture.open_path

    def drain(self) -> list[Batch]:
        """All rows since the last drain, to be committed. The capture holds their inputs before that."""
        if self._capture is not None:
            try:
                self._capture.flush()
            except OSError as error:
                self._stop_capture(self.market.resume().last_ns, error)
        try:
            self._drain()
        except Exception as error:  # noqa: BLE001  a bug in one market must not reach the others
            self._begin_anew(self.market.resume().last_ns, error, while_draining=True)
        rows, self._rows = self.process_rows + self._rows, []
        self.process_rows = []
        return rows

    def close(self) -> None:
        """Ends the capture."""
        if self._capture is not None:
            try:
                self._capture.close()
            except OSError as error:
                log.warning("the capture of %s is cut short: %s", self.name, error)

    def _begin(self, start_ns: int, session: SessionStarted) -> Market:
        self._write(start_ns, session)
        market = open_market(start_ns, session, None if self._model is None else self._model(session))
        market.watch_book(self._on_book)
        return market

    def _drain(self) -> None:
        """Rows and what is remembered, both or neither."""
        self._rows += self.market.drain()
        resume = self.market.resume()
        for channel, handover in self.handovers.items():
            held_ns = handover.held_since_ns(self.market.position(channel))
            if held_ns is not None and channel in resume.positions:
                # What waits is lost if the process dies now: the gap that a next session begins with must hold it.
                position = resume.positions[channel]
                since = msgspec.structs.replace(position, recv_ns=min(position.recv_ns, held_ns))
                resume.positions[channel] = since
        resume.unheard = tuple(channel for channel in self._session.channels if channel not in resume.positions)
        self.remembered = msgspec.json.encode(resume)

    def _begin_anew(self, recv_ns: int, error: Exception, *, while_draining: bool = False) -> None:
        """A fault of ours in this market must not end the others: it starts again from what it remembers.

        Rows that it cannot give any more lie in the gap since the last drain.
        """
        log.error("%s failed and begins anew", self.name, exc_info=error)
        try:
            if while_draining:  # what it gave is gone, and it would remember more than what it gives now
                raise error
            self._drain()
        except Exception as again:  # noqa: BLE001  then the last drain counts
            log.warning("%s lost its rows since the last drain, which will be a gap: %s", self.name, again)
        resume = msgspec.json.decode(self.remembered, type=Resume)
        session = msgspec.structs.replace(self._session, resume=resume)
        self.market = self._begin(recv_ns, session)
        self.apply(recv_ns, Note("internal_error", repr(error)))

    def _write(self, recv_ns: int, happened: CollectorInput) -> None:
        if self._capture is not None:
            try:
                self._capture.write_collector(recv_ns, encode_input(happened))
            except OSError as error:
                self._stop_capture(recv_ns, error)

    def _stop_capture(self, recv_ns: int, error: OSError) -> None:
        log.error("the capture of %s ends here: %s", self.name, error)
        self._capture = None
        self.apply(recv_ns, Note("capture_ended", str(error)))
