"""The HTTP process of a run: started with it, started again when it dies, ended with it."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import sys
from pathlib import Path

from collector.errors import ConfigurationError
from collector.logs import log_arguments
from collector.serve.keys import read_keys
from collector.serve.settings import ServeSettings
from storage_backends.settings import StoreSettings

log = logging.getLogger(__name__)

_PAUSE_S = (1.0, 2.0, 5.0, 15.0, 60.0)
_END_S = 5.0


def split_address(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`, `[::1]:PORT`, `:PORT` (this machine alone) or `PORT`.

    Raises:
        ConfigurationError: none of these.
    """
    host, _, port = text.rpartition(":")
    if not port.isdigit() or int(port) > 65_535:
        raise ConfigurationError("--http", text, "must be HOST:PORT, as in 127.0.0.1:8000")
    return host.strip("[]") or "127.0.0.1", int(port)


def check_address(text: str) -> None:
    """Refuses, before anything is collected, an address that the HTTP process would refuse.

    Raises:
        ConfigurationError: no address, or one that others can reach although no key is set.
    """
    host, port = split_address(text)
    keys = tuple(one for one in os.environ.get("COLLECTOR_API_KEY", os.environ.get("API_KEY", "")).split(",") if one)
    ServeSettings(store=StoreSettings(), host=host, port=port, keys=read_keys(keys))


def store_arguments(store: StoreSettings) -> list[str]:
    """The options by which another command opens the same store."""
    arguments = []
    for field in dataclasses.fields(store):
        value = getattr(store, field.name)
        if value is not None and field.name != "file_format":
            arguments += [f"--{field.name.replace('_', '-')}", str(value)]
    return arguments


async def keep_serving(address: str, store: StoreSettings, state_dir: Path) -> None:
    """Runs `collector serve` until cancelled. Keys come to it by the environment, so that no process list shows them.

    It has a process of its own: whatever it is asked, collection goes on as if nobody asked.
    """
    host, port = split_address(address)
    arguments = [*store_arguments(dataclasses.replace(store, data_dir=state_dir)), *log_arguments()]
    failures = 0
    while True:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "collector",
            "serve",
            "--http-host",
            host,
            "--http-port",
            str(port),
            "--with-parent",
            *arguments,
            # Nobody writes to it: it ends when this process does, however that happens, and so does the other one.
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C is for the collector, which ends this one
        )
        began = asyncio.get_running_loop().time()
        try:
            code = await process.wait()
        finally:
            await _end(process)
        if asyncio.get_running_loop().time() - began > _PAUSE_S[-1]:
            failures = 0
        pause_s = _PAUSE_S[min(failures, len(_PAUSE_S) - 1)]
        failures += 1
        log.warning("the HTTP process ended with exit code %s and is started again in %g s", code, pause_s)
        await asyncio.sleep(pause_s)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(_END_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
