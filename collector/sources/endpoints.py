"""Where an exchange is reached, when it is not where ccxt thinks."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

from collector.errors import ConfigurationError

_FUTURES_TAIL = re.compile(r"(/(public|market|private))?(/(ws|stream))?/*$")
_SPOT_TAIL = re.compile(r"(/(ws|stream))?/*$")


class Endpoints(NamedTuple):
    """REST base and websocket base as ccxt wants them; None leaves ccxt's own."""

    rest: str | None
    ws: str | None


def endpoints(
    exchange: str,
    *,
    url_root: str | None = None,
    rest_url: str | None = None,
    spot_ws: str | None = None,
    futures_ws: str | None = None,
) -> Endpoints:
    """Resolves the URL settings of one exchange.

    `url_root` is a whole exchange elsewhere, laid out as the simulator is. A futures root may be given with any of the
    exchange's prefixes (`/public`, `/market`, `/ws`, `/stream`): ccxt adds the one that a stream needs, and a stream
    asked for under the wrong one is acknowledged and never sent.

    Raises:
        ConfigurationError: a URL that is none.
    """
    spot = exchange == "binance"
    rest = ws = None
    if url_root:
        root = _checked("--url-root", url_root, ("http", "https"))
        rest = root + ("/api/v3" if spot else "/fapi/v1")
        ws = "ws" + root.removeprefix("http") + ("/stream/ws" if spot else "/fstream/ws")
    if rest_url:
        rest = _checked("REST URL", rest_url, ("http", "https"))
    if spot and spot_ws:
        ws = _SPOT_TAIL.sub("", _checked("SPOT_WS", spot_ws, ("ws", "wss"))) + "/ws"
    if not spot and futures_ws:
        ws = _FUTURES_TAIL.sub("", _checked("FUTURES_WS", futures_ws, ("ws", "wss"))) + "/ws"
    return Endpoints(rest, ws)


def _checked(setting: str, url: str, schemes: tuple[str, ...]) -> str:
    try:
        parts = urlsplit(url)
        sound = parts.scheme in schemes and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        sound = False
    if not sound:
        raise ConfigurationError(setting, repr(url), f"give a URL such as {schemes[-1]}://host:port")
    return url.rstrip("/")
