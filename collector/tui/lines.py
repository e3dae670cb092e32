"""From the live state to lines of text, without a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.text import Text

from collector.live_state import FRESH_S, MarketState, State
from collector.times import show_ns

GRADE_STYLE: Final = {"ok": "green", "degraded": "yellow", "bad": "bold red"}
_NO_FEATURES: Final = frozenset({"exchange", "symbol", "epoch", "feature_set", "num_features", "valid"})
_BLOCKS: Final = " ▏▎▍▌▋▊▉█"
_UNITS: Final = ((1e9, "B"), (1e6, "M"), (1e3, "k"))


def headline(state: State | None, error: str | None, now_s: float, *, paused: bool) -> Text:
    """One line: whether a collector runs, since when, and how its journal and backend are."""
    if error is not None:
        return Text(error, "bold red")
    if state is None:
        return Text("no collector has run here yet", "yellow")
    age_s = now_s - state.now_ns / 1e9
    text = Text()
    if paused:
        text.append("PAUSED  ", "reverse")
    if state.stopping:
        text.append("STOPPED  ", "bold yellow")
    elif age_s > FRESH_S:
        text.append(f"STALE, {age_s:.0f} s old  ", "bold red")
    text.append(f"up {duration((state.now_ns - state.started_ns) / 1e9)}  {state.frames:,} frames")
    if state.journal_bytes is not None and state.journal_max_bytes:
        share = state.journal_bytes / state.journal_max_bytes
        text.append(f"  journal {size(state.journal_bytes)}", "bold red" if share > 0.8 else "")
    if state.backend_away_since_ns is not None:
        text.append(f"  backend away {duration((state.now_ns - state.backend_away_since_ns) / 1e9)}", "bold red")
    elif state.backend_lag_s is not None:
        text.append(f"  backend {state.backend_lag_s:.0f} s behind")
    if state.refusing:
        text.append("  REFUSING ROWS", "bold red")
    if state.memory_bytes is not None:
        text.append(f"  {size(state.memory_bytes)}")
    return text


def trouble(state: State | None, mend: str, now_s: float) -> Text:
    """Under an error: what to do, and how old what is still shown is."""
    text = Text()
    if state is not None:
        age_s = now_s - state.now_ns / 1e9
        text.append(f"What is shown is of {show_ns(state.now_ns)[:19]} UTC, {duration(age_s)} ago. ", "yellow")
    return text.append(f"{mend} Asked again each second.".strip())


def market_cells(market: MarketState) -> tuple[Text, Text, Text]:
    """Name, price and grade for the list of markets."""
    price = "-" if market.best_bid is None else decimal(market.best_bid)
    return (
        Text(market.symbol if market.exchange == "binanceusdm" else f"{market.symbol} {market.exchange}"),
        Text(price, justify="right"),
        Text(market.grade, GRADE_STYLE[market.grade]),
    )


def title(market: MarketState) -> Text:
    """Best prices and spread."""
    text = Text(f"{market.name}  ", "bold")
    bid, ask = market.best_bid, market.best_ask
    if bid is None or ask is None:
        text.append("no book", "yellow")
        return text
    text.append(f"{decimal(bid)} / {decimal(ask)} {(ask - bid) / ((ask + bid) / 2) * 1e4:.3g} bps")
    if not market.valid:
        text.append(" NOT VALID", "bold red")
    moment = "" if market.epoch is None else f", {show_ns(market.epoch * 1_000_000_000)[11:19]} UTC"
    return text.append(f"\n{market.exchange}{moment}", "dim")


def quality(market: MarketState) -> Text:
    """Grade with its reasons, streams that are down, gaps, and lag."""
    text = Text()
    text.append(market.grade, GRADE_STYLE[market.grade])
    if market.reasons:
        text.append(f": {', '.join(market.reasons)}")
    for label, names in (("down", market.down), ("gap in", market.open_gaps)):
        if names:
            text.append(f"\n{label}: {', '.join(names)}", "red")
    if market.lag_p50_ms is not None:
        text.append(f"\nlag p50 {market.lag_p50_ms:.0f}  p95 {market.lag_p95_ms:.0f}  p99 {market.lag_p99_ms:.0f} ms")
    quarantined, duplicates = market.counts.get("quarantine", 0), _duplicates(market.counts)
    if quarantined or duplicates:
        text.append(f"\n{quarantined} in quarantine, {duplicates} duplicates", "dim")
    return text


def depth_bars(market: MarketState, rows: int, width: int) -> Text:
    """Asks above, bids below, each in `rows` lines by distance from the best price; bars share one scale."""
    asks, bids = _groups(market.ask_buckets, rows), _groups(market.bid_buckets, rows)
    top = max((value for value, _ in [*asks, *bids] if value is not None), default=0.0)
    text = Text(no_wrap=True)
    if asks or bids:
        text.append(f"depth in {quote(market.name)}, by distance from the best price\n", "bold")
    for side, groups, style in (("ask", asks[::-1], "red"), ("bid", bids, "green")):
        for value, last in groups:
            distance = (last + 1) * market.step * 1e4
            label = f"{side} {distance:5.1f} bp "
            if value is None:
                text.append(f"{label}beyond the known book\n", "dim")
                continue
            amount = f" {money(value):>7}"
            room = max(1, width - len(label) - len(amount))
            text.append(label)
            text.append(f"{bar(value / top if top else 0.0, room):<{room}}", style)
            text.append(f"{amount}\n")
    text.right_crop(1)
    return text


def quote(name: str) -> str:
    """The currency that a market's prices are in: USDT of BTC/USDT and BTC/USDT:USDT."""
    return name.partition("/")[2].partition(":")[0] or "quote currency"


def feature_names(row: Mapping[str, Any] | None) -> list[str]:
    """The features of a row that have a value: it has columns for many that are not computed."""
    return [name for name, value in (row or {}).items() if name not in _NO_FEATURES and value is not None]


def values(row: Mapping[str, Any] | None, names: Sequence[str], columns: int, width: int) -> Text:
    """Named numbers side by side; those that are null or missing are dashes."""
    text = Text(no_wrap=True)
    if row is None:
        return Text("none stored", "dim")
    cell = width // columns
    for at, name in enumerate(names):
        value = row.get(name)
        # Large numbers are times and sums, which an exponent would hide.
        large = isinstance(value, int | float) and abs(value) >= 1e6
        shown = "-" if not isinstance(value, int | float) else f"{value:,.0f}" if large else f"{value:.6g}"
        label = f"{shortened(name, cell - len(shown) - 2)} {shown}"
        text.append(f"{label:<{cell}}" + ("\n" if at % columns == columns - 1 else ""))
    text.rstrip()
    return text


def shortened(name: str, width: int) -> str:
    """A name that fits, with its end: names that are alike differ there (`…_10s`, `…_30s`)."""
    return name if len(name) <= width else f"{name[: max(0, width - 5)]}…{name[-4:]}"


def bar(share: float, width: int) -> str:
    """A bar in eighths of a character."""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    return "█" * (eighths // 8) + (_BLOCKS[eighths % 8] if eighths % 8 else "")


def decimal(value: float) -> str:
    """A price for people."""
    return f"{value:,.2f}" if value >= 1 else f"{value:.8f}".rstrip("0")


def money(value: float) -> str:
    """An amount in three digits or so."""
    for unit, name in _UNITS:
        if value >= unit:
            return f"{value / unit:.1f}{name}"
    return f"{value:.0f}"


def size(count: int) -> str:
    """Bytes for people."""
    for unit, name in ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "kB")):
        if count >= unit:
            return f"{count / unit:.0f} {name}"
    return f"{count} B"


def duration(seconds: float) -> str:
    """A time span in its two largest units."""
    whole = max(0, int(seconds))
    for unit, name, below, lower in ((86_400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= unit:
            return f"{whole // unit}{name}{whole % unit // below}{lower}"
    return f"{whole}s"


def _groups(buckets: Sequence[float | None] | None, rows: int) -> list[tuple[float | None, int]]:
    """Sums of neighbouring buckets and the last one of each; None where one of them is not known."""
    if not buckets:
        return []
    size = -(-len(buckets) // rows)
    groups = [(buckets[at : at + size], min(at + size, len(buckets)) - 1) for at in range(0, len(buckets), size)]
    return [
        (None if any(one is None for one in group) else sum(one for one in group if one is not None), last)
        for group, last in groups
    ]


def _duplicates(counts: Mapping[str, int]) -> int:
    return sum(count for name, count in counts.items() if name.endswith(" duplicates"))
