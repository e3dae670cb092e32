"""uvicorn with deadlines: a request's head must come in time, and what is sent must be taken in time."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from collector.errors import ConfigurationError
from collector.serve.settings import ServeSettings


def listen(settings: ServeSettings) -> socket.socket:
    """The socket that the server will take connections from.

    Raises:
        ConfigurationError: the address is taken, or not one of this machine.
    """
    host, port = settings.host.strip("[]"), settings.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigurationError("--http-port", port, f"cannot listen on {host}: {error.strerror or error}") from error


def serve(app: FastAPI, settings: ServeSettings, listening: socket.socket) -> None:
    """Serves until a signal; returns after requests under way have had a few seconds to end."""
    uvicorn.Server(configuration(app, settings)).run(sockets=[listening])


def configuration(app: FastAPI, settings: ServeSettings) -> uvicorn.Config:
    """uvicorn's settings: no access log, since addresses and paths are the asker's business, and bounds everywhere."""
    deadlines = {"head_timeout_s": settings.head_timeout_s, "write_timeout_s": settings.write_timeout_s}
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=type("Timed", (Deadlines,), deadlines),
        ws="none",
        log_config=None,  # its warnings go where ours do, and in the same form
        access_log=False,
        server_header=False,
        limit_concurrency=settings.max_connections,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=3,
        lifespan="off",
    )


class Deadlines(H11Protocol):
    """Closes connections whose asker is too slow.

    uvicorn waits for ever for the end of a request's head, and for room to send; thousands of such connections would
    hold its descriptors (slowloris).
    """

    head_timeout_s = 10.0
    write_timeout_s = 20.0
    _head: asyncio.TimerHandle | None = None
    _room: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._await_head()

    def handle_events(self) -> None:
        super().handle_events()
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop(self._head)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing():
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop(self._head)
        self._stop(self._room)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._room = self.loop.call_later(self.write_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop(self._room)
        super().resume_writing()

    def _await_head(self) -> None:
        self._stop(self._head)
        self._head = self.loop.call_later(self.head_timeout_s, self._too_slow)

    def _too_slow(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()

    @staticmethod
    def _stop(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()
