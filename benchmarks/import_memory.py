"""Resident memory of what a dry run imports, library by library, and of a stock ccxt.pro for comparison.

    python benchmarks/import_memory.py [--json]

Each line is measured in a process of its own that imports everything up to and including that line.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

STEPS = {
    "python": "pass",
    "numpy, msgspec, click, sqlite3": "import numpy, msgspec, click, sqlite3",
    "ccxt.pro, Binance only (with aiohttp)": (
        "from collector.sources import lazy_ccxt; lazy_ccxt.load('binance'); lazy_ccxt.load('binanceusdm')"
    ),
    "the feed": "import collector.sources.binance_feed, collector.sources.transport",
    "the market core": "import collector.core.market",
    "the whole command": "import collector.pipeline, collector.cli; collector.cli.options()",
}
STOCK = "import ccxt.pro"
# VmRSS, not ru_maxrss: a child inherits the peak of the process it was forked from.
REPORT = "print([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmRSS')][0])"


def rss_mb(code: str) -> float:
    """Resident memory, in MB, of a fresh process after it has run `code`."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{REPORT}"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    return int(done.stdout.split()[-1]) / 1024


def measure() -> dict[str, float]:
    """Memory in MB by step; steps add up."""
    codes = list(STEPS.values())
    results = {name: rss_mb("\n".join(codes[: number + 1])) for number, name in enumerate(STEPS)}
    results["for comparison: stock ccxt.pro alone"] = rss_mb(STOCK)
    return {name: round(value, 1) for name, value in results.items()}


if __name__ == "__main__":
    results = measure()
    if "--json" in sys.argv[1:]:
        print(json.dumps(results))
    else:
        for name, value in results.items():
            print(f"{value:7.1f} MB  {name}")
