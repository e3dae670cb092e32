"""Real captures, through replay: the rows, the books and the gaps that they must give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from storage_backends.interface import Market
from tests.live.captures import FUTURES_FILES, SPOT_FILES, Line, captures, read, snapshot_line, text_book, write
from tests.live.harness import collector
from tests.stores import differing, open_local, rows

SECOND_NS = 1_000_000_000


class Replayed(NamedTuple):
    """Captures and the store that their replay made."""

    market: Market
    files: dict[Path, list[Line]]
    store: Path
    counts: dict[str, int]

    @property
    def paths(self) -> list[Path]:
        return list(self.files)

    @property
    def lines(self) -> list[Line]:
        """Of all files, in the order of receipt."""
        return [line for lines in self.files.values() for line in lines]


def replay(paths: list[Path], market: Market, data_dir: Path) -> dict[str, int]:
    """Rows by table."""
    done = collector("replay", *paths, "--exchange", market.exchange, "--data-dir", data_dir, "--json")
    found: dict[str, int] = json.loads(done.stdout)["rows"][f"{market.exchange} {market.symbol}"]
    return found


def verify(data_dir: Path) -> dict[str, Any]:
    """The report of the only market of a store without problems."""
    report = json.loads(collector("verify", "--json", "--data-dir", data_dir).stdout)
    assert report["ok"], report
    (market,) = report["markets"]
    assert market["problems"] == []
    found: dict[str, Any] = market
    return found


def book(data_dir: Path, at_ns: int, *, check: bool = True) -> dict[str, Any] | None:
    """The book that `collector book` gives; None when it says that none was known."""
    done = collector("book", "--at", str(at_ns), "--depth", "100000", "--json", "--data-dir", data_dir, check=check)
    if done.returncode == 1:
        assert "no book" in done.stderr
        return None
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def state(folder: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of change of every file."""
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def _replayed(names: tuple[str, ...], exchange: str, folder: Path) -> Replayed:
    paths = captures(*names)
    market = Market(exchange, "BTCUSDT")
    counts = replay(paths, market, folder)
    return Replayed(market, {path: list(read(path)) for path in paths}, folder, counts)


@pytest.fixture(scope="module")
def futures(tmp_path_factory: pytest.TempPathFactory) -> Replayed:
    return _replayed(FUTURES_FILES, "binanceusdm", tmp_path_factory.mktemp("futures"))


@pytest.fixture(scope="module")
def spot(tmp_path_factory: pytest.TempPathFactory) -> Replayed:
    return _replayed(SPOT_FILES, "binance", tmp_path_factory.mktemp("spot"))


@pytest.fixture(params=["futures", "spot"])
def replayed(request: pytest.FixtureRequest) -> Replayed:
    found: Replayed = request.getfixturevalue(request.param)
    return found


def test_futures_every_best_price_is_the_exchanges(futures: Replayed) -> None:
    report = verify(futures.store)
    assert {name: report["chains"][name]["rows"] for name in ("depth", "raw_trades")} == {
        "depth": 9022,
        "raw_trades": 10701,
    }
    assert futures.counts["book_ticker"] == 52260
    assert not any(chain["explained"] or chain["unexplained"] for chain in report["chains"].values())
    assert (report["book"]["equal"], report["book"]["compared"]) == (9017, 9017)
    assert (report["book"]["crossed"], report["gaps"], report["quarantined"]) == (0, {}, 0)


def test_spot_every_best_price_is_the_exchanges_but_for_moves_it_did_not_report(spot: Replayed) -> None:
    report = verify(spot.store)
    assert {name: spot.counts[name] for name in ("diffs", "book_ticker", "raw_trades", "snapshots")} == {
        "diffs": 3451,
        "book_ticker": 28040,
        "raw_trades": 9757,
        "snapshots": 1,
    }
    assert not any(chain["explained"] or chain["unexplained"] for chain in report["chains"].values())
    found = report["book"]
    assert found["compared"] > 3400
    assert found["equal"] + found["unreported"] == found["compared"]
    assert found["equal"] > 0.99 * found["compared"]
    assert (found["crossed"], found["differing"], report["gaps"]) == (0, 0, {})


def test_what_is_counted_is_what_a_scan_gives(replayed: Replayed) -> None:
    store = open_local(replayed.store)
    for table, count in replayed.counts.items():
        assert sum(batch.num_rows for batch in store.scan(table, replayed.market)) == count, table


def test_stored_floats_give_the_exchanges_text_back(replayed: Replayed) -> None:
    sent: dict[int, dict[str, Any]] = {
        line.message["u"]: line.message for line in replayed.lines if line.channel == "depth"
    }
    first = next(iter(sent.values()))["a"][0]
    price, quantity = (f"%.{len(text.partition('.')[2])}f" for text in first)
    checked = 0
    for row in rows(open_local(replayed.store), "diffs", replayed.market):
        message = sent.pop(row["last_id"])
        for side, key in (("bid", "b"), ("ask", "a")):
            prices, quantities = row[f"{side}_price"], row[f"{side}_quantity"]
            texts = [[price % p, quantity % q] for p, q in zip(prices, quantities, strict=True)]
            assert texts == message[key]
            checked += len(texts)
    assert not sent
    assert checked > 90_000


def test_the_book_of_an_instant_is_the_one_kept_by_hand(replayed: Replayed) -> None:
    start_ns, end_ns = replayed.lines[0].recv_ns, replayed.lines[-1].recv_ns
    assert book(replayed.store, start_ns, check=False) is None
    for share in (0.03, 0.4, 1.0):
        at_ns = start_ns + int((end_ns - start_ns) * share)
        mine = text_book(replayed.lines, at_ns)
        theirs = book(replayed.store, at_ns)
        assert theirs is not None
        assert theirs["last_update_id"] == mine.last_id
        assert (theirs["bids"], theirs["asks"]) == mine.ladders()
        assert len(theirs["bids"]) > 100


def test_a_replay_repeated_changes_nothing(futures: Replayed) -> None:
    before = state(futures.store)
    assert replay(futures.paths, futures.market, futures.store) == futures.counts
    assert state(futures.store) == before


def test_files_named_in_another_order_give_the_same_rows(futures: Replayed, tmp_path: Path) -> None:
    replay(futures.paths[::-1], futures.market, tmp_path)
    assert differing(futures.store, tmp_path, futures.market) == {}


CUT_S = 10
SCALARS = ("best_bid", "best_ask", "price", "last_update_id", "event_time", "recv_ns")


def _cut(futures: Replayed, folder: Path, *, anchored: bool) -> tuple[list[Path], list[Line]]:
    """The futures captures without ten seconds of the second, and the lines that were cut out.

    The anchor is the exchange's book at the last diff cut out, and comes three diffs after the cut.
    """
    second = futures.files[futures.paths[1]]
    from_ns = second[0].recv_ns + 100 * SECOND_NS
    to_ns = from_ns + CUT_S * SECOND_NS
    removed = [line for line in second if from_ns <= line.recv_ns < to_ns]
    after = [line for line in second if line.recv_ns >= to_ns]
    if anchored:
        anchor = text_book(futures.lines, to_ns).snapshot(1000)
        assert anchor["lastUpdateId"] == next(line for line in removed[::-1] if line.channel == "depth").message["u"]
        third = [at for at, line in enumerate(after) if line.channel == "depth"][2]
        after.insert(third + 1, snapshot_line(after[third].recv_ns, anchor))
    before = [line for line in second if line.recv_ns < from_ns]
    return [futures.paths[0], write(folder / "cut_btcusdt_20240719.ndjson", before + after)], removed


@pytest.mark.parametrize("anchored", [True, False])
def test_ten_seconds_cut_out_are_one_gap_and_no_wrong_book(futures: Replayed, tmp_path: Path, anchored: bool) -> None:
    paths, removed = _cut(futures, tmp_path, anchored=anchored)
    lost = [line.message for line in removed if line.channel == "depth"]
    store = tmp_path / "store"
    counts = replay(paths, futures.market, store)
    assert counts["diffs"] == 9022 - len(lost) < 8900
    (gap,) = json.loads(collector("gaps", "--json", "--stream", "depth", "--data-dir", store).stdout)
    assert gap["from_id"] == lost[0]["pu"] + 1
    assert gap["to_id"] == lost[-1]["u"]
    assert gap["from_ns"] <= removed[0].recv_ns < removed[-1].recv_ns < gap["to_ns"]
    report = verify(store)
    found = report["book"]
    assert (report["chains"]["depth"]["explained"], report["chains"]["raw_trades"]["explained"]) == (1, 1)
    assert found["differing"] == found["crossed"] == 0
    assert found["equal"] + found["unreported"] == found["compared"] == found["rebuilt"]
    assert found["unreported"] <= 1  # the first diff after the cut: the newest book_ticker is from before it
    epochs = rows(open_local(store), "depth", futures.market)
    assert [row["epoch"] for row in epochs] == list(range(epochs[0]["epoch"], epochs[-1]["epoch"] + 1))
    later = [row for row in epochs if row["epoch"] * SECOND_NS > removed[-1].recv_ns + SECOND_NS]
    whole = {row["epoch"]: row for row in rows(open_local(futures.store), "depth", futures.market)}
    last_ns = futures.lines[-1].recv_ns
    after = book(store, last_ns, check=anchored)
    if anchored:
        assert found["rebuilt"] == 9017 - len(lost)
        # For three seconds the price is below all that the anchor held: what is best there, nobody knows.
        assert [row["bid_coverage"] for row in later if not row["valid"]] == [0.0] * 3
        compared = 0
        for row in later:
            other = whole[row["epoch"]]
            assert [row[name] for name in SCALARS] == [other[name] for name in SCALARS]
            for name in ("bid_buckets", "ask_buckets"):
                # Anchors differ in how far down the book is known.
                known = [pair for pair in zip(row[name], other[name], strict=True) if None not in pair]
                compared += len(known)
                assert all(one == another for one, another in known)
        assert compared > 10 * len(later)
        assert after is not None
        mine = text_book(futures.lines, last_ns)
        mine.known_from, mine.known_to = after["known_from"], after["known_to"]
        assert (after["last_update_id"], (after["bids"], after["asks"])) == (mine.last_id, mine.ladders())
    else:
        assert found["rebuilt"] == sum(
            line.channel == "depth" and line.recv_ns < removed[0].recv_ns for line in futures.lines
        ) - (9022 - 9017)
        assert after is None
        assert not any(row["valid"] or row["best_bid"] or row["bid_buckets"] for row in later)
    assert len(later) > 100
