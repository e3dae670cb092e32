"""Faults on request: their specification, and what they do to messages and REST requests.

A specification is `kind[:key=value,…][@seconds]`. Keys narrow it down (`market`, `symbol`, `stream`, `route`) or set
its size. `seconds` count from the first subscription when it is given at start, from now at the control endpoint.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from collector.simulator.names import exchange_named

if TYPE_CHECKING:
    from collector.simulator.messages import Message

_MESSAGE_KEYS = frozenset({"market", "symbol", "stream", "n"})
_CONNECTION_KEYS = frozenset({"market", "route", "stream"})

KINDS: dict[str, tuple[frozenset[str], str]] = {
    "drop": (_MESSAGE_KEYS, "the next n messages are never sent"),
    "duplicate": (_MESSAGE_KEYS, "the next n messages are sent twice"),
    "reorder": (_MESSAGE_KEYS, "the next n messages are each sent after their successor in the stream"),
    "bad_level": (_MESSAGE_KEYS | {"text"}, "the next n depth messages hold a price that reads as text (default abc)"),
    "close": (_CONNECTION_KEYS | {"code"}, "connections are closed with a code (default 1001)"),
    "abort": (_CONNECTION_KEYS, "connections are reset (TCP RST)"),
    "freeze": (
        _CONNECTION_KEYS | {"symbol", "for"},
        "connections fall silent, or only a stream (stream=…) on live ones; for=seconds thaws it",
    ),
    "thaw": (_CONNECTION_KEYS | {"symbol"}, "ends a freeze; connections then send what was held back"),
    "delist": (
        frozenset({"market", "symbol"}),
        "a market is taken off: its streams end on live connections, REST says that the symbol is invalid",
    ),
    "unlist": (
        frozenset({"market", "symbol"}),
        "a market is not there yet: exchangeInfo does not know it, its streams say nothing",
    ),
    "list": (frozenset({"market", "symbol"}), "a market that was not there yet is listed"),
    "garbage": (_CONNECTION_KEYS | {"n"}, "n frames that are not JSON"),
    "huge": (_CONNECTION_KEYS | {"bytes"}, "one frame of so many bytes (default 11 MiB)"),
    "unknown": (_CONNECTION_KEYS | {"n"}, "n messages of a type that nobody knows"),
    "shutdown": (_CONNECTION_KEYS | {"for"}, "spot's serverShutdown event; the socket closes after for=seconds (10)"),
    "cut": (_CONNECTION_KEYS, "what happens after 24 hours"),
    "reject": (frozenset({"market", "n"}), "the next n SUBSCRIBE requests are answered with an error"),
    "stale_snapshot": (frozenset({"market", "symbol", "n"}), "the next n depth snapshots are those of the start"),
    "foreign_id": (
        frozenset({"market", "symbol", "n"}),
        "the next n futures snapshots carry another market's id, one between the ids of two diffs where it can",
    ),
    "rest": (
        frozenset({"market", "path", "status", "n", "retry_after", "for"}),
        "the next n REST requests fail with a status (429, 418, 5xx), or status=timeout hangs them for=seconds",
    ),
}


@dataclass(slots=True)
class Fault:
    """One fault. None in a filter matches all; the sizes are those that the kind uses."""

    kind: str
    after_s: float | None = None
    """None: at once."""
    n: int = 1
    market: str | None = None
    symbol: str | None = None
    stream: str | None = None
    route: str | None = None
    path: str | None = None
    text: str = "abc"
    status: str = "500"
    code: int = 1001
    bytes: int = 11 << 20
    retry_after: float | None = None
    for_s: float | None = None
    spec: str = field(default="", compare=False)

    def touches(self, message: Message) -> bool:
        return self.market in (None, message.exchange) and self.matches_stream(
            message.symbol, message.channel, message.speed_ms
        )

    def matches_stream(self, symbol: str, channel: str, speed_ms: int | None) -> bool:
        """`stream` is a channel (`depth`), one with its speed (`depth@100ms`), or either behind a symbol and `@`."""
        if self.symbol not in (None, symbol):
            return False
        if self.stream is None:
            return True
        wanted = self.stream.removeprefix(f"{symbol.lower()}@")
        if speed_ms is None:
            wanted = re.sub(r"@\d+m?s$", "", wanted)
        return wanted in (channel, f"{channel}@{speed_ms}ms")


_SHORT = {"disconnect": "close"}


def parse_fault(spec: str) -> Fault:
    """Reads a specification such as `close:code=1008,market=binance@10`.

    Raises:
        ValueError: naming what is wrong in it, and the kinds or keys that there are.
    """
    timed = re.fullmatch(r"(.*)@(\d+(?:\.\d+)?)", spec)
    body, after_s = (timed[1], float(timed[2])) if timed else (spec, None)
    kind, _, arguments = body.partition(":")
    if "@" in kind:
        raise ValueError(f"fault {spec!r}: behind the @ stand seconds, as in close@10")
    pairs = {}
    for pair in filter(None, arguments.split(",")):
        key, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"fault {spec!r}: {pair!r} is no key=value")
        pairs[key.strip()] = value.strip()
    kind = kind.strip()
    return make_fault(_SHORT.get(kind, kind), pairs, after_s, spec)


def make_fault(kind: str, arguments: dict[str, Any], after_s: float | None = None, spec: str = "") -> Fault:
    """Builds a fault from its kind and keys; raises as `parse_fault`."""
    spec = spec or kind
    if kind not in KINDS:
        raise ValueError(f"fault {spec!r}: no kind {kind!r}; there are {', '.join(KINDS)}")
    if after_s is not None and after_s < 0:
        raise ValueError(f"fault {spec!r}: seconds are not negative, as {after_s:g} is")
    fault = Fault(kind, after_s, spec=spec)
    for key, value in arguments.items():
        if key not in KINDS[kind][0]:
            raise ValueError(f"fault {spec!r}: {kind} takes {', '.join(sorted(KINDS[kind][0]))}, not {key!r}")
        setattr(fault, "for_s" if key == "for" else key, _value(spec, key, str(value)))
    if kind == "rest" and fault.status != "timeout" and not re.fullmatch(r"[45]\d\d", fault.status):
        raise ValueError(f"fault {spec!r}: status={fault.status} is no error; use 400 to 599, or timeout")
    return fault


def _value(spec: str, key: str, text: str) -> Any:
    if key in ("n", "code", "bytes"):
        return _number(spec, key, text, int)
    if key in ("for", "retry_after"):
        return _number(spec, key, text, float)
    if key == "market":
        return exchange_named(text)
    return text.upper() if key == "symbol" else text


def _number(spec: str, key: str, text: str, kind: type[int] | type[float]) -> float:
    try:
        value = kind(text)
    except ValueError:
        raise ValueError(f"fault {spec!r}: {key} takes a number, not {text!r}") from None
    if value < 0:
        raise ValueError(f"fault {spec!r}: {key} is not negative, as {text} is")
    return value


class Fate(StrEnum):
    """What became of a message."""

    SENT = "sent"
    DROPPED = "dropped"
    DAMAGED = "damaged"


_FIRST_PRICE = re.compile(rb'\["[^"]*"')


class FaultBox:
    """The armed faults that wait for messages, requests or subscriptions."""

    def __init__(self) -> None:
        self._armed: list[Fault] = []
        self._held: dict[tuple[str, str, str, int | None], Message] = {}

    def arm(self, fault: Fault) -> None:
        if fault.n > 0:
            self._armed.append(fault)

    def end(self, kind: str, thaw: Fault) -> None:
        """Ends faults of `kind`, `freeze` or `unlist`, that `thaw` matches."""
        self._armed = [
            fault
            for fault in self._armed
            if not (
                fault.kind == kind
                and thaw.market in (None, fault.market)
                and thaw.symbol in (None, fault.symbol)
                and thaw.stream in (None, fault.stream)
            )
        ]

    def armed(self) -> list[str]:
        return [f"{fault.spec} (left: {fault.n})" for fault in self._armed]

    def outcomes(self, message: Message) -> list[tuple[Message, Fate]]:
        """What is done in place of sending `message`, in order."""
        if not self._armed and not self._held:
            return [(message, Fate.SENT)]
        key = (message.exchange, message.symbol, message.channel, message.speed_ms)
        late = self._held.pop(key, None)
        result = self._one(message, key)
        return [*result, (late, Fate.SENT)] if late is not None else result

    def _one(self, message: Message, key: tuple[str, str, str, int | None]) -> list[tuple[Message, Fate]]:
        for fault in self._armed:
            if not fault.touches(message):
                continue
            if fault.kind in {"freeze", "delist", "unlist"}:
                return [(message, Fate.DROPPED)]
            if fault.kind == "drop":
                self._use(fault)
                return [(message, Fate.DROPPED)]
            if fault.kind == "duplicate":
                self._use(fault)
                return [(message, Fate.SENT), (message, Fate.SENT)]
            if fault.kind == "reorder":
                self._use(fault)
                self._held[key] = message
                return []
            if fault.kind == "bad_level" and message.channel.startswith("depth"):
                price = _FIRST_PRICE.search(message.payload)
                if price:
                    self._use(fault)
                    before, after = message.payload[: price.start()], message.payload[price.end() :]
                    damaged = before + b'["%b"' % fault.text.encode() + after
                    return [(message._replace(payload=damaged), Fate.DAMAGED)]
        return [(message, Fate.SENT)]

    def take_rejection(self, exchange: str) -> bool:
        """Whether a SUBSCRIBE is to be refused."""
        return any(self._use(f) for f in list(self._armed) if f.kind == "reject" and f.market in (None, exchange))

    def take_snapshot(self, kind: str, exchange: str, symbol: str) -> bool:
        """Whether a snapshot is to suffer `kind`."""
        for fault in self._armed:
            if fault.kind == kind and fault.market in (None, exchange) and fault.symbol in (None, symbol):
                return self._use(fault)
        return False

    def delisted(self, exchange: str, symbol: str) -> bool:
        """Whether REST has to deny a market."""
        return any(
            fault.kind in {"delist", "unlist"} and fault.market in (None, exchange) and fault.symbol in (None, symbol)
            for fault in self._armed
        )

    def take_rest(self, exchange: str, path: str) -> Fault | None:
        """The fault that a REST request meets."""
        for fault in self._armed:
            if fault.kind == "rest" and fault.market in (None, exchange) and (fault.path or "") in path:
                self._use(fault)
                return fault
        return None

    def _use(self, fault: Fault) -> bool:
        fault.n -= 1
        if fault.n <= 0:
            self._armed.remove(fault)
        return True
