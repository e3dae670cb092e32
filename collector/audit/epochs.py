"""Whether an epoch follows on the one before, and every hole lies in a stored gap."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator

from collector.audit.ends import Sessions
from collector.audit.gaps import time_cover
from collector.audit.report import EXAMPLES, EpochCheck
from collector.audit.story import Story
from collector.core.epochs import SECOND_NS
from collector.core.gaps import Gap
from storage_backends.interface import Backend, Market


def walk_epochs(
    backend: Backend,
    market: Market,
    gaps: list[Gap],
    story: Story,
    start_ns: int | None,
    end_ns: int | None,
) -> tuple[EpochCheck, Callable[[int], int]]:
    """What the epochs are like, and how many seconds one has, by session."""
    check, cover, between = EpochCheck(), time_cover(gaps, "depth"), time_cover(gaps)
    starts, sessions = story.starts.tolist(), Sessions(story)
    # A session has one interval; it shows as the shortest step.
    interval: dict[int, int] = {}
    for session, before, after in _epoch_steps(backend, market, starts, start_ns, end_ns, (check, sessions)):
        if session is not None:
            interval[session] = min(after - before, interval.get(session, after - before))
    check.interval_s = min(interval.values(), default=None)
    for session, before, after in _epoch_steps(backend, market, starts, start_ns, end_ns, None):
        step = (check.interval_s or 1) if session is None else interval[session]
        if after - before == step:
            continue
        if (between if session is None else cover).holds((before + step) * SECOND_NS, (after - step) * SECOND_NS):
            check.explained_holes += 1
        else:
            check.unexplained_holes += 1
            if len(check.holes) < EXAMPLES:
                check.holes.append((before, after))
    for hole in sessions.holes(lambda session: interval.get(session, check.interval_s or 1), start_ns, end_ns):
        if cover.holds(hole.first * SECOND_NS, hole.last * SECOND_NS):
            check.explained_holes += 1
        else:
            check.unexplained_holes += 1
            if len(check.holes) < EXAMPLES:
                check.holes.append((hole.first - hole.interval_s, hole.last + hole.interval_s))
    return check, lambda session: interval.get(session, check.interval_s or 1)


def _epoch_steps(
    backend: Backend,
    market: Market,
    starts: list[int],
    start_ns: int | None,
    end_ns: int | None,
    told: tuple[EpochCheck, Sessions] | None,
) -> Iterator[tuple[int | None, int, int]]:
    """Session, epoch and next epoch of all neighbours, None where a session begins; tells the rows to `told`."""
    last: tuple[int, int] | None = None
    for rows in backend.scan("depth", market, start_ns, end_ns, ("epoch", "valid")):
        epochs = rows.column("epoch").to_pylist()
        if told is not None:
            check, sessions = told
            sessions.add(rows.column("epoch").to_numpy())
            check.rows += len(epochs)
            check.valid += rows.column("valid").true_count
            check.first = epochs[0] if check.first is None else check.first
            check.last = epochs[-1]
        for epoch in epochs:
            session = bisect_left(starts, epoch * SECOND_NS)
            if last is not None:
                yield session if last[0] == session else None, last[1], epoch
            last = session, epoch
