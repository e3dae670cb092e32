"""Captures through the core: whose they are, and what cannot be replayed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from collector.core.batch import Batch
from collector.core.inputs import Opened, Resume, SessionStarted, SessionStopped, Tick, encode_input
from collector.core.sequencer import Position
from collector.errors import ConfigurationError
from collector.replay import Replay
from collector.settings import Derived
from collector.sources.capture import CaptureError
from collector.ticks import ALL
from tests.core.exchange import SECOND, START_NS, Exchange, text
from tests.core.script import tables

TEMPLATE = SessionStarted(exchange="binanceusdm", symbol="", futures=True)


def write(path: Path, *lines: tuple[int, str]) -> Path:
    path.write_text("".join(f"{recv_ns} {line}\n" for recv_ns, line in lines))
    return path


def frame(exchange: Exchange, now_ns: int, **changes: Any) -> tuple[int, str]:
    message = {key: value for key, value in (exchange.diff(now_ns) | changes).items() if value is not None}
    return now_ns, text({"stream": f"{message['s'].lower()}@depth", "data": message})


def own(now_ns: int, happened: Any) -> tuple[int, str]:
    return now_ns, f'{{"stream":"!collector","data":{encode_input(happened).decode()}}}'


def replay(
    *paths: Path, template: SessionStarted = TEMPLATE, symbols: tuple[str, ...] = ()
) -> dict[tuple[str, str], dict[str, list[dict[str, Any]]]]:
    found: dict[tuple[str, str], list[Batch]] = {}

    def emit(exchange: str, symbol: str, batches: list[Batch]) -> None:
        found.setdefault((exchange, symbol), []).extend(batches)

    Replay(template, symbols, emit).run(list(paths))
    return {market: tables(batches) for market, batches in found.items()}


def test_a_capture_of_frames_and_bare_snapshots(tmp_path: Path) -> None:
    exchange = Exchange(futures=True)
    lines = [frame(exchange, START_NS)]
    lines.append((START_NS + 1, exchange.snapshot().decode()))
    lines += [frame(exchange, START_NS + number * SECOND // 2) for number in range(1, 10)]
    rows = replay(write(tmp_path / "btcusdt_20231114", *lines))["binanceusdm", "BTCUSDT"]
    assert len(rows["diffs"]) == 10
    assert rows["snapshots"][0]["reason"] == "capture"
    assert [row["epoch"] for row in rows["depth"]] == [START_NS // SECOND + number for number in range(1, 5)]
    assert all(row["valid"] for row in rows["depth"])


@pytest.mark.parametrize(("futures", "named"), [(False, "spot"), (True, "futures")])
def test_a_capture_of_the_other_kind_of_market_is_refused(tmp_path: Path, futures: bool, named: str) -> None:
    path = write(tmp_path / "btcusdt", frame(Exchange(futures=futures), START_NS))
    template = SessionStarted(exchange="binance" if futures else "binanceusdm", symbol="", futures=not futures)
    with pytest.raises(ConfigurationError, match=rf"--exchange.*{named} market: name it"):
        replay(path, template=template)


def test_a_snapshot_in_a_file_that_names_no_symbol_is_refused(tmp_path: Path) -> None:
    exchange = Exchange(futures=True)
    path = write(tmp_path / "capture", frame(exchange, START_NS), (START_NS + 1, exchange.snapshot().decode()))
    with pytest.raises(ConfigurationError, match="its name no symbol"):
        replay(path)


def test_what_is_no_capture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaptureError):
        replay(tmp_path / "missing")
    (tmp_path / "notes").write_text("nothing of the kind\n")
    with pytest.raises(CaptureError, match="not a capture"):
        replay(tmp_path / "notes")


def test_a_capture_that_is_cut_short_says_so(tmp_path: Path) -> None:
    exchange = Exchange(futures=True)
    whole = write(tmp_path / "btcusdt_20231114", *(frame(exchange, START_NS + number) for number in range(4)))
    cut = tmp_path / "ethusdt_20231114"
    cut.write_bytes(whole.read_bytes()[:-9])
    replaying = Replay(TEMPLATE, (), lambda *_: None)
    assert replaying.run([whole, cut]).inputs == 7
    assert replaying.torn == {cut: "line 4 is cut short"}


def test_a_line_of_a_later_version_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "btcusdt", (START_NS, '{"stream":"!collector","data":{"event":"of a later version"}}'))
    with pytest.raises(ConfigurationError, match="this version cannot read"):
        replay(path)


def test_a_capture_of_our_own_brings_its_settings_and_its_faults(tmp_path: Path) -> None:
    """Also a depth message without `pu`, which live is quarantined."""
    exchange = Exchange(futures=True)
    session = SessionStarted(exchange="binanceusdm", symbol="BTCUSDT", futures=True, interval_s=2)
    path = write(
        tmp_path / "anything",
        own(START_NS, session),
        own(START_NS, Opened(3, ["depth"])),
        frame(exchange, START_NS + 1),
        frame(exchange, START_NS + SECOND, pu=None),
        (START_NS + SECOND + 1, exchange.snapshot().decode()),
        frame(exchange, START_NS + 4 * SECOND),
        own(START_NS + 5 * SECOND, SessionStopped("stopped")),
    )
    rows = replay(path, template=SessionStarted(exchange="binance", symbol="", futures=False))["binanceusdm", "BTCUSDT"]
    assert [row["epoch"] - START_NS // SECOND for row in rows["depth"]] == [2, 4]
    assert [row["connection"] for row in rows["diffs"]] == [3, 3]
    (quarantined,) = [row for row in rows["events"] if row["kind"] == "quarantine"]
    assert "pu" in quarantined["detail"]
    assert len(rows["gaps"]) == 1


def test_a_file_in_which_a_session_goes_on_belongs_to_its_market(tmp_path: Path) -> None:
    exchange = Exchange(futures=False)
    session = SessionStarted(exchange="binance", symbol="BTCUSDT", futures=False)
    first = write(
        tmp_path / "BTCUSDT_binance_20231114T221320_0.zst",
        own(START_NS, session),
        own(START_NS, Opened(1, ["depth"])),
        frame(exchange, START_NS + 1),
    )
    second = write(
        tmp_path / "BTCUSDT_binance_20231114T221321_0.zst",
        (START_NS + SECOND, exchange.snapshot().decode()),
        frame(exchange, START_NS + SECOND + 1),
        own(START_NS + 2 * SECOND, SessionStopped("stopped")),
    )
    for files in ((first, second), (second,)):
        found = replay(*files)
        assert list(found) == [("binance", "BTCUSDT")]
        assert len(found["binance", "BTCUSDT"]["diffs"]) == len(files)
        assert "gaps" not in found["binance", "BTCUSDT"]


def test_a_session_that_began_before_the_one_before_ended_by_its_clock(tmp_path: Path) -> None:
    """The wall clock was ahead, and was set right before the restart after a kill."""
    exchange = Exchange(futures=True)
    lines = [frame(exchange, START_NS + number * SECOND // 2) for number in range(9)]
    ids = [msgspec.json.decode(line)["data"]["u"] for _, line in lines]
    session = SessionStarted(exchange="binanceusdm", symbol="BTCUSDT", futures=True, channels=("depth",))
    killed = write(
        tmp_path / "BTCUSDT_binanceusdm_20231114T221320_0.zst",
        own(START_NS, session),
        own(START_NS, Opened(1, ["depth"])),
        *lines[:5],
        own(START_NS + 2 * SECOND, Tick()),
        lines[5],
    )
    resume = Resume({"depth": Position(ids[4], *lines[4][:1])}, {}, START_NS // SECOND + 2, START_NS + 2 * SECOND)
    began_ns = START_NS + SECOND
    again = write(
        tmp_path / "BTCUSDT_binanceusdm_20231114T221321_0.zst",
        own(began_ns, msgspec.structs.replace(session, resume=resume)),
        own(began_ns, Opened(1, ["depth"])),
        *((began_ns + number, line) for number, (_, line) in enumerate(lines[6:])),
        own(began_ns + 3 * SECOND, SessionStopped("stopped")),
    )
    rows = replay(again, killed)["binanceusdm", "BTCUSDT"]
    assert [row["last_id"] for row in rows["diffs"]] == [*ids[:5], *ids[6:]]
    assert [row["epoch"] - START_NS // SECOND for row in rows["depth"]] == [1, 2, 3, 4]
    assert (rows["gaps"][-1]["from_id"], rows["gaps"][-1]["to_id"]) == (ids[4] + 1, ids[5])


def test_streams_of_all_markets_make_no_market_of_their_own(tmp_path: Path) -> None:
    lines = [frame(Exchange(futures=True), START_NS), (START_NS + 1, '{"stream":"!markPrice@arr","data":[]}')]
    found = replay(write(tmp_path / "btcusdt", *lines))
    assert list(found) == [("binanceusdm", "BTCUSDT")]
    assert [row["kind"] for row in found["binanceusdm", "BTCUSDT"]["events"]][-2] == "quarantine"


def test_only_the_markets_that_are_wanted(tmp_path: Path) -> None:
    lines = [frame(Exchange(futures=True), START_NS), frame(Exchange(futures=True), START_NS + 1, s="ETHUSDT")]
    path = write(tmp_path / "both", *lines)
    assert set(replay(path)) == {("binanceusdm", "BTCUSDT"), ("binanceusdm", "ETHUSDT")}
    assert set(replay(path, symbols=("ETHUSDT",))) == {("binanceusdm", "ETHUSDT")}


def test_days_between_two_foreign_captures_are_a_gap_and_not_a_row_a_second(tmp_path: Path) -> None:
    def line(recv_ns: int, pu: int, u: int) -> str:
        data = (
            f'{{"e":"depthUpdate","E":{recv_ns // 10**6},"T":{recv_ns // 10**6},"s":"BTCUSDT",'
            f'"U":{pu + 1},"u":{u},"pu":{pu},"b":[],"a":[["10.0","1.0"]]}}'
        )
        return f'{recv_ns} {{"stream":"btcusdt@depth","data":{data}}}\n'

    start_ns = 1_721_347_020_000_000_000
    later_ns = start_ns + 3 * 86_400 * 10**9
    (tmp_path / "btcusdt_one").write_text(line(start_ns, 1, 2) + line(start_ns + 2 * 10**9, 2, 3))
    (tmp_path / "btcusdt_two").write_text(line(later_ns, 90, 91) + line(later_ns + 2 * 10**9, 91, 92))
    rows: dict[str, int] = {}
    reasons: list[str] = []

    def emit(exchange: str, symbol: str, batches: list[Batch]) -> None:
        for batch in batches:
            rows[batch.table] = rows.get(batch.table, 0) + batch.rows
            if batch.table == "gaps":
                reasons.extend(batch.columns["reason"])  # type: ignore[arg-type]

    template = SessionStarted(exchange="binanceusdm", symbol="", futures=True, channels=("depth",))
    Replay(template, (), emit).run([tmp_path / "btcusdt_one", tmp_path / "btcusdt_two"])
    assert rows["diffs"] == 4
    assert rows["depth"] <= 6
    assert set(reasons) == {"restart"}


def test_features_of_a_capture_that_this_version_does_not_have(tmp_path: Path) -> None:
    session = SessionStarted(exchange="binanceusdm", symbol="BTCUSDT", futures=True, features="mid,of_the_future")
    path = write(tmp_path / "BTCUSDT", own(START_NS, session))
    with pytest.raises(ConfigurationError, match="--features of_the_future: is unknown"):
        replay(path)


def test_tables_that_are_named_are_computed_whatever_the_capture_was_taken_with(tmp_path: Path) -> None:
    """And those that are not are as its session says; of a capture without one there are none."""
    session = SessionStarted(
        exchange="binanceusdm", symbol="BTCUSDT", futures=True, bars=("5s",), book_grid_ms=1000, book_depth=3
    )
    asked = Derived(bars=("1s", "15s"), ticks={ALL: ("10",)}, num_levels=4)
    made = asked.added_to(session)
    assert (made.bars, made.num_levels, made.book_grid_ms, made.book_depth) == (("1s", "15s"), 4, 1000, 3)
    assert made.tick_sizes == ("10",)
    assert Derived().added_to(session) == session
    exchange = Exchange(futures=True)
    ours = write(tmp_path / "BTCUSDT", own(START_NS, session), frame(exchange, START_NS + 3 * 10**9))
    theirs = write(tmp_path / "btcusdt_theirs", *(frame(exchange, START_NS + at * 10**9) for at in (1, 3)))
    tables: dict[str, set[str]] = {}
    for name, path, derived in (
        ("own", ours, Derived()),
        ("asked", ours, Derived(book_grid_ms=100, ticks={ALL: ("10",)})),
        ("other", theirs, Derived()),
        ("other, asked", theirs, Derived(book_grid_ms=100)),
    ):
        seen = tables.setdefault(name, set())
        Replay(
            SessionStarted(exchange="binanceusdm", symbol="", futures=True),
            (),
            lambda venue, market, batches, seen=seen: seen.update(batch.table for batch in batches),
            derived.session,
            adapt=derived.added_to,
        ).run([path])
    computed = {name: seen & {"books", "multitick"} for name, seen in tables.items()}
    assert computed == {
        "own": {"books"},
        "asked": {"books", "multitick"},
        "other": set(),
        "other, asked": {"books"},
    }
