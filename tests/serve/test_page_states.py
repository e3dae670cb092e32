"""What the page says when it cannot show what is collected now: in a headless Chromium, over a server that can fail."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
import uvicorn

from collector.clock import ManualClock
from collector.live_state import STATE_FILE, write_state
from collector.serve.server import configuration
from collector.serve.settings import ServeSettings
from storage_backends.settings import StoreSettings
from tests.audit.sample import Sample
from tests.serve.browser import Page, browse, require_chromium
from tests.serve.conftest import KEY, application, with_key
from tests.test_live_state import state

_STATUS = "document.getElementById('status')?.textContent"  # there is none while the page loads
_BANNER = "(document.getElementById('banner')?.hidden ? '' : document.getElementById('banner')?.innerText)"


class Failing:
    """An application of which some paths fail."""

    def __init__(self) -> None:
        self.app: Any = None
        self.failures: dict[str, tuple[int, str]] = {}

    async def __call__(self, scope: Any, receive: Callable[..., Awaitable[Any]], send: Callable[..., Any]) -> None:
        for path, (status, detail) in self.failures.items():
            if scope["path"].startswith(path):
                headers = [(b"content-type", b"application/json"), (b"retry-after", b"1"), (b"connection", b"close")]
                await send({"type": "http.response.start", "status": status, "headers": headers})
                await send({"type": "http.response.body", "body": msgspec.json.encode({"detail": detail})})
                return
        await self.app(scope, receive, send)


class Served:
    """A server over the sample that can be stopped, started on the same port, and made to fail; and a run's state."""

    def __init__(self, sample: Sample, data_dir: Path, clock: ManualClock) -> None:
        self._sample, self._clock, self._running = sample, clock, False
        self.data_dir = data_dir
        self.failing = Failing()
        self.words: dict[str, Any] = {}
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self, **settings: Any) -> None:
        self.failing.app = application(self._sample, self._clock, data_dir=self.data_dir, **settings)
        chosen = ServeSettings(store=StoreSettings(), port=self.port)
        self._server = uvicorn.Server(configuration(self.failing, chosen))  # type: ignore[arg-type]
        self._server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive()
            self._thread.join(0.01)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]
        self._running = True

    def stop(self) -> None:
        if self._running:
            self._running = False
            self._server.should_exit = self._server.force_exit = True
            self._thread.join(15)
            assert not self._thread.is_alive()

    def collector_says(self, **changes: Any) -> None:
        """The next word of a run, one second after the last."""
        self._clock.advance(1)
        write_state(self.data_dir, state(self._clock.now_ns(), **changes))

    def time_passes(self, seconds: float) -> None:
        self._clock.advance(seconds)


@pytest.fixture
def site(sample: Sample, tmp_path: Path, clock: ManualClock) -> Iterator[Served]:
    require_chromium()
    made = Served(sample, tmp_path / "data", clock)
    made.data_dir.mkdir()
    yield made
    made.stop()


class Words:
    """A run that says something each half second, as long as it is wanted."""

    def __init__(self, site: Served) -> None:
        self._site = site

    async def __aenter__(self) -> None:
        self._site.collector_says()
        self._task = asyncio.create_task(self._speak())

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _speak(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            self._site.collector_says(**self._site.words)


async def says(page: Page, word: str, *banner: str) -> None:
    """Waits for the word beside the market, with each of these in the banner, which fits a phone."""
    await page.until(f"{_STATUS} === {word!r}")
    for text in banner:
        await page.until(f"{_BANNER}.includes({text!r})")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_a_server_that_fails_is_told_from_one_that_is_gone_and_both_come_back(
    site: Served, tmp_path: Path
) -> None:
    site.start()
    async with Words(site), browse(site.url, tmp_path / "browser") as page:
        await page.size(390, 844, phone=True)
        await says(page, "ok")
        assert await page.evaluate(_BANNER) == ""
        await page.evaluate("window.unloaded = false")

        site.stop()
        await says(page, "no answer", "Nobody answers", "What is shown is of", "s ago", "See that the collector runs")
        dimmed = "getComputedStyle(document.querySelector('aside')).opacity"
        assert float(await page.evaluate(dimmed)) < 1, "what was last seen looks as if it were of now"
        site.failing.failures = {"/stream": (500, "the store cannot be read: damaged")}
        site.start()
        await says(page, "error", "The server has failed", "the store cannot be read: damaged", "s ago")
        site.failing.failures = {"/": (429, "too many requests from this address")}
        await says(page, "wait", "Asked too often", "asked again in")
        site.failing.failures = {}
        await says(page, "ok")
        await page.until(f"{_BANNER} === ''")
        assert float(await page.evaluate(dimmed)) == 1
        assert await page.evaluate("window.unloaded") is False, "it was loaded again"


async def test_a_store_that_fails_is_no_empty_one_and_does_not_hide_what_is_live(site: Served, tmp_path: Path) -> None:
    site.failing.failures = {"/symbols": (500, "damaged"), "/state": (503, "no collector")}
    site.start()
    async with browse(site.url, tmp_path / "browser") as page:
        await page.size(390, 844, phone=True)
        await says(page, "error", "The server has failed", "damaged")
        site.failing.failures = dict.fromkeys(("/depth", "/trades", "/gaps", "/tables"), (503, "the store is away"))
        async with Words(site):
            await says(page, "ok", "What was stored cannot be read", "the store is away")
            assert await page.evaluate("document.getElementById('price').textContent.includes('/')")
            assert await page.evaluate("document.getElementById('gaps').textContent") == "", "not known is not none"
            site.failing.failures = {}
            await page.until(f"{_BANNER} === ''")
            await page.until("document.getElementById('gaps').textContent.includes('depth disconnect')")


async def test_a_collector_that_stands_still_is_told_from_one_that_has_stopped_and_one_that_never_ran(
    site: Served, tmp_path: Path
) -> None:
    site.collector_says()
    site.time_passes(200)
    site.start()
    async with browse(site.url, tmp_path / "browser") as page:
        await page.size(390, 844, phone=True)
        await says(page, "stale", "The collector stands still, or was killed", "3 minutes ago")
        async with Words(site):
            await says(page, "ok")
            await page.until(f"{_BANNER} === ''")
        site.collector_says(stopping=True)
        await says(page, "stopped", "The collector has stopped", "collector run")
        other = msgspec.structs.replace(state(0).markets[0], symbol="ETHUSDT")
        site.collector_says(markets=[other])
        await says(page, "not collected", "BTCUSDT is not collected now", "what was stored")
        (site.data_dir / STATE_FILE).unlink()
        await page.call("Page.reload")
        await says(page, "stored", "No collector runs on this data folder")


async def test_a_market_that_is_not_there_is_said_to_be_none(site: Served, tmp_path: Path) -> None:
    site.start()
    async with Words(site), browse(f"{site.url}#binance/NOPEUSDT", tmp_path / "browser") as page:
        await says(page, "ok", "binance/NOPEUSDT is neither collected nor stored here", "This is binanceusdm/BTCUSDT")
        await page.evaluate("location.hash = 'binanceusdm/BTCUSDT'")
        await page.evaluate("location.hash = '%'")
        await page.until(f"{_BANNER}.startsWith('% is neither')")
        assert await page.evaluate("document.getElementById('market').value") == "binanceusdm/BTCUSDT"


async def test_a_key_that_is_missing_wrong_given_and_no_longer_needed(site: Served, tmp_path: Path) -> None:
    asked = "document.getElementById('ask')?.open"
    why = "document.getElementById('why')?.textContent"

    async def enter(page: Page, key: str) -> None:
        await page.evaluate(f"document.getElementById('key').value = {key!r}")
        await page.evaluate("document.querySelector('#ask button').click()")

    site.start(**with_key())
    async with Words(site), browse(site.url, tmp_path / "browser") as page:
        await page.size(390, 844, phone=True)
        await page.until(f"{asked} && {why} === 'The server answers only those who have a key.'")
        await says(page, "locked", "A key is needed")
        await enter(page, "a wrong key")
        await page.until(f"{asked} && {why}.startsWith('The server does not accept this key')")
        await page.evaluate("document.getElementById('ask').close()")
        await page.evaluate("document.getElementById('unlock').click()")
        assert await page.evaluate(asked)
        await enter(page, KEY)
        await says(page, "ok")
        assert not await page.evaluate(asked)

        site.stop()
        site.start(**with_key("another-key-of-the-tests-0123"))
        await page.until(f"{asked} && {why}.startsWith('The server does not accept this key')")
        await says(page, "locked", "A key is needed", "What is shown is of")
        site.stop()
        site.start()
        await says(page, "ok")
        assert not await page.evaluate(asked), "it goes on by itself"


async def test_markets_that_join_and_leave_are_listed_while_the_page_is_open(site: Served, tmp_path: Path) -> None:
    listed = """[...document.querySelectorAll('#market optgroup')].map((group) =>
      [group.label, ...[...group.children].map((one) => one.value)].join(' ')).join('; ')"""
    btc = state(0).markets[0]
    eth = msgspec.structs.replace(btc, symbol="ETHUSDT", name="ETH/USDT", best_bid=3000.0, best_ask=3000.5)
    site.start()
    async with Words(site), browse(site.url, tmp_path / "browser") as page:
        await says(page, "ok")
        assert await page.evaluate(listed) == "collected now binanceusdm/BTCUSDT"
        site.words = {"markets": [eth, btc]}
        await page.until(f"{listed} === 'collected now binanceusdm/ETHUSDT binanceusdm/BTCUSDT'")
        assert await page.evaluate("document.getElementById('market').value") == "binanceusdm/BTCUSDT", "it stays"
        await page.evaluate("location.hash = 'binanceusdm/ETHUSDT'")
        await page.until("document.getElementById('price').textContent.startsWith('3,000 / 3,000.5')")
        site.words = {"markets": [eth]}
        await page.until(f"{listed} === 'collected now binanceusdm/ETHUSDT; stored binanceusdm/BTCUSDT'")
        asked = [urlsplit(one).path for one in page.requests]
        assert asked.count("/symbols") == 1, "which markets are collected comes with what is asked anyway"


async def test_keys_hover_and_places_of_gaps(site: Served, tmp_path: Path) -> None:
    site.start()
    async with Words(site), browse(site.url, tmp_path / "browser") as page:
        await says(page, "ok")
        assert "UTC" in await page.evaluate("document.getElementById('moment').textContent")
        for name, hidden in (("ArrowLeft", False), ("End", True)):
            await page.evaluate(
                f"document.getElementById('map').dispatchEvent(new KeyboardEvent('keydown', {{key: '{name}'}}))"
            )
            await page.until(f"document.getElementById('live').hidden === {str(hidden).lower()}")
        await page.until("document.querySelector('#gaps button') !== null")
        await page.evaluate("document.querySelector('#gaps button').click()")
        point = """(() => { const map = document.getElementById('map');
          for (let x = 80; x < map.clientWidth; x += 3) {
            map.dispatchEvent(new PointerEvent('pointermove', {clientX: map.getBoundingClientRect().x + x,
              clientY: map.getBoundingClientRect().y + 60, bubbles: true}));
            if (document.getElementById('readout').textContent.includes('gap: depth disconnect')) return true;
          }
          return false; })()"""
        await page.until(point)
        assert page.problems == []


async def test_the_description_of_the_interface_needs_no_other_host(site: Served, tmp_path: Path) -> None:
    site.start(**with_key())
    async with browse(f"{site.url}docs", tmp_path / "browser") as page:
        await page.until("!document.getElementById('unlock').hidden")
        await page.evaluate(f"document.getElementById('key').value = {KEY!r}")
        await page.evaluate("document.querySelector('#unlock button').click()")
        await page.until("document.querySelectorAll('details').length > 15")
        trades = "[...document.querySelectorAll('details')].find((one) => one.textContent.includes('GET /trades/'))"
        await page.evaluate(f"{trades}.querySelector('button').click()")
        await page.until(f"{trades}.textContent.includes('status 200')")
        assert {urlsplit(one).netloc for one in page.requests if not one.startswith("data:")} == {
            urlsplit(site.url).netloc
        }
