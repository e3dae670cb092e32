"""The live state, read when it is newer than what is known, and streamed to whoever listens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
from fastapi import HTTPException

from collector.clock import Clock
from collector.live_state import STATE_FILE, State, is_fresh, read_state
from collector.times import show_ns

_LOOK_S = 0.1


class Live:
    """The state file of one data folder."""

    def __init__(self, data_dir: Path, clock: Clock) -> None:
        self._data_dir = data_dir
        self._clock = clock
        self._state: State | None = None
        self._stamp: tuple[int, int] | None = None

    def state(self) -> State | None:
        """The newest state, however old; None where no run has written one, or not one that can be read."""
        try:
            found = (self._data_dir / STATE_FILE).stat()
            stamp = (found.st_mtime_ns, found.st_ino)
            if stamp != self._stamp:
                self._state, self._stamp = read_state(self._data_dir), stamp
        except (OSError, ValueError):
            self._state = self._stamp = None
        return self._state

    def fresh(self) -> State:
        """The state of a run that goes on.

        Raises:
            HTTPException: 503, there is none.
        """
        state = self.state()
        if state is None:
            raise HTTPException(503, "no collector has run on this data folder")
        if not is_fresh(state, self._clock.now_ns()):
            what = "has stopped" if state.stopping else "stands still or was killed"
            raise HTTPException(503, f"the collector {what}: last word {show_ns(state.now_ns)[:19]} UTC")
        return state

    def status(self) -> dict[str, Any]:
        """For supervisors and people: whether a run goes on, and how good it is."""
        state = self.state()
        if state is None:
            return {"status": "none", "age_s": None, "grade": None, "reasons": []}
        age_s = max(0.0, (self._clock.now_ns() - state.now_ns) / 1e9)
        running = is_fresh(state, self._clock.now_ns())
        order = ("ok", "degraded", "bad")
        grade = max((market.grade for market in state.markets), key=order.index, default="ok")
        reasons = sorted({reason for market in state.markets for reason in market.reasons})
        if state.backend_away_since_ns is not None:
            reasons.append("backend_away")
        status = "running" if running else ("stopped" if state.stopping else "stale")
        return {"status": status, "age_s": round(age_s, 3), "grade": grade, "reasons": reasons}

    async def epochs(self, symbols: frozenset[str] | None) -> AsyncIterator[bytes]:
        """Server-sent events: one `epoch` with all markets, or those in `symbols`, each second; comments in silence.

        The first one is the last word of the run, however old: `age_s` is how old it was when it was sent.
        """
        told_ns = 0
        quiet = 0
        while True:
            state = self.state()
            if state is not None and state.now_ns > told_ns:
                told_ns, quiet = state.now_ns, 0
                markets = [one for one in state.markets if symbols is None or one.symbol in symbols]
                age_s = max(0.0, round((self._clock.now_ns() - state.now_ns) / 1e9, 3))
                head = {"now_ns": state.now_ns, "age_s": age_s, "stopping": state.stopping}
                body = msgspec.json.encode({**head, "markets": markets})
                yield b"event: epoch\ndata: " + body + b"\n\n"
            else:
                quiet += 1
                if quiet * _LOOK_S >= 5:
                    quiet = 0
                    yield b": nothing new\n\n"
            await asyncio.sleep(_LOOK_S)
