"""The judgement of a run on rows that it has not seen, with baselines beside it and an interval on every figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from training import metrics
from training.baselines import baseline_outputs, load_baselines
from training.columns import BP, LEVEL, OFFSET
from training.config import CLASSIFICATION
from training.errors import TrainingError
from training.forecast import Forecasts, forecast, judged
from training.run import name_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.dataset import Dataset
    from training.run import Run
    from training.segments import Span

    Floats = NDArray[np.float64]


class HeldOut:
    """Forecasts on held-out rows of one fold: of each seed (seeds, rows, outputs), of baselines, and what came."""

    def __init__(self, run: Run, dataset: Dataset, fold: int, span: Span) -> None:
        config = run.config
        self.fold = fold
        spans = judged(dataset, span, config)
        made: list[Forecasts] = []
        baselines: dict[str, list[Floats]] = {}
        for seed in config.seeds:
            model = run.model(fold, seed)
            made.append(forecast(model, dataset, spans, config))
        self.rows, self.real = made[0].rows, made[0].real
        self.made = np.stack([one.made for one in made])
        # Baselines depend on the fold alone; those of the first seed stand for all.
        stored = load_baselines(run.folder / name_of(fold, config.seeds[0]) / "baselines.npz")
        first = run.model(fold, config.seeds[0])
        for name, linear in stored.items():
            baselines.setdefault(name, []).append(baseline_outputs(linear, first, dataset, spans, config))
        self.baselines = {name: np.stack(parts) for name, parts in baselines.items()}
        if config.task != CLASSIFICATION:
            self.baselines["persistence"] = np.zeros((1, *self.real.shape))


def held_out(run: Run, dataset: Dataset) -> list[HeldOut]:
    """The held-out forecasts of every fold that `dataset` has rows for.

    Raises:
        TrainingError: for none.
    """
    found = [HeldOut(run, dataset, fold, run.held_out(dataset, fold)) for fold in range(run.config.folds)]
    found = [one for one in found if len(one.rows)]
    if not found:
        raise TrainingError(
            "--parquet-path: holds no row after the training rows with a whole context and all labels; "
            "evaluate on the file that was trained on, or on later data"
        )
    return found


def evaluate(run: Run, dataset: Dataset, parts: list[HeldOut], *, fee_bp: float = 0.0) -> dict[str, Any]:
    """All figures, as plain values: see `docs/training.md` for each."""
    config = run.config
    real = np.concatenate([part.real for part in parts])
    made = np.concatenate([part.made for part in parts], axis=1)
    names = sorted(set.intersection(*(set(part.baselines) for part in parts)))
    baselines = {name: np.concatenate([part.baselines[name] for part in parts], axis=1) for name in names}
    block = metrics.block_rows(len(real), config.longest)
    judge = metrics.classification if config.task == CLASSIFICATION else metrics.regression
    figures = judge(made, real, block)
    others = {name: judge(one, real, block) for name, one in baselines.items()}
    result: dict[str, Any] = {
        "task": config.task,
        "rows": len(real),
        "block_rows": block,
        "seeds": list(config.seeds),
        "horizons": _by_horizon(figures, run, 0),
        "baselines": {name: _by_horizon(one, run, 0) for name, one in others.items()},
        "folds": [
            {
                "fold": part.fold,
                "rows": len(part.rows),
                "from_ns": int(dataset.time_ns[part.rows[0]]),
                "to_ns": int(dataset.time_ns[part.rows[-1]]),
                "horizons": _by_horizon(judge(part.made, part.real, min(block, len(part.rows))), run, 0),
            }
            for part in parts
        ],
        "by_seed": {
            str(seed): _by_horizon(judge(made[at : at + 1], real, block), run, 0)
            for at, seed in enumerate(config.seeds)
        },
    }
    if "last_imbalance" not in baselines:
        result["baselines"]["last_imbalance"] = None
    if len(config.targets) > 1:
        result["targets"] = {name: _by_horizon(figures, run, at) for at, name in enumerate(config.targets)}
    if config.task == CLASSIFICATION:
        majority = {key: {"accuracy": figure["majority"]} for key, figure in result["horizons"].items()}
        result["baselines"]["majority"] = majority
        return {**result, "verdict": _class_verdict(result["horizons"])}
    result["versus_ridge"] = _by_horizon(metrics.difference(made, baselines["ridge"], real, block), run, 0)
    rows = np.concatenate([part.rows for part in parts])
    spread, known = spread_bp(dataset, rows)
    result["calibration"] = {
        str(horizon): metrics.calibration(made[0, :, at], real[:, at]) for at, horizon in enumerate(config.horizons)
    }
    result["markout"] = {
        "spread_known": known,
        "fee_bp": fee_bp,
        "horizons": {
            str(horizon): metrics.markout(made[0, :, at], real[:, at], spread + 2 * fee_bp, block)
            for at, horizon in enumerate(config.horizons)
        },
    }
    return {**result, "verdict": _verdict(result["horizons"], result["versus_ridge"])}


def spread_bp(dataset: Dataset, rows: NDArray[np.int64]) -> tuple[Floats, bool]:
    """The spread at each row in basis points, as far as the columns tell it; else zeros and False."""
    places = {column.name.rpartition(".")[2]: at for at, column in enumerate(dataset.columns)}
    kinds = {column.name.rpartition(".")[2]: column.kind for column in dataset.columns}
    for bid, ask in (("best_bid_price", "best_ask_price"), ("best_bid", "best_ask"), ("bid_price_0", "ask_price_0")):
        if kinds.get(bid) == OFFSET and kinds.get(ask) == OFFSET:
            return np.asarray(dataset.inputs[rows, places[ask]] - dataset.inputs[rows, places[bid]], np.float64), True
    if kinds.get("spread") == LEVEL:
        return BP * np.asarray(dataset.inputs[rows, places["spread"]]) / np.asarray(dataset.prices[rows, 0]), True
    return np.zeros(len(rows)), False


def _by_horizon(figures: list[dict[str, Any]], run: Run, target: int) -> dict[str, dict[str, Any]]:
    count = len(run.config.horizons)
    own = figures[target * count : (target + 1) * count]
    return {str(horizon): figure for horizon, figure in zip(run.config.horizons, own, strict=True)}


def _verdict(horizons: dict[str, dict[str, Any]], versus: dict[str, dict[str, Any]]) -> str:
    better = [name for name, one in horizons.items() if one["low"] is not None and one["low"] > 0]
    if not better:
        return "no skill found: at no horizon does the interval lie above persistence"
    beaten = [name for name in better if versus[name]["low"] is not None and versus[name]["low"] > 0]
    against = f"and above ridge at {', '.join(beaten)}" if beaten else "and above ridge at none"
    return f"skill above persistence at horizons {', '.join(better)} (of {', '.join(horizons)}), {against}"


def _class_verdict(horizons: dict[str, dict[str, Any]]) -> str:
    better = [name for name, one in horizons.items() if one["low"] > one["majority"]]
    if not better:
        return "no skill found: at no horizon is the accuracy's interval above always saying the commonest class"
    return f"accuracy above the commonest class at horizons {', '.join(better)} (of {', '.join(horizons)})"


def table(result: dict[str, Any]) -> list[str]:
    """The figures as lines for people."""
    if result["task"] == CLASSIFICATION:
        lines = [f"{'horizon':>7} {'accuracy':>9} {'interval':>17} {'majority':>9} {'F1 weighted':>12} {'F1 macro':>9}"]
        lines += [
            f"{name:>7} {_show(one['accuracy'])} {_interval(one)} {_show(one['majority'])} "
            f"{_show(one['f1_weighted'], 12)} {_show(one['f1_macro'])}"
            for name, one in result["horizons"].items()
        ]
        return [*lines, f"{result['rows']:,} held-out rows; {result['verdict']}"]
    ridge, imbalance = result["baselines"]["ridge"], result["baselines"]["last_imbalance"]
    lines = [
        f"{'horizon':>7} {'skill':>9} {'interval':>17} {'corr':>9} {'direction':>9} | "
        + "".join(f"{name:>12}" for name in ("persistence", "imbalance", "ridge"))
    ]
    for name, one in result["horizons"].items():
        last = imbalance[name]["r2_skill"] if imbalance else None
        lines.append(
            f"{name:>7} {_show(one['r2_skill'])} {_interval(one)} {_show(one['corr'])} {_show(one['direction'])} | "
            f"{0:>12}{_show(last, 12)}{_show(ridge[name]['r2_skill'], 12)}"
        )
    return [*lines, f"{result['rows']:,} held-out rows, 95 % intervals; {result['verdict']}"]


def _show(value: float | None, width: int = 9) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:>{width}.4f}"


def _interval(one: dict[str, Any]) -> str:
    return f"{'-':>17}" if one["low"] is None else f"{one['low']:>8.4f} {one['high']:>8.4f}"
