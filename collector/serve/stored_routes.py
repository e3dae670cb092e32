"""Questions about what was stored, and about the newest rows, which may not be yet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
from fastapi import FastAPI, HTTPException, Query, Request, Response

from collector.audit.instant import book_at
from collector.questions.bars import ohlcv
from collector.questions.book import ladder
from collector.questions.gaps import gaps
from collector.questions.orderbook import orderbook
from collector.questions.rows import (
    Page,
    Stopped,
    chosen,
    find_market,
    latest_rows,
    newest_of_each,
    rows_between,
    with_fresh,
)
from collector.questions.stats import stats
from collector.questions.undelivered import WithUndelivered
from collector.serve import examples
from collector.serve.answers import plain, rows_answer
from collector.serve.parameters import (
    At,
    Bars,
    Epochs,
    Exchange,
    Gaps,
    Levels,
    OfSymbol,
    Rows,
    Symbol,
    TableName,
    instant_ns,
    known_table,
)
from collector.serve.work import Workers
from storage_backends.hot import WINDOW_ROWS, HotStore
from storage_backends.interface import Backend, Market


class Store:
    """The rows behind the questions: of the backend, of the journal that it is filled from, and of the hot files."""

    def __init__(self, stored: Backend, data_dir: Path, workers: Workers) -> None:
        self.stored = stored
        self.backend = WithUndelivered(stored, data_dir)
        self.hot = HotStore(data_dir)
        self.ask = workers.ask

    def markets(self, symbol: str | None, exchange: str | None) -> list[Market]:
        """The stored markets that are meant; all without a symbol."""
        return self.backend.markets() if symbol is None else [find_market(self.backend, symbol, exchange)]

    async def rows(self, request: Request, table: str, symbol: str, wanted: Rows) -> Response:
        """A page of a table; the last rows are those of the hot file, where it has some that are not stored yet."""
        start_ns, end_ns = wanted.ns()
        limit, hot = wanted.limit, self.hot

        def question(stopped: Stopped) -> tuple[Market, Page]:
            market = find_market(self.backend, symbol, wanted.exchange, hot.markets(table))
            if start_ns is None and wanted.cursor is None:
                fresh = hot.read_hot(table, market) if end_ns is None else None
                if fresh is not None and fresh.num_rows >= limit:
                    return market, Page(with_fresh(table, fresh, fresh, limit), None)
                stored = latest_rows(self.backend, table, market, limit, stopped, end_ns)
                return market, stored if fresh is None else Page(with_fresh(table, stored.rows, fresh, limit), None)
            found = rows_between(self.backend, table, market, start_ns, end_ns, limit, stopped, wanted.cursor)
            return market, found

        market, found = await self.ask(request, question)
        head = {"exchange": market.exchange, "symbol": market.symbol, "next_cursor": found.cursor}
        return rows_answer(request, found.rows, head)


def add_stored(app: FastAPI, store: Store) -> None:
    """All of them."""
    _add_tables(app, store)
    _add_derived(app, store)
    _add_newest(app, store)
    _add_lists(app, store)


def _add_tables(app: FastAPI, store: Store) -> None:
    @app.get(
        "/trades/{symbol:path}",
        summary="Aggregate trades: the last ones, or those from start_time on, by page",
        responses=examples.rows(examples.TRADES),
    )
    async def trades(request: Request, symbol: Symbol, wanted: Annotated[Rows, Query()]) -> Response:
        return await store.rows(request, "trades", symbol, wanted)

    @app.get(
        "/depth/{symbol:path}", summary="Log-delta depth buckets by epoch", responses=examples.rows(examples.DEPTH)
    )
    async def depth(request: Request, symbol: Symbol, wanted: Annotated[Epochs, Query()]) -> Response:
        return await store.rows(request, "depth", symbol, wanted)

    @app.get("/features/{symbol:path}", summary="Features by epoch", responses=examples.rows(examples.FEATURES))
    async def features(request: Request, symbol: Symbol, wanted: Annotated[Epochs, Query()]) -> Response:
        return await store.rows(request, "features", symbol, wanted)

    @app.get(
        "/tables/{table}/{symbol:path}",
        summary="Rows of any table",
        responses=examples.rows(examples.TRADES),
    )
    async def rows(request: Request, table: TableName, symbol: Symbol, wanted: Annotated[Rows, Query()]) -> Response:
        return await store.rows(request, known_table(table), symbol, wanted)


def _add_derived(app: FastAPI, store: Store) -> None:
    async def answer(request: Request, question: Callable[[Stopped], tuple[Market, pa.Table]], **head: Any) -> Response:
        market, rows = await store.ask(request, question)
        return rows_answer(request, rows, {**market._asdict(), **head})

    @app.get(
        "/ohlcv/{symbol:path}",
        summary="Bars of any interval: as stored, or else made of the stored trades",
        responses=examples.rows(examples.OHLCV),
    )
    async def bars(request: Request, symbol: Symbol, wanted: Annotated[Bars, Query()]) -> Response:
        start_ns, end_ns = wanted.ns()
        timeframe, limit = wanted.timeframe, wanted.limit

        def question(stopped: Stopped) -> tuple[Market, pa.Table]:
            market = find_market(store.backend, symbol, wanted.exchange)
            return market, ohlcv(store.backend, market, timeframe, limit, stopped, start_ns, end_ns)

        return await answer(request, question, timeframe=timeframe)

    @app.get(
        "/orderbook/{symbol:path}",
        summary="The book in price levels of one width, by epoch",
        responses=examples.rows(examples.ORDERBOOK),
    )
    async def levels(request: Request, symbol: Symbol, wanted: Annotated[Levels, Query()]) -> Response:
        end_ns = None if wanted.end_time is None else instant_ns("end_time", wanted.end_time)

        def question(stopped: Stopped) -> tuple[Market, pa.Table]:
            market = find_market(store.backend, symbol, wanted.exchange)
            return market, orderbook(store.backend, market, wanted.tick_size, wanted.limit, stopped, end_ns)

        return await answer(request, question)

    @app.get(
        "/book/{symbol:path}",
        summary="The whole book as it was known at an instant, rebuilt from anchors and diffs",
        responses=examples.json(examples.BOOK),
    )
    async def book(
        request: Request,
        symbol: Symbol,
        at: At,
        exchange: Exchange = None,
        depth: Annotated[int, Query(ge=1, le=10_000)] = 100,
    ) -> dict[str, Any]:
        at_ns = instant_ns("at", at)

        def question(_: Stopped) -> dict[str, Any] | None:
            market = find_market(store.backend, symbol, exchange)
            known = book_at(store.backend, market, at_ns)
            return None if known is None else {**market._asdict(), "at_ns": at_ns, **ladder(known, depth)}

        found = await store.ask(request, question)
        if found is None:
            raise HTTPException(404, "no book was known then")
        return found


def _add_newest(app: FastAPI, store: Store) -> None:
    @app.get(
        "/hot/{table}/{symbol:path}",
        summary="The newest rows, at most 1,024, from the hot file",
        responses=examples.rows(examples.HOT),
    )
    async def hot(
        request: Request,
        table: TableName,
        symbol: Symbol,
        exchange: Exchange = None,
        limit: Annotated[int, Query(ge=1, le=WINDOW_ROWS)] = WINDOW_ROWS,
    ) -> Response:
        name = known_table(table)

        def question(_: Stopped) -> tuple[Market, pa.Table]:
            market = find_market(store.backend, symbol, exchange, store.hot.markets(name))
            rows = store.hot.read_hot(name, market)
            return market, rows.slice(max(0, rows.num_rows - limit))

        market, rows = await store.ask(request, question)
        return rows_answer(request, rows, market._asdict())

    @app.get(
        "/latest/{what}",
        summary="The newest row of each market, or of one: features or bars",
        responses=examples.json(examples.LATEST),
    )
    async def latest(
        request: Request, what: Literal["features", "bars"], symbol: OfSymbol = None, exchange: Exchange = None
    ) -> list[dict[str, Any]]:
        def question(_: Stopped) -> list[dict[str, Any]]:
            newest = []
            for market in chosen(store.hot.markets(what), symbol, exchange):
                rows = store.hot.read_hot(what, market)
                newest += [{**market._asdict(), **plain(row)} for row in newest_of_each(what, rows).to_pylist()]
            return newest

        return await store.ask(request, question)


def _add_lists(app: FastAPI, store: Store) -> None:
    @app.get("/symbols", summary="The markets that are stored", responses=examples.json(examples.SYMBOLS))
    async def symbols(request: Request) -> list[dict[str, str]]:
        markets = await store.ask(request, lambda _: store.backend.markets())
        return [market._asdict() for market in markets]

    @app.get(
        "/stats",
        summary="Rows, files, bytes and time span of each table, from metadata alone",
        responses=examples.json(examples.STATS),
    )
    async def counted(request: Request, symbol: OfSymbol = None, exchange: Exchange = None) -> list[dict[str, Any]]:
        return await store.ask(request, lambda _: stats(store.stored, store.markets(symbol, exchange)))

    @app.get(
        "/gaps",
        summary="What is missing, and why: each gap by its newest statement",
        responses=examples.json(examples.GAPS),
    )
    async def missing(request: Request, wanted: Annotated[Gaps, Query()]) -> list[dict[str, Any]]:
        start_ns, end_ns = wanted.ns()

        def question(stopped: Stopped) -> list[dict[str, Any]]:
            markets = store.markets(wanted.symbol, wanted.exchange)
            return gaps(store.backend, markets, wanted.limit, stopped, start_ns, end_ns, healed=wanted.healed)

        return await store.ask(request, question)
