"""Tells a quiet market from a dead stream.

One stream can die while its connection lives: pings go on, the other streams too. Silence alone proves nothing, since
markets are quiet at night. So a silent stream is compared with what REST says: only when the exchange has moved on and
the stream still says nothing is it dead.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import msgspec

from collector.core.channels import is_kline
from collector.sources.errors import RestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from collector.clock import Clock
    from collector.sources.feed import FeedSink, Stream
    from collector.sources.subscription import Subscription
    from collector.sources.transport import Transport

Mark: TypeAlias = int | tuple[float, float, float, float]
"""Where a stream stands: the last trade id, or best bid price and quantity and best ask price and quantity."""

LastSeen = Callable[["Stream"], Mark | None]
Probe = Callable[["Stream"], Awaitable[Mark]]

# Never silent while the exchange lives, so there is nothing to ask REST for.
_ALWAYS_MOVING = frozenset({"markPrice"})
_QUOTED = frozenset({"depth", "depth5", "depth10", "depth20", "bookTicker"})
_TRADED = {"aggTrade": "a", "trade": "l"}  # field of an aggTrades row that counts what the channel counts

_KLINE_S = 120.0

_INVALID_SYMBOL = -1121  # the exchange's number for a market that it does not have

GRACE_S = 3.0  # what the exchange has already told REST may still be on its way to us
_FIRST_PAUSE_S = 10.0  # at most, between the two probes that a stream needs which has never said anything
_MOST_PATIENCE = 16  # a market found quiet is asked about ever more rarely, up to so many times the limit

DEFAULT_SILENCE_S: Mapping[str, float] = {
    "depth": 30.0,
    "depth5": 30.0,
    "depth10": 30.0,
    "depth20": 30.0,
    "bookTicker": 30.0,
    "aggTrade": 120.0,
    "trade": 120.0,
    "markPrice": 30.0,
}


class _Case(NamedTuple):
    """What is known of one silent stream; void as soon as it speaks or its connection changes."""

    since_ns: int  # last data, or the acknowledgement
    next_ns: int
    patience: int = 1
    baseline: Mark | None = None
    suspected_ns: int | None = None


class SilenceWatch:
    """Judges every stream of a feed by its own silence, and drops the connection of a dead one."""

    def __init__(
        self,
        subscriptions: Sequence[Subscription],
        probe: Probe,
        sink: FeedSink,
        clock: Clock,
        *,
        silence_s: Mapping[str, float],
        last_seen: LastSeen | None = None,
    ) -> None:
        self._subscriptions = subscriptions
        self._probe = probe
        self._sink = sink
        self._clock = clock
        self._silence_s = {**DEFAULT_SILENCE_S, **silence_s}
        self._last_seen = last_seen
        self._cases: dict[Stream, _Case] = {}
        self._strikes: dict[Stream, int] = {}
        self._delisted: dict[Stream, int] = {}  # and when that was found

    async def check(self) -> None:
        """Looks at every stream once. Call it about each second; it takes as long as the probes that are due take."""
        for subscription in self._subscriptions:
            if not _judged(subscription.channel):
                continue
            for stream in subscription.streams:
                if not await self._check(subscription, stream):
                    break  # the connection was dropped: nothing more to judge there

    async def _check(self, subscription: Subscription, stream: Stream) -> bool:
        opened_ns = subscription.opened_ns
        if opened_ns is None:
            self._cases.pop(stream, None)
            return True
        seen_ns = subscription.seen_ns(stream)
        if self._delisted.get(stream, 0) >= max(opened_ns, seen_ns or 0):
            return True
        now_ns = self._clock.now_ns()
        limit_ns = round(self._silence_s.get(stream.channel, _KLINE_S) * 1e9)
        since_ns = max(opened_ns, seen_ns or 0)
        case = self._cases.get(stream)
        if case is None or case.since_ns != since_ns:
            if seen_ns is not None:
                self._strikes.pop(stream, None)
            # A stream that a fresh connection did not revive gets more time with each attempt.
            patience = min(_MOST_PATIENCE, 2 ** self._strikes.get(stream, 0))
            case = self._cases[stream] = _Case(since_ns, since_ns + limit_ns * patience)
        if now_ns < case.next_ns:
            return True
        if case.suspected_ns is not None or stream.channel in _ALWAYS_MOVING:
            self._declare_dead(subscription, stream, now_ns - since_ns)
            return False
        await self._examine(subscription, stream, case, limit_ns)
        return True

    async def _examine(self, subscription: Subscription, stream: Stream, case: _Case, limit_ns: int) -> None:
        known = case.baseline
        # What was last seen on an earlier connection is no measure: the exchange moved on while we were away.
        if known is None and self._last_seen is not None and subscription.seen_ns(stream) is not None:
            known = self._last_seen(stream)
        try:
            mark = await self._probe(stream)
        except RestError as error:
            now_ns = self._clock.now_ns()
            if error.code == _INVALID_SYMBOL:
                self._delisted[stream] = now_ns
                self._cases.pop(stream, None)
                subscription.end(stream, "delisted", f"{stream.name}: the exchange no longer has this market")
                return
            self._sink.event(now_ns, stream.symbol, "probe_failed", f"{stream.name}: {error}")
            self._cases[stream] = case._replace(next_ns=now_ns + limit_ns)
            return
        now_ns = self._clock.now_ns()
        if known is None:
            pause_ns = min(round(_FIRST_PAUSE_S * 1e9), limit_ns)
            self._cases[stream] = case._replace(baseline=mark, next_ns=now_ns + pause_ns)
        elif _moved(known, mark):
            self._cases[stream] = case._replace(suspected_ns=now_ns, next_ns=now_ns + round(GRACE_S * 1e9))
        else:
            patience = min(_MOST_PATIENCE, case.patience * 2)
            self._cases[stream] = case._replace(
                baseline=mark, patience=patience, next_ns=now_ns + limit_ns * case.patience
            )

    def _declare_dead(self, subscription: Subscription, stream: Stream, silent_ns: int) -> None:
        self._cases.pop(stream, None)
        self._strikes[stream] = min(self._strikes.get(stream, 0) + 1, 10)
        subscription.drop("silent", f"{stream.name} said nothing for {silent_ns / 1e9:.0f} s while the market moved")


def _judged(channel: str) -> bool:
    """Liquidations are not: nothing tells an hour without any from a dead stream. Their connection is judged."""
    return channel in _ALWAYS_MOVING or channel in _QUOTED or channel in _TRADED or is_kline(channel)


def _moved(known: Mark, now: Mark) -> bool:
    # Ids only grow; an answer from a server that lags behind is no movement.
    return now > known if isinstance(known, int) and isinstance(now, int) else now != known


class _Book(msgspec.Struct):
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


_BOOK = msgspec.json.Decoder(_Book)
_ROWS = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])


def rest_probe(transport: Transport, weights: Mapping[str, int]) -> Probe:
    """Asks REST, as lightly as it can be asked, where the exchange stands.

    `weights` gives the request weight of `depth` (5 levels) and `aggTrades`. The probe raises RestError.
    """

    async def probe(stream: Stream) -> Mark:
        if stream.channel in _QUOTED:
            response = await transport.get("depth", {"symbol": stream.symbol, "limit": 5}, weight=weights["depth"])
            return _best(response.body)
        response = await transport.get("aggTrades", {"symbol": stream.symbol, "limit": 1}, weight=weights["aggTrades"])
        return _last_id(response.body, _TRADED.get(stream.channel, "l"))

    return probe


def _best(body: bytes) -> Mark:
    try:
        book = _BOOK.decode(body)
        bid = book.bids[0] if book.bids else ("0", "0")
        ask = book.asks[0] if book.asks else ("0", "0")
        return float(bid[0]), float(bid[1]), float(ask[0]), float(ask[1])
    except (msgspec.MsgspecError, ValueError) as error:
        raise RestError(f"depth: not a book: {error}", 200) from error


def _last_id(body: bytes, field: str) -> Mark:
    try:
        rows = _ROWS.decode(body)
        return int(bytes(rows[-1][field])) if rows else 0
    except (msgspec.MsgspecError, ValueError, KeyError) as error:
        raise RestError(f"aggTrades: not a list of trades: {error}", 200) from error
