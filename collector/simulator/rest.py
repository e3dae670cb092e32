"""Binance's public REST endpoints of spot and USDⓈ-M."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from collector.simulator import exchange_info
from collector.simulator.names import KLINE_MS, SPOT, USDM
from collector.simulator.seeded import SeededSource
from collector.simulator.weights import LIMITS, WeightBudget, depth_weight, fixed_weight, klines_weight

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from collector.clock import Clock
    from collector.simulator.hub import Hub
    from collector.simulator.instruments import Instrument
    from collector.simulator.messages import Source

PREFIXES = {SPOT: "/api/v3", USDM: "/fapi/v1"}
ENDPOINTS = (
    "ping",
    "time",
    "exchangeInfo",
    "depth",
    "aggTrades",
    "trades",
    "historicalTrades",
    "klines",
    "fundingRate",
    "premiumIndex",
    "openInterest",
)

_USDM_LIMITS = (5, 10, 20, 50, 100, 500, 1000)
_HOUR_MS = 3_600_000
_REACH_MS = 48 * _HOUR_MS
_FUNDING_MS = 8 * _HOUR_MS
_FUNDINGS = 3 * 365


class _ApiError(Exception):
    """An error in the exchange's form."""

    def __init__(self, code: int, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.code = code
        self.status = status


class Rest:
    """Handlers of one exchange's REST, with its weight budget."""

    def __init__(
        self, exchange: str, source: Source, instruments: Sequence[Instrument], hub: Hub, clock: Clock
    ) -> None:
        self.exchange = exchange
        self.budget = WeightBudget(LIMITS[exchange])
        self._source = source
        self._instruments = instruments
        self._hub = hub
        self._clock = clock
        self._entries: list[msgspec.Raw] = []
        self._known: dict[str, msgspec.Raw] = {}

    def routes(self) -> list[web.RouteDef]:
        prefix = PREFIXES[self.exchange]
        return [web.get(f"{prefix}/{endpoint}", self.handle) for endpoint in ENDPOINTS]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Any endpoint: weight first, then faults, then the answer."""
        endpoint = request.path.rpartition("/")[2]
        self._hub.counters[f"rest {self.exchange} {endpoint}"] += 1
        query = request.query
        try:
            weight = self._weight(endpoint, query)
        except _ApiError:
            weight = 1
        verdict = self.budget.charge(self._clock.now_ns(), weight)
        headers = {"X-MBX-USED-WEIGHT-1M": str(verdict.used)}
        if self.exchange == SPOT:
            headers["X-MBX-USED-WEIGHT"] = str(verdict.used)
        if verdict.status != 200:
            self._hub.counters[f"rest {self.exchange} refused {verdict.status}"] += 1
            return _refusal(verdict.status, headers | {"Retry-After": str(verdict.retry_after_s)})
        fault = self._hub.faults.take_rest(self.exchange, request.path)
        if fault is not None:
            if fault.status == "timeout":
                await asyncio.sleep(3600 if fault.for_s is None else fault.for_s)
                if request.transport is not None:
                    request.transport.abort()
                return web.Response(status=504)
            if fault.retry_after is not None:
                headers["Retry-After"] = f"{fault.retry_after:g}"
            return _refusal(int(fault.status), headers)
        try:
            if endpoint == "historicalTrades" and self.exchange == USDM and "X-MBX-APIKEY" not in request.headers:
                raise _ApiError(-2014, "API-key format invalid.", 401)
            text = self._answer(endpoint, query)
        except _ApiError as error:
            return _json({"code": error.code, "msg": str(error)}, error.status, headers)
        return web.Response(body=text, content_type="application/json", headers=headers)

    def _weight(self, endpoint: str, query: Mapping[str, str]) -> int:
        if endpoint == "depth":
            return depth_weight(self.exchange, _integer(query, "limit"))
        if endpoint == "klines":
            return klines_weight(self.exchange, _integer(query, "limit"))
        return fixed_weight(self.exchange, endpoint)

    def _answer(self, endpoint: str, query: Mapping[str, str]) -> bytes:
        now_ms = self._clock.now_ns() // 10**6
        encode = msgspec.json.encode
        if endpoint == "ping":
            return b"{}"
        if endpoint == "time":
            return encode({"serverTime": now_ms})
        if endpoint == "exchangeInfo":
            return exchange_info.body(self.exchange, now_ms, self._info_entries(query))
        symbol = self._symbol(query)
        if endpoint == "depth":
            return self._depth(symbol, query, now_ms)
        if endpoint == "aggTrades":
            return encode(self._agg_trades(symbol, query, now_ms))
        if endpoint in ("trades", "historicalTrades"):
            return encode(self._trades(symbol, query, by_id=endpoint == "historicalTrades"))
        if endpoint == "klines":
            return encode(self._klines(symbol, query, now_ms))
        if self.exchange == SPOT:
            raise _ApiError(-1, f"no endpoint {endpoint}", 404)
        if endpoint == "fundingRate":
            return encode(_funding_rates(symbol, query, now_ms))
        if endpoint == "openInterest":
            return encode({"symbol": symbol, "openInterest": "10659.509", "time": now_ms})
        return encode(self._premium_index(symbol, now_ms))

    def _info_entries(self, query: Mapping[str, str]) -> Sequence[msgspec.Raw]:
        if not self._entries:
            for entry in exchange_info.symbols(self.exchange, self._instruments):
                raw = msgspec.Raw(msgspec.json.encode(entry))
                self._entries.append(raw)
                self._known[entry["symbol"]] = raw
        # The futures ignore parameters here.
        if self.exchange == SPOT and "symbol" in query:
            if query["symbol"] not in self._known:
                raise _ApiError(-1121, "Invalid symbol.")
            return [self._known[query["symbol"]]]
        if self.exchange == SPOT and "symbols" in query:
            try:
                return [self._known[name] for name in msgspec.json.decode(query["symbols"], type=list[str])]
            except (KeyError, msgspec.MsgspecError):
                raise _ApiError(-1121, "Invalid symbol.") from None
        gone = {name for name in self._source.symbols() if self._hub.faults.delisted(self.exchange, name)}
        return [raw for name, raw in self._known.items() if name not in gone] if gone else self._entries

    def _symbol(self, query: Mapping[str, str]) -> str:
        symbol = query.get("symbol")
        if symbol is None:
            raise _ApiError(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
        if self._hub.faults.delisted(self.exchange, symbol):
            raise _ApiError(-1121, "Invalid symbol.")
        if symbol not in self._source.symbols():
            self._info_entries({})
            if symbol not in self._known:
                raise _ApiError(-1121, "Invalid symbol.")
        return symbol

    def _depth(self, symbol: str, query: Mapping[str, str], now_ms: int) -> bytes:
        limit = _integer(query, "limit")
        if self.exchange == USDM:
            if limit is not None and limit not in _USDM_LIMITS:
                raise _ApiError(-4021, f"{limit} is not valid depth limit.")
            limit = limit or 500
        elif limit is not None and limit < 1:
            raise _ApiError(-1100, "Illegal characters found in parameter 'limit'; legal range is '1-5000'.")
        limit = min(limit or 100, 5000)
        if symbol not in self._source.symbols():
            return msgspec.json.encode({"lastUpdateId": 1, "bids": [], "asks": []})
        if self._hub.faults.take_snapshot("stale_snapshot", self.exchange, symbol):
            return self._source.stale_depth(symbol, limit, now_ms)
        if isinstance(self._source, SeededSource) and self.exchange == USDM:
            foreign = self._hub.faults.take_snapshot("foreign_id", self.exchange, symbol)
            return self._source.markets[symbol].depth(limit, now_ms, foreign_id=foreign)
        return self._source.depth(symbol, limit, now_ms)

    def _agg_trades(self, symbol: str, query: Mapping[str, str], now_ms: int) -> list[dict[str, Any]]:
        limit = min(_integer(query, "limit") or 500, 1000)
        from_id, start_ms, end_ms = (_integer(query, key) for key in ("fromId", "startTime", "endTime"))
        if self.exchange == USDM:
            if from_id is not None and (start_ms is not None or end_ms is not None):
                raise _ApiError(-1128, "Combination of optional parameters invalid.")
            if start_ms is not None and start_ms < now_ms - _REACH_MS:
                raise _ApiError(-4166, "Search window is restricted to recent 2 days.")
            if start_ms is not None and end_ms is not None and end_ms - start_ms > _HOUR_MS:
                raise _ApiError(-4166, "Search window is restricted to 1 hour.")
        rows = self._source.agg_trades(symbol) if symbol in self._source.symbols() else []
        if from_id is not None:
            found = _from(rows, "a", from_id, limit)
            if self.exchange == USDM and found and found[0]["T"] < now_ms - _REACH_MS:
                raise _ApiError(-4166, "Search window is restricted to recent 2 days.")
            return found
        begin = 0 if start_ms is None else bisect_left(rows, start_ms, key=itemgetter("T"))
        end = len(rows) if end_ms is None else bisect_right(rows, end_ms, key=itemgetter("T"))
        if start_ms is None:
            return list(rows[max(0, end - limit) : end])
        return list(rows[begin : min(end, begin + limit)])

    def _trades(self, symbol: str, query: Mapping[str, str], *, by_id: bool) -> list[dict[str, Any]]:
        limit = min(_integer(query, "limit") or 500, 1000)
        rows = self._source.trades(symbol) if symbol in self._source.symbols() else []
        from_id = _integer(query, "fromId") if by_id else None
        if from_id is not None:
            return _from(rows, "id", from_id, limit)
        return list(rows[-limit:])

    def _klines(self, symbol: str, query: Mapping[str, str], now_ms: int) -> list[list[Any]]:
        interval = query.get("interval")
        if interval not in KLINE_MS or (interval == "1s" and self.exchange == USDM):
            raise _ApiError(-1120, "Invalid interval.")
        limit = min(_integer(query, "limit") or 500, 1000 if self.exchange == SPOT else 1500)
        start_ms, end_ms = _integer(query, "startTime"), _integer(query, "endTime")
        rows = self._source.klines(symbol, interval) if symbol in self._source.symbols() else []
        inside = [
            row for row in rows if (start_ms is None or row[0] >= start_ms) and (end_ms is None or row[0] <= end_ms)
        ]
        return inside[-limit:] if start_ms is None else inside[:limit]

    def _premium_index(self, symbol: str, now_ms: int) -> dict[str, Any]:
        if not isinstance(self._source, SeededSource) or symbol not in self._source.symbols():
            raise _ApiError(-1121, "Invalid symbol.")
        mark = msgspec.json.decode(self._source.markets[symbol].mark_price(now_ms))
        return {
            "symbol": symbol,
            "markPrice": mark["p"],
            "indexPrice": mark["i"],
            "estimatedSettlePrice": mark["P"],
            "lastFundingRate": mark["r"],
            "interestRate": "0.00010000",
            "nextFundingTime": mark["T"],
            "time": now_ms,
        }


def _funding_rates(symbol: str, query: Mapping[str, str], now_ms: int) -> list[dict[str, Any]]:
    """Rates made of their time alone: a year of them, each eight hours, a few milliseconds late as the exchange's."""
    limit = min(_integer(query, "limit") or 100, 1000)
    start_ms, end_ms = _integer(query, "startTime"), _integer(query, "endTime")
    newest = now_ms // _FUNDING_MS
    rows = []
    for number in range(newest - _FUNDINGS, newest + 1):
        paid_ms = number * _FUNDING_MS + number % 7
        if (start_ms is None or paid_ms >= start_ms) and (end_ms is None or paid_ms <= end_ms) and paid_ms <= now_ms:
            rate, mark = (number * 7919 % 41 - 20) / 1e5, 60_000 + number * 31 % 5_000
            text = {"fundingRate": f"{rate:.8f}", "markPrice": f"{mark}.00000000"}
            rows.append({"symbol": symbol, "fundingTime": paid_ms, **text})
    return rows[-limit:] if start_ms is None else rows[:limit]


def _from(rows: Sequence[dict[str, Any]], key: str, first_id: int, limit: int) -> list[dict[str, Any]]:
    begin = bisect_left(rows, first_id, key=itemgetter(key))
    return list(rows[begin : begin + limit])


def _integer(query: Mapping[str, str], key: str) -> int | None:
    text = query.get(key)
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        legal = "^[0-9]{1,20}$"
        raise _ApiError(-1100, f"Illegal characters found in parameter '{key}'; legal range is '{legal}'.") from None


def _refusal(status: int, headers: dict[str, str]) -> web.Response:
    if status in (418, 429):
        text = "Too much request weight used; please use the websocket for live updates to avoid bans."
        if status == 418:
            text = "Way too much request weight used; IP banned. Please use the websocket for live updates."
        return _json({"code": -1003, "msg": text}, status, headers)
    if status == 403:
        return web.Response(status=403, text="<html>403 Forbidden</html>", content_type="text/html", headers=headers)
    return _json({"code": -1000, "msg": "An unknown error occurred while processing the request."}, status, headers)


def _json(value: dict[str, Any], status: int, headers: dict[str, str]) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(value), status=status, content_type="application/json", headers=headers
    )
