"""Makes docs/page.png: the web page over two minutes of the simulated exchange, with a gap in them.

.venv/bin/python docs/screenshot.py
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.live.harness import Process, Simulator  # noqa: E402
from tests.live.test_http import free_port  # noqa: E402
from tests.serve.browser import browse  # noqa: E402

_COLLECT_S = 60


async def take(picture: Path, folder: Path) -> None:
    """Collects, has the depth stream cut off for some seconds, and writes what the page shows."""
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
            await page.picture(picture)
    finally:
        collector.stop()
        collector.kill()
        simulator.kill()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        asyncio.run(take(ROOT / "docs" / "page.png", Path(scratch)))
