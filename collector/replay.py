"""Captures through the core: the same market objects as live, as fast as they go."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import msgspec

from collector.core.batch import Batch
from collector.core.channels import is_partial
from collector.core.decode import DepthUpdate, Message, Undecodable, decode_named
from collector.core.features.across import SPOT_OF, Across, across
from collector.core.inputs import Opened, SessionStarted, SessionStopped, Verbatim, decode_input
from collector.core.market import Market
from collector.core.venues.open import Decoder, frame_decoder, open_market
from collector.errors import ConfigurationError
from collector.exchanges import exchange_named
from collector.features.options import chosen_features
from collector.markets import FUTURES
from collector.model_file import ModelFile
from collector.sources.capture import (
    COLLECTOR_STREAM,
    OWN_NAME,
    RAW_STREAM,
    CaptureError,
    CaptureLine,
    ReadReport,
    merge_captures,
    read_capture,
    symbol_of,
)
from collector.uncommitted import Kept, Uncommitted

Emit = Callable[[str, str, list[Batch]], None]
"""Takes exchange, symbol and the rows since the last call."""

_DRAIN_NS = 1_000_000_000
_BREAK_NS = 3600 * 1_000_000_000
_BEGINNING = 5000  # lines of a capture that tell which streams it has
_SYMBOL = re.compile(r"[A-Z0-9_]+")


@dataclass(slots=True)
class Progress:
    """How far a replay is."""

    inputs: int = 0
    first_ns: int | None = None
    last_ns: int = 0


@dataclass(slots=True)
class _Running:
    market: Market
    last_ns: int
    drained_ns: int
    stopped: bool = False


@dataclass(slots=True)
class Replay:
    """One pass over captures.

    `template` gives exchange and settings of markets whose capture does not bring its own session; captures that
    `run --raw` wrote do. `complete` adds to it what depends on the market. `adapt` changes any session, and `features`,
    where given, replaces what it says. `model` forecasts anew, whatever model a session names; without it there are no
    forecasts, and `other_models` has the fingerprints of those that sessions name and that were not used. `symbols`
    (the exchange's own ids) restricts the markets; empty takes all. `torn` says afterwards why files ended early.
    """

    template: SessionStarted
    symbols: Sequence[str]
    emit: Emit
    complete: Callable[[SessionStarted], SessionStarted] = lambda session: session
    features: str | None = None
    model: ModelFile | None = None
    adapt: Callable[[SessionStarted], SessionStarted] = lambda session: session
    other_models: set[str] = field(default_factory=set)
    torn: dict[Path, str] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)
    _across: Across = field(default_factory=Across)
    _running: dict[tuple[str, str], _Running] = field(default_factory=dict)
    _events_alone: set[tuple[str, str]] = field(default_factory=set)
    _file_symbols: dict[Path, str | None] = field(default_factory=dict)
    _exchanges: dict[Path, str | None] = field(default_factory=dict)
    _decoders: dict[Path, Decoder] = field(default_factory=dict)

    def run(self, paths: Sequence[Path], every: Callable[[Progress], None] | None = None) -> Progress:
        """Replays files merged by receive time; `every` is called about each 10,000 inputs.

        Raises:
            CaptureError: a file is missing, damaged, or no capture.
            ConfigurationError: a capture that does not fit --exchange, or a snapshot of no known symbol.
        """
        progress = self.progress
        uncommitted = Uncommitted(paths)
        reports: dict[Path, ReadReport] = {}
        for path, line in merge_captures([path for path in paths if path not in uncommitted.wholly], reports=reports):
            if progress.first_ns is None:
                progress.first_ns = line.recv_ns
            progress.inputs += 1
            progress.last_ns = line.recv_ns
            if self._is_stored(path, line, uncommitted):
                self._line(path, line)
            if every is not None and progress.inputs % 10_000 == 0:
                every(progress)
        self.torn = {path: report.torn for path, report in reports.items() if report.torn}
        for key, running in self._running.items():
            if not running.stopped:
                running.market.apply(running.last_ns, SessionStopped("end of capture"))
            self._give(key, running.market.drain())
        for key, batch in self._across.settle():
            self.emit(*key, [batch])
        return progress

    def _is_stored(self, path: Path, line: CaptureLine, uncommitted: Uncommitted) -> bool:
        """Whether anything that the line makes was committed. Where that is events alone, other rows are left out."""
        own = self._exchange_of(path)
        if own is None:
            return True
        key = (own, self._symbol(path) or "")
        kept = uncommitted.kept(key, line)
        if kept is not Kept.NOTHING and (kept is Kept.EVENTS) != (key in self._events_alone):
            if key in self._running:
                self._give(key, self._running[key].market.drain())
            self._events_alone ^= {key}
        return kept is not Kept.NOTHING

    def _line(self, path: Path, line: CaptureLine) -> None:
        if line.stream == COLLECTOR_STREAM:
            self._collector_line(path, line)
        elif line.stream == RAW_STREAM:
            pass  # kept for people; what ccxt made of it stands in the collector's lines
        elif line.stream is None:
            running = self._market(path, self._symbol(path), line.recv_ns)
            if running is not None:
                running.market.anchor(line.recv_ns, line.data)
                self._after(running, line.recv_ns)
        else:
            self._frame(path, line)

    def _frame(self, path: Path, line: CaptureLine) -> None:
        assert line.stream is not None
        try:
            if self._protocol(path) == "binance" and is_partial(line.stream.partition("@")[2].partition("@")[0]):
                message: Message = decode_named(line.stream, line.data)
            else:
                message = self._decoder(path)(line.data)
        except Undecodable:
            symbol = line.stream.partition("@")[0].upper()
            running = self._market(path, symbol if _SYMBOL.fullmatch(symbol) else self._symbol(path), line.recv_ns)
            if running is not None:
                running.market.apply(line.recv_ns, Verbatim(0, line.data))
                self._after(running, line.recv_ns)
            return
        running = self._market(path, message.s, line.recv_ns)
        if running is None:
            return
        market = running.market
        odd = isinstance(message, DepthUpdate) and (message.pu is None) == market.session.futures
        if odd and self._exchange_of(path) is None:
            raise _other_kind(path, market.session)
        if market.connection(message.channel) is None:
            market.apply(line.recv_ns, Opened(1, [message.channel]))
        market.message(line.recv_ns, message, line.data)
        self._after(running, line.recv_ns)

    def _collector_line(self, path: Path, line: CaptureLine) -> None:
        try:
            happened = decode_input(line.data)
        except msgspec.MsgspecError as error:
            raise ConfigurationError(
                "FILE", path, f"it holds a line of the collector that this version cannot read: {error}"
            ) from error
        if isinstance(happened, SessionStarted):
            self._file_symbols[path] = happened.symbol
            self._exchanges[path] = happened.exchange
            if self._wants(happened.symbol):
                self._start(line.recv_ns, happened)
            return
        running = self._market(path, self._symbol(path), line.recv_ns)
        if running is not None:
            running.market.apply(line.recv_ns, happened)
            running.stopped |= isinstance(happened, SessionStopped)  # what was refused may be told of after it
            self._after(running, line.recv_ns)

    def _start(self, recv_ns: int, session: SessionStarted) -> _Running:
        key = (session.exchange, session.symbol)
        before = self._running.get(key)
        if before is not None:
            self._give(key, before.market.drain())
        session = self.adapt(session)
        if self.features is not None:
            session = msgspec.structs.replace(session, features=self.features)
        fingerprint = None if self.model is None else self.model.fingerprint
        if session.model not in (None, fingerprint):
            self.other_models.add(session.model)
        session = msgspec.structs.replace(session, model=fingerprint)
        if session.features != "none":
            chosen_features(session.features)  # a capture may be of a version that had others
        model = None if self.model is None else self.model.open(session)
        if across(session.features) or session.exchange in SPOT_OF.values():
            self._across.join(key)
        running = self._running[key] = _Running(open_market(recv_ns, session, model), recv_ns, recv_ns)
        return running

    def _market(self, path: Path, symbol: str | None, recv_ns: int) -> _Running | None:
        """The market that a line belongs to; None when it was not asked for."""
        if symbol is None:
            raise ConfigurationError(
                "FILE", path, "it holds a snapshot, and its name no symbol: name it, as in btcusdt_20240718.gz"
            )
        if not self._wants(symbol):
            return None
        own = self._exchange_of(path)
        exchange = own or self.template.exchange
        running = self._running.get((exchange, symbol))
        if running is None:
            futures, protocol = self.template.futures, self.template.protocol
            if own is not None:
                futures, protocol = FUTURES.get(own, False), exchange_named(own).protocol
            session = msgspec.structs.replace(
                self.template,
                exchange=exchange,
                symbol=symbol,
                futures=futures,
                protocol=protocol,
            )
            if own is None and _only_single_trades(path):
                kept = tuple(name for name in session.channels if name != "trades")
                session = msgspec.structs.replace(session, channels=kept)
            running = self._start(recv_ns, self.complete(session))
        elif own is None and recv_ns - running.last_ns > _BREAK_NS:
            # Foreign captures do not say where a recording ended; hours without a line are no stall.
            running.market.apply(running.last_ns, SessionStopped("the capture breaks off"))
            self._give((exchange, symbol), running.market.drain())
            session = msgspec.structs.replace(running.market.session, resume=running.market.resume())
            running = self._start(recv_ns, session)
        return running

    def _exchange_of(self, path: Path) -> str | None:
        """The exchange of a capture that `run --raw` wrote: by its session, or by the name of a file that goes on."""
        if path not in self._exchanges:
            named = OWN_NAME.fullmatch(path.name)
            self._exchanges[path] = named.group(2) if named else None
        return self._exchanges[path]

    def _decoder(self, path: Path) -> Decoder:
        if path not in self._decoders:
            self._decoders[path] = frame_decoder(self._protocol(path))
        return self._decoders[path]

    def _protocol(self, path: Path) -> str:
        own = self._exchange_of(path)
        return self.template.protocol if own is None else exchange_named(own).protocol

    def _wants(self, symbol: str) -> bool:
        return not self.symbols or symbol in self.symbols

    def _symbol(self, path: Path) -> str | None:
        if path not in self._file_symbols:
            named = OWN_NAME.fullmatch(path.name)
            self._file_symbols[path] = named.group(1) if named else symbol_of(path, self.symbols) or symbol_of(path)
        return self._file_symbols[path]

    def _after(self, running: _Running, recv_ns: int) -> None:
        running.last_ns = max(running.last_ns, recv_ns)
        if running.last_ns - running.drained_ns >= _DRAIN_NS:
            running.drained_ns = running.last_ns
            session = running.market.session
            self._give((session.exchange, session.symbol), running.market.drain())

    def _give(self, key: tuple[str, str], batches: list[Batch]) -> None:
        """Emits what a market gave, and what waited for it."""
        if key in self._events_alone:
            batches = [batch for batch in batches if batch.table == "events"]
        for other, batch in self._across.take(key, batches):
            self.emit(*other, [batch])


def _only_single_trades(path: Path) -> bool:
    """Whether trades in a foreign capture come one by one, not aggregated, as far as its beginning tells."""
    with contextlib.suppress(CaptureError):
        seen = {
            line.stream.partition("@")[2].partition("@")[0]
            for line in islice(read_capture(path), _BEGINNING)
            if line.stream
        }
        return "trade" in seen and "aggTrade" not in seen
    return False


def _other_kind(path: Path, session: SessionStarted) -> ConfigurationError:
    """A spot market would be replayed as futures, or the other way round; its ids would mean something else."""
    kind, named = ("spot", "binance") if session.futures else ("futures", "binanceusdm")
    return ConfigurationError(
        "--exchange", session.exchange, f"{path} holds a {kind} market: name it, as in --exchange {named}"
    )
