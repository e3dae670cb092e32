"""Trades every few seconds until Ctrl-C. Started again, it goes on behind the last trade that it stored."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from collector import TradesCollector
from collector.errors import CollectorError


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbol", action="append", help="repeatable")
    parser.add_argument("--every", type=float, default=10, help="seconds")
    parser.add_argument("--times", type=int, help="stop after so many updates")
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--url-root", help="an exchange elsewhere, such as the simulator")
    options = parser.parse_args(arguments)

    symbols = options.symbol or ["BTC/USDT", "ETH/USDT"]
    trades = TradesCollector(symbols, data_dir=options.data_dir, url_root=options.url_root)
    updates = 0
    while options.times is None or updates < options.times:
        if updates:
            time.sleep(options.every)
        updates += 1
        try:
            frame = trades.update()
        except CollectorError as error:  # the exchange is away: what is missed now comes with a later update
            print(error)
            continue
        counts = frame.groupby("symbol").size().to_dict()
        print(", ".join(f"{symbol}: {count} new" for symbol, count in counts.items()) or "nothing new", flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("stopped; all that was printed is stored")
