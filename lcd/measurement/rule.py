"""The decision rule of verdicts, which are given only where the intervals decide.

A demand is *present* when its whole 95 % interval lies at or above a threshold δ even if seeds scatter by as much as
`LEAST_SPREAD` and `LEAST_VARIATION` say, *absent* when the whole interval lies below it, and otherwise open. δ is 0.05
of the normalised range: a twentieth of the way from random to best. Each verdict is a claim, and is wrong when that
claim is false:

=================== =============================== ===============================================================
verdict             claim                           given when
=================== =============================== ===============================================================
perception-limited  P ≥ δ and P > L                 P present, L not, and L absent or the interval of P − L above 0
policy-limited      L ≥ δ and L > P                 the mirror image
limited by both     P ≥ δ and L ≥ δ                 both present
limited jointly     P < δ, L < δ and J ≥ δ          both absent, J present
not limited         all three < δ, headroom small   all three absent, the interval of the headroom below 0.25
inconclusive        none                            otherwise
=================== =============================== ===============================================================

Each side of an interval fails in about 2.5 % of cases, and a wrong verdict needs such a failure. Simulated at twelve
true positions, on and just beside δ among them, with 2 to 10 seeds that are normal, skewed, or either take off or do
not, and with the spread in all cells or in a single one (`docs/interval_coverage.csv`), a verdict was wrong in at most
3.8 % of diagnoses. By the intervals as they are reported it was wrong in up to 27 %, at three seeds of which three in
ten take off, where all agree by chance. This rule costs 2 % of the verdicts at three seeds, and 0.1 to 0.3 % of the
right ones (in the worst setting 28 and 17 %). Asking only that the interval exclude 0 and the estimate reach δ was
wrong in up to 36 %.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from lcd.measurement.demands import CONTRASTS, DIFFERENCE, Contrast
from lcd.measurement.intervals import Floats, Interval, contrast_interval

VerdictName = Literal[
    "perception-limited", "policy-limited", "limited by both", "limited jointly", "not limited", "inconclusive"
]

QUANTITIES: Mapping[str, Contrast] = MappingProxyType({**CONTRASTS, "difference": DIFFERENCE})
"""Quantities that a verdict uses: the reported ones, and the difference between perceptual and policy demand."""

NEGLIGIBLE = 0.05
"""δ: demands below this share of the normalised range count as absent."""

SMALL_HEADROOM = 0.25
"""Headroom below this is small: a learner that rises linearly to the best score by half of the budget has 0.25."""

LEAST_SPREAD, LEAST_VARIATION = 0.04, 0.1
"""Lower bound of a cell's standard deviation over seeds, used where a demand is claimed to be present or the larger
one: a tenth of its score, and at most 0.04. Few seeds may agree by chance: where three runs in ten take off, three that
did not agree as well as those of a game in which none ever does."""

FLOOR = 0.1
"""A final score below this is at the floor, where little has been learned. Calibration separates difficulty factors
only above it."""


def intervals_of(
    samples: Sequence[Floats], errors: Sequence[Floats], least_spread: ArrayLike = 0.0
) -> dict[str, Interval]:
    """The intervals of all :data:`QUANTITIES`, see :func:`lcd.measurement.intervals.contrast_interval`."""
    return {
        name: contrast_interval(samples, errors, contrast, least_spread=least_spread)
        for name, contrast in QUANTITIES.items()
    }


def least_spreads(means: ArrayLike) -> Floats:
    """Lower bounds of the standard deviation over seeds of cells with these mean scores."""
    return np.minimum(LEAST_SPREAD, LEAST_VARIATION * np.abs(means))


def verdict_intervals(shown: Mapping[str, Interval], careful: Mapping[str, Interval]) -> dict[str, Interval]:
    """Intervals for the decision rule: lower limits use the lower bounds of the spread over seeds.

    Parameters
    ----------
    shown, careful : mapping of str to Interval
        The reported intervals, and those with the spreads of :func:`least_spreads` as lower bounds.

    Returns
    -------
    dict of str to Interval
        The lower limits, and both of the difference, are the careful ones.
    """
    return {
        name: found if name == "difference" else replace(found, high=shown[name].high)
        for name, found in careful.items()
    }


def rule_intervals(samples: Sequence[Floats], errors: Sequence[Floats]) -> dict[str, Interval]:
    """The intervals of all :data:`QUANTITIES` as :func:`classify` takes them, see :func:`verdict_intervals`."""
    careful = intervals_of(samples, errors, least_spreads([cell.mean() for cell in samples]))
    return verdict_intervals(intervals_of(samples, errors), careful)


def classify(intervals: Mapping[str, Interval], threshold: float = NEGLIGIBLE) -> VerdictName:
    """Apply the rule of this module.

    Parameters
    ----------
    intervals : mapping of str to Interval
        At least perceptual, policy, joint, headroom and difference, as :func:`verdict_intervals` returns them.
    threshold : float
        δ.

    Returns
    -------
    str
        The name of the verdict; always "inconclusive" if P or L has no interval over seeds.
    """
    perceptual, policy, joint = intervals["perceptual"], intervals["policy"], intervals["joint"]
    if perceptual.over != "seeds" or policy.over != "seeds":
        return "inconclusive"
    has_perceptual, has_policy = perceptual.low >= threshold, policy.low >= threshold
    if has_perceptual and has_policy:
        return "limited by both"
    if has_perceptual and (policy.high < threshold or intervals["difference"].low > 0):
        return "perception-limited"
    if has_policy and (perceptual.high < threshold or intervals["difference"].high < 0):
        return "policy-limited"
    if perceptual.high < threshold and policy.high < threshold:
        if joint.low >= threshold:
            return "limited jointly"
        if joint.high < threshold and intervals["headroom"].high < SMALL_HEADROOM:
            return "not limited"
    return "inconclusive"


def has_learned(gains: pd.DataFrame) -> bool:
    """Whether any cell ends at the floor or above; where none does, a game is unlearnable at this budget.

    Parameters
    ----------
    gains : pandas.DataFrame
        What :func:`lcd.measurement.scores.late_gains` returned.
    """
    return float(gains["final"].max()) >= FLOOR


def floor_limited_demands(gains: pd.DataFrame) -> dict[str, str]:
    """Find the floor-limited demands: those of which the learner with only the other one solved is at the floor.

    Parameters
    ----------
    gains : pandas.DataFrame
        What :func:`lcd.measurement.scores.late_gains` returned.

    Returns
    -------
    dict of str to str
        The cell of that learner, by its letter, for each such demand; empty where cell d is at the floor, too.
    """
    final = gains["final"].to_dict()
    found = {demand: letter for demand, letter in (("perceptual", "c"), ("policy", "b")) if final[letter] < FLOOR}
    return found if final["d"] >= FLOOR else {}
