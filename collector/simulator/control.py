"""The simulator's own endpoints: `GET /stat`, `GET /sent`, `POST /control`. No exchange has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from collector.simulator.faults import Fault, make_fault, parse_fault
from collector.simulator.names import exchange_named, parse_stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector.simulator.hub import Hub
    from collector.simulator.strikes import Strikes


class Control:
    """Handlers of the control endpoints."""

    def __init__(self, hub: Hub, strikes: Strikes, describe: Callable[[], dict[str, Any]]) -> None:
        """
        Args:
            describe: what `/stat` tells beside the hub's figures.
        """
        self._hub = hub
        self._strikes = strikes
        self._describe = describe

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/stat", self.stat), web.get("/sent", self.sent), web.post("/control", self.control)]

    async def stat(self, _request: web.Request) -> web.Response:
        return _json(
            {
                "counters": dict(sorted(self._hub.counters.items())),
                "sent": self._hub.ledger.counts(),
                "connections": [one.describe() for one in self._hub.connections.values()],
                "armed": self._hub.faults.armed(),
                **self._describe(),
            }
        )

    async def sent(self, request: web.Request) -> web.Response:
        """`?market=binance&symbol=BTCUSDT&stream=depth@100ms`; see `Ledger.sent` for the answer."""
        missing = [key for key in ("market", "symbol", "stream") if key not in request.query]
        if missing:
            return _json({"error": f"{', '.join(missing)} missing; give market, symbol and stream"}, 400)
        symbol, stream = request.query["symbol"], request.query["stream"]
        channel = stream.removeprefix(f"{symbol.lower()}@")
        try:
            exchange = exchange_named(request.query["market"])
            wanted = parse_stream(exchange, f"{symbol.lower()}@{channel}")
            if wanted is None:
                return _json({"error": f"no stream {stream!r} on {exchange}"}, 400)
            # A bare channel is found at whatever speed it was sent.
            speed_ms = wanted.speed_ms if "@" in channel else None
            return _json(self._hub.ledger.sent(exchange, wanted.symbol, wanted.channel, speed_ms))
        except ValueError as error:
            return _json({"error": str(error)}, 400)

    async def control(self, request: web.Request) -> web.Response:
        """`{"fault": "close:code=1008"}` or `{"fault": {"kind": "close", "code": 1008, "after_s": 2}}`."""
        try:
            body = msgspec.json.decode(await request.read(), type=dict[str, Any])
            fault = _fault_in(body["fault"])
        except (msgspec.MsgspecError, KeyError, TypeError) as error:
            return _json({"error": f'send {{"fault": "kind:key=value"}}; this is not it: {error}'}, 400)
        except ValueError as error:
            return _json({"error": str(error)}, 400)
        if fault.after_s:
            self._strikes.schedule(fault, fault.after_s)
            return _json({"fault": fault.spec, "after_s": fault.after_s})
        return _json({"fault": fault.spec, "connections": self._strikes.apply(fault)})


def _fault_in(wanted: Any) -> Fault:
    if isinstance(wanted, str):
        return parse_fault(wanted)
    arguments = dict(wanted)
    kind, after_s = arguments.pop("kind"), arguments.pop("after_s", None)
    return make_fault(kind, arguments, after_s)


def _json(value: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")
