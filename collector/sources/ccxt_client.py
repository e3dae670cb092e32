"""Any exchange of ccxt.pro, with its frames and its news passing by a listener.

ccxt does all: it connects, subscribes, keeps the book. Two places of its client are hooked: where a frame comes in,
and where ccxt wakes whoever awaits a book or trades, since by then several frames may have passed. Both exist in every
exchange. Whatever ccxt raises on a frame is kept from ending its receive loop, which it would do silently.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol

from collector.sources import lazy_ccxt

lazy_ccxt.install()  # before anything of ccxt is imported

from ccxt.async_support.base.ws.cache import BaseCache  # noqa: E402
from ccxt.async_support.base.ws.client import Client  # noqa: E402
from ccxt.async_support.base.ws.order_book import OrderBook  # noqa: E402
from ccxt.base.errors import NetworkError  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Mapping

_ROOT = re.compile(r"^(http|ws)s?://[^/]+")
_TRADES_KEPT = 20_000  # in ccxt's own list; trades of one frame beyond it would be lost

_MARKET_TYPES: Mapping[str, Mapping[str, list[str]]] = {
    "bybit": {"spot": ["spot"], "swap": ["linear", "inverse"], "future": ["linear", "inverse"], "option": ["option"]},
    "okx": {kind: [kind] for kind in ("spot", "swap", "future", "option")},
}
"""What to ask of exchanges that would send every listing otherwise."""


class Listener(Protocol):
    """Hears of everything; all calls are synchronous, on the event loop's thread."""

    def on_frame(self, client: ListeningClient, data: str | bytes) -> None:
        """A frame, decompressed but not parsed. `client.handle` passes it on to ccxt."""
        ...

    def on_news(self, client: ListeningClient, news: Any) -> None:
        """ccxt wakes those who wait for `news`."""
        ...

    def on_gone(self, client: ListeningClient, why: str) -> None:
        """The connection is closed or broken. May be called more than once."""
        ...


class ListeningClient(Client):  # type: ignore[misc]
    """ccxt's connection with a listener and a number."""

    listener: Listener
    number: int

    def handle_text_or_binary_message(self, data: str | bytes) -> None:
        self.listener.on_frame(self, data)

    def handle(self, data: str | bytes) -> None:
        """What ccxt does with a frame. Raises what ccxt's parsers raise."""
        super().handle_text_or_binary_message(data)

    def resolve(self, result: Any, message_hash: Any) -> Any:
        self.listener.on_news(self, result)
        return super().resolve(result, message_hash)

    def on_error(self, error: Any) -> None:
        super().on_error(error)
        self.listener.on_gone(self, str(error) or type(error).__name__)

    def on_close(self, code: Any) -> None:
        super().on_close(code)
        self.listener.on_gone(self, f"closed with code {code}")

    def drop(self, why: str) -> None:
        """Ends the connection whether or not the peer still answers; ccxt makes a new one when asked again."""
        self.on_error(NetworkError(why))


class _Hooks:
    """Overrides in ccxt's exchange class."""

    timeout_on_exit = 0
    listener: Listener
    connections: int

    def client(self, url: str) -> Any:
        """ccxt's only place of birth for a connection."""
        client = super().client(url)  # type: ignore[misc]
        if type(client) is Client:
            self.connections += 1
            client.__class__ = ListeningClient
            client.listener, client.number = self.listener, self.connections
        return client


def make_exchange(ccxt_id: str, kind: str | None, listener: Listener, url_root: str | None) -> Any:
    """An instance of ccxt's class. Connects nowhere yet, but must be closed. Needs a running event loop.

    `url_root` replaces scheme and host of every URL: the exchange elsewhere keeps ccxt's paths.

    Raises:
        ValueError: ccxt.pro has no such exchange.
    """
    loaded = lazy_ccxt.load(ccxt_id)
    hooked = type("Listening" + ccxt_id.capitalize(), (_Hooks, loaded), {"listener": listener, "connections": 0})
    options: dict[str, Any] = {"tradesLimit": _TRADES_KEPT}
    if kind is not None:
        options["defaultType"] = kind
        types = _MARKET_TYPES.get(ccxt_id, {}).get(kind)
        if types is not None:
            options["fetchMarkets"] = {"types": types}
    exchange = hooked({"enableRateLimit": True, "aiohttp_trust_env": True, "options": options})
    if url_root:
        exchange.urls["api"] = _moved(exchange.urls["api"], url_root.rstrip("/"))
    return exchange


def is_book(news: Any) -> bool:
    """Whether ccxt tells of a book."""
    return isinstance(news, OrderBook)


def is_trades(news: Any) -> bool:
    """Whether ccxt tells of trades; some exchanges hand on a plain list."""
    if not isinstance(news, BaseCache | list) or not len(news):
        return False
    last = news[-1]
    return isinstance(last, dict) and {"symbol", "price", "amount", "takerOrMaker"} <= last.keys()


def _moved(urls: Any, root: str) -> Any:
    if isinstance(urls, dict):
        return {name: _moved(url, root) for name, url in urls.items()}
    if not isinstance(urls, str):
        return urls
    return _ROOT.sub(lambda match: root if match[1] == "http" else "ws" + root.removeprefix("http"), urls)
