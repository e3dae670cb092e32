"""Questions and answers over a store whose content is known."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.clock import ManualClock
from collector.live_state import write_state
from collector.questions.rows import newest_of_each, with_fresh
from collector.serve.answers import ARROW, plain
from storage_backends.contract.rows import arrow, row
from storage_backends.hot import HotStore
from storage_backends.interface import Market
from storage_backends.reading import read
from storage_backends.schema import TABLES
from tests.audit.sample import MARKET, Sample
from tests.core.exchange import SECOND, START_NS
from tests.serve.conftest import KEY, application, with_key
from tests.test_live_state import state

Ask = Callable[..., httpx.Response]


def test_the_last_trades_and_pages_from_a_start(ask: Ask, sample: Sample) -> None:
    every = read(sample.store, "trades", MARKET).to_pylist()
    last = ask("/trades/BTCUSDT?limit=7").json()
    assert last["data"] == every[-7:]
    assert (last["exchange"], last["count"], last["next_cursor"]) == ("binanceusdm", 7, None)
    found: list[Any] = []
    cursor = ""
    while True:
        page = ask(f"/trades/BTC/USDT?start_time={START_NS}&limit=37{cursor}").json()
        found += page["data"]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert found == every


def test_an_arrow_stream_where_it_is_asked_for(ask: Ask, sample: Sample) -> None:
    answer = ask("/trades/BTCUSDT?limit=100000", headers={"Accept": ARROW})
    assert answer.status_code == 422
    answer = ask("/trades/BTCUSDT?limit=50000", headers={"Accept": ARROW})
    assert answer.headers["content-type"] == ARROW
    rows = pa.ipc.open_stream(io.BytesIO(answer.content)).read_all()
    assert rows.to_pylist() == read(sample.store, "trades", MARKET).to_pylist()


def test_every_table_can_be_asked_for(ask: Ask, sample: Sample) -> None:
    for table in sample.store.tables(MARKET):
        answer = ask(f"/tables/{table}/BTCUSDT?limit=3")
        assert answer.status_code == 200, table
        assert answer.json()["count"] >= 1, table
        page = ask(f"/tables/{table}/BTCUSDT?limit=1&start_time=2020-01-01").json()
        if page["next_cursor"]:
            after = ask(f"/tables/{table}/BTCUSDT?limit=1&cursor={page['next_cursor']}").json()
            assert after["data"] != page["data"], table


def test_a_book_is_rebuilt(ask: Ask) -> None:
    book = ask(f"/book/BTCUSDT?at={START_NS + 11 * SECOND}&depth=3").json()
    assert len(book["bids"]) == len(book["asks"]) == 3
    assert book["bids"][0][0] < book["asks"][0][0]
    assert book["bids"] == sorted(book["bids"], reverse=True)
    assert ask("/book/BTCUSDT?at=2001-01-01").status_code == 404


def test_gaps_stats_and_symbols(ask: Ask, sample: Sample) -> None:
    assert ask("/symbols").json() == [{"exchange": "binanceusdm", "symbol": "BTCUSDT"}]
    assert {gap["reason"] for gap in ask("/gaps?symbol=BTCUSDT").json()} == {"disconnect"}
    stats = {one["table"]: one for one in ask("/stats").json()}
    assert stats["diffs"]["rows"] == len(sample.received)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/trades/NOPE", 400),
        ("/trades/..%2F..%2F..%2Fetc%2Fpasswd", 400),
        ("/trades/BTCUSDT%00", 400),
        ("/trades/btcusdt%E2%80%A5", 400),
        ("/tables/..%2Ftrades/BTCUSDT", 404),
        ("/tables/TRADES/BTCUSDT", 404),
        ("/tables/trades%00/BTCUSDT", 404),
        ("/trades/BTCUSDT?exchange=..", 422),
        ("/trades/BTCUSDT?limit=0", 422),
        ("/trades/BTCUSDT?start_time=tomorrow", 400),
        ("/trades/BTCUSDT?start_time=-5", 400),
        ("/trades/BTCUSDT?start_time=2026-01-02&end_time=2026-01-01", 400),
        ("/trades/BTCUSDT?cursor=bm9uZQ", 400),
        ("/trades/BTCUSDT?cursor=WzEsMl0", 200),
        ("/book/BTCUSDT", 422),
        ("/trades/BTCUSDT?x=" + "a" * 5000, 414),
        ("/nothing", 404),
    ],
)
def test_bad_questions_are_told_so(ask: Ask, path: str, status: int) -> None:
    answer = ask(path)
    assert answer.status_code == status, answer.text
    assert "Traceback" not in answer.text


@settings(max_examples=150, deadline=None)
@given(name=st.text(max_size=40), table=st.text(max_size=20))
def test_no_text_becomes_a_path(name: str, table: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The store is asked for markets of its own list alone, whatever the request says."""
    from collector.questions.rows import Asked, find_market, table_of
    from storage_backends.open import open_backend

    backend = open_backend("local", tmp_path_factory.getbasetemp() / "nothing")
    with pytest.raises(Asked):
        find_market(backend, name)
    with contextlib.suppress(Asked):
        assert table_of(table).isidentifier()


def test_live_state_readiness_and_metrics(ask: Ask, clock: ManualClock, tmp_path: Path) -> None:
    assert ask("/health", data_dir=tmp_path).json()["status"] == "none"
    assert ask("/ready", data_dir=tmp_path).status_code == 503
    assert ask("/state", data_dir=tmp_path).status_code == 503
    assert "collector_up 0.0" in ask("/metrics", data_dir=tmp_path).text
    write_state(tmp_path, state(clock.now_ns()))
    assert ask("/ready", data_dir=tmp_path).status_code == 200
    assert ask("/state", data_dir=tmp_path).json()["markets"][0]["best_bid"] == 90_538.46
    text = ask("/metrics", data_dir=tmp_path).text
    assert 'collector_rest_weight_used{exchange="binanceusdm"} 21.0' in text
    assert (
        'collector_gaps_total{exchange="binanceusdm",reason="disconnect",stream="depth",symbol="BTCUSDT"} 2.0' in text
    )
    assert 'collector_quality{exchange="binanceusdm",symbol="BTCUSDT"} 0.0' in text
    assert 'collector_socket_latency_seconds_bucket{exchange="binanceusdm",le="+Inf",symbol="BTCUSDT"} 1.0' in text
    assert 'collector_book_latency_seconds_bucket{exchange="binanceusdm",le="+Inf",symbol="BTCUSDT"} 1.0' in text
    write_state(tmp_path, state(clock.now_ns(), backend_away_since_ns=clock.now_ns()))
    assert ask("/ready", data_dir=tmp_path).status_code == 503
    clock.advance(60)
    assert ask("/health", data_dir=tmp_path).json()["status"] == "stale"
    stands = ask("/state", data_dir=tmp_path)
    assert stands.status_code == 503
    assert "stands still or was killed: last word 2023-11-14 22:13:50 UTC" in stands.json()["detail"]
    write_state(tmp_path, state(clock.now_ns(), stopping=True))
    assert "has stopped" in ask("/state", data_dir=tmp_path).json()["detail"]


def test_a_key_opens_everything_but_health(ask: Ask) -> None:
    for path in ("/trades/BTCUSDT", "/metrics", "/openapi.json", "/nothing"):
        assert ask(path, **with_key()).status_code == 401
        assert ask(path, headers={"X-API-Key": KEY[:-1]}, **with_key()).status_code == 401
    assert ask("/health", **with_key()).status_code == 200
    assert ask("/trades/BTCUSDT", headers={"X-API-Key": KEY}, **with_key()).status_code == 200


def test_too_many_requests_wait_and_wrong_keys_wait_longer(ask: Ask, sample: Sample, clock: ManualClock) -> None:
    app = application(sample, clock, requests_per_s=0.001, burst=3)
    answers = [ask("/health", app=app) for _ in range(5)]
    assert [one.status_code for one in answers] == [200, 200, 200, 429, 429]
    assert int(answers[-1].headers["retry-after"]) > 100
    app = application(sample, clock, **with_key())
    statuses = [ask("/stats", app=app, headers={"X-API-Key": f"wrong key {n}"}).status_code for n in range(40)]
    assert statuses[:5] == [401] * 5
    assert statuses.count(429) >= 25
    assert ask("/stats", app=app, headers={"X-API-Key": KEY}).status_code == 200, "a right key is not shut out"


def test_a_body_that_is_too_long_is_refused(ask: Ask) -> None:
    assert ask("/health", method="POST", content=b"x" * 20_000).status_code == 413


def test_another_site_cannot_ask_through_a_browser(ask: Ask) -> None:
    assert ask("/health", headers={"Host": "attacker.example"}).status_code == 421
    assert ask("/health", headers={"Host": "localhost:8000"}).status_code == 200
    assert ask("/health", headers={"Host": "attacker.example"}, **with_key()).status_code == 200


def test_hot_files_and_the_latest_rows(ask: Ask, sample: Sample) -> None:
    hot = HotStore(sample.folder, sample.store)
    hot.maintain_hot_snapshot("trades", MARKET)
    answer = ask("/hot/trades/BTCUSDT?limit=4").json()
    assert answer["data"] == read(sample.store, "trades", MARKET).to_pylist()[-4:]
    assert ask("/hot/trades/BTCUSDT?limit=2000").status_code == 422
    assert ask("/latest/bars").json() == []
    assert ask("/latest/trades").status_code == 422


def test_the_newest_bar_of_each_interval() -> None:
    made = [row("bars", at, interval_ms=width) for at, width in ((0, 5000), (1, 15_000), (2, 5000))]
    found = newest_of_each("bars", arrow("bars", made)).to_pylist()
    assert [(one["interval_ms"], one["open_time"]) for one in found] == [
        (5000, made[2]["open_time"]),
        (15_000, made[1]["open_time"]),
    ]


def test_rows_that_are_too_young_to_be_stored_are_among_the_last(ask: Ask, sample: Sample, tmp_path: Path) -> None:
    every = read(sample.store, "trades", MARKET)
    hot = HotStore(tmp_path)
    young = Market("binanceusdm", "YOUNGUSDT")
    hot.extend("trades", young, every.slice(0, 5).cast(TABLES["trades"].schema))
    assert ask("/trades/YOUNGUSDT?limit=3", data_dir=tmp_path).json()["data"] == every.slice(2, 3).to_pylist()
    assert ask("/latest/bars", data_dir=tmp_path).json() == []
    stored, fresh = every.slice(0, 100), every.slice(90, 40)
    assert with_fresh("trades", stored, fresh, 70).equals(every.slice(60, 70))
    assert with_fresh("trades", stored, fresh, 30).equals(every.slice(100, 30))
    assert with_fresh("trades", stored, fresh.slice(0, 0), 30).equals(every.slice(70, 30))
    assert with_fresh("trades", stored.slice(0, 0), fresh, 30).equals(every.slice(100, 30))


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/trades/BTCUSDT?limit=100000", "limit=100000: input should be less than or equal to 50000"),
        ("/trades/BTCUSDT?star_time=1", "star_time is no parameter of this question; /docs lists them"),
        ("/book/BTCUSDT", "at is missing"),
        ("/trades/BTCUSDT?exchange=binance", "BTCUSDT of exchange=binance: no such market is stored"),
    ],
)
def test_a_refusal_names_what_was_asked_and_its_value(ask: Ask, path: str, said: str) -> None:
    assert ask(path).json()["detail"].startswith(said)


def test_arrow_and_json_hold_the_same(ask: Ask, sample: Sample) -> None:
    for table in sample.store.tables(MARKET):
        path = f"/tables/{table}/BTCUSDT?limit=20"
        rows = pa.ipc.open_stream(io.BytesIO(ask(path, headers={"Accept": ARROW}).content)).read_all()
        assert ask(path).json()["data"] == [plain(row) for row in rows.to_pylist()], table


def test_the_page_is_asked_for_again_only_after_an_update(ask: Ask) -> None:
    first = ask("/")
    assert ask("/", headers={"If-None-Match": first.headers["etag"]}).status_code == 304
    assert ask("/page.js", headers={"If-None-Match": '"of before"'}).status_code == 200
    head = ask("/", method="HEAD")
    assert (head.status_code, head.headers["etag"]) == (200, first.headers["etag"])


def test_the_latest_rows_of_one_market(ask: Ask, tmp_path: Path) -> None:
    hot = HotStore(tmp_path)
    for symbol in ("BTCUSDT", "ETHUSDT"):
        hot.extend("bars", Market("binanceusdm", symbol), arrow("bars", [row("bars", 0)]))
    for query, count in (("", 2), ("?symbol=BTC/USDT", 1), ("?symbol=NOPE", 0), ("?exchange=binance", 0)):
        assert len(ask(f"/latest/bars{query}", data_dir=tmp_path).json()) == count
