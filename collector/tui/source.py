"""Where the terminal view gets what it shows: the HTTP side of a collector."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec

from collector.live_state import State


@dataclass(frozen=True)
class Seen:
    """One look. `error` is None when the collector answered; `features` and `bars` are by exchange and symbol."""

    state: State | None = None
    error: str | None = None
    features: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    bars: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)


class Source:
    """Looks at `base_url`. Close it in the end."""

    def __init__(self, base_url: str, api_key: str | None = None) -> None:
        headers = {} if api_key is None else {"X-API-Key": api_key}
        self._http = httpx.AsyncClient(base_url=base_url, headers=headers, timeout=5)

    async def look(self) -> Seen:
        """What the collector tells now; never raises for what the other side does."""
        try:
            answer = await self._http.get("/state")
        except httpx.HTTPError as error:
            return Seen(error=f"{self._http.base_url} ({type(error).__name__})")
        if answer.status_code == 401:
            return Seen(error="a key is needed: --api-key, or API_KEY")
        if answer.status_code != 200:
            return Seen(error=str(_detail(answer)))
        try:
            state = msgspec.json.decode(answer.content, type=State)
        except msgspec.MsgspecError:
            return Seen(error="the collector is of another version than this view")
        return Seen(state, None, await self._newest("features"), await self._newest("bars"))

    async def close(self) -> None:
        """Gives the connection back."""
        await self._http.aclose()

    async def _newest(self, what: str) -> dict[tuple[str, str], dict[str, Any]]:
        try:
            answer = await self._http.get(f"/latest/{what}")
            rows = answer.json() if answer.status_code == 200 else []
        except (httpx.HTTPError, ValueError):
            rows = []
        return {(row["exchange"], row["symbol"]): row for row in reversed(rows)}


def _detail(answer: httpx.Response) -> Any:
    try:
        return answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return f"status {answer.status_code}"
