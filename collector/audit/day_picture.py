"""A day at a glance: price, a strip of minutes coloured by how good they were, gaps by stream, and the lag."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from collector.audit.day import BAD, DEGRADED, MINUTES, NOT_VALID, NOTHING, OK, DayReport
from collector.errors import ConfigurationError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Told apart without colour too: they get lighter from bad to good (Okabe and Ito's colours, and a grey).
COLOURS: Final = {
    NOTHING: ("#e8e8e8", "nothing stored"),
    NOT_VALID: ("#7f3fa0", "not valid"),
    BAD: ("#b2182b", "bad"),
    DEGRADED: ("#e69f00", "degraded"),
    OK: ("#66c2a5", "ok"),
}
_IN_FULL: Final = 4
"""Up to so many markets have price, gaps and lag too; more have a strip each."""

_LEAST_S: Final = 90.0
"""A gap is drawn at least so wide, or a short one would not be seen."""


def draw(reports: Sequence[DayReport], path: Path) -> None:
    """Writes a picture of one day of all markets in `reports` to `path`; its ending chooses the format.

    Raises:
        ConfigurationError: matplotlib is not installed, or does not know the format.
    """
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_agg import FigureCanvasAgg
    except ImportError as error:
        raise ConfigurationError("--picture", path, "needs matplotlib: pip install 'depth-collector[plot]'") from error
    formats = FigureCanvasAgg.get_supported_filetypes()
    if path.suffix.lstrip(".") not in formats:
        raise ConfigurationError("--picture", path, f"must end in one of {', '.join(sorted(formats))}")
    with mpl.rc_context({"font.size": 9, "svg.hashsalt": "day"}):
        figure = _in_full(reports) if len(reports) <= _IN_FULL else _strips(reports)
        figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else None)


def _in_full(reports: Sequence[DayReport]) -> Figure:
    figure, axes = _figure([part for _ in reports for part in (2.0, 0.45, 0.7, 0.9)], reports[0].date)
    for number, report in enumerate(reports):
        price, strip, gaps, lag = axes[4 * number : 4 * number + 4]
        price.set_title(
            f"{report.exchange} {report.symbol}: {report.coverage:.2%} covered, {report.valid:.2%} valid", loc="left"
        )
        _line(price, report.prices, "#222222")
        price.set_ylabel("mid price")
        price.ticklabel_format(axis="y", useOffset=False, style="plain")
        _strip(strip, report)
        _gaps(gaps, report)
        _line(lag, report.lags, "#0072b2")
        lag.set_ylabel("lag p99, ms")
        lag.set_ylim(bottom=0)
    return figure


def _strips(reports: Sequence[DayReport]) -> Figure:
    figure, axes = _figure([0.35] * len(reports), reports[0].date)
    for axis, report in zip(axes, reports, strict=True):
        axis.set_ylabel(f"{report.exchange} {report.symbol}", rotation=0, ha="right", va="center")
        _strip(axis, report)
    return figure


def _figure(heights: list[float], date: str) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    figure = Figure(figsize=(11, 1 + sum(heights)), layout="constrained")
    axes = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    axes[-1].set_xlim(0, 24)
    axes[-1].set_xticks(range(0, 25, 2), [f"{hour:02d}:00" for hour in range(0, 25, 2)])
    axes[-1].set_xlabel(f"{date}, UTC")
    handles = [Patch(color=colour, label=label) for colour, label in COLOURS.values()]
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles), frameon=False)
    return figure, axes


def _strip(axis: Any, report: DayReport) -> None:
    from matplotlib.colors import ListedColormap

    colours = ListedColormap([colour for colour, _ in COLOURS.values()])
    extent = (0, MINUTES / 60, 0, 1)
    axis.imshow([report.minutes], aspect="auto", cmap=colours, vmin=NOTHING, vmax=OK, extent=extent)
    axis.set_yticks([])


def _gaps(axis: Any, report: DayReport) -> None:
    streams = sorted({stream for stream, _, _ in report.spans}) or ["none"]
    for row, stream in enumerate(streams):
        bars = [
            (from_s / 3600, max(to_s - from_s, _LEAST_S) / 3600) for one, from_s, to_s in report.spans if one == stream
        ]
        axis.broken_barh(bars, (row - 0.4, 0.8), color="#b2182b")
    axis.set_yticks(range(len(streams)), streams)
    axis.set_ylim(len(streams) - 0.5, -0.5)
    axis.set_ylabel("gaps")
    axis.grid(visible=True, axis="x", color="#dddddd", linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)


def _line(axis: Any, values: Sequence[float | None], colour: str) -> None:
    hours = [minute / 60 for minute in range(len(values))]
    axis.plot(hours, [float("nan") if value is None else value for value in values], color=colour, linewidth=0.9)
    axis.grid(visible=True, axis="x", color="#dddddd", linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
