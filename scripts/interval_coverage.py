"""Simulate how often intervals for the demands cover the truth, and how often a verdict is wrong.

Four cells with known mean scores are drawn again and again, a few seeds each. The tidy result (one row a setting and
quantity, its rate in percent) is the evidence for the choices in `lcd.measurement.intervals` and
`lcd.measurement.rule`:

    python scripts/interval_coverage.py --output docs/interval_coverage.csv
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from lcd.measurement.demands import Contrast, Demands, demands_of
from lcd.measurement.intervals import Interval, welch_limits
from lcd.measurement.rule import NEGLIGIBLE, QUANTITIES, SMALL_HEADROOM, classify, least_spreads, verdict_intervals

Floats = NDArray[np.float64]

SEEDS = (2, 3, 5, 10)
SPREADS = {  # standard deviation over seeds of the true score in the cells a, b, c, d
    "equal": (0.05, 0.05, 0.05, 0.05),
    "unequal": (0.005, 0.03, 0.03, 0.08),
    "one cell": (0.002, 0.002, 0.08, 0.002),
    "only b": (0.002, 0.08, 0.002, 0.002),
    "only d": (0.002, 0.002, 0.002, 0.08),
    "episodes only": (0.0, 0.0, 0.0, 0.0),
}
EPISODE_ERROR = 0.015  # standard error of one seed's score over its episodes
TRUTHS = {  # true mean scores of the cells a, b, c, d
    "P 0.30, L 0.00": (0.1, 0.4, 0.1, 0.4),
    "P 0.00, L 0.30": (0.1, 0.1, 0.4, 0.4),
    "P 0.20, L 0.20": (0.1, 0.3, 0.3, 0.5),
    "P 0.30, L 0.10": (0.1, 0.4, 0.2, 0.5),
    "P 0.04, L 0.30": (0.1, 0.14, 0.4, 0.44),
    "P 0.04, L 0.04": (0.8, 0.84, 0.84, 0.88),
    "P 0.05, L 0.05": (0.8, 0.85, 0.85, 0.9),
    "P 0.06, L 0.06": (0.8, 0.86, 0.86, 0.92),
    "P 0.00, L 0.00": (0.9, 0.9, 0.9, 0.9),
    "P 0.00, L 0.00, headroom 0.27": (0.73, 0.73, 0.73, 0.73),
    "P 0.04, L 0.04, J 0.30": (0.5, 0.84, 0.84, 0.88),
    "P 0.00, L 0.00, J 0.04": (0.86, 0.9, 0.9, 0.9),
}


def standard_draws(shape: str, size: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Draw deviations of mean 0 and variance 1: normal, uniform, skewed (gamma) or take-off (3 seeds in 10 learn)."""
    if shape == "normal":
        return rng.standard_normal(size)
    if shape == "uniform":
        return rng.uniform(-np.sqrt(3), np.sqrt(3), size)
    if shape == "skewed":
        return (rng.gamma(1.5, size=size) - 1.5) / np.sqrt(1.5)
    return ((rng.random(size) < 0.3) - 0.3) / np.sqrt(0.21)


def draw_scores(
    shape: str, spread: tuple[float, ...], seeds: int, count: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Draw measured scores around 0 and their estimated squared errors, both (count, cells, seeds)."""
    size = (count, 4, seeds)
    scores = standard_draws(shape, size, rng) * np.array(spread)[:, None] + EPISODE_ERROR * rng.standard_normal(size)
    return scores, EPISODE_ERROR**2 * rng.chisquare(100, size) / 100


def chosen(scores: Floats, errors: Floats, contrast: Contrast, least_spread: ArrayLike = 0.0) -> tuple[Floats, Floats]:
    """Limits of `intervals.contrast_interval`: Welch's, at least as far apart as those over episodes."""
    low, high = plain_welch(scores, contrast, least_spread)
    estimate = (low + high) / 2
    noise = errors.mean(-1) @ np.array(contrast.weights) ** 2 / scores.shape[-1]
    half = np.maximum(high - estimate, stats.norm.ppf(0.975) * np.sqrt(noise))
    return estimate - half, estimate + half


def plain_welch(scores: Floats, contrast: Contrast, least_spread: ArrayLike = 0.0) -> tuple[Floats, Floats]:
    """Welch's limits, from the spread over seeds alone."""
    counts = np.full(4, scores.shape[-1])
    return welch_limits(scores.mean(-1), scores.var(-1, ddof=1), counts, contrast, least_spread=least_spread)


def pooled(scores: Floats, contrast: Contrast) -> tuple[Floats, Floats]:
    """Limits of the t interval that takes the four cells to have one variance."""
    seeds = scores.shape[-1]
    weights = np.array(contrast.weights)
    half = stats.t.ppf(0.975, 4 * (seeds - 1)) * np.sqrt(scores.var(-1, ddof=1).mean(-1) * (weights**2).sum() / seeds)
    estimate = scores.mean(-1) @ weights + contrast.offset
    return estimate - half, estimate + half


def bootstrap_limits(
    scores: Floats, errors: Floats, resamples: int, rng: np.random.Generator
) -> dict[tuple[str, str], tuple[Floats, Floats]]:
    """Limits of three bootstraps for every quantity; seeds within cells, then episodes within seeds, are resampled.

    The mean of a seed's resampled episodes is drawn as a normal, which it nearly is. The corrected bootstrap stretches
    the resampled means by √(n / (n − 1)) and takes the percentiles at Hesterberg's small-sample levels (2015, "What
    teachers should know about the bootstrap", section 5.3); the bootstrap-t takes its seeds' own standard errors.
    """
    count, _, seeds = scores.shape
    means = scores.mean(-1)
    drawn = np.empty((count, resamples, 4))
    drawn_variance = np.empty((count, resamples, 4))
    for cell in range(4):
        index = rng.integers(seeds, size=(count, resamples, seeds))
        rows = np.arange(count)[:, None, None]
        values = scores[rows, cell, index]
        drawn_variance[..., cell] = values.var(-1, ddof=1) / seeds
        noise = np.sqrt(errors[rows, cell, index].sum(-1)) / seeds
        drawn[..., cell] = values.mean(-1) + noise * rng.standard_normal((count, resamples))
    tail = stats.norm.cdf(-np.sqrt(seeds / (seeds - 1)) * stats.t.ppf(0.975, seeds - 1))
    limits: dict[tuple[str, str], tuple[Floats, Floats]] = {}
    for name, contrast in QUANTITIES.items():
        weights = np.array(contrast.weights)
        estimate = means @ weights + contrast.offset
        deviation = (drawn - means[:, None]) @ weights
        low, high = np.quantile(deviation, [0.025, 0.975], axis=1)
        limits["percentile bootstrap", name] = estimate + low, estimate + high
        low, high = np.quantile(deviation * np.sqrt(seeds / (seeds - 1)), [tail, 1 - tail], axis=1)
        limits["corrected bootstrap", name] = estimate + low, estimate + high
        error = np.sqrt((scores.var(-1, ddof=1) / seeds) @ weights**2)
        # A resample of one seed over and over has no error of its own; it is left at a tiny one, as nothing says more.
        ratio = deviation / np.sqrt(np.maximum(drawn_variance @ weights**2, 1e-12))
        low, high = np.quantile(ratio, [0.025, 0.975], axis=1)
        limits["bootstrap-t", name] = estimate - high * error, estimate - low * error
    return limits


def coverage(shape: str, spread: str, seeds: int, count: int, resamples: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return how often each method's interval holds the true value 0 (headroom: 1)."""
    scores, errors = draw_scores(shape, SPREADS[spread], seeds, count, rng)
    # A bootstrap of each draw is dear, and a tenth of the draws already tells 80 % from 95 %.
    few = count // 10
    limits = bootstrap_limits(scores[:few], errors[:few], resamples, rng)
    for name, contrast in QUANTITIES.items():
        limits["chosen", name] = chosen(scores, errors, contrast)
        limits["Welch", name] = plain_welch(scores, contrast)
        limits["pooled t", name] = pooled(scores, contrast)
    rows = []
    for (method, name), (low, high) in limits.items():
        truth = QUANTITIES[name].offset
        rate, width = np.mean((low <= truth) & (truth <= high)), np.median(high - low)
        rows.append(("coverage", method, shape, spread, "", seeds, name, 100 * rate, width, len(low)))
    return pd.DataFrame(rows, columns=COLUMNS)


COLUMNS = ["measure", "method", "shape", "spread", "truth", "seeds", "quantity", "percent", "median_width", "draws"]


def loose_rule(demands: dict[str, Interval]) -> str:
    """Return the rule the project began with: present if the interval excludes 0 and the estimate reaches δ."""
    perceptual, policy, joint = (demands[key] for key in ("perceptual", "policy", "joint"))
    seen, decided, jointly = (found.low > 0 and found.estimate >= NEGLIGIBLE for found in (perceptual, policy, joint))
    if seen and decided:
        return "limited by both"
    if seen and (policy.high < NEGLIGIBLE or demands["difference"].low > 0):
        return "perception-limited"
    if decided and (perceptual.high < NEGLIGIBLE or demands["difference"].high < 0):
        return "policy-limited"
    if max(perceptual.high, policy.high) >= NEGLIGIBLE:
        return "inconclusive"
    if jointly:
        return "limited jointly"
    return "not limited" if joint.high < NEGLIGIBLE and demands["headroom"].high < SMALL_HEADROOM else "inconclusive"


def is_true(verdict: str, truth: Demands) -> bool:
    """Tell whether the claim of a verdict holds (the table in `rule`); rounding is forgiven at a boundary."""
    slack = 1e-9
    perceptual, policy, joint, headroom = (
        float(value) for value in (truth.perceptual, truth.policy, truth.joint, truth.headroom)
    )
    seen, decided, jointly = (value >= NEGLIGIBLE - slack for value in (perceptual, policy, joint))
    return {
        "perception-limited": seen and perceptual > policy + slack,
        "policy-limited": decided and policy > perceptual + slack,
        "limited by both": seen and decided,
        "limited jointly": not seen and not decided and jointly,
        "not limited": not seen and not decided and joint < NEGLIGIBLE + slack and headroom < SMALL_HEADROOM,
    }[verdict]


def verdicts(shape: str, spread: str, truth: str, seeds: int, count: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return how often each rule gives a verdict, and a wrong one."""
    scores, errors = draw_scores(shape, SPREADS[spread], seeds, count, rng)
    scores += np.array(TRUTHS[truth])[:, None]
    means = scores.mean(-1)
    least = least_spreads(means)
    shown = {name: chosen(scores, errors, contrast) for name, contrast in QUANTITIES.items()}
    careful = {name: chosen(scores, errors, contrast, least) for name, contrast in QUANTITIES.items()}
    true = demands_of(*TRUTHS[truth])
    claims: dict[str, list[str]] = {"as shown": [], "careful": [], "estimate and 0": []}
    for draw in range(count):
        as_shown, widened = (
            {
                name: Interval(float(low[draw] + high[draw]) / 2, float(low[draw]), float(high[draw]))
                for name, (low, high) in limits.items()
            }
            for limits in (shown, careful)
        )
        claims["as shown"].append(classify(as_shown))
        claims["careful"].append(classify(verdict_intervals(as_shown, widened)))
        claims["estimate and 0"].append(loose_rule(as_shown))
    rows = []
    for rule, names in claims.items():
        given = [name for name in names if name != "inconclusive"]
        wrong = [name for name in given if not is_true(name, true)]
        for quantity, part in (("verdict given", given), ("wrong verdict", wrong)):
            rate = 100 * len(part) / count
            rows.append(("verdict", rule, shape, spread, truth, seeds, quantity, rate, np.nan, count))
    return pd.DataFrame(rows, columns=COLUMNS)


def main() -> None:
    """Run both simulations, print their tables and write the tidy result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="CSV file to write")
    parser.add_argument("--draws", type=int, default=10_000, help="draws a setting; bootstraps get a tenth")
    parser.add_argument("--resamples", type=int, default=1000, help="resamples a bootstrap")
    parser.add_argument("--seed", type=int, default=0, help="seed of the simulation")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    shapes = ("normal", "uniform", "skewed", "take-off")
    parts = [
        coverage(shape, spread, seeds, options.draws, options.resamples, rng)
        for shape, spread, seeds in itertools.product(shapes, SPREADS, SEEDS)
    ]
    parts += [
        verdicts(shape, spread, truth, seeds, options.draws // 5, rng)
        for shape, spread, truth, seeds in itertools.product(shapes[:1] + shapes[2:], list(SPREADS)[:-1], TRUTHS, SEEDS)
    ]
    result = pd.concat(parts, ignore_index=True)
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        result.round({"percent": 2, "median_width": 4}).to_csv(options.output, index=False)
    covered = result[result["measure"] == "coverage"]
    index = ["method", "shape", "spread", "seeds"]
    rules = result[result["measure"] == "verdict"]
    setting = ["truth", "shape", "spread", "seeds"]
    print(covered.pivot_table(index=index, columns="quantity", values="percent").round(1).to_string())
    print(rules.pivot_table(index=setting, columns=["quantity", "method"], values="percent").round(1).to_string())


if __name__ == "__main__":
    main()
