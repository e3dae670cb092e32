"""The pictures of a report, as SVG text."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from training.importance import Importance

_MODEL, _RIDGE, _IMBALANCE, _GREY = "#1f5fa8", "#d9822b", "#4a9d5b", "#777777"


def _picture(draw: Callable[[Any], None], width: float = 6.2, height: float = 3.4) -> str:
    """One pair of axes that `draw` fills, as an SVG element without a header."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # Fixed salt and no date: the same figures give the same page.
    with mpl.rc_context(
        {"svg.hashsalt": "report", "svg.fonttype": "none", "font.size": 9, "font.family": "sans-serif"}
    ):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots()
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes)
        target = io.StringIO()
        figure.savefig(target, format="svg", metadata={"Date": None})
    text = target.getvalue()
    text = text[text.index("<svg") :]
    # Ids must be unique on the page, which holds several of them.
    salt = _digest(text)
    text = re.sub(r'id="([^"]+)"', rf'id="\1-{salt}"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#\1-{salt})", text)
    return re.sub(r'href="#([^"]+)"', rf'href="#\1-{salt}"', text)


def _digest(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()[:8]


def losses(log: Sequence[dict[str, Any]]) -> str:
    """Training and validation loss by epoch, a line for each fold and seed."""
    runs: dict[tuple[int, int], dict[int, dict[str, Any]]] = {}
    for record in log:
        runs.setdefault((record["fold"], record["seed"]), {})[record["epoch"]] = record

    def draw(axes: Any) -> None:
        for number, ((fold, seed), epochs) in enumerate(sorted(runs.items())):
            color = f"C{number % 10}"
            records = [epochs[epoch] for epoch in sorted(epochs)]
            trained = [record for record in records if "train_loss" in record]
            axes.plot(
                [record["epoch"] for record in records],
                [record["validation_loss"] for record in records],
                color=color,
                label=f"fold {fold}, seed {seed}",
            )
            axes.plot(
                [record["epoch"] for record in trained],
                [record["train_loss"] for record in trained],
                color=color,
                linestyle=":",
            )
        axes.set(xlabel="epoch (0: untrained)", ylabel="loss: validation —, training ···")
        axes.legend(frameon=False, fontsize=8)

    return _picture(draw)


def skill_by_horizon(result: dict[str, Any]) -> str:
    """Skill with its interval by horizon, baselines beside it."""
    horizons = [int(name) for name in result["horizons"]]
    key = "r2_skill" if result["task"] == "regression" else "accuracy"

    def line(figures: dict[str, Any], name: str) -> list[float]:
        return [np.nan if one[name] is None else one[name] for one in figures.values()]

    def draw(axes: Any) -> None:
        figures = result["horizons"]
        axes.fill_between(horizons, line(figures, "low"), line(figures, "high"), color=_MODEL, alpha=0.2, linewidth=0)
        axes.plot(horizons, line(figures, key), color=_MODEL, marker="o", markersize=3, label="TCN, 95 % interval")
        for name, color in (("ridge", _RIDGE), ("last_imbalance", _IMBALANCE), ("majority", _GREY)):
            other = result["baselines"].get(name)
            if other:
                label = name.replace("_", " ")
                axes.plot(horizons, line(other, key), color=color, marker="s", markersize=3, label=label)
        if key == "r2_skill":
            axes.axhline(0, color=_GREY, linewidth=1, label="persistence (no move)")
        axes.set(xlabel="horizon, rows", ylabel="skill (R² against persistence)" if key == "r2_skill" else key)
        axes.legend(frameon=False, fontsize=8)

    return _picture(draw)


def skill_by_fold(result: dict[str, Any]) -> str:
    """Skill of each walk-forward fold, in the order of time, for the first, middle and last horizon."""
    names = list(result["horizons"])
    chosen = list(dict.fromkeys([names[0], names[len(names) // 2], names[-1]]))
    key = "r2_skill" if result["task"] == "regression" else "accuracy"

    def draw(axes: Any) -> None:
        folds = [fold["fold"] for fold in result["folds"]]
        for number, name in enumerate(chosen):
            figures = [fold["horizons"][name] for fold in result["folds"]]
            middle = np.array([np.nan if one[key] is None else one[key] for one in figures])
            low = np.array([np.nan if one["low"] is None else one["low"] for one in figures])
            high = np.array([np.nan if one["high"] is None else one["high"] for one in figures])
            places = np.array(folds) + 0.08 * (number - (len(chosen) - 1) / 2)
            spread = np.maximum(0, np.stack([middle - low, high - middle]))
            axes.errorbar(places, middle, yerr=spread, fmt="o", capsize=3, label=f"horizon {name}")
        axes.axhline(0, color=_GREY, linewidth=1)
        axes.set(xlabel="fold, in the order of time", ylabel=key.replace("r2_", ""), xticks=folds)
        axes.legend(frameon=False, fontsize=8)

    return _picture(draw)


def said_and_came(made: NDArray[np.float64], real: NDArray[np.float64], bins: list[dict[str, Any]]) -> str:
    """Forecast against what came, both in basis points: all rows as density, and the means of ten equal bins."""

    def draw(axes: Any) -> None:
        if not bins:
            axes.text(0.5, 0.5, "the model forecasts no move at this horizon", ha="center", transform=axes.transAxes)
            axes.set(xticks=[], yticks=[])
            return
        bound = max(float(np.quantile(np.abs(real), 0.99)), 1e-9)
        reach = max(float(np.quantile(np.abs(made), 0.999)), 1e-9)
        axes.hexbin(
            made,
            np.clip(real, -bound, bound),
            gridsize=40,
            bins="log",
            cmap="Greys",
            extent=(-reach, reach, -bound, bound),
            rasterized=True,
        )
        axes.plot([-reach, reach], [-reach, reach], color=_GREY, linewidth=1, linestyle="--", label="said = came")
        said, came = [one["said_bp"] for one in bins], [one["came_bp"] for one in bins]
        axes.plot(said, came, color=_MODEL, marker="o", markersize=4, label="means of ten bins")
        axes.set(xlabel="said, bp", ylabel="came, bp")
        axes.legend(frameon=False, fontsize=8)

    return _picture(draw)


def importances(found: Sequence[Importance]) -> str:
    """Skill lost by group of columns, the largest first."""
    shown = list(found)[:15][::-1]

    def draw(axes: Any) -> None:
        names = [one.name if one.columns == 1 else f"{one.name} ({one.columns})" for one in shown]
        axes.barh(names, [one.lost for one in shown], color=_MODEL)
        axes.axvline(0, color=_GREY, linewidth=1)
        axes.set(xlabel="skill lost when the column tells of another time")

    return _picture(draw, height=max(1.6, 0.6 + 0.26 * len(shown)))


def markouts(figures: dict[str, dict[str, Any]]) -> str:
    """Mean gain of the strongest tenth of forecasts, before and after costs."""
    names = [name for name, one in figures.items() if one["trades"]]

    def draw(axes: Any) -> None:
        if not names:
            axes.text(0.5, 0.5, "no forecast, no trade", ha="center", transform=axes.transAxes)
            axes.set(xticks=[], yticks=[])
            return
        horizons = [int(name) for name in names]
        net = [figures[name]["net_bp"] for name in names]
        axes.plot(horizons, [figures[name]["gross_bp"] for name in names], color=_IMBALANCE, marker="o", label="gross")
        axes.plot(horizons, net, color=_RIDGE, marker="o", label="after costs, 95 % interval")
        low, high = ([figures[name][end] for name in names] for end in ("low", "high"))
        axes.fill_between(horizons, low, high, color=_RIDGE, alpha=0.2, linewidth=0)
        axes.axhline(0, color=_GREY, linewidth=1)
        axes.set(xlabel="horizon, rows", ylabel="bp a trade")
        axes.legend(frameon=False, fontsize=8)

    return _picture(draw)


def coverage(segments_ns: Sequence[tuple[int, int]], folds: Sequence[dict[str, list[int]]]) -> str:
    """When there are rows (blue), and the parts of each fold."""

    def draw(axes: Any) -> None:
        def span(row: int, start_ns: int, end_ns: int, color: str, alpha: float = 1.0) -> None:
            axes.barh(row, (end_ns - start_ns) / 1e9, left=start_ns / 1e9, color=color, alpha=alpha, height=0.6)

        for start_ns, end_ns in segments_ns:
            span(0, start_ns, end_ns, _MODEL)
        for number, fold in enumerate(folds, 1):
            for name, color in (("train", _GREY), ("validation", _IMBALANCE), ("test", _RIDGE)):
                span(number, fold[name][0], fold[name][1], color, 0.8)
        axes.set_yticks(range(len(folds) + 1), ["rows", *(f"fold {number}" for number in range(len(folds)))])
        axes.invert_yaxis()
        axes.xaxis.set_major_formatter(lambda value, _: f"{datetime.fromtimestamp(value, UTC):%m-%d %H:%M:%S}")
        axes.tick_params(axis="x", labelsize=7)
        axes.locator_params(axis="x", nbins=5)
        axes.set(xlabel="time (UTC); train grey, validation green, test orange")

    return _picture(draw, width=8.5, height=0.9 + 0.35 * (len(folds) + 1))
