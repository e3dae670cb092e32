"""The HTTP application over one store and its live state."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError

from collector import __version__
from collector.clock import Clock
from collector.serve.answers import Json
from collector.serve.guard import Guard
from collector.serve.live import Live
from collector.serve.live_routes import add_control, add_live
from collector.serve.page import add_page
from collector.serve.settings import ServeSettings
from collector.serve.stored_routes import Store, add_stored
from collector.serve.work import Workers
from storage_backends.interface import Backend

_REFUSALS: dict[int | str, dict[str, Any]] = {
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
        responses=_REFUSALS,
        docs_url=None,  # FastAPI's pages come from another host
        redoc_url=None,
    )
    app.add_middleware(Guard, settings=settings)
    data_dir = settings.store.data_dir
    app.add_exception_handler(RequestValidationError, _refused)  # type: ignore[arg-type]  # it is of this class
    add_page(app)
    add_live(app, Live(data_dir, clock))
    add_control(app, data_dir)
    add_stored(app, Store(backend, data_dir, Workers(settings.max_queries, settings.query_timeout_s)))
    return app


async def _refused(_: Request, error: RequestValidationError) -> Response:
    """Names what was asked wrongly, its value, and what it may be, in one text as every refusal has it."""
    found = []
    for one in error.errors():
        name = ".".join(str(part) for part in one["loc"][1:])
        if one["type"] == "missing":
            found.append(f"{name} is missing")
        elif one["type"] == "extra_forbidden":
            found.append(f"{name} is no parameter of this question; /docs lists them")
        else:
            found.append(f"{name}={str(one['input'])[:64]}: {one['msg'][:1].lower()}{one['msg'][1:]}")
    return Json({"detail": "; ".join(found)}, 422)
