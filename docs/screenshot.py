"""Makes docs/page.png and docs/tui.svg: page and terminal view over two minutes of the simulated exchange, with a gap.

.venv/bin/python docs/screenshot.py
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from collector.clock import SystemClock  # noqa: E402
from collector.tui.app import CollectorView  # noqa: E402
from collector.tui.source import Source  # noqa: E402
from tests.live.harness import Process, Simulator  # noqa: E402
from tests.live.test_http import free_port  # noqa: E402
from tests.serve.browser import browse  # noqa: E402

_COLLECT_S = 60


async def take(page_picture: Path, terminal_picture: Path, folder: Path) -> None:
    """Collects, has the depth stream cut off for some seconds, and writes what the views show."""
    simulator = Simulator("--symbols", "2", "--seed", "7")
    port = free_port()
    symbols = ("--symbol", "BTC/USDT", "--symbol", "ETH/USDT")
    collector = Process(
        "run", "--url-root", simulator.url, "--data-dir", str(folder / "data"), *symbols, "--flush-interval", "5",
        "--bars", "5s,1m", "--http", f"127.0.0.1:{port}",
    )  # fmt: skip
    try:
        collector.wait_for("$")
        await asyncio.sleep(_COLLECT_S)
        simulator.fault("freeze:for=9,stream=depth,symbol=BTCUSDT")
        await asyncio.sleep(_COLLECT_S)
        async with browse(f"http://127.0.0.1:{port}/", folder / "browser") as page:
            await page.size(1200, 720)
            await page.until("document.getElementById('process').textContent.includes('frames')")
            await asyncio.sleep(5)
            await page.picture(page_picture)
        view = CollectorView(Source(f"http://127.0.0.1:{port}"), SystemClock())
        async with view.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            await asyncio.sleep(2)
            drawn = view.export_screenshot(title="collector tui")
            # Without the fonts that it would fetch from another host: any monospaced one will do.
            drawn = re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL)
            terminal_picture.write_text(drawn)  # noqa: ASYNC240  a small file
    finally:
        collector.stop()
        collector.kill()
        simulator.kill()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        asyncio.run(take(ROOT / "docs" / "page.png", ROOT / "docs" / "tui.svg", Path(scratch)))
