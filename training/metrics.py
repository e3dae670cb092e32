"""How good forecasts are, and how sure that is.

Skill is R² against persistence: 1 - Σ(real - made)² / Σ real², in basis points of log-return from the price at t. 0 is
what "no move" gives, less than 0 is worse. Intervals come from a block bootstrap (Künsch 1989): whole blocks of rows
are drawn with replacement, since labels that overlap are not independent.

Arrays: `made` (seeds, rows, outputs), `real` (rows, outputs). Errors are averaged over seeds: the figure is that of one
model, not of an ensemble that nobody serves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DRAWS: Final = 1000
_LEAST_BLOCKS: Final = 20


def block_rows(rows: int, horizon: int) -> int:
    """The length of a bootstrap block: ten of the longest horizon, at least 100, and at least 20 blocks."""
    return max(1, min(max(10 * horizon, 100), rows // _LEAST_BLOCKS))


def block_sums(values: Floats, block: int) -> Floats:
    """Sums over blocks of rows, (blocks, …); the last block may be shorter."""
    edges = np.arange(0, len(values), block)
    return np.add.reduceat(values, edges, axis=0)


def draws(blocks: int, seed: int = 0) -> Floats:
    """How often each block is drawn, (draws, blocks)."""
    return np.random.default_rng(seed).multinomial(blocks, np.full(blocks, 1 / blocks), DRAWS).astype(np.float64)


def ratio_interval(above: Floats, below: Floats) -> tuple[Floats, Floats]:
    """The 95 % interval of Σabove / Σbelow over drawn blocks, each (blocks, outputs); NaN where nothing is below."""
    weights = draws(len(above))
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = (weights @ above) / (weights @ below)
    ratios = np.where(np.isfinite(ratios), ratios, np.nan)
    none = np.isnan(ratios).all(0)
    ratios[:, none] = 0.0
    low, high = np.nanquantile(ratios, [0.025, 0.975], axis=0)
    low[none] = high[none] = np.nan
    return low, high


def regression(made: Floats, real: Floats, block: int) -> list[dict[str, Any]]:
    """Per output: r2_skill with low and high, corr, direction with low and high, mae_bp, moved."""
    errors = ((made - real) ** 2).mean(0)
    nothing = real**2
    low, high = ratio_interval(block_sums(nothing - errors, block), block_sums(nothing, block))
    told = (made != 0) & (real != 0)
    hits = ((np.sign(made) == np.sign(real)) & told).mean(0)
    asked = told.mean(0)
    hit_low, hit_high = ratio_interval(block_sums(hits, block), block_sums(asked, block))
    found = []
    for at in range(real.shape[1]):
        total = nothing[:, at].sum()
        found.append(
            {
                "r2_skill": _number(1 - errors[:, at].sum() / total) if total else None,
                "low": _number(low[at]),
                "high": _number(high[at]),
                "corr": _mean([_corr(one[:, at], real[:, at]) for one in made]),
                "direction": _number(hits[:, at].sum() / asked[:, at].sum()) if asked[:, at].any() else None,
                "direction_low": _number(hit_low[at]),
                "direction_high": _number(hit_high[at]),
                "mae_bp": _number(np.abs(made[:, :, at] - real[:, at]).mean()),
                "moved": _number((real[:, at] != 0).mean()),
            }
        )
    return found


def difference(made: Floats, other: Floats, real: Floats, block: int) -> list[dict[str, Any]]:
    """Per output: the skill of `made` less that of `other`, with its interval; blocks are drawn for both at once."""
    gained = ((other - real) ** 2).mean(0) - ((made - real) ** 2).mean(0)
    low, high = ratio_interval(block_sums(gained, block), block_sums(real**2, block))
    totals = (real**2).sum(0)
    return [
        {
            "r2_skill": _number(gained[:, at].sum() / totals[at]) if totals[at] else None,
            "low": _number(low[at]),
            "high": _number(high[at]),
        }
        for at in range(real.shape[1])
    ]


def classification(made: Floats, real: Floats, block: int) -> list[dict[str, Any]]:
    """Per label: accuracy with its floor (always the commonest class) and interval, F1 weighted and macro.

    `made` holds three scores in turn for each label, (seeds, rows, 3 x labels); `real` classes 0, 1, 2.
    """
    chosen = made.reshape(*made.shape[:2], -1, 3).argmax(-1)
    right = (chosen == real).astype(np.float64).mean(0)
    low, high = ratio_interval(block_sums(right, block), block_sums(np.ones_like(right), block))
    found = []
    for at in range(real.shape[1]):
        shares = np.array([(real[:, at] == one).mean() for one in range(3)])
        scores = np.array([f1_scores(one[:, at], real[:, at]) for one in chosen]).mean(0)
        found.append(
            {
                "accuracy": _number(right[:, at].mean()),
                "low": _number(low[at]),
                "high": _number(high[at]),
                "majority": _number(shares.max()),
                "f1_weighted": _number((scores * shares).sum()),
                "f1_macro": _number(scores.mean()),
                "shares": [_number(share) for share in shares],
            }
        )
    return found


def f1_scores(chosen: NDArray[np.integer[Any]], real: Floats, classes: int = 3) -> Floats:
    """F1 of each class; 0 for one that is neither chosen nor there, as scikit-learn has it."""
    scores = np.zeros(classes)
    for one in range(classes):
        hits = ((chosen == one) & (real == one)).sum()
        wanted = (chosen == one).sum() + (real == one).sum()
        scores[one] = 2 * hits / wanted if wanted else 0.0
    return scores


def calibration(made: Floats, real: Floats, bins: int = 10) -> list[dict[str, Any]]:
    """Mean of what was said and of what came, for rows sorted by what was said into equal bins. Both (rows,)."""
    if not np.ptp(made):
        return []
    order = np.argsort(made, kind="stable")
    return [
        {"said_bp": _number(made[rows].mean()), "came_bp": _number(real[rows].mean()), "rows": len(rows)}
        for rows in np.array_split(order, bins)
        if len(rows)
    ]


def markout(made: Floats, real: Floats, cost_bp: Floats, block: int, share: float = 0.1) -> dict[str, Any]:
    """What the `share` of strongest forecasts would have earned a trade, before and after `cost_bp`; all (rows,)."""
    strength = np.abs(made)
    chosen = (strength >= np.quantile(strength, 1 - share)) & (strength > 0) if len(made) else strength > 0
    if not chosen.any():
        return {"trades": 0, "gross_bp": None, "cost_bp": None, "net_bp": None, "low": None, "high": None}
    gross = np.where(chosen, np.sign(made) * real, 0.0)
    cost = np.where(chosen, cost_bp, 0.0)
    number = chosen.astype(np.float64)
    low, high = ratio_interval(block_sums(gross - cost, block)[:, None], block_sums(number, block)[:, None])
    trades = int(chosen.sum())
    return {
        "trades": trades,
        "gross_bp": _number(gross.sum() / trades),
        "cost_bp": _number(cost.sum() / trades),
        "net_bp": _number((gross - cost).sum() / trades),
        "low": _number(low[0]),
        "high": _number(high[0]),
    }


def _corr(made: Floats, real: Floats) -> float | None:
    if not np.ptp(made) or not np.ptp(real):
        return None
    return float(np.corrcoef(made, real)[0, 1])


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
