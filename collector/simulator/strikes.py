"""Carries out faults: arms those that wait for a message or a request, strikes connections with the others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from collector.simulator.faults import Fault
from collector.simulator.names import SPOT

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from collector.clock import Clock
    from collector.simulator.connection import Connection
    from collector.simulator.hub import Hub

_SHUTDOWN_S = 10.0


class Strikes:
    """The faults of one simulator."""

    def __init__(self, hub: Hub, clock: Clock, spawn: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        """
        Args:
            spawn: runs a coroutine beside, until the simulator stops.
        """
        self._hub = hub
        self._clock = clock
        self._spawn = spawn
        self._strikes: dict[str, Callable[[Fault, Connection], None]] = {
            "freeze": lambda _, connection: connection.thawed.clear(),
            "thaw": lambda _, connection: connection.thawed.set(),
            "abort": lambda _, connection: connection.abort(),
            "close": lambda fault, connection: spawn(connection.close(fault.code, "on request")),
            "cut": lambda _, connection: spawn(connection.close(1001, "24 hours are over")),
            "shutdown": self._shut_down,
            "garbage": _send_garbage,
            "huge": _send_huge,
            "unknown": self._send_unknown,
        }

    def schedule(self, fault: Fault, after_s: float) -> None:
        """Makes a fault happen later."""
        self._spawn(self._later(fault, after_s))

    def apply(self, fault: Fault) -> int:
        """Makes a fault happen now; gives the number of connections that it hit at once."""
        self._hub.counters[f"fault {fault.kind}"] += 1
        if fault.kind == "thaw":
            self._hub.faults.end("freeze", fault)
        if fault.kind == "list":
            self._hub.faults.end("unlist", fault)
            return 0
        if fault.kind == "freeze" and fault.for_s is not None:
            thaw = Fault("thaw", market=fault.market, symbol=fault.symbol, stream=fault.stream, route=fault.route)
            self.schedule(thaw, fault.for_s)
        one_stream = fault.kind == "freeze" and (fault.stream is not None or fault.symbol is not None)
        strike = self._strikes.get(fault.kind)
        if one_stream or strike is None:
            self._hub.faults.arm(fault)
            return 0
        connections = self._hub.matching(fault)
        for connection in connections:
            strike(fault, connection)
        return len(connections)

    async def _later(self, fault: Fault, after_s: float) -> None:
        await asyncio.sleep(after_s)
        self.apply(fault)

    def _shut_down(self, fault: Fault, connection: Connection) -> None:
        if connection.exchange == SPOT:
            _send_event(connection, "!serverShutdown", {"e": "serverShutdown", "E": self._clock.now_ns() // 10**6})
        self._spawn(_close_later(connection, _SHUTDOWN_S if fault.for_s is None else fault.for_s))

    def _send_unknown(self, fault: Fault, connection: Connection) -> None:
        for _ in range(fault.n):
            event = {"e": "newThing", "E": self._clock.now_ns() // 10**6, "s": "BTCUSDT"}
            _send_event(connection, "btcusdt@newThing", event)


def _send_garbage(fault: Fault, connection: Connection) -> None:
    for _ in range(fault.n):
        connection.send(b'{"e":"depthUpdate","E":17')


def _send_huge(fault: Fault, connection: Connection) -> None:
    connection.send(b'{"e":"huge","pad":"%b"}' % (b"x" * fault.bytes))


def _send_event(connection: Connection, stream: str, event: dict[str, Any]) -> None:
    connection.send(msgspec.json.encode({"stream": stream, "data": event} if connection.combined else event))


async def _close_later(connection: Connection, delay_s: float) -> None:
    await asyncio.sleep(delay_s)
    await connection.close(1001, "server shuts down")
