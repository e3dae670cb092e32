"""Questions to the store run in threads: few at a time, not for long, and not for somebody who has left."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

from fastapi import HTTPException, Request

from collector.questions.rows import Asked, GivenUp, Stopped
from storage_backends.errors import BackendError, TransientBackendError

Answer = TypeVar("Answer")

_LOOK_S = 0.2


class Workers:
    """`max_queries` at a time; whoever comes when all are busy is told to come again."""

    def __init__(self, max_queries: int, timeout_s: float) -> None:
        self._free = asyncio.Semaphore(max_queries)
        self._timeout_s = timeout_s

    async def ask(self, request: Request, question: Callable[[Stopped], Answer]) -> Answer:
        """What `question` returns.

        Raises:
            HTTPException: 400 for a question that was put wrongly, 503 when all are busy, the time is up or the store
                is away, 500 when it is damaged. A question whose asker left is stopped.
        """
        try:
            async with asyncio.timeout(1):
                await self._free.acquire()
        except TimeoutError:
            raise HTTPException(503, "busy with other questions", {"Retry-After": "2"}) from None
        stop = threading.Event()
        try:
            task = asyncio.create_task(asyncio.to_thread(question, stop.is_set))
            return await self._watched(request, task, stop)
        finally:
            self._free.release()

    async def _watched(self, request: Request, task: asyncio.Task[Answer], stop: threading.Event) -> Answer:
        loop = asyncio.get_running_loop()
        end_s = loop.time() + self._timeout_s
        try:
            while not task.done():
                await asyncio.wait([task], timeout=_LOOK_S)
                if loop.time() > end_s or await request.is_disconnected():
                    stop.set()
                    await asyncio.wait([task])
        finally:
            stop.set()
        try:
            return task.result()
        except Asked as error:
            raise HTTPException(400, str(error)) from error
        except GivenUp:
            raise HTTPException(503, f"more than {self._timeout_s:g} s of reading: ask for less") from None
        except TransientBackendError as error:
            raise HTTPException(503, f"the store is away: {error}", {"Retry-After": "10"}) from error
        except BackendError as error:
            raise HTTPException(500, f"the store cannot be read: {error}") from error
