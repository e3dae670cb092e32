"""Where the terminal view gets what it shows: the HTTP side of a collector."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import msgspec

from collector.live_state import State

_MENDS: Final = {
    "away": "See that a collector runs with --http, or `collector serve` beside it, and give its --host and --port.",
    "key": "Start this view with --api-key, or API_KEY, and one of the collector's keys.",
    "still": "Time that is not collected becomes a gap; `collector run` goes on. Its log says more.",
    "failed": "The log of `collector run --http`, or `collector serve`, says more.",
    "version": "Use one release for both, and start them anew after an update.",
}


@dataclass(frozen=True)
class Seen:
    """One look. `error` is None when the collector answered, else `mend` says what to do about it.

    `features` and `bars` are by exchange and symbol.
    """

    state: State | None = None
    error: str | None = None
    mend: str = ""
    features: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    bars: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)


class Source:
    """Looks at `base_url`. Close it in the end."""

    def __init__(self, base_url: str, api_key: str | None = None) -> None:
        headers = {} if api_key is None else {"X-API-Key": api_key}
        self._has_key = api_key is not None
        self._http = httpx.AsyncClient(base_url=base_url, headers=headers, timeout=5)

    async def look(self) -> Seen:
        """What the collector tells now; never raises for what the other side does."""
        try:
            answer = await self._http.get("/state")
        except httpx.HTTPError as error:
            where = str(self._http.base_url).rstrip("/")
            return Seen(error=f"no answer from {where} ({type(error).__name__})", mend=_MENDS["away"])
        if answer.status_code == 401:
            return Seen(error="this key is not accepted" if self._has_key else "a key is needed", mend=_MENDS["key"])
        if answer.status_code != 200:
            return Seen(error=str(_detail(answer)), mend=_MENDS["still" if answer.status_code == 503 else "failed"])
        try:
            state = msgspec.json.decode(answer.content, type=State)
        except msgspec.MsgspecError:
            return Seen(error="the collector is of another version than this view", mend=_MENDS["version"])
        features, bars = await self._newest("features"), await self._newest("bars")
        return Seen(state, features=features, bars=bars)

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
