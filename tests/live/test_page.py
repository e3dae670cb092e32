"""The web page, in a headless Chromium, over a run that is killed and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from tests.live.harness import Process, Simulator, live
from tests.live.test_http import free_port, get
from tests.serve.browser import Page, browse, require_chromium

_STATUS = "document.getElementById('status')?.textContent"  # there is none before the page is
_NOT_DARK = """(() => {
  const map = document.getElementById('map');
  const bytes = map.getContext('2d').getImageData(0, 0, map.width, map.height).data;
  let count = 0;
  for (let at = 0; at < bytes.length; at += 4) if (Math.max(bytes[at], bytes[at + 1]) > 60) count++;
  return count / (bytes.length / 4);
})()"""


async def fits(page: Page, width: int) -> bool:
    await page.size(width, 844, phone=width < 800)
    return bool(await page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


async def test_the_page_shows_a_run_its_end_and_its_return(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    require_chromium()
    port, data = free_port(), tmp_path / "data"
    simulator = simulate("--symbols", "2")
    options = ("--symbol", "BTC/USDT", "--symbol", "ETH/USDT", "--flush-interval", "1", "--http", f"127.0.0.1:{port}")

    def collect() -> Process:
        process = live(simulator, data, *options)
        processes.append(process)
        return process

    process = await asyncio.to_thread(collect)
    url = f"http://127.0.0.1:{port}"
    await asyncio.to_thread(get, url, "/trades/BTCUSDT?limit=1")
    async with browse(url + "/", tmp_path / "browser") as page:
        await page.size(1280, 800)
        # Loads: both markets, a grade, a price, and a map with something in it.
        await page.until(f"['ok', 'degraded', 'bad'].includes({_STATUS})")
        assert await page.evaluate("document.getElementById('market').options.length") == 2
        await page.until("document.getElementById('price').textContent.includes('/')")
        await page.until(f"{_NOT_DARK} > .01")
        # Updates.
        frames = "document.querySelector('#process td:last-child')?.textContent"
        await page.until(f"{frames} !== undefined")
        seen = await page.evaluate(frames)
        await page.until(f"{frames} !== {seen!r}")
        assert await fits(page, 390)
        assert await fits(page, 1280)
        assert page.problems == []

        # Survives: says that nobody answers, then shows the same market again, the gap among what is missing.
        await page.evaluate("document.getElementById('market').value = 'binanceusdm/ETHUSDT'")
        await page.evaluate("document.getElementById('market').dispatchEvent(new Event('change'))")
        await page.until("document.getElementById('price').textContent.startsWith('3')")
        await asyncio.to_thread(process.stop)
        await page.until("['error', 'stale'].includes(document.getElementById('status').className)")
        await page.evaluate("window.unloaded = false")
        await asyncio.to_thread(collect)
        await page.until(f"['ok', 'degraded', 'bad'].includes({_STATUS})")
        await page.until("document.getElementById('gaps').textContent.includes('depth restart')")
        assert await page.evaluate("window.unloaded") is False, "it was loaded again"

        hosts = {urlsplit(address).netloc for address in page.requests if not address.startswith("data:")}
        assert hosts == {f"127.0.0.1:{port}"}
        assert all("exception" not in problem.lower() for problem in page.problems), page.problems


async def test_an_empty_store_and_a_key(processes: list[Process], tmp_path: Path) -> None:
    require_chromium()
    port = free_port()
    key = "a-key-of-the-tests-0123456789"
    (tmp_path / "data").mkdir()
    arguments = ("serve", "--data-dir", str(tmp_path / "data"), "--http-port", str(port))
    server = Process(*arguments, env={"API_KEY": key})
    processes.append(server)
    url = f"http://127.0.0.1:{port}/"
    await asyncio.to_thread(get, url, "health")
    assert (await asyncio.to_thread(httpx.get, f"{url}symbols")).status_code == 401
    async with browse(url, tmp_path / "browser") as page:
        await page.until("document.getElementById('ask').open")
        await page.evaluate(f"document.getElementById('key').value = {key!r}")
        await page.evaluate("document.querySelector('#ask button').click()")
        await page.until(f"{_STATUS} === 'nothing is collected yet'")
        assert await page.evaluate("document.getElementById('market').hidden")
