"""Questions about the run that goes on, and the one command that it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import StreamingResponse

from collector.control import AnchorReset, send
from collector.errors import ConfigurationError
from collector.markets import exchange_symbol
from collector.serve import examples
from collector.serve.answers import Json
from collector.serve.live import Live
from collector.serve.metrics import exposition
from collector.serve.parameters import Exchange, OfSymbol


def add_live(app: FastAPI, live: Live) -> None:
    """State, readiness, the stream of epochs, metrics."""

    @app.get(
        "/health",
        summary="Whether this process answers, and what the collector does",
        responses=examples.json(examples.HEALTH),
    )
    async def health() -> dict[str, Any]:
        return live.status()

    @app.get(
        "/ready",
        summary="200 while a collector runs and its data can be relied on, else 503",
        responses=examples.json(examples.HEALTH),
    )
    async def ready() -> Response:
        status = live.status()
        good = status["status"] == "running" and status["grade"] != "bad" and "backend_away" not in status["reasons"]
        return Json(status, 200 if good else 503)

    @app.get(
        "/state",
        summary="Everything that the running collector tells of itself",
        responses=examples.json(examples.STATE),
    )
    async def state() -> Response:
        return Response(msgspec.json.encode(live.fresh()), media_type="application/json")

    @app.get(
        "/stream",
        summary="Live epochs as server-sent events, one a second",
        response_class=StreamingResponse,
        responses=examples.text("text/event-stream", examples.STREAM),
    )
    async def stream(
        symbol: Annotated[list[Annotated[str, Query(max_length=64)]] | None, Query(max_length=200)] = None,
    ) -> StreamingResponse:
        symbols = None if not symbol else frozenset(symbol)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(live.epochs(symbols), media_type="text/event-stream", headers=headers)

    @app.get(
        "/metrics",
        summary="Prometheus metrics",
        response_class=Response,
        responses=examples.text("text/plain", examples.METRICS),
    )
    async def metrics() -> Response:
        body, media_type = exposition(live.state())
        return Response(body, media_type=media_type)


def add_control(app: FastAPI, data_dir: Path) -> None:
    """Commands go to the run, which takes them as inputs: so captures hold them."""

    @app.post(
        "/control/anchor/reset",
        summary="Starts the anchored VWAP anew, of one market or of all",
        responses=examples.json(examples.ANCHOR_RESET),
    )
    async def anchor_reset(
        request: Request,
        mode: Literal["auto", "manual"] = "manual",
        symbol: OfSymbol = None,
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
            done = await send(data_dir, AnchorReset(mode, exchange, wanted))
        except LookupError as error:
            raise HTTPException(404, str(error)) from error
        except ConnectionError as error:
            raise HTTPException(503, str(error)) from error
        return {"mode": mode, "markets": [{"exchange": one, "symbol": other} for one, other in done.markets]}
