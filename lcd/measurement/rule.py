"""The rule of verdicts: given only where the intervals decide.

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
ten take off: where all are alike by luck. That caution costs one verdict in a hundred at three seeds. Asking only that
the interval exclude 0 and the estimate reach δ was wrong in up to 36 %.
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
"""What a verdict looks at: the reported quantities, and the difference between perceptual and policy demand."""

NEGLIGIBLE = 0.05
"""δ: demands below this share of the normalised range count as absent."""

SMALL_HEADROOM = 0.25
"""An area of 0.75 is what a learner has that reaches the best score after half of the budget, linearly."""

LEAST_SPREAD, LEAST_VARIATION = 0.04, 0.1
"""Standard deviation over seeds that a cell is taken to have at least where a demand is claimed to be present or to be
the larger one: a tenth of its score, but no more than 0.04. Few seeds may look alike by luck: where three runs in ten
take off, three that did not are as alike as those of a game in which none ever does."""

FLOOR = 0.1
"""A final score below this is hardly above chance; calibration told dials apart only by learners above it."""


def intervals_of(
    samples: Sequence[Floats], errors: Sequence[Floats], least_spread: ArrayLike = 0.0
) -> dict[str, Interval]:
    """The intervals of all :data:`QUANTITIES`, see :func:`lcd.measurement.intervals.contrast_interval`."""
    return {
        name: contrast_interval(samples, errors, contrast, least_spread=least_spread)
        for name, contrast in QUANTITIES.items()
    }


def least_spreads(means: ArrayLike) -> Floats:
    """The standard deviation over seeds that cells of these mean scores are taken to have at least."""
    return np.minimum(LEAST_SPREAD, LEAST_VARIATION * np.abs(means))


def verdict_intervals(shown: Mapping[str, Interval], careful: Mapping[str, Interval]) -> dict[str, Interval]:
    """The intervals that a verdict is given by: where presence is claimed no seeds are taken for as alike as they look.

    Parameters
    ----------
    shown, careful : mapping of str to Interval
        The intervals as they are, and those of cells that scatter by :func:`least_spreads` at least.

    Returns
    -------
    dict of str to Interval
        The lower limits, and both of the difference, are the careful ones.
    """
    return {
        name: found if name == "difference" else replace(found, high=shown[name].high)
        for name, found in careful.items()
    }


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
    seen, decided = perceptual.low >= threshold, policy.low >= threshold
    if seen and decided:
        return "limited by both"
    if seen and (policy.high < threshold or intervals["difference"].low > 0):
        return "perception-limited"
    if decided and (perceptual.high < threshold or intervals["difference"].high < 0):
        return "policy-limited"
    if perceptual.high < threshold and policy.high < threshold:
        if joint.low >= threshold:
            return "limited jointly"
        if joint.high < threshold and intervals["headroom"].high < SMALL_HEADROOM:
            return "not limited"
    return "inconclusive"


def capped_demands(gains: pd.DataFrame) -> dict[str, str]:
    """Return which demands are as large as they could show, for the learner who lacks that help only is at the floor.

    Parameters
    ----------
    gains : pandas.DataFrame
        What :func:`lcd.measurement.scores.late_gains` returned.

    Returns
    -------
    dict of str to str
        That learner's cell, by its letter, for each such demand; none where the learner with both kinds of help is at
        the floor as well.
    """
    final = gains["final"].to_dict()
    found = {demand: letter for demand, letter in (("perceptual", "c"), ("policy", "b")) if final[letter] < FLOOR}
    return found if final["d"] >= FLOOR else {}
