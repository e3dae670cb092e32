"""A callback in a live run: prints when one side of the book near the best price outweighs the other.

It is called in a thread of its own, once a second for each market, and may be slow: collection never waits for it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from collector.consumers import Event, consumes

THRESHOLD = float(os.environ.get("SIGNAL_THRESHOLD", "0.6"))


@consumes("epoch")
async def on_epoch(event: Event) -> None:
    """Looks at the 40 log-delta buckets a side, in quote currency."""
    row = event.data
    both = row.bid_sum + row.ask_sum
    if not row.valid or not both:
        return
    imbalance = (row.bid_sum - row.ask_sum) / both
    if abs(imbalance) >= THRESHOLD:
        side = "bids" if imbalance > 0 else "asks"
        print(f"SIGNAL {event.market.symbol} {row.epoch}: {side} outweigh, imbalance {imbalance:+.2f}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbol", default="BTC/USDT")
    parser.add_argument("--duration", help="seconds, then stop")
    parser.add_argument("--url-root", help="an exchange elsewhere, such as the simulator")
    options = parser.parse_args(arguments)

    # The same as `collector run --callback print_signals:on_epoch` in this folder.
    command = [sys.executable, "-m", "collector", "run", "--dry-run", "--symbol", options.symbol]
    command += ["--callback", f"{Path(__file__).stem}:on_epoch"]
    command += ["--duration", options.duration] if options.duration else []
    command += ["--url-root", options.url_root] if options.url_root else []
    with subprocess.Popen(command, env=_with_this_folder()) as collector:
        while True:
            try:
                return collector.wait()
            except KeyboardInterrupt:
                continue  # the collector got the Ctrl-C too, and stops by itself


def _with_this_folder() -> dict[str, str]:
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


if __name__ == "__main__":
    sys.exit(main())
