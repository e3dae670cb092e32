"""Callbacks inside the process: a consumer is told of messages, epochs and quality as they come, and holds up nobody.

    async def on_trade(event): ...

Each consumer has a thread with an event loop of its own and a queue of bounded length. Collection puts an event into
the queue and goes on, whatever the consumer does: one that is slow misses events, one that raises goes on with the
next, and both are counted. What was missed stays missed for it; the store has everything.
"""

from __future__ import annotations

import asyncio
import collections
import importlib
import inspect
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

import msgspec

from collector.core.decode import Message
from collector.errors import ConfigurationError
from storage_backends.interface import Market

log = logging.getLogger(__name__)

CAPACITY: Final = 10_000
"""Events that may wait for a consumer."""

_STOP_S: Final = 5.0

_LEVELS = msgspec.json.Decoder(list[tuple[str, str]])


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in one market.

    `kind` is a stream (`depth`, `trades`, `raw_trades`, `book_ticker`, …) with the exchange's message as `data` (see
    `core.decode`: prices are the exchange's text, `levels` reads the lists of a depth message); `epoch` with an
    `EpochRow`; or `quality`, when a grade changed, with a `Quality`. `time_ns` is the receipt, or the second's end.
    """

    kind: str
    market: Market
    time_ns: int
    data: Any


Callback = Callable[[Event], Awaitable[None]]
AnyCallback = TypeVar("AnyCallback", bound=Callback)


def consumes(*kinds: str) -> Callable[[AnyCallback], AnyCallback]:
    """Says which kinds of event a callback wants; without it, `epoch` only."""

    def mark(callback: AnyCallback) -> AnyCallback:
        cast(Any, callback).kinds = frozenset(kinds)
        return callback

    return mark


def levels(raw: msgspec.Raw) -> list[tuple[float, float]]:
    """The price and quantity of each level in a depth message's `b` or `a`, in the exchange's order."""
    return [(float(price), float(quantity)) for price, quantity in _LEVELS.decode(raw)]


class Consumer:
    """One callback with its queue and thread.

    Attributes:
        name, kinds: what it is called, and what it is told of.
        delivered, missed, failures: events it was called with, that found the queue full or were left at the end, and
            calls that raised.
    """

    def __init__(self, callback: Callback, *, name: str | None = None, capacity: int = CAPACITY) -> None:
        self.name = name or getattr(callback, "__qualname__", type(callback).__name__)
        self.kinds: frozenset[str] = getattr(callback, "kinds", frozenset({"epoch"}))
        self.delivered = self.missed = self.failures = 0
        self._callback = callback
        self._capacity = capacity
        self._waiting: collections.deque[Event] = collections.deque()
        self._filled = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"consumer {self.name}", daemon=True)

    def start(self) -> None:
        """Begins to call."""
        self._thread.start()

    def put(self, event: Event) -> None:
        """Queues an event; returns at once. From one thread."""
        if len(self._waiting) >= self._capacity:
            if not self.missed:
                log.warning("the consumer %s is too slow and misses events", self.name)
            self.missed += 1
            return
        self._waiting.append(event)
        if not self._filled.is_set():
            self._filled.set()

    def end(self) -> None:
        """Nothing more will be put: it finishes what waits."""
        self._stopping = True
        self._filled.set()

    def stop(self, timeout_s: float = _STOP_S) -> None:
        """Lets it finish what waits, for so long; what is left then counts as missed."""
        self.end()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        self.missed += len(self._waiting)
        self._waiting.clear()

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            while True:
                self._filled.wait()
                self._filled.clear()
                runner.run(self._serve())
                if self._stopping and not self._waiting:
                    return

    async def _serve(self) -> None:
        while self._waiting:
            event = self._waiting.popleft()
            try:
                await self._callback(event)
            except Exception as error:
                if not self.failures:
                    log.warning("the consumer %s failed", self.name, exc_info=error)
                self.failures += 1
            else:
                self.delivered += 1


class Hub:
    """All consumers of a run."""

    def __init__(self, consumers: Iterable[Consumer] = ()) -> None:
        self.consumers = list(consumers)
        self._by_kind: dict[str, list[Consumer]] = {}
        for consumer in self.consumers:
            for kind in consumer.kinds:
                self._by_kind.setdefault(kind, []).append(consumer)

    def wants(self, kinds: Collection[str]) -> bool:
        """Whether anybody wants one of `kinds`."""
        return not self._by_kind.keys().isdisjoint(kinds)

    def start(self) -> None:
        """Starts every consumer."""
        for consumer in self.consumers:
            consumer.start()

    def message(self, recv_ns: int, message: Message, market: Market) -> None:
        """Tells of a message that was handed to a market."""
        for consumer in self._by_kind.get(message.channel, ()):
            consumer.put(Event(message.channel, market, recv_ns, message))

    def publish(self, kind: str, market: Market, time_ns: int, data: Any) -> None:
        """Tells of anything else."""
        for consumer in self._by_kind.get(kind, ()):
            consumer.put(Event(kind, market, time_ns, data))

    def stop(self) -> None:
        """Stops every consumer, all within the time that one may take; says what each missed."""
        for consumer in self.consumers:
            consumer.end()
        until_s = time.monotonic() + _STOP_S
        for consumer in self.consumers:
            consumer.stop(max(0.0, until_s - time.monotonic()))
            if consumer.missed or consumer.failures:
                log.warning(
                    "the consumer %s got %d events, missed %d and failed on %d",
                    consumer.name,
                    consumer.delivered,
                    consumer.missed,
                    consumer.failures,
                )


def load_callback(spec: str) -> Callback:
    """The callback that `module:function` names.

    Raises:
        ConfigurationError: it cannot be imported, or is no `async def` with one argument.
    """
    module, _, name = spec.partition(":")
    if not module or not name:
        raise ConfigurationError("--callback", spec, "must be MODULE:FUNCTION, as in signals:on_epoch")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError("--callback", spec, f"cannot be imported ({error})") from error
    if not inspect.iscoroutinefunction(found):
        raise ConfigurationError("--callback", spec, "must be an `async def` that takes one event")
    return cast(Callback, found)
