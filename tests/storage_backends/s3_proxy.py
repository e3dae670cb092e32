"""Stands between boto3 and an S3 store, and does what networks and stores do on bad days."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive", "date", "server"}


@dataclass(frozen=True, slots=True)
class Asked:
    """One request that came in. `status` is what its sender was told, 0 for nothing."""

    method: str
    path: str
    span: str | None
    status: int
    bytes: int


@dataclass
class S3Proxy:
    """`fault` decides what becomes of a request: None passes it on, or one of

    ("answer", status, code, headers)   an error of the store's, which never sees the request
    ("commit and drop",)                the store does it, the answer gets lost
    ("cut",)                            the connection breaks in the middle of the body, the store sees nothing
    ("delay", seconds)                  passed on late
    """

    url: str
    asked: list[Asked] = field(default_factory=list)
    fault: Callable[[str, str], tuple[object, ...] | None] = lambda method, path: None


@contextmanager
def proxy(store_url: str) -> Iterator[S3Proxy]:  # noqa: C901  one branch a fault
    """A proxy on loopback for the store at `store_url`."""
    store = urlsplit(store_url)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            fault = state.fault(self.command, self.path) or ("pass",)
            length = int(self.headers.get("Content-Length") or 0)
            if fault[0] == "cut":
                self.rfile.read(length // 2)
                self._drop()
                return
            body = self.rfile.read(length)
            if fault[0] == "answer":
                _, status, code, headers = fault
                text = f"<Error><Code>{code}</Code><Message>told by the proxy</Message></Error>".encode()
                self._answer(int(str(status)), {**dict(headers), "Content-Type": "application/xml"}, text)  # type: ignore[call-overload]
                return
            if fault[0] == "delay":
                time.sleep(float(str(fault[1])))
            assert store.hostname is not None
            onward = http.client.HTTPConnection(store.hostname, store.port or 80, timeout=60)
            onward.request(self.command, self.path, body, dict(self.headers))
            answer = onward.getresponse()
            content = answer.read()
            headers = {name: value for name, value in answer.getheaders() if name.lower() not in _HOP}
            if self.command == "HEAD":
                headers["Content-Length"] = answer.getheader("Content-Length", "0")
            onward.close()
            if fault[0] == "commit and drop":
                self._drop()
                return
            self._answer(answer.status, headers, content)

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = handle_any

        def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
            self._note(status, len(content))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if "Content-Length" not in headers:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def _drop(self) -> None:
            self._note(0, 0)
            self.close_connection = True
            self.connection.close()

        def _note(self, status: int, size: int) -> None:
            state.asked.append(Asked(self.command, self.path, self.headers.get("Range"), status, size))

        def log_message(self, *args: object) -> None:
            """Nobody reads it."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that was killed."""

    server = Server(("127.0.0.1", 0), Handler)
    state = S3Proxy(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
