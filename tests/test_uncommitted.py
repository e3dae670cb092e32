"""Which lines of a capture were never committed: those between the last commit and a kill."""

from __future__ import annotations

from pathlib import Path

import msgspec

from collector.core.inputs import CollectorInput, Note, Resume, SessionStarted, SessionStopped, Tick, encode_input
from collector.sources.capture import COLLECTOR_STREAM, CaptureLine, merge_captures
from collector.uncommitted import Kept, Uncommitted
from tests.core.exchange import SECOND, START_NS

KEY = ("binanceusdm", "AUSDT")


def own(at_s: float, happened: CollectorInput) -> CaptureLine:
    return CaptureLine(START_NS + round(at_s * SECOND), COLLECTOR_STREAM, encode_input(happened))


def frame(at_s: float) -> CaptureLine:
    return CaptureLine(START_NS + round(at_s * SECOND), "ausdt@depth", b"{}")


def session(at_s: float, committed_s: float | None) -> CaptureLine:
    resume = None if committed_s is None else Resume(last_ns=START_NS + round(committed_s * SECOND))
    exchange, symbol = KEY
    return own(at_s, SessionStarted(exchange=exchange, symbol=symbol, futures=True, channels=("depth",), resume=resume))


def kept(folder: Path, *files: list[CaptureLine]) -> list[float]:
    """Seconds of the lines that were committed."""
    paths = []
    for number, lines in enumerate(files):
        path = folder / f"AUSDT_binanceusdm_20261120T000000_{number}.zst"
        texts = [
            b"%d %b\n" % (line.recv_ns, msgspec.json.encode({"stream": line.stream, "data": msgspec.Raw(line.data)}))
            for line in lines
        ]
        path.write_bytes(b"".join(texts))
        paths.append(path)
    uncommitted = Uncommitted(paths)
    merged = merge_captures([path for path in paths if path not in uncommitted.wholly])
    return [(line.recv_ns - START_NS) / SECOND for _, line in merged if uncommitted.kept(KEY, line) is Kept.ALL]


def test_lines_from_behind_the_last_commit_to_the_next_session(tmp_path: Path) -> None:
    killed = [session(0, None), frame(0.5), own(1, Tick()), own(1, Note("covered", "")), frame(0.9), frame(1.5)]
    assert kept(tmp_path, killed, [session(3, 1), frame(3.5)]) == [0, 0.5, 1, 1, 3, 3.5]


def test_a_session_that_committed_nothing_is_passed_over_whole(tmp_path: Path) -> None:
    killed = [session(0, None), own(1, Tick()), frame(1.5)]
    again = [session(3, 1), frame(3.1), frame(3.2)]
    assert kept(tmp_path, killed, again, [session(5, 1), own(6, Tick())]) == [0, 1, 5, 6]


def test_a_first_session_that_was_killed_before_its_first_commit(tmp_path: Path) -> None:
    killed = [session(0, None), frame(0.5)]
    assert kept(tmp_path, killed, [session(3, None), own(4, Tick())]) == [3, 4]
    assert kept(tmp_path, killed, [session(2, None), frame(2.1)], [session(3, None), own(4, Tick())]) == [3, 4]
    committed = [*killed, own(1, Tick())]  # and the journal and the store were lost: who knows what was in them
    assert kept(tmp_path, committed, [session(3, None), own(4, Tick())]) == [0, 0.5, 1, 3, 4]
    assert kept(tmp_path, killed) == [0, 0.5]


def test_nothing_is_passed_over_after_a_whole_end_nor_where_no_commit_is_of_that_time(tmp_path: Path) -> None:
    whole = [session(0, None), own(1, Tick()), frame(1.5), own(2, SessionStopped("stopped"))]
    assert kept(tmp_path, whole, [session(3, 2)]) == [0, 1, 1.5, 2, 3]
    odd = [session(0, None), own(1, Tick()), frame(1.5), frame(1.6)]
    assert kept(tmp_path, odd, [session(3, 1.5)]) == [0, 1, 1.5, 1.6, 3]
    assert kept(tmp_path, odd) == [0, 1, 1.5, 1.6]


def test_a_session_that_begins_before_the_one_before_ended_by_its_clock(tmp_path: Path) -> None:
    """The wall clock was wrong, and set back before the restart."""
    killed = [session(0, None), own(1, Tick()), frame(1.5), own(2, Tick()), frame(2.5), frame(2.6)]
    again = [session(1.2, 2), frame(1.3), own(1.9, Tick()), frame(2.4)]
    assert kept(tmp_path, killed, again) == [0, 1, 1.5, 2, 1.2, 1.3, 1.9, 2.4]
    assert kept(tmp_path, killed, again, [session(0.5, 1.9)]) == [0, 1, 1.5, 2, 1.2, 1.3, 1.9, 0.5]
