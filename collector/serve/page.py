"""The web page: five files of our own, and nothing from another host."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from fastapi import FastAPI, Response

_FOLDER: Final = Path(__file__).with_name("web")
FILES: Final = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/map.js": ("map.js", "text/javascript; charset=utf-8"),
    "/trouble.js": ("trouble.js", "text/javascript; charset=utf-8"),
}
_HEADERS: Final = {
    # The browser itself refuses whatever would come from elsewhere.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def add_page(app: FastAPI) -> None:
    """Adds the page's files, which hold no data and so need no key."""
    for path, (name, media_type) in FILES.items():
        app.add_api_route(path, _file(_FOLDER / name, media_type), include_in_schema=False)


def _file(path: Path, media_type: str) -> Callable[[], Awaitable[Response]]:
    body = path.read_bytes()

    async def answer() -> Response:
        return Response(body, media_type=media_type, headers=_HEADERS)

    return answer
