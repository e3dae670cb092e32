"""The markets that are simulated: how their prices and quantities are written."""

from __future__ import annotations

from dataclasses import dataclass

from collector.simulator.names import SPOT

_KNOWN = [
    # base; decimals of price and quantity on spot, then on futures; price in ticks and mean level in lots, both spot's
    ("BTC", 2, 5, 1, 3, 9_000_000, 8_000),
    ("ETH", 2, 4, 2, 3, 310_000, 9_000),
    ("SOL", 2, 3, 2, 2, 150_000, 20_000),
    ("BNB", 2, 3, 2, 2, 90_000, 5_000),
    ("XRP", 4, 1, 4, 1, 24_000, 9_000),
    ("DOGE", 5, 0, 5, 0, 21_000, 9_000),
    ("ADA", 4, 1, 4, 0, 8_000, 6_000),
    ("LINK", 2, 2, 3, 2, 2_100, 4_000),
    ("AVAX", 2, 2, 3, 0, 3_200, 3_000),
    ("LTC", 2, 3, 2, 3, 9_500, 9_000),
    ("TRX", 4, 1, 5, 0, 3_300, 9_000),
    ("DOT", 3, 2, 3, 1, 4_300, 9_000),
    ("BCH", 1, 3, 2, 3, 5_200, 3_000),
    ("UNI", 3, 2, 3, 0, 7_800, 4_000),
    ("ATOM", 3, 2, 3, 2, 4_100, 9_000),
    ("NEAR", 3, 1, 3, 0, 2_700, 9_000),
]


@dataclass(frozen=True, slots=True)
class Instrument:
    """One market. Prices are counted in ticks of 10**-price_decimals, quantities in lots of 10**-quantity_decimals."""

    exchange: str
    symbol: str
    base: str
    quote: str
    price_decimals: int
    quantity_decimals: int
    price_digits: int
    """Decimals in the text of a price; the exchange pads with zeros."""
    quantity_digits: int
    start_ticks: int = 100_000
    mean_lots: int = 5_000

    def price_text(self, ticks: int) -> str:
        return _fixed(ticks, self.price_decimals, self.price_digits)

    def quantity_text(self, lots: int) -> str:
        return _fixed(lots, self.quantity_decimals, self.quantity_digits)


def simulated(exchange: str, count: int) -> list[Instrument]:
    """The first `count` markets: well-known ones, then made-up ones."""
    instruments = []
    for number in range(count):
        if number < len(_KNOWN):
            base, spot_price, spot_lot, usdm_price, usdm_lot, ticks, lots = _KNOWN[number]
        else:
            base, spot_price, spot_lot, usdm_price, usdm_lot = f"SIM{number:03d}", 3, 1, 3, 1
            ticks, lots = 20_000 + 100 * number, 5_000
        if exchange == SPOT:
            instruments.append(_instrument(exchange, base, spot_price, spot_lot, ticks, lots))
        else:
            # The same market at the futures' own tick and lot.
            ticks = round(ticks * 10.0 ** (usdm_price - spot_price))
            lots = max(10, round(lots * 10.0 ** (usdm_lot - spot_lot)))
            instruments.append(_instrument(exchange, base, usdm_price, usdm_lot, ticks, lots))
    return instruments


def _instrument(exchange: str, base: str, price: int, quantity: int, ticks: int, lots: int) -> Instrument:
    spot = exchange == SPOT
    # Futures print BTC with pricePrecision 2 although its tick is 0.10.
    price_digits = 8 if spot else max(price, 2)
    quantity_digits = 8 if spot else quantity
    return Instrument(
        exchange, f"{base}USDT", base, "USDT", price, quantity, price_digits, quantity_digits, ticks, lots
    )


def _fixed(units: int, decimals: int, digits: int) -> str:
    if not decimals:
        return f"{units}.{'0' * digits}" if digits else str(units)
    whole, part = divmod(units, 10**decimals)
    return f"{whole}.{part:0{decimals}d}{'0' * (digits - decimals)}"
