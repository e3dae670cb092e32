"""The trades of the last minutes, and then only those that are new."""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Sequence

from collector import TradesCollector


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbol", default="BTC/USDT")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--url-root", help="an exchange elsewhere, such as the simulator")
    options = parser.parse_args(arguments)

    trades = TradesCollector(
        [options.symbol],
        data_dir=options.data_dir,
        since=dt.timedelta(minutes=options.minutes),
        url_root=options.url_root,
    )
    frame = trades.update()
    print(frame[["timestamp", "price", "quantity", "is_buyer_maker"]].tail())
    print(f"{len(frame)} trades, {(frame.price * frame.quantity).sum():,.0f} in quote currency")

    new = trades.update()
    print(f"{len(new)} more since")


if __name__ == "__main__":
    main()
