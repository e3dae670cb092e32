"""The web page and the description of the interface: files of our own, and nothing from another host."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from fastapi import FastAPI, Request, Response

_FOLDER: Final = Path(__file__).with_name("web")
_TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_NAMES: Final = {"index.html": "/", "docs.html": "/docs"}
FILES: Final = {
    _NAMES.get(path.name, f"/{path.name}"): path for path in sorted(_FOLDER.iterdir()) if path.suffix in _TYPES
}
"""By the path that each is asked for with."""

_HEADERS: Final = {
    # The browser itself refuses whatever would come from elsewhere.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def add_page(app: FastAPI) -> None:
    """Adds the page's files, which hold no data and so need no key.

    All have one ETag: after an update none of them fits those of before.
    """
    bodies = {path: file.read_bytes() for path, file in FILES.items()}
    tag = f'"{hashlib.sha256(b"".join(bodies.values())).hexdigest()[:16]}"'
    for path, file in FILES.items():
        answer = _file(bodies[path], f"{_TYPES[file.suffix]}; charset=utf-8", tag)
        app.add_api_route(path, answer, methods=["GET", "HEAD"], include_in_schema=False)


def _file(body: bytes, media_type: str, tag: str) -> Callable[[Request], Awaitable[Response]]:
    headers = {**_HEADERS, "ETag": tag}

    async def answer(request: Request) -> Response:
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(body, media_type=media_type, headers=headers)

    return answer
