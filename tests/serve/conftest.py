"""A store with half a minute of one market, and HTTP over it: in the process, or over a real socket."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from collector.clock import ManualClock
from collector.serve.app import create_app
from collector.serve.keys import hashed
from collector.serve.server import configuration
from collector.serve.settings import ServeSettings
from storage_backends.settings import StoreSettings
from tests.audit.sample import Sample
from tests.core.exchange import SECOND, START_NS

KEY = "a-key-of-the-tests-0123456789"


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return Sample(tmp_path_factory.mktemp("served"))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START_NS + 30 * SECOND)


@pytest.fixture
def ask(sample: Sample, clock: ManualClock) -> Callable[..., httpx.Response]:
    """One request to an application over the sample; settings can be changed."""

    def request(
        path: str,
        *,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        content: bytes | None = None,
        app: Any = None,
        data_dir: Path | None = None,
        **settings: Any,
    ) -> httpx.Response:
        served = app or application(sample, clock, data_dir=data_dir, **settings)

        async def once() -> httpx.Response:
            transport = httpx.ASGITransport(app=served)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                return await client.request(method, path, headers=headers, content=content)

        return asyncio.run(once())

    return request


def application(sample: Sample, clock: ManualClock, *, data_dir: Path | None = None, **settings: Any) -> Any:
    """The application over the sample; the live state is looked for in `data_dir`, its own folder if None."""
    store = StoreSettings(backend="local", data_dir=data_dir or sample.folder)
    return create_app(ServeSettings(store=store, **settings), sample.store, clock)


@pytest.fixture
def served(sample: Sample, clock: ManualClock) -> Iterator[Callable[..., tuple[str, int]]]:
    """Starts servers on loopback; they end with the test."""
    servers: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(**settings: Any) -> tuple[str, int]:
        chosen = ServeSettings(store=StoreSettings(backend="local", data_dir=sample.folder), port=0, **settings)
        server = uvicorn.Server(configuration(create_app(chosen, sample.store, clock), chosen))
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        servers.append((server, thread))
        while not server.started:
            assert thread.is_alive()
            thread.join(0.01)
        host, port = server.servers[0].sockets[0].getsockname()[:2]
        return host, port

    yield start
    for server, thread in servers:
        server.should_exit = True
        thread.join(15)
        assert not thread.is_alive()


def with_key(key: str = KEY) -> dict[str, Any]:
    """Settings with one key."""
    return {"keys": (hashed(key),)}
