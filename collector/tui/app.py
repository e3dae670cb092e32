"""The terminal application."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import DataTable, Footer, Static

from collector.clock import Clock
from collector.live_state import MarketState
from collector.tui import lines
from collector.tui.source import Seen, Source

_SECOND_S = 1.0
_DEPTH_ROWS = 5
_BAR = ("open", "high", "low", "close", "volume", "delta")


class CollectorView(App[None]):
    """Markets at the left, one of them at the right. Reads once a second; a pause keeps what is shown."""

    TITLE = "depth-collector"
    CSS = """
    #head { height: 1; padding: 0 1; background: $panel; }
    #mend { height: auto; padding: 0 1; margin-bottom: 1; }
    .old { opacity: 50%; }
    #markets { width: 32; height: 1fr; }
    #market { width: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    #title { height: auto; min-height: 1; }
    .section { height: auto; margin-top: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("p", "pause", "Pause"),
        Binding("j,n", "next", "Next"),
        Binding("k", "previous", "Previous"),
    ]

    def __init__(self, source: Source, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self.paused = False
        self._source = source
        self._seen = Seen()
        self._chosen: tuple[str, str] | None = None

    def compose(self) -> ComposeResult:
        yield Static(id="head")
        yield Static(id="mend")
        with Horizontal(id="body"):
            table: DataTable[Text] = DataTable(id="markets", cursor_type="row", show_header=True, zebra_stripes=True)
            yield table
            with VerticalScroll(id="market"):
                yield Static(id="title")
                yield Static(id="depth", classes="section")
                yield Static(id="quality", classes="section")
                yield Static(id="features", classes="section")
                yield Static(id="bar", classes="section")
        yield Footer()

    async def on_mount(self) -> None:
        self.query_one("#markets", DataTable).add_columns("market", "price", "")
        self.set_interval(_SECOND_S, self.look)
        await self.look()

    async def on_unmount(self) -> None:
        await self._source.close()

    async def look(self) -> None:
        """Reads and shows, unless paused."""
        if not self.paused:
            self._seen = _after(self._seen, await self._source.look())
            self._show_markets()
            self.call_after_refresh(self._show)  # once the list knows how wide it is
        self._show()

    def action_pause(self) -> None:
        self.paused = not self.paused
        self._show()

    def action_next(self) -> None:
        self.query_one("#markets", DataTable).action_cursor_down()

    def action_previous(self) -> None:
        self.query_one("#markets", DataTable).action_cursor_up()

    def on_resize(self) -> None:
        self.call_after_refresh(self._show)

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        if event.row_key.value is not None:
            exchange, _, symbol = event.row_key.value.partition(" ")
            self._chosen = (exchange, symbol)
            self._show()

    def _list_width(self) -> int:
        """What the list needs, within half of the screen: a grade that is cut off could not be read."""
        table = self.query_one("#markets", DataTable)
        needed = sum(column.get_render_width(table) for column in table.ordered_columns) + 2
        return max(24, min(needed, self.size.width // 2))

    def _show_markets(self) -> None:
        table: DataTable[Text] = self.query_one("#markets", DataTable)
        markets = self._seen.state.markets if self._seen.state is not None else []
        keys = [f"{market.exchange} {market.symbol}" for market in markets]
        if keys != [row.key.value for row in table.ordered_rows]:
            table.clear()
            for key, market in zip(keys, markets, strict=True):
                table.add_row(*lines.market_cells(market), key=key)
            chosen = " ".join(self._chosen or ())
            if chosen in keys:  # or a market that joins would take the choice away
                table.move_cursor(row=keys.index(chosen))
            return
        columns = [column.key for column in table.ordered_columns]
        for key, market in zip(keys, markets, strict=True):
            for column, cell in zip(columns, lines.market_cells(market), strict=True):
                table.update_cell(key, column, cell, update_width=True)

    def _show(self) -> None:
        seen = self._seen
        head = lines.headline(seen.state, seen.error, self._clock.now_ns() / 1e9, paused=self.paused)
        self.query_one("#head", Static).update(head)
        self.query_one("#markets").styles.width = self._list_width()
        mend = self.query_one("#mend", Static)
        mend.display = seen.error is not None
        mend.update(lines.trouble(seen.state, seen.mend, self._clock.now_ns() / 1e9))
        self.query_one("#body").set_class(seen.error is not None, "old")
        market = self._market()
        if market is None:
            for name in ("title", "depth", "quality", "features", "bar"):
                self.query_one(f"#{name}", Static).update("")
            return
        # Beside the list: 2 for the padding, 1 for a scroll bar.
        width = max(30, self.size.width - self._list_width() - 3)
        parts: dict[str, Text] = {
            "title": lines.title(market),
            "depth": lines.depth_bars(market, _DEPTH_ROWS, width),
            "quality": lines.quality(market),
        }
        place = (market.exchange, market.symbol)
        features = seen.features.get(place)
        names = lines.feature_names(features)
        parts["features"] = _section("features", lines.values(features, names, max(2, width // 36), width))
        bar = seen.bars.get(place)
        parts["bar"] = _section(f"bar {bar['interval']}" if bar else "bar", lines.values(bar, _BAR, 3, width))
        for name, text in parts.items():
            self.query_one(f"#{name}", Static).update(text)

    def _market(self) -> MarketState | None:
        markets: list[MarketState] = self._seen.state.markets if self._seen.state is not None else []
        chosen = [one for one in markets if (one.exchange, one.symbol) == self._chosen]
        return (chosen or markets or [None])[0]  # type: ignore[list-item]


def _after(before: Seen, now: Seen) -> Seen:
    """What is shown after a look: what was seen last stays, and is told to be old, where nothing new came."""
    if now.error is None or before.state is None:
        return now
    return replace(before, error=now.error, mend=now.mend)


def _section(name: str, body: Any) -> Text:
    return Text.assemble((f"{name}\n", "bold"), body)
