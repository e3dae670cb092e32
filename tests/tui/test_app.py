"""The view through its pilot, on a screen of 80 by 24, in all its states."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import msgspec
import pytest
from textual.widgets import DataTable, Static

from collector.clock import ManualClock
from collector.live_state import State
from collector.tui.app import CollectorView
from collector.tui.source import Seen, Source
from tests.serve.conftest import KEY, clock, sample, served, with_key
from tests.test_live_state import state

__all__ = ["clock", "sample", "served"]  # fixtures of the HTTP tests

NOW_NS = 10**18
SIZE = (80, 24)


class Scripted(Source):
    """Gives what a test sets."""

    def __init__(self, seen: Seen) -> None:
        super().__init__("http://localhost")
        self.seen = seen

    async def look(self) -> Seen:
        return self.seen


def two_markets(now_ns: int = NOW_NS) -> State:
    made = state(now_ns)
    other = msgspec.structs.replace(
        made.markets[0], symbol="ETHUSDT", name="ETH/USDT", best_bid=3000.0, best_ask=3000.3
    )
    return msgspec.structs.replace(made, markets=[made.markets[0], other])


def text(view: CollectorView, name: str) -> str:
    return str(view.query_one(f"#{name}", Static).render())


async def test_markets_are_listed_chosen_and_updated() -> None:
    source = Scripted(Seen(two_markets(), features={("binanceusdm", "BTCUSDT"): {"epoch": 1, "mid": 90_538.465}}))
    view = CollectorView(source, ManualClock(NOW_NS))
    async with view.run_test(size=SIZE) as pilot:
        await pilot.pause()
        table = view.query_one("#markets", DataTable)
        assert [str(table.get_row_at(at)[0]) for at in range(2)] == ["BTCUSDT", "ETHUSDT"]
        assert text(view, "title").startswith("BTC/USDT  90,538.46 / 90,538.47")
        assert "mid 90538.5" in text(view, "features")
        await pilot.press("j")
        assert text(view, "title").startswith("ETH/USDT  3,000.00")
        assert "none stored" in text(view, "features")
        changed = two_markets(NOW_NS + 10**9)
        changed.markets[1].best_bid = 2999.0
        changed.markets[1].grade = "degraded"
        source.seen = Seen(changed)
        await view.look()
        assert text(view, "title").startswith("ETH/USDT  2,999.00"), "the choice stays"
        await pilot.pause()
        assert table.ordered_columns[2].get_render_width(table) >= len("degraded"), "a longer grade is not cut off"
        assert table.size.width >= sum(column.get_render_width(table) for column in table.ordered_columns)
        await pilot.press("k")
        assert text(view, "title").startswith("BTC/USDT")
        assert text(view, "title").endswith("binanceusdm, 01:46:41 UTC")
        joined = two_markets(NOW_NS + 2 * 10**9)
        joined.markets.insert(0, msgspec.structs.replace(joined.markets[0], symbol="SOLUSDT", name="SOL/USDT"))
        source.seen = Seen(joined)
        await view.look()
        await pilot.pause()
        assert table.row_count == 3
        assert text(view, "title").startswith("BTC/USDT"), "a market that joins does not take the choice away"


async def test_a_pause_keeps_what_is_shown() -> None:
    source = Scripted(Seen(two_markets()))
    view = CollectorView(source, ManualClock(NOW_NS))
    async with view.run_test(size=SIZE) as pilot:
        await pilot.press("p")
        source.seen = Seen(error="gone")
        await view.look()
        assert text(view, "head").startswith("PAUSED")
        assert text(view, "title").startswith("BTC/USDT")
        await pilot.press("p")
        await view.look()
        assert text(view, "head") == "gone"


async def test_what_was_seen_last_stays_and_is_told_to_be_old() -> None:
    source, now = Scripted(Seen(error="gone", mend="Start it.")), ManualClock(NOW_NS)
    view = CollectorView(source, now)
    async with view.run_test(size=SIZE) as pilot:
        await pilot.pause()
        assert (text(view, "head"), text(view, "title")) == ("gone", "")
        assert text(view, "mend") == "Start it. Asked again each second."
        source.seen = Seen(two_markets())
        await view.look()
        assert not view.query_one("#mend").display
        now.advance(90)
        source.seen = Seen(error="gone", mend="Start it.")
        await view.look()
        assert text(view, "head") == "gone"
        assert text(view, "mend").startswith("What is shown is of 2001-09-09 01:46:40 UTC, 1m30s ago. Start it.")
        assert text(view, "title").startswith("BTC/USDT  90,538.46")
        assert view.query_one("#body").has_class("old")
        source.seen = Seen(two_markets(NOW_NS + 90 * 10**9))
        await view.look()
        assert not view.query_one("#body").has_class("old")
        assert not view.query_one("#mend").display


@pytest.mark.parametrize(
    ("seen", "later_s", "head"),
    [
        (Seen(), 0, "no collector has run here yet"),
        (Seen(error="no answer from http://localhost"), 0, "no answer from http://localhost"),
        (Seen(two_markets()), 60, "STALE, 60 s old"),
        (Seen(msgspec.structs.replace(two_markets(), markets=[])), 0, "up "),
    ],
)
async def test_empty_stale_and_broken_states(seen: Seen, later_s: int, head: str) -> None:
    view = CollectorView(Scripted(seen), ManualClock(NOW_NS + later_s * 10**9))
    async with view.run_test(size=SIZE) as pilot:
        await pilot.pause()
        assert text(view, "head").startswith(head)


async def test_it_leaves_on_q() -> None:
    view = CollectorView(Scripted(Seen(two_markets())), ManualClock(NOW_NS))
    async with view.run_test(size=SIZE) as pilot:
        await pilot.press("q")
        await pilot.pause()
    assert view.return_code == 0


async def test_the_source_reads_a_server(served: Callable[..., tuple[str, int]]) -> None:
    host, port = served(**with_key())
    source = Source(f"http://{host}:{port}", KEY)
    assert (await source.look()).error == "no collector has run on this data folder"
    await source.close()
    wrong = Source(f"http://{host}:{port}", "wrong")
    seen = await wrong.look()
    assert seen.error == "this key is not accepted"
    assert "--api-key" in seen.mend
    await wrong.close()
    without = Source(f"http://{host}:{port}")
    assert (await without.look()).error == "a key is needed"
    await without.close()
    nobody = Source("http://127.0.0.1:9")
    assert "ConnectError" in str((await nobody.look()).error)
    await nobody.close()


async def test_another_version_is_told() -> None:
    source = Source("http://localhost")
    source._http = httpx.AsyncClient(
        base_url="http://localhost", transport=httpx.MockTransport(lambda _: httpx.Response(200, json={"pid": "x"}))
    )
    assert (await source.look()).error == "the collector is of another version than this view"
    await source.close()
