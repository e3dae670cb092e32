"""Bigtable: one row a message in `market_data`, and `binance_btc_depth` as it always was.

`docs/bigtable.md` has the formats.
"""
