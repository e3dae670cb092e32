"""One exchange: found, reached, on time, and every wanted stream delivers."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import urllib.request
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from collector.doctor.listen import Listener, streams_checks
from collector.doctor.report import Check
from collector.errors import CollectorError
from collector.sources.binance_feed import BinanceFeed
from collector.sources.budget import LIMITS, WeightBudget, weight_of
from collector.sources.clock_offset import measure_offset
from collector.sources.endpoints import endpoints
from collector.sources.errors import FeedError, RestError
from collector.sources.streams import MAX_NAMES_PER_CONNECTION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.clock import Clock
    from collector.sources.settings import FeedSettings
    from collector.sources.transport import Transport

_RESOLVE_WITHIN_S = 10.0
# Beyond a second an epoch of ours is another second of the exchange's.
_OFF_NS, _FAR_OFF_NS = 100_000_000, 1_000_000_000
_SLOW_ROUND_TRIP_NS = 500_000_000
_HEADROOM = 0.3  # as a run leaves to others behind the same address


class Wanted(NamedTuple):
    """What a run would collect from one exchange."""

    exchange: str
    symbols: Sequence[str]
    channels: Sequence[str]
    settings: FeedSettings


class Examined(NamedTuple):
    """What was found, and how much a run would open."""

    checks: list[Check]
    connections: int
    markets: int


async def examine(wanted: Wanted, clock: Clock, seconds: float) -> Examined:
    """Every check of one exchange; listens for at most about twice `seconds`.

    Raises:
        ConfigurationError: a setting that cannot be right, whatever the exchange says.
    """
    listener = Listener(clock)
    feed = BinanceFeed(wanted.exchange, wanted.symbols, wanted.channels, wanted.settings, clock, listener)
    from collector.sources.transport import Transport

    settings = wanted.settings
    urls = endpoints(
        wanted.exchange,
        url_root=settings.url_root,
        rest_url=settings.rest_url,
        spot_ws=settings.spot_ws,
        futures_ws=settings.futures_ws,
    )
    transport = Transport(wanted.exchange, urls, clock, WeightBudget(LIMITS[wanted.exchange], clock, headroom=0))
    try:
        checks = await _check_names(wanted.exchange, transport)
        ping = await _check_ping(wanted.exchange, transport)
        checks.append(ping)
        if ping.level == "FAIL":
            return Examined(checks, len(wanted.channels), len(wanted.symbols))
        checks.append(await _check_offset(wanted.exchange, transport))
        checks += await _check_streams(wanted, feed, listener, transport, seconds)
        checks.append(await _check_weight(wanted.exchange, transport))
    finally:
        await feed.close()
        await transport.close()
    return Examined(
        checks,
        max(len(wanted.channels), len(feed.streams) // MAX_NAMES_PER_CONNECTION),
        max(len(wanted.symbols), len(feed.markets)),
    )


async def _check_names(exchange: str, transport: Transport) -> list[Check]:
    """Whether the hosts of REST and websocket have addresses."""
    urls = (transport.rest_root, transport.ws_url("depth", ["probe"]))
    hosts = {urlsplit(url).hostname or "": url for url in reversed(urls)}
    return [await _check_name(f"{exchange} DNS", host, url) for host, url in sorted(hosts.items())]


async def _check_name(name: str, host: str, url: str) -> Check:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return Check(name, "ok", f"{host} is an address")
    try:
        async with asyncio.timeout(_RESOLVE_WITHIN_S):
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError) as error:
        why = "no answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
        scheme = urlsplit(url).scheme.replace("ws", "http")
        if scheme in urllib.request.getproxies():
            return Check(name, "warn", f"{host}: {why}", "nothing to do if your proxy resolves names")
        mend = "check the network and the name server (/etc/resolv.conf), and the URL if you set one"
        return Check(name, "FAIL", f"{host}: {why}", mend)
    addresses = sorted({str(address[4][0]) for address in found})
    more = f" and {len(addresses) - 1} more" if len(addresses) > 1 else ""
    return Check(name, "ok", f"{host} is {addresses[0]}{more}", data={"host": host, "addresses": addresses})


async def _check_ping(exchange: str, transport: Transport) -> Check:
    name = f"{exchange} ping"
    try:
        response = await transport.get("ping", {}, weight=weight_of(exchange, "ping"))
    except RestError as error:
        return Check(name, "FAIL", str(error), explain(error.status), {"status": error.status})
    round_trip_ns = response.recv_ns - response.sent_ns
    found, data = f"{round_trip_ns / 1e6:.0f} ms from {transport.rest_root}", {"round_trip_ns": round_trip_ns}
    if round_trip_ns > _SLOW_ROUND_TRIP_NS:
        return Check(name, "warn", found, "run nearer to the exchange: data comes as late", data)
    return Check(name, "ok", found, data=data)


def explain(status: int | None) -> str:
    """What to do about a refusal with HTTP `status`; None when no answer came."""
    match status:
        case 451:
            return (
                "HTTP 451: the exchange does not serve the country of this address, for legal reasons; "
                "a cloud region elsewhere is served, or point --url-root at an exchange that serves you"
            )
        case 403:
            return (
                "HTTP 403: the exchange's firewall refuses this address, since it asked too much or lies in a range "
                "that is blocked; wait a few minutes, then try another address or region"
            )
        case 418:
            return "HTTP 418: this address is banned for asking on after 429; stop everything that asks, and wait"
        case 429:
            return "HTTP 429: this address has used up its weight; see what else asks from here, and wait a minute"
        case None:
            return "nothing answers: check the network, a firewall in between, and the URL if you set one"
        case _ if status >= 500:
            return "the exchange is in trouble: look at its status page, and try again later"
        case _:
            return "this is not the exchange's REST: check --url-root"


async def _check_offset(exchange: str, transport: Transport) -> Check:
    name = f"{exchange} clock"
    try:
        best = await measure_offset(transport, weight_of(exchange, "time"))
    except RestError as error:
        return Check(name, "FAIL", str(error), explain(error.status), {"status": error.status})
    unsure_ns = best.round_trip_ns // 2
    found = f"the exchange's is {best.offset_ns / 1e6:+.1f} ms from ours (± {unsure_ns / 1e6:.1f} ms)"
    data = {"offset_ns": best.offset_ns, "round_trip_ns": best.round_trip_ns}
    certain_ns = abs(best.offset_ns) - unsure_ns
    if certain_ns <= _OFF_NS:
        return Check(name, "ok", found, data=data)
    mend = "set this machine's clock by NTP (timedatectl set-ntp true, or chrony), then start again"
    return Check(name, "FAIL" if certain_ns > _FAR_OFF_NS else "warn", found, mend, data)


async def _check_streams(
    wanted: Wanted, feed: BinanceFeed, listener: Listener, transport: Transport, seconds: float
) -> list[Check]:
    try:
        await feed.start()
    except FeedError as error:
        cause = error.__cause__
        status = getattr(cause, "status", None)
        mend = explain(status) if isinstance(status, int) and status >= 400 else "mend what is named"
        return [Check(f"{wanted.exchange} streams", "FAIL", str(error), mend, {"status": status})]
    except CollectorError as error:
        return [Check(f"{wanted.exchange} streams", "FAIL", str(error), "mend what is named")]
    return await streams_checks(wanted.exchange, feed, listener, transport, seconds)


async def _check_weight(exchange: str, transport: Transport) -> Check:
    name = f"{exchange} weight"
    try:
        response = await transport.get("ping", {}, weight=weight_of(exchange, "ping"))
    except RestError as error:
        return Check(name, "FAIL", str(error), explain(error.status), {"status": error.status})
    limit = LIMITS[exchange]
    text = {key.lower(): value for key, value in response.headers.items()}.get("x-mbx-used-weight-1m", "")
    if not text.isdigit():
        return Check(name, "warn", "the answer does not say how much is used", "check that this is the exchange")
    used = int(text)
    found, data = f"{limit - used:,} of {limit:,} left in this minute", {"used": used, "limit": limit}
    if used > limit * (1 - _HEADROOM):
        mend = "something else asks much from this address: snapshots will wait for their turn"
        return Check(name, "warn", found, mend, data)
    return Check(name, "ok", found, data=data)
