"""Slow and wrong askers over real sockets: they are cut off, and others are answered meanwhile."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from collector.errors import ConfigurationError
from collector.serve.server import listen
from collector.serve.settings import ServeSettings
from storage_backends.settings import StoreSettings
from tests.serve.conftest import with_key

Served = Callable[..., tuple[str, int]]


def closed_within(connection: socket.socket, seconds: float) -> bool:
    """Whether the other side ends the connection by then."""
    connection.settimeout(seconds)
    try:
        while connection.recv(65_536):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def test_an_address_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        chosen = ServeSettings(store=StoreSettings(data_dir=tmp_path), port=taken.getsockname()[1])
        with pytest.raises(ConfigurationError, match=r"--http-port .*Address already in use"):
            listen(chosen)


def test_heads_that_never_end_are_cut_off_and_others_are_answered(served: Served) -> None:
    host, port = served(head_timeout_s=1.0)
    slow = [socket.create_connection((host, port)) for _ in range(300)]
    try:
        for connection in slow:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-")
        assert httpx.get(f"http://{host}:{port}/health", timeout=5).status_code == 200
        end = time.monotonic() + 30
        for number, connection in enumerate(slow):
            with contextlib.suppress(OSError):
                connection.sendall(b"a")  # a byte now and then does not help
            assert closed_within(connection, max(0.1, end - time.monotonic())), number
    finally:
        for connection in slow:
            connection.close()


def test_a_connection_that_says_nothing_is_cut_off(served: Served) -> None:
    host, port = served(head_timeout_s=0.5)
    with socket.create_connection((host, port)) as silent:
        assert closed_within(silent, 20)


def test_an_answer_that_nobody_takes_is_cut_off(served: Served) -> None:
    host, port = served(write_timeout_s=0.5)
    with socket.socket() as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.connect((host, port))
        request = b"GET /tables/diffs/BTCUSDT?limit=50000&start_time=2020-01-01 HTTP/1.1\r\nHost: localhost\r\n\r\n"
        lazy.sendall(request * 200)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                lazy.sendall(b"\r\n")
            except OSError:
                break
            time.sleep(0.05)
        else:
            raise AssertionError("the connection was kept")
    assert httpx.get(f"http://{host}:{port}/health", timeout=5).status_code == 200


def test_a_connection_is_used_again_after_the_head_s_deadline(served: Served) -> None:
    host, port = served(head_timeout_s=0.5)
    with httpx.Client(base_url=f"http://{host}:{port}") as client:
        for _ in range(3):
            assert client.get("/symbols").status_code == 200
            time.sleep(0.2)


def test_a_stream_outlives_the_head_s_deadline_and_ends_with_its_asker(served: Served) -> None:
    host, port = served(head_timeout_s=0.3)
    with httpx.stream("GET", f"http://{host}:{port}/stream", timeout=20) as answer:
        began = time.monotonic()
        for chunk in answer.iter_bytes():
            assert chunk == b": nothing new\n\n"
            break
        assert time.monotonic() - began > 1


def test_wrong_keys_at_speed_hold_up_nobody(served: Served) -> None:
    host, port = served(**with_key())
    with httpx.Client(base_url=f"http://{host}:{port}") as client:
        statuses = [client.get("/stats", headers={"X-API-Key": f"wrong {n}"}).status_code for n in range(300)]
        assert set(statuses) == {401, 429}
        assert statuses.count(429) > 200
        assert client.get("/health").status_code == 200
