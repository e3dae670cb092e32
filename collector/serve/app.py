"""The HTTP application over one store and its live state."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
import pyarrow as pa
from fastapi import FastAPI, HTTPException, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from collector import __version__
from collector.audit.gaps import read_gaps
from collector.audit.instant import book_at
from collector.clock import Clock
from collector.control import AnchorReset, send
from collector.errors import ConfigurationError
from collector.markets import exchange_symbol
from collector.questions.bars import ohlcv
from collector.questions.book import ladder
from collector.questions.orderbook import orderbook
from collector.questions.rows import (
    Page,
    Stopped,
    find_market,
    latest_rows,
    newest_of_each,
    rows_between,
    table_of,
    with_fresh,
)
from collector.serve.answers import ARROW, Json, plain, rows_answer
from collector.serve.guard import Guard
from collector.serve.live import Live
from collector.serve.metrics import exposition
from collector.serve.page import add_page
from collector.serve.settings import MAX_ROWS, ServeSettings
from collector.serve.work import Workers
from collector.times import parse_time
from storage_backends.hot import WINDOW_ROWS, HotStore
from storage_backends.interface import Backend, Market

Symbol = Annotated[str, Path(max_length=64, examples=["BTCUSDT"], description="BTCUSDT or BTC/USDT")]
Exchange = Annotated[str | None, Query(max_length=32, pattern=r"^[a-z0-9][a-z0-9_-]*$", examples=["binanceusdm"])]
Instant = Annotated[
    str | None,
    Query(max_length=40, examples=["2026-11-20T14:12:45Z"], description="ISO 8601, or Unix time in s, ms, µs or ns"),
]
Limit = Annotated[int, Query(ge=1, le=MAX_ROWS)]
Cursor = Annotated[str | None, Query(max_length=512, description="`next_cursor` of the page before")]

_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/json": {}, ARROW: {}}},
    400: {"description": "a question that cannot be answered as it was put"},
    401: {"description": "no key, or a wrong one"},
    429: {"description": "too many requests; Retry-After says when"},
    503: {"description": "the store or the collector is away, or too much was asked for"},
}


def create_app(settings: ServeSettings, backend: Backend, clock: Clock) -> FastAPI:
    """The application. It writes nothing; a command goes to the run, which takes it as an input."""
    app = FastAPI(
        title="depth-collector",
        version=__version__,
        description="Order-book market data that can be trusted. Times in rows are in the unit that their column says.",
        default_response_class=Json,
        responses=_ANSWERS,
    )
    app.add_middleware(Guard, settings=settings)
    live = Live(settings.store.data_dir, clock)
    workers = Workers(settings.max_queries, settings.query_timeout_s)
    add_page(app)
    _add_live(app, live)
    _add_control(app, settings)
    _add_stored(app, backend, HotStore(settings.store.data_dir), workers)
    return app


def _add_live(app: FastAPI, live: Live) -> None:
    @app.get("/health", summary="Whether this process answers, and what the collector does")
    async def health() -> dict[str, Any]:
        return live.status()

    @app.get("/ready", summary="200 while a collector runs and its data can be relied on, else 503")
    async def ready() -> Response:
        status = live.status()
        good = status["status"] == "running" and status["grade"] != "bad" and "backend_away" not in status["reasons"]
        return Json(status, 200 if good else 503)

    @app.get("/state", summary="Everything that the running collector tells of itself")
    async def state() -> Response:
        return Response(msgspec.json.encode(live.fresh()), media_type="application/json")

    @app.get("/stream", summary="Live epochs as server-sent events, one a second", response_class=StreamingResponse)
    async def stream(symbol: Annotated[list[Symbol] | None, Query(max_length=200)] = None) -> StreamingResponse:
        symbols = None if not symbol else frozenset(symbol)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(live.epochs(symbols), media_type="text/event-stream", headers=headers)

    @app.get("/metrics", summary="Prometheus metrics")
    async def metrics() -> Response:
        body, media_type = exposition(live.state())
        return Response(body, media_type=media_type)


def _add_control(app: FastAPI, settings: ServeSettings) -> None:
    @app.post("/control/anchor/reset", summary="Starts the anchored VWAP anew, of one market or of all")
    async def anchor_reset(
        request: Request,
        mode: Literal["auto", "manual"] = "manual",
        symbol: Annotated[str | None, Query(max_length=64, examples=["BTCUSDT"])] = None,
        exchange: Exchange = None,
    ) -> dict[str, Any]:
        # A page from elsewhere could have a browser send this, although it could not read the answer.
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            raise HTTPException(403, "commands are not taken from other sites")
        try:
            wanted = None if symbol is None else exchange_symbol(symbol)
        except ConfigurationError:
            wanted = symbol
        try:
            done = await send(settings.store.data_dir, AnchorReset(mode, exchange, wanted))
        except LookupError as error:
            raise HTTPException(404, str(error)) from error
        except ConnectionError as error:
            raise HTTPException(503, str(error)) from error
        return {"mode": mode, "markets": [{"exchange": one, "symbol": other} for one, other in done.markets]}


def _add_stored(app: FastAPI, backend: Backend, hot_store: HotStore, workers: Workers) -> None:  # noqa: C901
    async def page(
        request: Request,
        table: str,
        symbol: str,
        exchange: str | None,
        limit: int,
        start: str | None,
        end: str | None,
        cursor: str | None,
    ) -> Response:
        start_ns, end_ns = _window(start, end)

        def question(stopped: Stopped) -> tuple[Market, Page]:
            market = find_market(backend, symbol, exchange, hot_store.markets(table))
            if start_ns is None and cursor is None:
                fresh = hot_store.read_hot(table, market) if end_ns is None else None
                if fresh is not None and fresh.num_rows >= limit:
                    return market, Page(with_fresh(table, fresh, fresh, limit), None)
                stored = latest_rows(backend, table, market, limit, stopped, end_ns)
                return market, stored if fresh is None else Page(with_fresh(table, stored.rows, fresh, limit), None)
            return market, rows_between(backend, table, market, start_ns, end_ns, limit, stopped, cursor)

        market, found = await workers.ask(request, question)
        head = {"exchange": market.exchange, "symbol": market.symbol, "next_cursor": found.cursor}
        return rows_answer(request, found.rows, head)

    @app.get("/symbols", summary="The markets that are stored")
    async def symbols(request: Request) -> list[dict[str, str]]:
        markets = await workers.ask(request, lambda _: backend.markets())
        return [market._asdict() for market in markets]

    @app.get("/stats", summary="Rows, files, bytes and time span of each table, from metadata alone")
    async def stats(request: Request, symbol: Symbol | None = None, exchange: Exchange = None) -> list[dict[str, Any]]:
        def question(_: Stopped) -> list[dict[str, Any]]:
            markets = backend.markets() if symbol is None else [find_market(backend, symbol, exchange)]
            return [
                {**market._asdict(), "table": table, **backend.stats(table, market)._asdict()}
                for market in markets
                for table in backend.tables(market)
            ]

        return await workers.ask(request, question)

    @app.get("/trades/{symbol:path}", summary="Aggregate trades: the last ones, or those from start_time on, by page")
    async def trades(
        request: Request,
        symbol: Symbol,
        exchange: Exchange = None,
        limit: Limit = 1000,
        start_time: Instant = None,
        end_time: Instant = None,
        cursor: Cursor = None,
    ) -> Response:
        return await page(request, "trades", symbol, exchange, limit, start_time, end_time, cursor)

    @app.get("/depth/{symbol:path}", summary="Log-delta depth buckets by epoch")
    async def depth(
        request: Request,
        symbol: Symbol,
        exchange: Exchange = None,
        limit: Limit = 300,
        start_time: Instant = None,
        end_time: Instant = None,
        cursor: Cursor = None,
    ) -> Response:
        return await page(request, "depth", symbol, exchange, limit, start_time, end_time, cursor)

    @app.get("/features/{symbol:path}", summary="Features by epoch")
    async def features(
        request: Request,
        symbol: Symbol,
        exchange: Exchange = None,
        limit: Limit = 300,
        start_time: Instant = None,
        end_time: Instant = None,
        cursor: Cursor = None,
    ) -> Response:
        return await page(request, _table("features"), symbol, exchange, limit, start_time, end_time, cursor)

    @app.get("/ohlcv/{symbol:path}", summary="Bars of any interval: as stored, or else made of the stored trades")
    async def bars(
        request: Request,
        symbol: Symbol,
        timeframe: Annotated[str, Query(max_length=8, examples=["1m"])] = "1m",
        exchange: Exchange = None,
        limit: Annotated[int, Query(ge=1, le=5000)] = 500,
        start_time: Instant = None,
        end_time: Instant = None,
    ) -> Response:
        start_ns, end_ns = _window(start_time, end_time)

        def question(stopped: Stopped) -> tuple[Market, pa.Table]:
            market = find_market(backend, symbol, exchange)
            return market, ohlcv(backend, market, timeframe, limit, stopped, start_ns, end_ns)

        market, rows = await workers.ask(request, question)
        return rows_answer(request, rows, {**market._asdict(), "timeframe": timeframe})

    @app.get("/orderbook/{symbol:path}", summary="The book in price levels of one width, by epoch")
    async def levels(
        request: Request,
        symbol: Symbol,
        tick_size: Annotated[float | None, Query(gt=0, examples=[10])] = None,
        exchange: Exchange = None,
        limit: Annotated[int, Query(ge=1, le=5000)] = 1,
        end_time: Instant = None,
    ) -> Response:
        _, end_ns = _window(None, end_time)

        def question(stopped: Stopped) -> tuple[Market, pa.Table]:
            market = find_market(backend, symbol, exchange)
            return market, orderbook(backend, market, tick_size, limit, stopped, end_ns)

        market, rows = await workers.ask(request, question)
        return rows_answer(request, rows, market._asdict())

    @app.get("/tables/{table}/{symbol:path}", summary="Rows of any table")
    async def rows(
        request: Request,
        table: Annotated[str, Path(max_length=32, examples=["book_ticker"])],
        symbol: Symbol,
        exchange: Exchange = None,
        limit: Limit = 1000,
        start_time: Instant = None,
        end_time: Instant = None,
        cursor: Cursor = None,
    ) -> Response:
        return await page(request, _table(table), symbol, exchange, limit, start_time, end_time, cursor)

    @app.get("/hot/{table}/{symbol:path}", summary="The newest rows, at most 1,024, from the hot file")
    async def hot(
        request: Request,
        table: Annotated[str, Path(max_length=32, examples=["trades"])],
        symbol: Symbol,
        exchange: Exchange = None,
        limit: Annotated[int, Query(ge=1, le=WINDOW_ROWS)] = WINDOW_ROWS,
    ) -> Response:
        name = _table(table)

        def question(_: Stopped) -> tuple[Market, pa.Table]:
            market = find_market(backend, symbol, exchange, hot_store.markets(name))
            rows = hot_store.read_hot(name, market)
            return market, rows.slice(max(0, rows.num_rows - limit))

        market, rows = await workers.ask(request, question)
        return rows_answer(request, rows, market._asdict())

    @app.get("/latest/{what}", summary="The newest row of each market: features or bars")
    async def latest(request: Request, what: Literal["features", "bars"]) -> list[dict[str, Any]]:
        name = _table(what)

        def question(_: Stopped) -> list[dict[str, Any]]:
            newest = []
            for market in hot_store.markets(name):
                rows = hot_store.read_hot(name, market)
                newest += [{**market._asdict(), **plain(row)} for row in newest_of_each(name, rows).to_pylist()]
            return newest

        return await workers.ask(request, question)

    @app.get("/gaps", summary="What is missing, and why: each gap by its newest statement")
    async def gaps(
        request: Request,
        symbol: Annotated[str | None, Query(max_length=64)] = None,
        exchange: Exchange = None,
        limit: Limit = 1000,
    ) -> list[dict[str, Any]]:
        def question(stopped: Stopped) -> list[dict[str, Any]]:
            markets = backend.markets() if symbol is None else [find_market(backend, symbol, exchange)]
            found = [
                {**market._asdict(), **msgspec.structs.asdict(gap)}
                for market in markets
                if not stopped()
                for gap in read_gaps(backend, market)
            ]
            return found[-limit:]

        return await workers.ask(request, question)

    @app.get(
        "/book/{symbol:path}", summary="The whole book as it was known at an instant, rebuilt from anchors and diffs"
    )
    async def book(
        request: Request,
        symbol: Symbol,
        at: Annotated[str, Query(max_length=40, examples=["2026-11-20T14:12:45Z"])],
        exchange: Exchange = None,
        depth: Annotated[int, Query(ge=1, le=10_000)] = 100,
    ) -> dict[str, Any]:
        at_ns = _instant("at", at)
        assert at_ns is not None

        def question(_: Stopped) -> dict[str, Any] | None:
            market = find_market(backend, symbol, exchange)
            known = book_at(backend, market, at_ns)
            return None if known is None else {**market._asdict(), "at_ns": at_ns, **ladder(known, depth)}

        found = await workers.ask(request, question)
        if found is None:
            raise HTTPException(404, "no book was known then")
        return found


def _window(start: str | None, end: str | None) -> tuple[int | None, int | None]:
    start_ns, end_ns = _instant("start_time", start), _instant("end_time", end)
    if start_ns is not None and end_ns is not None and start_ns >= end_ns:
        raise HTTPException(400, "end_time is not after start_time")
    return start_ns, end_ns


def _instant(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        found = parse_time(text)
    except (ValueError, OverflowError) as error:
        raise HTTPException(400, f"{name}: {error}") from error
    if not 0 <= found < 2**63:
        raise HTTPException(400, f"{name}: is not within the years 1970 to 2262")
    return found


def _table(name: str) -> str:
    try:
        return table_of(name)
    except ValueError as error:
        raise HTTPException(404, str(error)) from error
