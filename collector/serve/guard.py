"""What stands before every request: who asks, how often, and how much. ASGI, so that it sees streams too."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from collector.serve.keys import matching
from collector.serve.page import FILES
from collector.serve.rates import Rates
from collector.serve.settings import ServeSettings, is_loopback

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_OPEN = frozenset({"/health", "/ready", *FILES})
"""What a supervisor asks, and the page itself, which holds no data: without a key."""

_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]", "testserver"})
_WRONG_KEYS_PER_S = 1.0
_WRONG_KEYS = 10
_LONGEST_QUERY = 4096


class Guard:
    """Wraps the application. Keys are never logged, and a wrong one costs the same as a missing one."""

    def __init__(self, app: App, settings: ServeSettings) -> None:
        self._app = app
        self._settings = settings
        self._rates = Rates(settings.requests_per_s, settings.burst)
        self._wrong = Rates(_WRONG_KEYS_PER_S, _WRONG_KEYS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._judge(scope)
        if refusal is not None:
            await _refuse(send, *refusal)
            return
        await self._app(scope, self._bounded(receive), send)

    def _judge(self, scope: Scope) -> tuple[int, str, float] | None:
        """Status, reason and seconds to wait of a request that is refused."""
        settings = self._settings
        headers = dict(scope["headers"])
        now_s = time.monotonic()
        address = scope["client"][0] if scope.get("client") else "unknown"
        if not settings.keys and is_loopback(settings.host):
            # A page from elsewhere may make a browser ask here under a name of its own (DNS rebinding).
            host = headers.get(b"host", b"").decode("latin-1").rsplit(":", 1)[0] or "localhost"
            if host not in _LOCAL_NAMES:
                return 421, "ask for localhost, or set an API key", 0.0
        asker = address
        if settings.keys and scope["path"] not in _OPEN:
            found = matching(headers.get(b"x-api-key", b"").decode("latin-1"), settings.keys)
            if found is None:
                wait_s = self._wrong.wait_s(address, now_s)
                if wait_s:
                    return 429, "too many wrong keys from this address", wait_s
                return 401, "a key is needed in the header X-API-Key", 0.0
            wait_s = self._rates.wait_s(found, now_s)
            if wait_s:
                return 429, "too many requests with this key", wait_s
        wait_s = self._rates.wait_s(asker, now_s)
        if wait_s:
            return 429, "too many requests from this address", wait_s
        if len(scope["query_string"]) > _LONGEST_QUERY:
            return 414, f"the query is longer than {_LONGEST_QUERY} bytes", 0.0
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > settings.max_body_bytes:
            return 413, f"the body is longer than {settings.max_body_bytes} bytes", 0.0
        return None

    def _bounded(self, receive: Receive) -> Receive:
        """Ends a body that is sent in pieces and grows beyond the bound."""
        taken = 0

        async def bounded() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._settings.max_body_bytes:
                return {"type": "http.disconnect"}
            return message

        return bounded


async def _refuse(send: Send, status: int, reason: str, wait_s: float) -> None:
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    if wait_s:
        headers.append((b"retry-after", str(max(1, round(wait_s))).encode()))
    if status == 401:
        headers.append((b"www-authenticate", b"X-API-Key"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps({"detail": reason}).encode()})
