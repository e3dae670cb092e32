"""A whole backfill: one market after another, within one weight budget."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.backfill import bars, klines, trades
from collector.backfill.archive import find_archives
from collector.backfill.gaps import state_healed, state_missing
from collector.backfill.rest import open_rest
from collector.errors import ConfigurationError
from collector.sources.errors import RestError
from storage_backends import disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from collector.backfill.outcome import Outcome
    from collector.backfill.rest import Rest
    from collector.clock import Clock
    from storage_backends.interface import Backend, Market

_INVALID_SYMBOL = -1121
LOCK_FILE = "backfill.lock"
HEADROOM = 0.5
MAX_ROWS = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillSettings:
    """What to fetch, and from where. `kind` is `trades`, `raw_trades`, `klines`, `funding` or `bars`;
    `interval` is of klines.

    `headroom` is the part of the exchange's weight limit that is left to others; `rest` False asks the exchange for
    nothing.
    """

    kind: str
    markets: Sequence[Market]
    start_ns: int
    end_ns: int
    data_dir: Path
    interval: str = ""
    archive: Path | None = None
    rest: bool = True
    url_root: str | None = None
    headroom: float = HEADROOM
    max_rows: int = MAX_ROWS


def _ignore(rows: int) -> None:
    """Nobody looks at the progress."""


async def backfill(
    settings: BackfillSettings,
    backend: Backend,
    clock: Clock,
    *,
    expect: Callable[[int], None] = _ignore,
    done: Callable[[int], None] = _ignore,
) -> list[Outcome]:
    """Fills the markets in turn. Cancelled or killed, it goes on where it was when it is run again.

    `expect` is told how many more rows there are to come, `done` how many came.

    Raises:
        ConfigurationError: another backfill works in this folder, or the exchange does not know a market.
        CollectorError: the store refused or failed, an archive is damaged, or the exchange cannot be reached.
    """
    outcomes = []
    with _alone(settings.data_dir):
        async with contextlib.AsyncExitStack() as stack:
            rests: dict[str, Rest] = {}
            for market in settings.markets:
                if settings.rest and settings.kind != "bars" and market.exchange not in rests:
                    rests[market.exchange] = await stack.enter_async_context(
                        open_rest(market.exchange, clock, url_root=settings.url_root, headroom=settings.headroom)
                    )
                outcomes.append(await _one(settings, market, backend, clock, rests.get(market.exchange), expect, done))
    return outcomes


async def _one(
    settings: BackfillSettings,
    market: Market,
    backend: Backend,
    clock: Clock,
    rest: Rest | None,
    expect: Callable[[int], None],
    done: Callable[[int], None],
) -> Outcome:
    kind = settings.interval or settings.kind
    span = settings.start_ns, settings.end_ns
    if settings.kind == "bars":
        making = bars.BarsBackfill(market, *span, backend, clock, max_rows=settings.max_rows, expect=expect, done=done)
        return await asyncio.to_thread(making.run)
    archives = []
    if settings.archive is not None:
        archives = find_archives(settings.archive, market.exchange, market.symbol, kind, *span)
    try:
        if settings.kind in ("trades", "raw_trades"):
            run = trades.TradesBackfill(
                trades.Wanted(market, settings.kind, *span),
                backend,
                settings.data_dir,
                clock,
                max_rows=settings.max_rows,
                expect=expect,
                done=done,
            )
            await run.run(archives, rest)
            by = "archive" if archives and not run.outcome.rest else "rest"
            run.outcome.healed = state_healed(backend, market, settings.kind, run.have, by)
            state_missing(backend, market, settings.kind, run.have, *span, clock.now_ns())
            return run.outcome
        make = klines.KlinesBackfill if settings.kind == "klines" else klines.FundingBackfill
        other = make(
            klines.Wanted(market, settings.interval, *span),
            backend,
            clock,
            max_rows=settings.max_rows,
            expect=expect,
            done=done,
        )
        await other.run(archives, rest)
    except RestError as error:
        if error.code == _INVALID_SYMBOL:
            raise ConfigurationError("--symbol", market.symbol, f"is not listed on {market.exchange}") from error
        raise ConfigurationError("the exchange", "refuses", str(error)) from error
    return other.outcome


@contextlib.contextmanager
def _alone(data_dir: Path) -> Iterator[None]:
    """One backfill in a folder at a time: two would fetch the same."""
    data_dir.mkdir(parents=True, exist_ok=True)
    with disk.held_alone(data_dir / LOCK_FILE) as alone:
        if not alone:
            raise ConfigurationError("--data-dir", data_dir, "another backfill works here; wait for its end")
        yield
