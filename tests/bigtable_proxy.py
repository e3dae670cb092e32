"""A server between client and emulator that can be away, slow, or answer what the emulator never would."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.cloud.bigtable_v2.types import MutateRowsRequest, MutateRowsResponse

_SERVICE = "/google.bigtable.v2.Bigtable/"
_STREAMS = {"MutateRows", "ReadRows"}


@dataclass
class Fault:
    """What happens to a request.

    `code` ends it: before the emulator sees it, or with `after` once the emulator has done it, or behind so many
    `messages` of the answer. `rows` refuses single rows of a write: row key → (code, message), None to let it pass.
    """

    code: grpc.StatusCode | None = None
    message: str = "as the test wants it"
    after: bool = False
    delay_s: float = 0.0
    messages: int = 0
    rows: Callable[[bytes], tuple[int, str] | None] | None = None


class Proxy(grpc.GenericRpcHandler):
    """`trouble(method)` says what happens to a request; `requests` are the methods called, `row_counts` of writes."""

    def __init__(self, emulator_host: str) -> None:
        self.trouble: Callable[[str], Fault | None] = lambda method: None
        self.requests: list[str] = []
        self.row_counts: list[int] = []
        self._emulator_host = emulator_host
        self._port = 0
        self.start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._port}"

    def start(self) -> None:
        """Listens, on the port of before if there was one."""
        self._channel = grpc.insecure_channel(self._emulator_host, options=[("grpc.max_receive_message_length", -1)])
        # Without SO_REUSEPORT a port of somebody else is an error and no lottery.
        options = [("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)]
        self._server = grpc.server(ThreadPoolExecutor(8), handlers=[self], options=options)
        self._port = self._server.add_insecure_port(f"127.0.0.1:{self._port}")
        self._server.start()

    def stop(self) -> None:
        """Cuts every connection; nothing listens any more."""
        self._server.stop(grace=None).wait()
        self._channel.close()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        name = details.method.removeprefix(_SERVICE)
        if name in _STREAMS:
            return grpc.unary_stream_rpc_method_handler(lambda request, context: self._stream(name, request, context))
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: next(iter(self._stream(name, request, context)))
        )

    def _stream(self, name: str, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        self.requests.append(name)
        fault = self.trouble(name) or Fault()
        time.sleep(fault.delay_s)
        if fault.code is not None and not fault.after and not fault.messages:
            context.abort(fault.code, fault.message)
        if name == "MutateRows":
            answers = self._mutate_rows(request, fault)
        elif name in _STREAMS:
            answers = self._channel.unary_stream(f"{_SERVICE}{name}")(request, timeout=60)
        else:
            answers = iter([self._channel.unary_unary(f"{_SERVICE}{name}")(request, timeout=60)])
        if fault.code is not None and fault.messages:
            yield from itertools.islice(answers, fault.messages)
            context.abort(fault.code, fault.message)
        if fault.code is not None:
            list(answers)
            context.abort(fault.code, fault.message)
        yield from answers

    def _mutate_rows(self, body: bytes, fault: Fault) -> Iterator[bytes]:
        request = MutateRowsRequest.pb().FromString(body)
        self.row_counts.append(len(request.entries))
        refused: dict[int, tuple[int, str]] = {}
        passed: list[int] = []
        for index, entry in enumerate(request.entries):
            answer = fault.rows(entry.row_key) if fault.rows is not None else None
            if answer is None:
                passed.append(index)
            else:
                refused[index] = answer
        kept = [request.entries[index] for index in passed]
        forwarded = MutateRowsRequest.pb()(table_name=request.table_name, entries=kept)
        response = MutateRowsResponse.pb()()
        for index, (code, message) in refused.items():
            answer_of_row = response.entries.add(index=index)
            answer_of_row.status.code, answer_of_row.status.message = code, message
        yield response.SerializeToString()
        if kept:
            call: Any = self._channel.unary_stream(f"{_SERVICE}MutateRows")
            for part in call(forwarded.SerializeToString(), timeout=60):
                answers = MutateRowsResponse.pb().FromString(part)
                for answer in answers.entries:
                    answer.index = passed[answer.index]
                yield answers.SerializeToString()


@pytest.fixture
def proxy(emulator_host: str) -> Iterator[Proxy]:
    """A proxy before the shared emulator."""
    started = Proxy(emulator_host)
    yield started
    started.stop()
