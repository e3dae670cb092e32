"""A capture served as the exchange would: its frames with their own text, and depth snapshots of its own book.

Pure apart from reading the files: the server tells how far the capture's time has come.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import msgspec

from collector.simulator.instruments import Instrument
from collector.simulator.messages import Message
from collector.simulator.names import SPOT, USDM
from collector.sources.capture import COLLECTOR_STREAM, CaptureError, ReadReport, merge_captures, symbol_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from collector.sources.capture import CaptureLine

_LEVEL = re.compile(rb'\["(\d+)(?:\.(\d*?)(0*))?","(\d+)(?:\.(\d*?)(0*))?"\]')


class _Frame(msgspec.Struct):
    """What the simulator has to know of a frame; everything else stays text."""

    e: str | None = None
    E: int | None = None
    M: bool | None = None
    u: int | None = None
    pu: int | None = None
    a: msgspec.Raw = msgspec.Raw()
    t: int | None = None
    last_update_id: int | None = msgspec.field(name="lastUpdateId", default=None)


class _Diff(msgspec.Struct):
    """A diff with its levels."""

    u: int
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]
    U: int | None = None
    pu: int | None = None


class _Snapshot(msgspec.Struct):
    last_id: int = msgspec.field(name="lastUpdateId")
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    event_ms: int = msgspec.field(name="E", default=0)


_Levels = list[tuple[str, str]]

_frame = msgspec.json.Decoder(_Frame).decode
_diff = msgspec.json.Decoder(_Diff).decode
_snapshot = msgspec.json.Decoder(_Snapshot).decode


class CapturedBook:
    """The book of the capture's present. Prices and quantities stay the exchange's texts."""

    def __init__(self, exchange: str, snapshots: Sequence[bytes]) -> None:
        """
        Args:
            snapshots: every snapshot of the capture, in its order.
        """
        self.exchange = exchange
        self.last_id = 0
        self._bids: dict[str, str] = {}
        self._asks: dict[str, str] = {}
        self._snapshots = deque(_snapshot(text) for text in snapshots)
        self._event_ms = 0
        self._chained_id: int | None = None
        if self._snapshots:
            self._begin(self._snapshots.popleft())
        self._first = (self.last_id, *self._top(5000))

    def apply(self, payload: bytes, event_ms: int) -> None:
        """Applies a diff that is being sent. After a break of the chain the next snapshot of the capture counts."""
        diff = _diff(payload)
        self._event_ms = event_ms or self._event_ms
        if self._chained_id is not None and not self._follows(diff, self._chained_id):
            while self._snapshots:
                snapshot = self._snapshots.popleft()
                if snapshot.last_id >= diff.u:
                    self._begin(snapshot)
                    break
        self._chained_id = max(diff.u, self._chained_id or 0)
        self._set(diff)

    def text(self, limit: int) -> bytes:
        """The body of a REST snapshot."""
        return self._body(self.last_id, *self._top(limit))

    def first_text(self, limit: int) -> bytes:
        """The body of the first snapshot."""
        last_id, bids, asks = self._first
        return self._body(last_id, bids[:limit], asks[:limit])

    def _top(self, limit: int) -> tuple[_Levels, _Levels]:
        return (
            sorted(self._bids.items(), key=_price, reverse=True)[:limit],
            sorted(self._asks.items(), key=_price)[:limit],
        )

    def _body(self, last_id: int, bids: _Levels, asks: _Levels) -> bytes:
        body: dict[str, Any] = {"lastUpdateId": last_id}
        if self.exchange == USDM:
            body |= {"E": self._event_ms, "T": self._event_ms}
        return msgspec.json.encode(body | {"bids": bids, "asks": asks})

    def _follows(self, diff: _Diff, last_id: int) -> bool:
        if diff.pu is not None:
            return diff.pu <= last_id
        return diff.U is None or last_id + 1 >= diff.U

    def _begin(self, snapshot: _Snapshot) -> None:
        self._bids, self._asks = dict(snapshot.bids), dict(snapshot.asks)
        self.last_id = snapshot.last_id
        self._event_ms = snapshot.event_ms or self._event_ms

    def _set(self, diff: _Diff) -> None:
        if diff.u <= self.last_id:
            return
        self.last_id = diff.u
        for book, changes in ((self._bids, diff.b), (self._asks, diff.a)):
            for price, quantity in changes:
                if float(quantity):
                    book[price] = quantity
                else:
                    book.pop(price, None)


def _price(level: tuple[str, str]) -> float:
    return float(level[0])


@dataclass(slots=True)
class _Survey:
    """What one pass over the files tells of one symbol."""

    snapshots: list[bytes] = field(default_factory=list)
    streams: Counter[str] = field(default_factory=Counter)
    price_decimals: int = 0
    price_digits: int = 0
    quantity_decimals: int = 0
    quantity_digits: int = 0

    def measure(self, text: bytes) -> None:
        for _, price, price_zeros, _, quantity, quantity_zeros in _LEVEL.findall(text):
            self.price_decimals = max(self.price_decimals, len(price))
            self.price_digits = max(self.price_digits, len(price) + len(price_zeros))
            self.quantity_decimals = max(self.quantity_decimals, len(quantity))
            self.quantity_digits = max(self.quantity_digits, len(quantity) + len(quantity_zeros))


class CaptureSource:
    """The captures of one exchange on one timeline."""

    def __init__(self, exchange: str, paths: Sequence[Path]) -> None:
        """Reads the files once to learn their markets.

        Raises:
            CaptureError: a file is no capture, or none of them holds a frame.
        """
        self.exchange = exchange
        self.paths = list(paths)
        self.lines = 0
        self.first_ns = 0
        self.last_ns = 0
        self.played = 0
        """Lines whose time has come."""
        self.unknown = 0
        """Frames that name no stream known here; they are passed over."""
        self.torn: dict[str, str] = {}
        """Files that end early, and why."""
        surveys = self._survey()
        self.books = {symbol: CapturedBook(exchange, survey.snapshots) for symbol, survey in surveys.items()}
        self.instruments = [_instrument(exchange, symbol, survey) for symbol, survey in surveys.items()]
        self.streams = {symbol: dict(survey.streams) for symbol, survey in surveys.items()}
        self._history: dict[str, deque[dict[str, Any]]] = {symbol: deque(maxlen=200_000) for symbol in surveys}

    def symbols(self) -> frozenset[str]:
        return frozenset(self.books)

    def depth(self, symbol: str, limit: int, now_ms: int) -> bytes:
        return self.books[symbol].text(limit)

    def stale_depth(self, symbol: str, limit: int, now_ms: int) -> bytes:
        return self.books[symbol].first_text(limit)

    def agg_trades(self, symbol: str) -> list[dict[str, Any]]:
        return sorted(self._history[symbol], key=itemgetter("a"))

    def trades(self, symbol: str) -> list[dict[str, Any]]:
        """Of an aggregate only the whole quantity is known, so each row here is one aggregate."""
        return [
            {"id": row["l"], "price": row["p"], "qty": row["q"], "time": row["T"], "isBuyerMaker": row["m"]}
            for row in self.agg_trades(symbol)
        ]

    def klines(self, symbol: str, interval: str) -> list[list[Any]]:
        """None: a capture's klines are what it holds as a stream."""
        return []

    def play(self) -> Iterator[tuple[int, Message | None]]:
        """The lines in the order of their time, as (recv_ns, message); the book moves as each is taken.

        Message None is a line that is not a frame: a snapshot, the collector's own, a stream unknown here.
        """
        for _, line in merge_captures(self.paths, tolerant=True):
            self.played += 1
            yield line.recv_ns, self._message(line)

    def _message(self, line: CaptureLine) -> Message | None:
        if line.stream is None or line.stream == COLLECTOR_STREAM:
            return None
        symbol, channel = _split(line.stream)
        try:
            head = _frame(line.data)
        except msgspec.MsgspecError:
            head = None
        if head is None or symbol not in self.books:
            self.unknown += 1
            return None
        if channel == "depth" and head.u is not None:
            self.books[symbol].apply(line.data, head.E or 0)
        if channel == "aggTrade":
            row = msgspec.json.decode(line.data)
            self._history[symbol].append({key: row[key] for key in row if key not in ("e", "E", "s", "st")})
        return Message(self.exchange, symbol, channel, None, _id(head), line.data)

    def _survey(self) -> dict[str, _Survey]:
        surveys: dict[str, _Survey] = {}
        bare: list[tuple[Path, bytes]] = []
        reports: dict[Path, ReadReport] = {}
        for path, line in merge_captures(self.paths, tolerant=True, reports=reports):
            self.first_ns = self.first_ns or line.recv_ns
            self.last_ns = max(self.last_ns, line.recv_ns)
            self.lines += 1
            if line.stream is None:
                bare.append((path, line.data))
            elif line.stream != COLLECTOR_STREAM and "@" in line.stream:
                symbol, channel = _split(line.stream)
                survey = surveys.setdefault(symbol, _Survey())
                survey.streams[channel] += 1
                if channel.startswith("depth"):
                    survey.measure(line.data)
        self.torn = {path.name: report.torn for path, report in reports.items() if report.torn}
        if not surveys:
            raise CaptureError(f"capture {', '.join(map(str, self.paths))}: there is no frame in it to serve")
        for path, text in bare:
            symbol_or_none = symbol_of(path, list(surveys)) or (next(iter(surveys)) if len(surveys) == 1 else None)
            if symbol_or_none is not None:
                surveys[symbol_or_none].snapshots.append(text)
                surveys[symbol_or_none].measure(text)
        return surveys


def exchange_of(path: Path) -> str:
    """Spot or USDⓈ-M, by the form of the first frame that tells.

    Raises:
        CaptureError: no frame tells.
    """
    for _, line in merge_captures([path], tolerant=True):
        if line.stream is None or "@" not in line.stream:
            continue
        channel = _split(line.stream)[1]
        try:
            head = _frame(line.data)
        except msgspec.MsgspecError:
            continue
        if channel.startswith("depth"):
            return USDM if head.pu is not None else SPOT
        if channel == "bookTicker":
            return USDM if head.e else SPOT
        if channel in ("trade", "aggTrade"):
            return SPOT if head.M is not None else USDM
        if channel in ("markPrice", "forceOrder"):
            return USDM
    raise CaptureError(f"capture {path}: no frame in it tells spot from USDⓈ-M futures")


def _split(stream: str) -> tuple[str, str]:
    """`btcusdt@depth@0ms` to (BTCUSDT, depth)."""
    symbol, _, rest = stream.partition("@")
    return symbol.upper(), rest.partition("@")[0]


def _id(head: _Frame) -> int:
    if head.e == "aggTrade" and head.a:
        return int(bytes(head.a))
    for number in (head.u, head.t, head.last_update_id, head.E):
        if number is not None:
            return number
    return 0


def _instrument(exchange: str, symbol: str, survey: _Survey) -> Instrument:
    quotes = ("USDT", "USDC", "FDUSD", "BUSD", "TUSD", "BTC", "ETH", "BNB", "EUR", "TRY", "USD")
    quote = next((quote for quote in quotes if symbol.endswith(quote) and symbol != quote), symbol[-4:])
    return Instrument(
        exchange,
        symbol,
        symbol.removesuffix(quote),
        quote,
        survey.price_decimals,
        survey.quantity_decimals,
        max(survey.price_digits, survey.price_decimals),
        max(survey.quantity_digits, survey.quantity_decimals),
    )
