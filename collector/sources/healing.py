"""Trades that a gap lacks, fetched by REST while collection goes on."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple, Protocol

from collector.core.decode import event_time_ms
from collector.sources.errors import RestError
from collector.sources.pacing import Backoff
from collector.sources.trade_pages import PAGE, TOO_OLD, ends_of, oldest_ms, pages_of

if TYPE_CHECKING:
    import random

    from collector.clock import Clock
    from collector.core.gaps import Unfilled
    from collector.sources.budget import Sleep, WeightBudget
    from collector.sources.transport import Transport

log = logging.getLogger(__name__)

SHARE = 0.5
"""Part of the weight allowance beyond which healing waits, so that snapshots never do."""

SETTLE_S = 2.0
"""Pause after a gap's end: late messages may still fill it, and REST may not have it yet."""

_LOOK_S = 1.0
_PACE_S = 0.25
_FIRST_RETRY_S = 2.0
_RETRY_CAP_S = 300.0
_FETCH_ERRORS = (RestError, ValueError)


class Lacking(NamedTuple):
    """A gap of one market that REST may fill."""

    symbol: str
    unfilled: Unfilled


class HealingSink(Protocol):
    """Knows what is lacking and takes what came. Every call is synchronous, on the event loop's thread."""

    def lacking(self) -> list[Lacking]:
        """The gaps to fill now; none while nothing could be stored."""
        ...

    def rest_trades(self, recv_ns: int, symbol: str, channel: str, text: bytes) -> None:
        """Rows of REST aggTrades (`trades`), trades or historicalTrades (`raw_trades`), as received."""
        ...

    def healing_ended(self, now_ns: int, symbol: str, channel: str, gap_id: str, reason: str) -> None:
        """Nothing more will come to fill a gap."""
        ...

    def event(self, now_ns: int, symbol: str | None, kind: str, detail: str) -> None:
        """Something worth a row in `events`."""
        ...


class _Work:
    """How far the healing of one gap is."""

    def __init__(self, first_id: int, backoff: Backoff) -> None:
        self.next_id = first_id
        self.due_ns = 0
        self.backoff = backoff
        self.beyond: str | None = None  # why some of its ids were left out


class Healer:
    """Asks, one page after another and the oldest gap first, for trades that gaps lack; hands the answers to the sink.

    What fails for a while is an event `heal_failed` and is tried again with back-off; what the exchange cannot give is
    told to the sink once, and not asked for again.
    """

    def __init__(
        self,
        exchange: str,
        transport: Transport,
        budget: WeightBudget,
        sink: HealingSink,
        clock: Clock,
        *,
        sleep: Sleep,
        rng: random.Random,
    ) -> None:
        self._exchange = exchange
        self._transport = transport
        self._budget = budget
        self._sink = sink
        self._clock = clock
        self._sleep = sleep
        self._rng = rng
        self._work: dict[tuple[str, str], _Work] = {}

    async def run(self) -> None:
        """Returns only by being cancelled."""
        while True:
            lacking = self._sink.lacking()
            known = {(one.symbol, one.unfilled.gap.gap_id) for one in lacking}
            for gone in self._work.keys() - known:
                del self._work[gone]
            due = [one for one in lacking if self._is_due(one)]
            if due:
                await self._step(min(due, key=lambda one: one.unfilled.gap.from_ns))
            await self._sleep(_PACE_S if due else _LOOK_S)

    def _is_due(self, one: Lacking) -> bool:
        work = self._work.get((one.symbol, one.unfilled.gap.gap_id))
        ended_ns = one.unfilled.gap.to_ns or 0
        due_ns = ended_ns + round(SETTLE_S * 1e9) if work is None else work.due_ns
        return self._clock.now_ns() >= due_ns

    async def _step(self, one: Lacking) -> None:
        """One request for one gap."""
        gap = one.unfilled.gap
        work = self._work.get((one.symbol, gap.gap_id))
        if work is None:
            backoff = Backoff(_FIRST_RETRY_S, _RETRY_CAP_S, self._rng)
            work = self._work[one.symbol, gap.gap_id] = _Work(gap.from_id or 0, backoff)
        wanted = [(max(first, work.next_id), last) for first, last in one.unfilled.missing if last >= work.next_id]
        if not wanted:
            self._end(one, work.beyond or "the exchange does not give the rest of it")
            return
        try:
            await self._page(one, work, *wanted[0])
        except _FETCH_ERRORS as error:
            self._failed(one, work, error)
        else:
            work.backoff.reset()

    async def _page(self, one: Lacking, work: _Work, first_id: int, last_id: int) -> None:
        channel = one.unfilled.gap.stream
        pages = pages_of(self._exchange, channel)
        params: dict[str, object] = {"symbol": one.symbol, "limit": PAGE}
        if pages.by_id:
            params |= {"fromId": first_id, "limit": min(PAGE, last_id - first_id + 1)}
        try:
            await self._budget.take_spare(pages.weight, SHARE)
            response = await self._transport.get_now(pages.path, params)
        except RestError as error:
            if error.code != TOO_OLD or work.beyond is not None:
                raise
            await self._skip_to_reach(one, work, last_id)
            return
        ends = ends_of(response.body)
        self._sink.rest_trades(response.recv_ns, one.symbol, channel, response.body)
        if not pages.by_id:
            work.beyond = "without a key the exchange gives only the newest thousand"
            work.next_id = (one.unfilled.gap.to_id or 0) + 1
        elif ends is None or ends.first_id > last_id:
            work.next_id = last_id + 1
        else:
            work.next_id = max(ends.last_id, first_id) + 1

    async def _skip_to_reach(self, one: Lacking, work: _Work, last_id: int) -> None:
        """Goes on at the oldest trade that is still to be had, by `startTime` alone."""
        pages = pages_of(self._exchange, one.unfilled.gap.stream)
        params = {"symbol": one.symbol, "startTime": oldest_ms(self._clock.now_ns()), "limit": 1}
        await self._budget.take_spare(pages.weight, SHARE)
        ends = ends_of((await self._transport.get_now(pages.path, params)).body)
        work.beyond = "older than the 48 hours that the exchange gives; its daily archive has it: backfill --archive"
        work.next_id = last_id + 1 if ends is None else max(ends.first_id, work.next_id)
        if ends is not None:
            log.info("%s reaches back to %d", one.symbol, event_time_ms(ends.first_ms))

    def _failed(self, one: Lacking, work: _Work, error: RestError | ValueError) -> None:
        if isinstance(error, RestError) and not error.transient:
            self._end(one, work.beyond or str(error))
            return
        delay_s = work.backoff.next_s()
        now_ns = self._clock.now_ns()
        work.due_ns = now_ns + round(delay_s * 1e9)
        detail = f"gap {one.unfilled.gap.gap_id}: {error}; again in {delay_s:.1f} s"
        self._sink.event(now_ns, one.symbol, "heal_failed", detail)

    def _end(self, one: Lacking, reason: str) -> None:
        gap = one.unfilled.gap
        self._sink.healing_ended(self._clock.now_ns(), one.symbol, gap.stream, gap.gap_id, reason)
