"""The order book now, in price levels of several widths."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from collector import OrderBookCollector


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbol", default="BTC/USDT")
    parser.add_argument("--tick-sizes", default="10,50,100", help="in quote currency, with commas")
    parser.add_argument("--num-levels", type=int, default=15)
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--url-root", help="an exchange elsewhere, such as the simulator")
    options = parser.parse_args(arguments)

    books = OrderBookCollector(
        [options.symbol],
        options.tick_sizes.split(","),
        options.num_levels,
        data_dir=options.data_dir,
        url_root=options.url_root,
    )
    frame = books.update()
    print(f"{len(frame)} rows of {len(frame.columns)} columns")
    for row in frame.itertuples():
        print(f"tick {row.tick_size:g}: {row.best_bid} / {row.best_ask}, imbalance {row.imbalance:+.3f}")
        for level in range(1, min(3, options.num_levels) + 1):
            bid, ask = (
                (getattr(row, f"{side}_price_{level}"), getattr(row, f"{side}_qty_{level}")) for side in ("bid", "ask")
            )
            print(f"  {bid[1]:12.5f} @ {bid[0]:>10} | {ask[0]:>10} @ {ask[1]:.5f}")


if __name__ == "__main__":
    main()
