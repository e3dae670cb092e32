"""Who is subscribed to what, and the way of a message through the faults to those who are."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from collector.simulator.faults import Fate, FaultBox
from collector.simulator.ledger import Ledger
from collector.simulator.names import Subscription, delivers, parse_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from collector.simulator.connection import Connection
    from collector.simulator.faults import Fault
    from collector.simulator.messages import Message


class Hub:
    """All connections and their subscriptions."""

    def __init__(self, sent: Path | None = None) -> None:
        """
        Args:
            sent: the folder that the ledger writes into; see `Ledger`.
        """
        self.faults = FaultBox()
        self.ledger = Ledger(sent)
        self.counters: Counter[str] = Counter()
        self.connections: dict[int, Connection] = {}
        self.on_subscribed: list[Callable[[str, Subscription], None]] = []
        """Called with (exchange, subscription) when a stream that can be delivered gains a subscriber."""
        self._listeners: defaultdict[tuple[str, str, str], dict[int, dict[tuple[int, str], Connection]]]
        self._listeners = defaultdict(dict)
        self._subscribed: defaultdict[tuple[str, str], set[tuple[str, int]]] = defaultdict(set)

    def subscribe(self, connection: Connection, name: str) -> None:
        """Takes any name; only one that the exchange would deliver on this connection has an effect."""
        connection.names[name] = None
        wanted = parse_stream(connection.exchange, name)
        if wanted is None or not delivers(connection.exchange, connection.route, wanted.channel):
            self.counters["streams never delivered"] += 1
            return
        by_speed = self._listeners[connection.exchange, wanted.symbol, wanted.channel]
        by_speed.setdefault(wanted.speed_ms, {})[connection.number, name] = connection
        self._subscribed[connection.exchange, wanted.symbol].add((wanted.channel, wanted.speed_ms))
        for callback in self.on_subscribed:
            callback(connection.exchange, wanted)

    def unsubscribe(self, connection: Connection, name: str) -> None:
        connection.names.pop(name, None)
        wanted = parse_stream(connection.exchange, name)
        if wanted is None:
            return
        by_speed = self._listeners[connection.exchange, wanted.symbol, wanted.channel]
        listeners = by_speed.get(wanted.speed_ms, {})
        listeners.pop((connection.number, name), None)
        if not listeners:
            by_speed.pop(wanted.speed_ms, None)
            self._subscribed[connection.exchange, wanted.symbol].discard((wanted.channel, wanted.speed_ms))

    def forget(self, connection: Connection) -> None:
        """Drops a connection that is gone."""
        for name in list(connection.names):
            self.unsubscribe(connection, name)
        self.connections.pop(connection.number, None)
        connection.gone()

    def subscribed(self, exchange: str, symbol: str) -> set[tuple[str, int]]:
        """The (channel, speed_ms) of a symbol that somebody listens to."""
        return self._subscribed[exchange, symbol]

    def publish(self, message: Message) -> None:
        """Sends a message to its subscribers, as the faults allow. Without subscribers nothing happens."""
        if not self._has_listeners(message):
            return
        for outcome, fate in self.faults.outcomes(message):
            if fate is Fate.DROPPED:
                self.ledger.record(outcome, fate)
            else:
                self._send(outcome, fate)

    def matching(self, fault: Fault) -> list[Connection]:
        """The open connections that a fault is meant for."""
        return [
            connection
            for connection in self.connections.values()
            if connection.open
            and fault.market in (None, connection.exchange)
            and fault.route in (None, connection.route)
            and (fault.stream is None or any(self._named(fault, connection, name) for name in connection.names))
        ]

    async def drained(self) -> None:
        """Waits for clients that are behind."""
        await asyncio.gather(*(connection.drained() for connection in self.connections.values()))

    def _named(self, fault: Fault, connection: Connection, name: str) -> bool:
        wanted = parse_stream(connection.exchange, name)
        return fault.stream == name or (wanted is not None and fault.matches_stream(*wanted))

    def _has_listeners(self, message: Message) -> bool:
        by_speed = self._listeners.get((message.exchange, message.symbol, message.channel))
        return by_speed is not None and bool(by_speed) and (message.speed_ms is None or message.speed_ms in by_speed)

    def _targets(self, message: Message) -> Iterator[tuple[Connection, str]]:
        by_speed = self._listeners[message.exchange, message.symbol, message.channel]
        speeds = list(by_speed) if message.speed_ms is None else [message.speed_ms]
        for speed_ms in speeds:
            for (_, name), connection in list(by_speed.get(speed_ms, {}).items()):
                yield connection, name

    def _send(self, message: Message, fate: Fate) -> None:
        recorded = False

        def on_sent() -> None:
            nonlocal recorded
            if not recorded:
                recorded = True
                self.ledger.record(message, fate)

        for connection, name in self._targets(message):
            payload = message.payload
            if connection.combined:
                payload = b'{"stream":"%b","data":%b}' % (name.encode(), payload)
            connection.send(payload, on_sent)
