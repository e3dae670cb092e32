"""Klines of the last hours: fetched once into the store, read from it as a DataFrame."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence

import pandas


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbol", default="BTCUSDT")
    parser.add_argument("--interval", default="1m")
    parser.add_argument("--hours", type=float, default=2)
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--url-root", help="an exchange elsewhere, such as the simulator")
    options = parser.parse_args(arguments)

    start_s = int(time.time() - options.hours * 3600)
    command = [sys.executable, "-m", "collector", "backfill", "klines", "--symbol", options.symbol]
    command += ["--interval", options.interval, "--from", str(start_s), "--data-dir", options.data_dir]
    command += ["--url-root", options.url_root] if options.url_root else []
    subprocess.run(command, check=True)

    frame = pandas.read_parquet(
        f"{options.data_dir}/klines",
        filters=[
            ("symbol", "==", options.symbol),
            ("interval", "==", options.interval),
            ("open_time", ">=", start_s * 1000),
        ],
    ).sort_values("open_time")
    frame.index = pandas.to_datetime(frame.open_time, unit="ms", utc=True)
    print(frame[["open", "high", "low", "close", "volume", "trades"]].tail(10))


if __name__ == "__main__":
    main()
