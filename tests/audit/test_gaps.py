"""Stored gaps, as readers see them."""

from __future__ import annotations

import json

from click.testing import CliRunner

from collector.audit.gaps import id_cover, read_gaps, time_cover
from collector.commands.gaps import gaps as command
from collector.core.gaps import Gap
from tests.audit.sample import MARKET, TENTH, Sample
from tests.core.exchange import START_NS


def test_the_newest_revision_of_each_gap_counts(sample: Sample) -> None:
    gaps = read_gaps(sample.store, MARKET)
    assert sorted(gap.stream for gap in gaps) == ["book_ticker", "depth", "trades"]
    assert all(gap.revision == 1 for gap in gaps)
    (depth,) = [gap for gap in gaps if gap.stream == "depth"]
    before, after = sample.received[119], sample.received[120]
    assert depth.from_id == before[1] + 1
    assert (depth.from_ns, depth.to_ns) == (before[0], after[0])
    assert depth.to_ns - depth.from_ns == 21 * TENTH
    assert depth.detected_ns == START_NS + 121 * TENTH


def gap(**changes: object) -> Gap:
    base = {"gap_id": "g", "revision": 0, "stream": "depth", "reason": "r", "from_id": 5, "to_id": 8}
    return Gap(**(base | {"from_ns": 50, "to_ns": 80, "detected_ns": 60} | changes))  # type: ignore[arg-type]


def test_only_gaps_that_are_not_healed_and_name_ids_explain_missing_ids() -> None:
    assert id_cover([gap()], "depth").holds(5, 8)
    assert not id_cover([gap()], "trades").holds(5, 8)
    assert not id_cover([gap(healed=True)], "depth").holds(5, 5)
    assert not id_cover([gap(from_id=None, to_id=None)], "depth").holds(5, 5)
    assert not id_cover([gap(to_id=4)], "depth").holds(5, 5)
    assert id_cover([gap(to_id=None, to_ns=None)], "depth").holds(5, 10**9)
    assert not id_cover([gap(to_id=None, reason="ids restarted")], "depth").touches(0, 10**9)


def test_times_are_covered_healed_or_not_and_open_ones_to_the_end() -> None:
    assert time_cover([gap(healed=True)], "depth").holds(50, 80)
    assert not time_cover([gap()], "depth").holds(50, 81)
    assert time_cover([gap(to_ns=None)], "depth").holds(50, 10**18)


def test_the_command_lists_the_gaps_that_touch_a_span(sample: Sample) -> None:
    def listed(*span: str) -> set[str]:
        done = CliRunner().invoke(command, ["--data-dir", str(sample.folder), "--json", *span], catch_exceptions=False)
        return {gap["stream"] for gap in json.loads(done.stdout)}

    (depth,) = [gap for gap in read_gaps(sample.store, MARKET) if gap.stream == "depth"]
    before, after = str(depth.from_ns), str((depth.to_ns or 0) + 1)
    assert listed() == {"book_ticker", "depth", "trades"}
    assert "depth" in listed("--from", before, "--to", after)
    assert "depth" not in listed("--to", before)
    assert "depth" not in listed("--from", after)
