"""What a live run does for its disk: merge and delete days once an hour, keep captures and the whole folder in bounds.

Days are merged by a process of its own, `collector compact`, with low priority: neither its memory nor its CPU time
stands in the way of a message. It may be killed at any moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from collector.clock import Clock
from collector.retention import BUSY
from collector.settings import RunSettings
from collector.sources.capture_room import dispensable
from storage_backends.interface import Market

log = logging.getLogger(__name__)

Note = Callable[[int, Market | None, str, str], None]

_HOUR_NS = 3_600_000_000_000
_PAST_THE_HOUR_NS = 1_200_000_000_000  # after midnight the last rows of the day have arrived by then
_NEVER = "1970-01-01"
_FILES = ("local", "s3")
"""Backends that keep files by day."""
_NICENESS = 10


class Housekeeping:
    """`run` is a task beside the feeds; `note(now_ns, market, kind, detail)` makes a row of `events`."""

    def __init__(
        self,
        settings: RunSettings,
        clock: Clock,
        open_captures: Callable[[], set[Path]],
        note: Note,
        *,
        check_interval_s: float = 60.0,
    ) -> None:
        self.over_budget = False
        """More is used than --disk-budget and nothing is left to delete: new rows are to be refused."""
        self._settings = settings
        self._clock = clock
        self._open_captures = open_captures
        self._note = note
        self._check_interval_s = check_interval_s
        self._due_ns = _next_pass_ns(clock.now_ns())

    async def run(self) -> None:
        """Looks after the disk until cancelled; what fails is said and tried again."""
        if self._settings.dry_run:
            await asyncio.Event().wait()
        while True:
            try:
                await self.check()
            except Exception as error:  # noqa: BLE001  the disk's tidiness must not end the collection
                self._say("housekeeping_failed", repr(error))
            await asyncio.sleep(self._check_interval_s)

    async def check(self) -> None:
        """One look: captures, the budget, and the hourly pass when it is due."""
        await self._trim_captures()
        if self._settings.store.backend not in _FILES:
            return
        # A bucket is no disk that fills up: what is in it is counted by the hourly pass alone.
        budget = self._settings.disk_budget_bytes if self._settings.store.backend == "local" else None
        used = await self._used_bytes() if budget is not None else 0
        due = self._clock.now_ns() >= self._due_ns
        if due or (budget is not None and used > budget and not self.over_budget):
            self._due_ns = _next_pass_ns(self._clock.now_ns())
            await self._pass(merge=due)
            used = await self._used_bytes() if budget is not None else 0
        if budget is not None:
            self._judge(used, budget)

    def _judge(self, used: int, budget: int) -> None:
        if used > budget and not self.over_budget:
            self._say(
                "disk_budget",
                f"new rows are refused from here on, and will be a gap: {used:,} bytes are used, --disk-budget is "
                f"{budget:,}, and there is no day left that may be deleted",
            )
        elif self.over_budget and used <= budget:
            self._say("disk_budget", f"new rows are stored again: {used:,} of {budget:,} bytes are used")
        self.over_budget = used > budget

    async def _used_bytes(self) -> int:
        from collector.upkeep import used_bytes

        return await asyncio.to_thread(used_bytes, self._settings.data_dir)

    async def _trim_captures(self) -> None:
        settings = self._settings
        before = None
        if settings.retain_days is not None:
            now = dt.datetime.fromtimestamp(self._clock.now_ns() // 1_000_000_000, dt.UTC)
            before = now.date() - dt.timedelta(days=settings.retain_days)
        if settings.raw_max_bytes is None and before is None:
            return
        folder, keep = settings.data_dir / "raw", self._open_captures()
        chosen = await asyncio.to_thread(dispensable, folder, keep, settings.raw_max_bytes, before)
        if not chosen:
            return
        size, names = sum(size for _, size in chosen), ", ".join(path.name for path, _ in chosen[:5])
        more = f" and {len(chosen) - 5} more" if len(chosen) > 5 else ""
        self._say("captures_deleted", f"{len(chosen)} captures, {size:,} bytes: {names}{more}")
        for path, _ in chosen:
            await asyncio.to_thread(path.unlink, missing_ok=True)

    async def _pass(self, *, merge: bool) -> None:
        settings = self._settings
        if not (settings.compact or settings.retain_days or settings.disk_budget_bytes):
            return
        store = settings.store
        arguments = ["compact", "--json", "--backend", store.backend, "--data-dir", str(store.data_dir)]
        for option in ("bucket", "prefix", "region", "endpoint_url"):
            value = getattr(store, f"s3_{option}")
            arguments += [f"--s3-{option.replace('_', '-')}", value] if value else []
        if not (merge and settings.compact):
            arguments += ["--before", _NEVER]
        if settings.retain_days is not None:
            arguments += ["--retain-days", str(settings.retain_days)]
        if settings.disk_budget_bytes is not None:
            arguments += ["--disk-budget", str(settings.disk_budget_bytes)]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "collector",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C is for the collector, which ends this one
        )
        try:
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, process.pid, _NICENESS)
            assert process.stderr is not None
            assert process.stdout is not None
            said, last = await asyncio.gather(process.stdout.read(), _relay(process.stderr))
            code = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if store.backend == "s3" and BUSY in last:
            return  # several collectors share a bucket, and one of them is at it
        if code not in (0, 1) or not said:
            self._say("compact_failed", last or f"exit code {code}")
            return
        for problem in msgspec.json.decode(said)["problems"]:
            self._say("compact_failed", problem)

    def _say(self, kind: str, detail: str) -> None:
        log.warning("%s: %s", kind.replace("_", " "), detail, extra={"event": kind})
        self._note(self._clock.now_ns(), None, kind, detail)


async def _relay(lines: asyncio.StreamReader) -> str:
    """Logs what the other process says as it says it; gives the last line."""
    last = ""
    async for line in lines:
        last = line.decode(errors="replace").strip()
        level = logging.WARNING if last.startswith("deleting") else logging.INFO
        log.log(level, "%s", last, extra={"event": "housekeeping"})
    return last


def _next_pass_ns(now_ns: int) -> int:
    return ((now_ns - _PAST_THE_HOUR_NS) // _HOUR_NS + 1) * _HOUR_NS + _PAST_THE_HOUR_NS
