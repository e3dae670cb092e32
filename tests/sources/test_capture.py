"""Capture files: what is written comes back exactly, and no crash makes a file unreadable."""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.clock import ManualClock
from collector.sources.capture import (
    LAST_NS,
    CaptureError,
    CaptureLine,
    ReadReport,
    in_turn,
    merge_captures,
    parse_line,
    read_capture,
    symbol_of,
)
from collector.sources.capture_writer import CaptureWriter

NOW_NS = 1_768_054_365_000_000_000
SNAPSHOT = b'{"lastUpdateId":7,"bids":[["1.0","2"]],"asks":[]}'
LINES = [
    b'1721347020984480942 {"stream":"btcusdt@trade","data":{"e":"trade",  "t":1}}',
    b"1721347020984480950 " + SNAPSHOT,
    b'1721347020984481000 {"stream":"!collector","data":{"kind":"opened"}}',
]
CAPTURES = Path(os.environ.get("CAPTURE_DIR", Path(__file__).parents[2] / "../shared/data"))

json_texts = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
).map(lambda value: json.dumps(value, ensure_ascii=False).encode())


def plain_file(folder: Path, *lines: bytes, name: str = "x.ndjson") -> Path:
    path = folder / name
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def compressions(data: bytes) -> dict[str, bytes]:
    """The same lines in every form that a file may have, split into two members where there are members."""
    half = len(data) // 2
    compress = zstandard.ZstdCompressor().compress
    return {
        "plain": data,
        "gzip": gzip.compress(data[:half]) + gzip.compress(data[half:]),
        "zstd": compress(data[:half]) + compress(data[half:]),
    }


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    frames=st.lists(st.tuples(st.integers(0, LAST_NS), st.text(min_size=1), json_texts), max_size=20),
    max_bytes=st.integers(1, 2000),
    pauses_s=st.lists(st.floats(0, 3), min_size=20, max_size=20),
)
def test_what_is_written_comes_back_exactly(tmp_path_factory, frames, max_bytes, pauses_s):
    folder = tmp_path_factory.mktemp("captures")
    clock = ManualClock(NOW_NS)
    writer = CaptureWriter(folder, "binance", "BTCUSDT", clock, max_bytes)
    for pause_s, (recv_ns, stream, text) in zip(pauses_s, frames, strict=False):
        writer.write(recv_ns, stream, text)
        clock.advance(pause_s)
    writer.write_snapshot(5, SNAPSHOT)
    writer.write_collector(6, b'{"kind":"closed"}')
    writer.close()
    back = [line for path in writer.paths for line in read_capture(path)]
    assert back[:-2] == [CaptureLine(*frame) for frame in frames]
    assert back[-2:] == [CaptureLine(5, None, SNAPSHOT), CaptureLine(6, "!collector", b'{"kind":"closed"}')]


@pytest.mark.parametrize("form", ["plain", "gzip", "zstd"])
def test_a_file_cut_at_any_byte_gives_whole_lines_and_tells_that_it_is_torn(tmp_path, form):
    whole = compressions(b"".join(line + b"\n" for line in LINES))[form]
    expected = [parse_line(line) for line in LINES]
    path = tmp_path / "btcusdt.gz"
    complete = set()
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        report = ReadReport()
        lines = list(read_capture(path, report=report))
        assert lines == expected[: len(lines)], f"cut at {length}"
        assert report.lines == len(lines)
        if report.torn is None:
            complete.add(length)
        else:
            assert length < len(whole)
    assert len(whole) in complete
    # Only an empty file, ends of lines and ends of members are whole; all other cuts must have been told.
    assert len(complete) <= 1 + 2 * len(LINES)


@given(st.integers(10**15, LAST_NS // 1000))
def test_a_stamp_of_16_digits_is_microseconds(stamp_us):
    assert parse_line(b"%d " % stamp_us + SNAPSHOT).recv_ns == stamp_us * 1000
    assert parse_line(b"%019d " % stamp_us + SNAPSHOT).recv_ns == stamp_us


def test_the_writer_keeps_a_stamp_that_has_16_digits(tmp_path):
    writer = CaptureWriter(tmp_path, "binance", "BTCUSDT", ManualClock(NOW_NS))
    writer.write_snapshot(10**15, SNAPSHOT)
    writer.close()
    assert [line.recv_ns for line in read_capture(writer.paths[0])] == [10**15]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.lists(st.lists(st.integers(0, 50), max_size=8), min_size=1, max_size=4))
def test_a_merge_keeps_the_order_of_each_file_and_goes_by_time_between_them(tmp_path_factory, stamps):
    folder = tmp_path_factory.mktemp("merge")
    paths = [
        plain_file(folder, *(b'%d {"stream":"s","data":%d}' % (t, i) for i, t in enumerate(one)), name=f"{n}.gz")
        for n, one in enumerate(stamps)
    ]
    merged = list(merge_captures(paths))
    for path, one in zip(paths, stamps, strict=True):
        assert [(line.recv_ns, int(line.data)) for origin, line in merged if origin == path] == [
            (t, i) for i, t in enumerate(one)
        ]
    if all(one == sorted(one) for one in stamps):
        assert [(line.recv_ns, paths.index(origin)) for origin, line in merged] == sorted(
            (t, n) for n, one in enumerate(stamps) for t in one
        )


def test_a_kill_loses_only_what_was_not_flushed(tmp_path):
    clock = ManualClock(NOW_NS)
    writer = CaptureWriter(tmp_path, "binance", "BTCUSDT", clock)
    for number in range(25):
        writer.write(number, "s", str(number))
        clock.advance(0.1)
    written = b"".join(path.read_bytes() for path in writer.paths)
    copy = tmp_path / "killed.zst"
    copy.write_bytes(written)
    report = ReadReport()
    assert [line.recv_ns for line in read_capture(copy, report=report)] == list(range(21))
    assert report.torn is None


def test_files_are_rotated_and_never_overwritten(tmp_path):
    clock = ManualClock(NOW_NS)
    for _ in range(2):
        writer = CaptureWriter(tmp_path, "binanceusdm", "BTCUSDT", clock, max_bytes=1)
        for number in range(2):
            writer.write(number, "s", "1")
            writer.flush()
        writer.close()
        writer.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"BTCUSDT_binanceusdm_20260110T141245_{n}.zst" for n in range(4)
    ]


def test_names_rise_where_the_clock_was_set_back_and_where_old_files_are_gone(tmp_path):
    made = []
    for symbol, at_s in (("BTCUSDT", 20), ("BTCUSDT", 10), ("XBTCUSDT", 40), ("BTCUSDT", 15), ("BTCUSDT", 21)):
        writer = CaptureWriter(tmp_path, "binance", symbol, ManualClock(NOW_NS + at_s * 10**9))
        writer.write_snapshot(NOW_NS, SNAPSHOT)
        writer.close()
        made += writer.paths
        if len(made) == 3:
            made[0].unlink()
    first, again, _, third, last = made
    assert [path.stem[-4:] for path in (first, again, third, last)] == ["05_0", "05_1", "05_2", "06_0"]
    assert in_turn([last, again, third]) == [[again, third, last]]


def test_a_full_disk_keeps_the_lines_and_leaves_a_readable_file(tmp_path, monkeypatch):
    clock = ManualClock(NOW_NS)
    writer = CaptureWriter(tmp_path, "binance", "BTCUSDT", clock)
    writer.write(1, "s", "1")
    writer.flush()

    class FullDisk:
        def __init__(self, file):
            self.file = file

        def write(self, data):
            self.file.write(data[:5])
            raise OSError(28, "No space left on device")

        def __getattr__(self, name):
            return getattr(self.file, name)

        def __enter__(self):
            return self.file

        def __exit__(self, *exception):
            self.file.close()

    writer._file = FullDisk(writer._file)
    writer.write(2, "s", "2")
    with pytest.raises(OSError, match="No space"):
        writer.flush()
    writer.close()
    assert [[line.recv_ns for line in read_capture(path)] for path in writer.paths] == [[1], [2]]


@pytest.mark.parametrize("text", ['{"a":\n1}', " 1", "1 ", "1\n"])
def test_the_writer_refuses_a_text_that_a_line_cannot_hold(tmp_path, text):
    with pytest.raises(ValueError, match="wrap it"):
        CaptureWriter(tmp_path, "binance", "BTCUSDT", ManualClock(NOW_NS)).write(1, "s", text)


def test_a_malformed_line_in_the_middle_is_named_or_passed_over(tmp_path):
    path = plain_file(tmp_path, LINES[0], b"17213470 {]", b"what", b'5 {"stream":"s"}', LINES[2])
    with pytest.raises(CaptureError, match=r"x\.ndjson, line 2: "):
        list(read_capture(path))
    report = ReadReport()
    lines = list(read_capture(path, tolerant=True, report=report))
    assert lines == [parse_line(LINES[0]), parse_line(LINES[2])]
    assert report == ReadReport(lines=2, skipped=3)


def test_damaged_compression_is_an_error_unless_tolerated(tmp_path):
    data = bytearray(gzip.compress(b"".join(line + b"\n" for line in LINES)))
    data[-6] ^= 0xFF
    path = tmp_path / "x.gz"
    path.write_bytes(data)
    with pytest.raises(CaptureError, match=r"x\.gz: its compression is damaged"):
        list(read_capture(path))
    report = ReadReport()
    list(read_capture(path, tolerant=True, report=report))
    assert "damaged" in (report.torn or "")


@pytest.mark.parametrize(
    "content", [b'{"e":"depthUpdate"}\n', b"some text\n", b"\x00\x01", b"5 no json\n", b"PAR1xxxx"]
)
def test_a_file_that_is_no_capture_is_refused_by_name(tmp_path, content):
    path = tmp_path / "wrong.bin"
    path.write_bytes(content)
    with pytest.raises(CaptureError, match=r"wrong\.bin is not a capture"):
        list(read_capture(path))


def test_a_missing_file_and_a_folder_are_refused_at_once(tmp_path):
    with pytest.raises(CaptureError, match=r"nowhere\.gz: No such file"):
        read_capture(tmp_path / "nowhere.gz")
    with pytest.raises(CaptureError, match="directory"):
        read_capture(tmp_path)


def test_an_empty_file_is_an_empty_capture(tmp_path):
    assert list(read_capture(plain_file(tmp_path))) == []


@pytest.mark.parametrize(
    ("name", "wanted", "symbol"),
    [
        ("usdm_btcusdt_20240718.gz", ["ETHUSDT", "BTCUSDT"], "BTCUSDT"),
        ("BTCUSDT_binance_20260110T141245_0.zst", ["btcusdt"], "btcusdt"),
        ("BTCUSDT_240927_binanceusdm_20260110T141245_0.zst", ["BTCUSDT", "BTCUSDT_240927"], "BTCUSDT_240927"),
        ("xbtcusdt.gz", ["BTCUSDT"], None),
        ("usdm_btcusdt.gz", ["ETHUSDT"], None),
    ],
)
def test_the_file_name_names_the_symbol(name, wanted, symbol):
    assert symbol_of(name, wanted) == symbol


def test_without_wanted_symbols_the_streams_tell_which_word_is_one(tmp_path):
    assert symbol_of(plain_file(tmp_path, *LINES, name="usdm_btcusdt_20240718.ndjson")) == "BTCUSDT"
    assert symbol_of(plain_file(tmp_path, *LINES, name="usdm_20240718.ndjson")) is None


@pytest.mark.parametrize(
    ("name", "streams"),
    [
        (
            "spot_btcusdt_20240808.gz",
            {"btcusdt@depth@100ms": 3451, "btcusdt@bookTicker": 28040, "btcusdt@trade": 9757, None: 1},
        ),
        (
            "usdm_btcusdt_20240718.gz",
            {"btcusdt@depth@0ms": 3326, "btcusdt@bookTicker": 7113, "btcusdt@trade": 974, None: 1},
        ),
        (
            "usdm_btcusdt_20240719.gz",
            {"btcusdt@depth@0ms": 5696, "btcusdt@bookTicker": 45147, "btcusdt@trade": 9727},
        ),
    ],
)
def test_real_captures_are_read_whole(name, streams):
    path = CAPTURES / name
    if not path.exists():
        pytest.skip(f"no {path}; set CAPTURE_DIR to the folder of real captures")
    report = ReadReport()
    assert Counter(line.stream for line in read_capture(path, report=report)) == streams
    assert report == ReadReport(lines=sum(streams.values()))
    assert symbol_of(path) == "BTCUSDT"
