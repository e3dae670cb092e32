"""How much faster than real time a capture replays.

    python benchmarks/replay_speed.py [FILE...] [--exchange NAME] [--rounds N] [--json]

Each round is `collector replay` into an empty store, in a process of its own: reading, core with all tables, Parquet.
"× CPU" is market time over that command's own CPU time; "× wall" is market time over the time of the whole process,
with the start of Python. Of several rounds the median counts. Without FILE: the July USDⓈ-M and the spot capture.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
CAPTURES = Path(os.environ.get("CAPTURE_DIR", ROOT / "../shared/data"))
KNOWN = {
    "binanceusdm": ("usdm_btcusdt_20240718.gz", "usdm_btcusdt_20240719.gz"),
    "binance": ("spot_btcusdt_20240808.gz",),
}
REPLAY = (sys.executable, "-m", "collector", "replay", "--features", "none", "--json")
REACH = 200


def measure(exchange: str, files: list[Path], rounds: int) -> dict[str, float]:
    """The median round."""
    found = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            done = subprocess.run(
                [*REPLAY, *files, "--exchange", exchange, "--data-dir", folder],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=False,
            )
            wall_s = time.perf_counter() - began
        if done.returncode != 0:
            raise SystemExit(done.stderr)
        told = json.loads(done.stdout)
        found.append(
            {
                "inputs": told["inputs"],
                "market_s": told["market_s"],
                "cpu_s": told["cpu_s"],
                "wall_s": wall_s,
                "times_cpu": told["market_s"] / told["cpu_s"],
                "times_wall": told["market_s"] / wall_s,
            }
        )
    middle = statistics.median_low(one["times_cpu"] for one in found)
    return next(one for one in found if one["times_cpu"] == middle)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    parser.add_argument("--exchange", default="binanceusdm", help="of FILE")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="figures as JSON")
    chosen = parser.parse_args()
    wanted = {chosen.exchange: [path.resolve() for path in chosen.files]}
    if not chosen.files:
        wanted = {exchange: [(CAPTURES / name).resolve() for name in names] for exchange, names in KNOWN.items()}
    missing = [path for paths in wanted.values() for path in paths if not path.exists()]
    if missing:
        raise SystemExit(f"no {missing[0]}; set CAPTURE_DIR to the folder of real captures, or name files")
    results = {exchange: measure(exchange, files, chosen.rounds) for exchange, files in wanted.items()}
    if chosen.json:
        print(json.dumps(results))
        return 0
    print(f"{'':<14}{'inputs':>9}{'market s':>10}{'CPU s':>8}{'µs/input':>10}{'× CPU':>8}{'× wall':>8}")
    for exchange, one in results.items():
        print(
            f"{exchange:<14}{one['inputs']:>9,}{one['market_s']:>10.0f}{one['cpu_s']:>8.2f}"
            f"{one['cpu_s'] / one['inputs'] * 1e6:>10.1f}{one['times_cpu']:>8.0f}{one['times_wall']:>8.0f}"
            f"   reach {REACH}: {'reached' if one['times_cpu'] >= REACH else 'NOT reached'}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
