"""One HTML page that tells what a model is worth: no script, no other file, no network."""

from __future__ import annotations

from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from training import metrics, pictures
from training.columns import LEVEL, LOG, OFFSET, RETURN, collapsed
from training.importance import permutation_importance
from training.log import read_log
from training.times import show_ns

if TYPE_CHECKING:
    from training.dataset import Dataset
    from training.evaluate import HeldOut
    from training.run import Run

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; border-bottom: 1px solid #ddd; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.85rem; }
th, td { padding: 0.15rem 0.5rem; text-align: right; border-bottom: 1px solid #eee; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
pre { background: #f5f5f5; padding: 0.7rem; overflow-x: auto; white-space: pre-wrap; font-size: 0.85rem; }
figure { margin: 0; } figcaption { font-size: 0.85rem; color: #555; } svg { max-width: 100%; height: auto; }
.verdict { background: #eef4fb; border-left: 4px solid #1f5fa8; padding: 0.6rem 1rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(24rem, 1fr)); gap: 1rem; }
"""
_MOST_GAPS = 15


def page(run: Run, dataset: Dataset, parts: list[HeldOut], result: dict[str, Any], command: str) -> str:
    """The page, as HTML. `command` is the one that made it."""
    sections = [
        f"<h1>{escape(' '.join(run.config.targets))}: what the forecasts are worth</h1>",
        f'<p class="verdict">{escape(_sentence(result["verdict"]))} Judged on {result["rows"]:,} held-out rows.</p>',
        _skill(result),
        _quality(run, parts, result),
        _training(run, dataset),
        _data(run, dataset),
        _commands(run, command),
    ]
    title = escape(f"{' '.join(run.config.targets)} forecasts")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>'
        f"<body>{''.join(sections)}</body></html>\n"
    )


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def _table(head: list[str], rows: list[list[str]]) -> str:
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"


def _number(value: float | None, digits: int = 4) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _skill(result: dict[str, Any]) -> str:
    if result["task"] == "regression":
        head = ["horizon", "skill", "95 % interval", "correlation", "direction", "persistence", "imbalance", "ridge"]
        head += ["TCN − ridge", "95 % interval"]
        imbalance = result["baselines"]["last_imbalance"]
        rows = [
            [
                name,
                _number(one["r2_skill"]),
                f"{_number(one['low'])} … {_number(one['high'])}",
                _number(one["corr"], 3),
                _number(one["direction"], 3),
                "0",
                _number(imbalance[name]["r2_skill"]) if imbalance else "–",
                _number(result["baselines"]["ridge"][name]["r2_skill"]),
                _number(result["versus_ridge"][name]["r2_skill"]),
                f"{_number(result['versus_ridge'][name]['low'])} … {_number(result['versus_ridge'][name]['high'])}",
            ]
            for name, one in result["horizons"].items()
        ]
        note = (
            "Skill is R² against persistence: 0 is what “the price stays” gives, below 0 is worse. Direction counts "
            "rows where the price moved and the model said something. Intervals are block-bootstrapped; horizons are "
            "not independent of each other, and one of twenty intervals misses by chance."
        )
    else:
        head = ["horizon", "accuracy", "95 % interval", "majority", "F1 weighted", "F1 macro"]
        rows = [
            [
                name,
                _number(one["accuracy"], 3),
                f"{_number(one['low'], 3)} … {_number(one['high'], 3)}",
                _number(one["majority"], 3),
                _number(one["f1_weighted"], 3),
                _number(one["f1_macro"], 3),
            ]
            for name, one in result["horizons"].items()
        ]
        note = "Majority is the accuracy of always saying the commonest class."
    by_horizon = _figure(pictures.skill_by_horizon(result), "How skill decays with the horizon, and what is beside it.")
    by_fold = _figure(pictures.skill_by_fold(result), "The same by walk-forward fold: is it there all the time?")
    return f'<h2>Skill</h2>{_table(head, rows)}<p>{note}</p><div class="pair">{by_horizon}{by_fold}</div>'


def _quality(run: Run, parts: list[HeldOut], result: dict[str, Any]) -> str:
    if result["task"] != "regression":
        return ""
    made = np.concatenate([part.made[0] for part in parts])
    real = np.concatenate([part.real for part in parts])
    skills = [one["r2_skill"] or 0.0 for one in result["horizons"].values()]
    best = int(np.argmax(skills))
    horizon = run.config.horizons[best]
    bins = metrics.calibration(made[:, best], real[:, best])
    said = _figure(
        pictures.said_and_came(made[:, best], real[:, best], bins),
        f"Forecast against what came, {horizon} rows ahead. A forecast that is worth its size lies on the dashed line.",
    )
    costs = result["markout"]
    known = "the spread at that moment" if costs["spread_known"] else "no spread, which the columns do not tell"
    trades = _figure(
        pictures.markouts(costs["horizons"]),
        f"What the strongest tenth of forecasts earns a trade, costs being {known}, and {costs['fee_bp']:g} bp a side.",
    )
    return f'<h2>Forecasts against what came</h2><div class="pair">{said}{trades}</div>'


def _training(run: Run, dataset: Dataset) -> str:
    log = run.folder / "log.jsonl"
    found = [_figure(pictures.losses(read_log(log)), "Loss by epoch; training stops when validation does not improve.")]
    important = permutation_importance(run, dataset)
    if important:
        found.append(_figure(pictures.importances(important), "Permutation importance, on held-out rows."))
    return f'<h2>Training</h2><div class="pair">{"".join(found)}</div>'


def _data(run: Run, dataset: Dataset) -> str:
    starts, stops = dataset.time_ns[dataset.segments[:, 0]], dataset.time_ns[dataset.segments[:, 1] - 1]
    segments = [(int(start), int(stop)) for start, stop in zip(starts, stops, strict=True)]
    counts = dataset.counts
    whole = int(dataset.time_ns[-1] - dataset.time_ns[0]) // dataset.period_ns + 1
    missing = ", ".join(f"{name} {count:,}" for name, count in counts["missing"].items()) or "none"
    facts = [
        ["rows used, of rows read", f"{len(dataset):,} of {counts['rows_read']:,}"],
        ["first and last", f"{show_ns(int(dataset.time_ns[0]))} … {show_ns(int(dataset.time_ns[-1]))}"],
        ["covered, of that time", f"{len(dataset) / whole:.2%}, a row each {dataset.period_ns / 1e6:g} ms"],
        ["segments without a hole", f"{len(segments):,}"],
        ["invalid, or in a stored gap", f"{counts['rows_invalid']:,}"],
        ["breaks in time", f"{counts['time_breaks']:,}"],
        ["missing values", missing],
        ["fingerprint", dataset.fingerprint[:16]],
    ]
    gaps = sorted(
        ((after[0] - before[1], before[1], after[0]) for before, after in pairwise(segments)),
        reverse=True,
    )[:_MOST_GAPS]
    rows = [[show_ns(start), show_ns(end), f"{length / 1e9:,.1f} s"] for length, start, end in gaps]
    holes = (
        f"<p>No window crosses a hole. Those between segments, the longest first, {_MOST_GAPS} at most:</p>"
        if gaps
        else ""
    )
    holes += _table(["from", "to", "length"], rows) if gaps else "<p>No hole.</p>"
    picture = _figure(pictures.coverage(segments, run.times), "Where there are rows, and the folds on them.")
    return f"<h2>Data</h2>{_table(['what', 'figure'], facts)}{picture}{holes}"


def _commands(run: Run, command: str) -> str:
    details = run.details
    kinds = "".join(
        f"<li>as {kind}: {escape(collapsed([column.name for column in run.columns if column.kind == kind]))}</li>"
        for kind in (RETURN, OFFSET, LOG, LEVEL)
        if any(column.kind == kind for column in run.columns)
    )
    return (
        f"<h2>How it was made</h2><pre>{escape(details['command'])}\n{escape(command)}</pre>"
        f"<p>Code {escape(details['git_commit'][:12])}; receptive field {run.config.receptive_field} rows, purge "
        f"{run.config.purge} rows; inputs:</p><ul>{kinds}</ul>"
    )
