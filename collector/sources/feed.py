"""What stands between an exchange and the pipeline: a feed hands inputs to a sink, in the order in which they came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.sources.markets import MarketInfo


class Stream(NamedTuple):
    """One subscription. `name` is the exchange's own, as in `btcusdt@depth@100ms`."""

    symbol: str
    channel: str
    name: str


class FeedSink(Protocol):
    """Takes what a feed receives. Every call but `begun` is synchronous, on the event loop's thread, and never raises.

    Connections are numbered from 1, and no number is used twice. Everything about one comes in the order `opened`, any
    number of `frame`, `closed`; one that is never acknowledged is an `event` only.

    A connection is replaced before it ends: then frames of two come for the same streams, each in its own order, until
    one of them is closed.
    """

    def frame(self, recv_ns: int, connection: int, text: str | bytes) -> Stream | None:
        """One frame as received, before any parsing. Gives back the stream it belongs to, None when unrecognised.

        Of the stream only `symbol` and `channel` matter, as they stand in `opened`: silence is judged by them. Partial
        depth of spot (`depth20`), which names no symbol, comes in the exchange's wrapper `{"stream":…,"data":…}`.
        Replies to the feed's own requests are kept back.
        """
        ...

    def opened(self, now_ns: int, connection: int, streams: Sequence[Stream], replaces: int | None = None) -> None:
        """The exchange acknowledged the subscription of `streams` on `connection`.

        `replaces` names a connection that still delivers the same streams, and is to be closed soon.
        """
        ...

    def handed_over(self, connection: int) -> bool:
        """Whether a connection that replaces another has reached, by ids, what that one delivered of each stream."""
        ...

    def closed(self, now_ns: int, connection: int, streams: Sequence[Stream], reason: str) -> None:
        """`connection` is gone, or its streams are dead; called once for each `opened`.

        Reasons: `disconnect`, `oversize` (a frame over 10 MiB), `silent` (one of its streams said nothing while the
        market moved), `dead` (neither data nor pings), `shutdown` (announced by the exchange), `rejected`, `rotated`
        (another one took over before the exchange's limit of 24 hours) and `stopped` (by us). An event of the same kind
        says more, except after `rotated` and `stopped`.
        `delisted` ends single streams, of a market that the exchange no longer has, while their connection lives; they
        are among the `streams` of its end again.
        """
        ...

    def anchor_requested(self, now_ns: int, symbol: str, reason: str) -> None:
        """A REST snapshot of `symbol` is about to be asked for; the book of this moment is the one to compare with."""
        ...

    def anchor(self, recv_ns: int, symbol: str, requested_ns: int, reason: str, limit: int, text: bytes) -> None:
        """A REST snapshot arrived; `text` is the response body as received.

        `requested_ns` and `reason` are those of the last `anchor_requested` for `symbol`. One that never arrives is an
        event `anchor_failed`, and another `anchor_requested` follows.
        """
        ...

    def polled(
        self,
        recv_ns: int,
        symbol: str,
        what: Literal["book", "open_interest"],
        requested_ns: int,
        limit: int,
        text: bytes,
    ) -> None:
        """The answer to something that is asked at an interval; `text` is the response body as received.

        One that never arrives is an event `poll_failed`.
        """
        ...

    def listed(self, now_ns: int, market: MarketInfo, streams: Sequence[Stream]) -> None:
        """A market joins that a wildcard means by now; `opened` of its streams follows. Called once for each.

        Subscribe to them after `begun`.
        """
        ...

    async def begun(self, symbol: str) -> None:
        """Returns when a market that joined may be listened to: from then on, what a kill loses of it is a gap."""
        ...

    def clock_measured(self, now_ns: int, offset_ns: int, round_trip_ns: int, samples: int) -> None:
        """Exchange clock minus ours, from the sample with the smallest round trip."""
        ...

    def event(self, now_ns: int, symbol: str | None, kind: str, detail: str) -> None:
        """Something worth a row in `events`; `symbol` None concerns every market of the feed."""
        ...
