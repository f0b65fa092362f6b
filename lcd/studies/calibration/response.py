"""Responses of the demands to the difficulty factors: which demand changes, and by how much."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from lcd.envs.calibration.difficulty import PERCEPTUAL
from lcd.measurement.demands import CONTRASTS, Contrast
from lcd.measurement.intervals import cell_samples, contrast_interval, fieller_limits, mean_limits
from lcd.measurement.rule import FLOOR

Floats = NDArray[np.float64]


class Split(NamedTuple):
    """One way to divide the gap into two demands."""

    perceptual: Contrast
    policy: Contrast


SPLITS: Mapping[str, Split] = MappingProxyType(
    {
        "other solved": Split(CONTRASTS["perceptual"], CONTRASTS["policy"]),
        "shapley": Split(Contrast((-0.5, 0.5, -0.5, 0.5)), Contrast((-0.5, -0.5, 0.5, 0.5))),
        "seeing first": Split(CONTRASTS["perceptual_gain"], CONTRASTS["policy"]),
        "deciding first": Split(CONTRASTS["perceptual"], CONTRASTS["policy_gain"]),
    }
)
"""Ways to divide the gap, as contrasts of the cells a, b, c, d. ``other solved`` is that of `lcd.measurement.demands`:
each demand with the other one solved, and a joint demand. The others have no joint demand: ``seeing first`` assigns it
to perception, ``deciding first`` to policy learning, and the Shapley values half to each."""

CELLS_ALONE = {
    "a": Contrast((1.0, 0.0, 0.0, 0.0)),
    "b": Contrast((0.0, 1.0, 0.0, 0.0)),
    "c": Contrast((0.0, 0.0, 1.0, 0.0)),
    "d": Contrast((0.0, 0.0, 0.0, 1.0)),
}
"""Each cell by itself: a factor is informative only while no cell is at the floor or at the ceiling."""

LEVEL = 0.95
DRAWS = 4000

SPEARMAN, LEAK = 0.95, 0.15
"""Criteria of a factor: minimal rank correlation with its own demand, and maximal leak into the other demand."""

CEILING = 0.95
"""Maximal area of any cell at any setting. Learners above it respond to no factor, nor do those whose final score stays
below `lcd.measurement.rule.FLOOR`."""


def response_table(scores: pd.DataFrame, levels: str, score: str, split: str) -> pd.DataFrame:
    """The demands at every setting of every factor.

    Parameters
    ----------
    scores : pandas.DataFrame
        What :func:`lcd.studies.calibration.sweep.sweep_scores` returned.
    levels, score : str
        Family of the scores.
    split : str
        One of `SPLITS`.

    Returns
    -------
    pandas.DataFrame
        One row a (dial, value, quantity), where dial is the name of the factor: estimate, low, high (95 %) in units of
        the normalised score. The quantities are those of `lcd.measurement.demands.CONTRASTS`, the two demands as the
        split has them, and the four cells.
    """
    quantities = dict(CONTRASTS) | SPLITS[split]._asdict() | CELLS_ALONE
    rows = []
    for (factor, value), setting in scores.groupby(["dial", "value"], sort=False):
        samples, errors = cell_samples(setting, levels, score)
        for quantity, contrast in quantities.items():
            found = contrast_interval(samples, errors, contrast)
            rows.append((factor, value, quantity, found.estimate, found.low, found.high))
    return pd.DataFrame(rows, columns=["dial", "value", "quantity", "estimate", "low", "high"])


def dissociation(scores: pd.DataFrame, levels: str, score: str, split: str, *, seed: int = 0) -> pd.DataFrame:
    """Test whether each factor changes its own demand and not the other one.

    A demand's movement is the slope of its least-squares line over the settings: over the whole range of the factor.
    It is computed for each seed, as the settings of a seed share runs and levels, and gets a t interval over seeds.

    Parameters
    ----------
    scores, levels, score, split
        As in `response_table`; every setting has the same seeds.
    seed
        Of the draws behind the limits of the rank correlation.

    Returns
    -------
    pandas.DataFrame
        One row a factor: dial (its name), own (the demand that should change), spearman (rank correlation of that
        demand, averaged over seeds, with the factor), movement and other_movement (of the own and of the other demand),
        leak (share of the own movement that the other makes, by its size), each with 95 % limits ``_low`` and
        ``_high``. Those of the leak are Fieller's; infinite where the own demand may not move at all. All limits are
        NaN for a single seed.

    References
    ----------
    Fieller, E. C. (1954), "Some problems in interval estimation", Journal of the Royal Statistical Society B 16.
    """
    rows = []
    for factor, of_factor in scores.groupby("dial", sort=False):
        values, cells = _cells_by_seed(of_factor, levels, score)
        own_name, other_name = ("perceptual", "policy") if factor in PERCEPTUAL else ("policy", "perceptual")
        own, other = (cells @ np.array(getattr(SPLITS[split], name).weights) for name in (own_name, other_name))
        slopes = np.stack([_slopes(values, own), _slopes(values, other)])
        measures = {
            "spearman": _rank_correlation(values, own, np.random.default_rng(seed)),
            "movement": mean_limits(slopes[0]),
            "other_movement": mean_limits(slopes[1]),
            "leak": _leak(*slopes),
        }
        row: dict[str, Any] = {"dial": factor, "own": own_name}
        for name, (estimate, low, high) in measures.items():
            row |= {name: estimate, f"{name}_low": low, f"{name}_high": high}
        finals, areas = (_cells_by_seed(of_factor, levels, name)[1].mean(axis=0) for name in ("final", "area"))
        row |= {"lowest": float(finals.min()), "highest": float(areas.max())}
        within = row["lowest"] >= FLOOR and row["highest"] <= CEILING
        row["passes"] = within and measures["spearman"][0] >= SPEARMAN and measures["leak"][0] < LEAK
        rows.append(row)
    return pd.DataFrame(rows)


def alternatives(found: pd.DataFrame) -> pd.DataFrame:
    """Compare families of scores and splits by how well they separate the factors.

    Parameters
    ----------
    found : pandas.DataFrame
        Tables of `dissociation` with columns levels, score and split.

    Returns
    -------
    pandas.DataFrame
        One row a (levels, score, split): passing and dials (numbers of factors), median_leak, worst_leak,
        lowest_spearman, and median_error (half-width of the interval of the own movement, as a share of it).
    """
    error = (found["movement_high"] - found["movement"]) / found["movement"].abs()
    groups = found.assign(error=error).groupby(["levels", "score", "split"], sort=False)
    columns = {
        "passing": groups["passes"].sum(),
        "dials": groups["dial"].count(),
        "median_leak": groups["leak"].median(),
        "worst_leak": groups["leak"].max(),
        "lowest_spearman": groups["spearman"].min(),
        "median_error": groups["error"].median(),
    }
    return pd.DataFrame(columns).reset_index()


Limits = tuple[float, float, float]
"""An estimate and its 95 % limits."""


def _cells_by_seed(scores: pd.DataFrame, levels: str, score: str) -> tuple[Floats, Floats]:
    """Settings of a factor, and the scores of the four cells, shape (seeds, settings, 4)."""
    values = np.sort(scores["value"].unique())
    cells = [np.stack(cell_samples(scores[scores["value"] == value], levels, score)[0], axis=-1) for value in values]
    return values, np.stack(cells, axis=1)


def _slopes(values: Floats, demands: Floats) -> Floats:
    """Least-squares slope of each seed's demands, shape (seeds, settings), over the settings."""
    centred = values - values.mean()
    return demands @ centred / (centred @ centred)


def _leak(own: Floats, other: Floats) -> Limits:
    """Size of the ratio of two means over the same seeds, with Fieller's limits.

    The limits are the ratios at which ``mean(other − ratio · own)`` is just significant.
    """
    mean, by = float(own.mean()), float(other.mean())
    if np.isclose(mean, 0, atol=1e-9):
        return float("inf") if not np.isclose(by, 0, atol=1e-9) else float("nan"), float("nan"), float("nan")
    if len(own) < 2:
        return abs(by / mean), float("nan"), float("nan")
    quantile = float(stats.t.ppf((1 + LEVEL) / 2, len(own) - 1))
    low, high = fieller_limits(by, mean, np.cov(other, own) / len(own), quantile)
    smallest = 0.0 if low <= 0 <= high else min(abs(low), abs(high))
    return abs(by / mean), float(smallest), float(max(abs(low), abs(high)))


def _rank_correlation(values: Floats, demands: Floats, random: np.random.Generator) -> Limits:
    """Spearman's correlation of the mean demand with the factor; for its limits every setting's mean is drawn anew."""
    seeds = len(demands)
    mean = demands.mean(axis=0)
    estimate = float(_spearman(values, mean[None])[0])
    if seeds < 2:
        return estimate, float("nan"), float("nan")
    drawn = mean + stats.sem(demands, axis=0) * random.standard_t(seeds - 1, (DRAWS, len(values)))
    low, high = np.quantile(_spearman(values, drawn), ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return estimate, float(low), float(high)


def _spearman(values: Floats, demands: Floats) -> Floats:
    """Spearman's correlation of each row of demands with the factor; 0 for a row that is flat."""
    ranks = stats.rankdata(np.round(demands, 9), axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    of_factor = stats.rankdata(values) - (len(values) + 1) / 2
    size = np.sqrt((ranks**2).sum(axis=1) * (of_factor**2).sum())
    return np.divide(ranks @ of_factor, size, out=np.zeros(len(demands)), where=size > 0)
