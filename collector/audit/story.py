"""What the events of a market tell an audit."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import msgspec
import numpy as np

from collector.audit.batches import Ints
from collector.audit.committed import CountedSpan, counted_spans
from collector.core.ids import IdRanges
from collector.coverage import KIND, decode_statement
from storage_backends.interface import Backend, Market

_AFTER = re.compile(r"grid points after (\d+) are left out")
_MS: Final = 1_000_000


class Story(NamedTuple):
    """`starts` and `stops` are those of sessions, ns, in order. `left_out` are the nanoseconds whose grid points were
    left out. `committed` are the spans of each stream that collectors state to have committed, where they say how much
    that was. `clock_behind`: a session began with a clock that was set back.
    """

    starts: Ints
    quarantined: int
    left_out: IdRanges
    collectors: int
    committed: dict[str, list[CountedSpan]]
    stops: list[int]
    clock_behind: bool


def read_story(backend: Backend, market: Market) -> Story:
    """Reads all events of a market."""
    starts, quarantined, left_out, collectors = [], 0, IdRanges(), set()
    committed: dict[str, list[CountedSpan]] = {}
    stops, clock_behind = [], False
    for rows in backend.scan("events", market, None, None, ("time_ns", "kind", "detail")):
        for time_ns, kind, detail in zip(*(column.to_pylist() for column in rows.columns), strict=True):
            if kind == "session_started":
                starts.append(time_ns)
            elif kind == "session_stopped":
                stops.append(time_ns)
            elif kind == "clock_behind":
                clock_behind = True
            elif kind == "quarantine":
                quarantined += 1
            elif kind == "grid_left_out" and (found := _AFTER.search(detail)):
                left_out.add(int(found[1]) * _MS + 1, time_ns)
            elif kind == KIND:
                try:
                    statement = decode_statement(detail)
                except msgspec.MsgspecError:
                    continue  # of a newer release
                collectors.add(statement.collector)
                for stream, span in counted_spans(time_ns, statement):
                    committed.setdefault(stream, []).append(span)
    return Story(
        np.array(sorted(starts), np.int64), quarantined, left_out, len(collectors), committed, stops, clock_behind
    )
