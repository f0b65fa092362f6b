"""Whether a measure of how networks see foretells how far one gets with their eyes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import pandas as pd
from scipy import stats

FEWEST = 3
"""Encoders of a game that it takes to rank them."""

MEASURES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "gradient": ("where", "spearman", "gradient"),
        "integrated_gradients": ("where", "spearman", "integrated-gradients"),
        "smooth_gradient": ("where", "spearman", "smooth-gradient"),
        "occlusion": ("where", "spearman", "occlusion"),
        "revealed": ("how", "area", "revealed"),
        "hidden": ("how", "area", "hidden"),
        "robustness": ("robustness", "L2 norm", "smallest perturbation"),
        "perturbation": ("robustness", "spearman", "smallest perturbation"),
        "invariance": ("invariance", "found"),
    }
)
"""Measures that may foretell: aspect, measure and, unless the mean over all is meant, method of a row of `align`."""


def sight(aligned: pd.DataFrame) -> dict[str, float]:
    """Each of `MEASURES` in the tables of `lcd.alignment.measuring.align` and `invariance_table`, put together."""
    rows = aligned.set_index(["aspect", "measure", "method"]).sort_index()["mean"]
    return {name: float(np.mean(rows.loc[row])) for name, row in MEASURES.items()}


def rank_correlations(encoders: pd.DataFrame, measures: Sequence[str], outcome: str = "score") -> pd.DataFrame:
    """Whether a measure orders the encoders of a game as their outcomes do.

    Within a game the share of the perceptual demand that an encoder closes rises with its score, so that ranks of
    scores are ranks of shares, also where the demand is too small for a share to mean anything.

    Parameters
    ----------
    encoders : pandas.DataFrame
        One row a (game, encoder): game, encoder, the outcome and the measures.
    measures : sequence of str
        Columns that may foretell.
    outcome : str
        Column that is to be foretold.

    Returns
    -------
    pandas.DataFrame
        One row a (measure, game): spearman, Spearman's rank correlation over the game's encoders, NaN where all have
        the same outcome or the same measure, or fewer than `FEWEST` have both; and encoders, their number.
    """
    rows = []
    for measure in measures:
        for game, found in encoders.groupby("game", sort=False):
            known = found[[measure, outcome]].dropna()
            varied = len(known) >= FEWEST and bool((known.max() > known.min()).all())
            correlation = stats.spearmanr(known[measure], known[outcome]).statistic if varied else np.nan
            rows.append((measure, game, float(correlation), len(known)))
    return pd.DataFrame(rows, columns=["measure", "game", "spearman", "encoders"])


def foretelling(encoders: pd.DataFrame, measures: Sequence[str], outcome: str = "score") -> pd.DataFrame:
    """Mean rank correlation of each measure with the outcome over games.

    Parameters
    ----------
    encoders, measures, outcome
        See `rank_correlations`.

    Returns
    -------
    pandas.DataFrame
        One row a measure: spearman, the mean over the games where it is defined; low and high, its limits by Student's
        t over games, which hold for all measures at once in 95 of 100 studies (Bonferroni); least and most, between
        which the mean stays when any one of the encoders is left out; and games, their number. The limits speak of
        other games with these encoders, least and most of how much hangs on one of the encoders.
    """
    whole = rank_correlations(encoders, measures, outcome)
    without = [
        rank_correlations(encoders[encoders["encoder"] != left], measures, outcome)
        for left in encoders["encoder"].unique()
    ]
    rows = []
    for measure in measures:
        known = _of(whole, measure)
        half = np.nan
        if len(known) > 1:
            half = float(stats.t.ppf(1 - 0.025 / len(measures), len(known) - 1) * stats.sem(known))
        mean = float(known.mean()) if len(known) else np.nan
        others = [part.mean() for table in without if len(part := _of(table, measure))]
        ends = (min(others), max(others)) if others else (np.nan, np.nan)
        rows.append((measure, mean, mean - half, mean + half, *ends, len(known)))
    return pd.DataFrame(rows, columns=["measure", "spearman", "low", "high", "least", "most", "games"])


def _of(correlations: pd.DataFrame, measure: str) -> np.ndarray:
    """The correlations of a measure that are defined."""
    return correlations.loc[correlations["measure"] == measure, "spearman"].dropna().to_numpy(dtype=np.float64)
