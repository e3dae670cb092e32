"""A day's report against a store whose holes are known, and its picture."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pytest

from collector.audit.day import BAD, NOT_VALID, NOTHING, OK, DayGap, day_report
from collector.audit.day_picture import draw
from collector.errors import ConfigurationError
from storage_backends.interface import Market
from storage_backends.schema import TABLES
from tests.audit.sample import MARKET, Sample
from tests.core.exchange import SECOND, START_NS

DATE = dt.datetime.fromtimestamp(START_NS // SECOND, dt.UTC).date()
MIDNIGHT_S = int(dt.datetime.combine(DATE, dt.time(), dt.UTC).timestamp())
LATER_NS = START_NS + 86_400 * SECOND


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return Sample(tmp_path_factory.mktemp("day"))


def grade(sample: Sample, epoch: int, word: str, reasons: str, lag_ms: float) -> None:
    row = {"epoch": epoch, "ok": word == "ok", "grade": word, "reasons": reasons, "late_ms": 1.0}
    row |= {"book_lag_ms": lag_ms + 900, "journal_lag_ms": lag_ms + 1000}
    lags = dict.fromkeys(("lag_p50_ms", "lag_p95_ms", "lag_p99_ms"), lag_ms)
    table = pa.Table.from_pylist([row | lags], schema=TABLES["quality"].schema)
    sample.store.write("quality", MARKET, table, writer="test", content_hash=f"{epoch:08x}")


def test_a_day_is_counted_as_it_is_stored(sample: Sample) -> None:
    report = day_report(sample.store, MARKET, DATE, LATER_NS)
    assert (report.epochs, report.expected_s, report.interval_s) == (30, 86_400, 1)
    assert report.coverage == pytest.approx(30 / 86_400)
    assert 0 < report.valid_epochs < 30
    assert report.rows["diffs"] == len(sample.received)
    assert report.anchors.snapshots == 4
    assert report.anchors.compared_levels > 0
    (depth,) = [gap for gap in report.gaps if gap.stream == "depth"]
    assert depth == DayGap("depth", "disconnect", gaps=1, healed=0, seconds=depth.seconds)
    assert depth.seconds == pytest.approx(2.1, abs=0.2)
    assert [stream for stream, _, _ in report.spans].count("depth") == 1
    minute = (START_NS // SECOND - MIDNIGHT_S) // 60
    assert report.minutes[minute] == NOT_VALID
    assert report.minutes[minute - 1] == NOTHING
    assert report.prices[minute] is not None
    assert report.quality_s == {}


def test_a_day_that_goes_on_is_measured_up_to_now(sample: Sample) -> None:
    report = day_report(sample.store, MARKET, DATE, START_NS + 30 * SECOND)
    assert report.expected_s == START_NS // SECOND + 30 - MIDNIGHT_S
    later = day_report(sample.store, MARKET, DATE + dt.timedelta(days=1), LATER_NS - 2 * 86_400 * SECOND)
    assert (later.expected_s, later.coverage, later.epochs, later.rows) == (0, 0.0, 0, {})


def test_grades_tell_more_than_valid_epochs(sample: Sample) -> None:
    start_s = START_NS // SECOND
    grade(sample, start_s + 1, "ok", "", 5.0)
    grade(sample, start_s + 2, "bad", "depth_down lag", 3500.0)
    grade(sample, MIDNIGHT_S, "ok", "", 7.0)
    report = day_report(sample.store, MARKET, DATE, LATER_NS)
    assert report.quality_s == {"ok": 2, "bad": 1}
    assert report.reasons_s == {"depth_down": 1, "lag": 1}
    assert (report.lag.median_p50_ms, report.lag.worst_p99_ms) == (7.0, 3500.0)
    assert (report.stages["book"].median_ms, report.stages["journal"].worst_ms) == (907.0, 4500.0)
    assert "backend" not in report.stages
    minute = (start_s - MIDNIGHT_S) // 60
    assert (report.minutes[minute], report.minutes[0]) == (BAD, OK)
    assert (report.lags[minute], report.lags[0], report.lags[1]) == (3500.0, 7.0, None)


@pytest.mark.parametrize(("markets", "name"), [(1, "day.png"), (6, "day.svg")])
def test_a_day_is_drawn(sample: Sample, markets: int, name: str, tmp_path: Path) -> None:
    report = day_report(sample.store, MARKET, DATE, LATER_NS)
    draw([report] * markets, tmp_path / name)
    drawn = (tmp_path / name).read_bytes()
    assert drawn.startswith(b"\x89PNG" if name.endswith("png") else b"<?xml")


def test_an_unknown_picture_format_is_named(sample: Sample, tmp_path: Path) -> None:
    report = day_report(sample.store, Market("binance", "NONE"), DATE, LATER_NS)
    with pytest.raises(ConfigurationError, match=r"--picture .*day\.doc: must end in one of .*png"):
        draw([report], tmp_path / "day.doc")
