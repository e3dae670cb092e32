"""A store behind `collector serve`, over HTTP."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import msgspec

from collector.client.questions import Client, Instant, Wanted, instant_ns

if TYPE_CHECKING:
    import httpx
    import pyarrow as pa

_ARROW = "application/vnd.apache.arrow.stream"
_PAGE_ROWS = 50_000
_TIMEOUT_S = 60.0


class BinanceCollectorAPIClient(Client):
    """See `Client`. Long answers come page by page, as Arrow. Close it, or use it in a `with` statement."""

    def __init__(self, base_url: str, api_key: str | None = None, *, timeout_s: float = _TIMEOUT_S) -> None:
        import httpx

        headers = {} if api_key is None else {"X-API-Key": api_key}
        self._http = httpx.Client(base_url=base_url.rstrip("/"), headers=headers, timeout=timeout_s)

    def __enter__(self) -> BinanceCollectorAPIClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives the connections back."""
        self._http.close()

    def get_state(self) -> dict[str, Any]:
        """Everything that the running collector tells of itself."""
        found: dict[str, Any] = self._json("/state", {})
        return found

    def get_stats(self, symbol: str | None = None, *, exchange: str | None = None) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._json("/stats", {"symbol": symbol, "exchange": exchange})
        return found

    def get_book(self, symbol: str, at: Instant, *, depth: int = 100, exchange: str | None = None) -> dict[str, Any]:
        asked = {"at": _digits(instant_ns(at)), "depth": depth, "exchange": exchange}
        found: dict[str, Any] = self._json(f"/book/{symbol}", asked)
        return found

    def _rows(self, table: str, symbol: str, wanted: Wanted) -> pa.Table:
        import pyarrow as pa

        asked = _asked(wanted)
        if wanted.start_ns is None:
            return self._arrow(f"/tables/{table}/{symbol}", asked)[0]
        parts: list[pa.Table] = []
        cursor: str | None = None
        left = wanted.limit
        while True:
            page, cursor = self._arrow(
                f"/tables/{table}/{symbol}", {**asked, "limit": min(left, _PAGE_ROWS), "cursor": cursor}
            )
            parts.append(page)
            left -= page.num_rows
            if cursor is None or left <= 0:
                return pa.concat_tables(parts)

    def _gaps(self, symbol: str | None, wanted: Wanted, *, healed: bool) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._json("/gaps", {**_asked(wanted), "symbol": symbol, "healed": healed})
        return found

    def _orderbook(self, symbol: str, tick_size: float | None, wanted: Wanted) -> pa.Table:
        return self._arrow(f"/orderbook/{symbol}", {**_asked(wanted), "tick_size": tick_size})[0]

    def _ohlcv(self, symbol: str, timeframe: str, wanted: Wanted) -> pa.Table:
        return self._arrow(f"/ohlcv/{symbol}", {**_asked(wanted), "timeframe": timeframe})[0]

    def _arrow(self, path: str, asked: dict[str, Any]) -> tuple[pa.Table, str | None]:
        import pyarrow as pa

        answer = self._ask(path, asked, {"Accept": _ARROW})
        rows = pa.ipc.open_stream(io.BytesIO(answer.content)).read_all()
        said = rows.schema.metadata or {}
        return rows.replace_schema_metadata(None), msgspec.json.decode(said.get(b"next_cursor", b"null"))

    def _json(self, path: str, asked: dict[str, Any]) -> Any:
        return msgspec.json.decode(self._ask(path, asked, {}).content)

    def _ask(self, path: str, asked: dict[str, Any], headers: dict[str, str]) -> httpx.Response:
        import httpx

        params = {name: value for name, value in asked.items() if value is not None}
        try:
            answer = self._http.get(path, params=params, headers=headers)
        except httpx.HTTPError as error:
            raise ConnectionError(f"{self._http.base_url} cannot be reached: {error}") from error
        if answer.status_code == 200:
            return answer
        try:
            reason = answer.json().get("detail", answer.text)
        except ValueError:
            reason = answer.text[:200]
        if answer.status_code in (401, 403):
            raise PermissionError(f"api_key: {reason}")
        if answer.status_code in (404, 410):
            raise LookupError(str(reason))
        if answer.status_code in (429, 502, 503, 504):
            raise ConnectionError(str(reason))
        raise ValueError(str(reason))


def _asked(wanted: Wanted) -> dict[str, Any]:
    start, end = _digits(wanted.start_ns), _digits(wanted.end_ns)
    return {"exchange": wanted.exchange, "limit": wanted.limit, "start_time": start, "end_time": end}


def _digits(time_ns: int | None) -> str | None:
    """A time in ns as the 19 digits by which it is told from one in µs."""
    return None if time_ns is None else f"{time_ns:019d}"
