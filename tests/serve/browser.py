"""Headless Chromium, driven by its own protocol (Chrome DevTools Protocol) over a websocket on loopback."""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import shutil
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

PROGRAM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)

_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
)


def require_chromium() -> str:
    """The browser; without one the test says so, and fails where everything must be there."""
    if PROGRAM is None:
        reason = "no Chromium: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return PROGRAM


class PageGoneError(Exception):
    """The page that was asked is there no longer."""


class Page:
    """One page."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.problems: list[str] = []
        self.requests: list[str] = []
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reader = asyncio.create_task(self._read())

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the protocol."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        async with asyncio.timeout(30):
            return await answer

    async def evaluate(self, script: str) -> Any:
        """The value of an expression in the page.

        Raises:
            PageGoneError: another page took its place meanwhile, as when it loads itself anew.
        """
        found = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        if "result" not in found:
            raise PageGoneError(found)
        return found["result"].get("value")

    async def until(self, script: str, timeout_s: float = 30) -> None:
        """Waits until an expression is true, also of a page that is yet to come."""

        async def is_true() -> bool:
            try:
                return bool(await self.evaluate(script))
            except PageGoneError:
                return False

        end = asyncio.get_running_loop().time() + timeout_s
        while not await is_true():
            assert asyncio.get_running_loop().time() < end, f"{script}; problems: {self.problems}"
            await asyncio.sleep(0.1)

    async def size(self, width: int, height: int, *, phone: bool = False) -> None:
        """Makes the window so large."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone
        )

    async def picture(self, path: Path) -> None:
        """Writes what is seen as PNG."""
        found = await self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(found["data"]))  # noqa: ASYNC240  a small file

    async def _read(self) -> None:
        async for message in self._socket:
            told = message.json()
            if "id" in told:
                self._answers.pop(told["id"]).set_result(told.get("result", {"error": told.get("error")}))
            elif told["method"] == "Runtime.exceptionThrown":
                self.problems.append(str(told["params"]["exceptionDetails"]))
            elif told["method"] == "Log.entryAdded" and told["params"]["entry"]["level"] == "error":
                self.problems.append(told["params"]["entry"]["text"])
            elif told["method"] == "Network.requestWillBeSent":
                self.requests.append(told["params"]["request"]["url"])


@asynccontextmanager
async def browse(url: str, folder: Path):  # type: ignore[no-untyped-def]
    """A page that shows `url`; `folder` holds the browser's files."""
    process = await asyncio.create_subprocess_exec(
        require_chromium(),
        *_OPTIONS,
        f"--user-data-dir={folder}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stderr is not None
        async with asyncio.timeout(60):
            async for line in process.stderr:
                if b"DevTools listening on" in line:
                    break
        port = int(line.split(b":")[-1].split(b"/")[0])
        quiet = asyncio.create_task(process.stderr.read())
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                target = next(one for one in await answer.json() if one["type"] == "page")
            async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                page = Page(socket)
                for domain in ("Page", "Runtime", "Log", "Network"):
                    await page.call(f"{domain}.enable")
                await page.call("Page.navigate", url=url)
                await page.until("location.href !== 'about:blank' && document.readyState === 'complete'")
                yield page
        quiet.cancel()
    finally:
        process.kill()
        await process.wait()
