"""The verdict on a game, given only where the intervals decide it, and what would decide it where they do not.

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
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from lcd.demands import CONTRASTS, DIFFERENCE, Contrast
from lcd.intervals import Floats, Interval, contrast_interval, seed_variances, seeds_needed, two_places
from lcd.scores import CELLS

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

GOOD_TEACHER = 0.5
"""A teacher below this score is named as a limit of the diagnosis."""

MOST_SEEDS = 50
"""Seeds a cell beyond which more seeds are not proposed, unless they only double those there are."""


@dataclass(frozen=True)
class Verdict:
    """What limits the learner in this game.

    Attributes
    ----------
    name : str
        "perception-limited", "policy-limited", "limited by both", "limited jointly", "not limited" or "inconclusive".
    reason : str
        One sentence with the numbers it rests on.
    would_decide : tuple of str
        Sentences; empty unless the verdict is inconclusive.
    cautions : tuple of str
        Sentences on what the verdict does not cover.
    """

    name: VerdictName
    reason: str
    would_decide: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()


def intervals_of(
    samples: Sequence[Floats], errors: Sequence[Floats], least_spread: ArrayLike = 0.0
) -> dict[str, Interval]:
    """The intervals of all :data:`QUANTITIES`, see :func:`lcd.intervals.contrast_interval`."""
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


def decide(
    samples: Sequence[Floats],
    errors: Sequence[Floats],
    *,
    gains: pd.DataFrame,
    teacher_score: float | None = None,
    threshold: float = NEGLIGIBLE,
) -> Verdict:
    """Give the verdict with its reason and, when inconclusive, what would decide it.

    Parameters
    ----------
    samples, errors : sequence of four numpy.ndarray, each of shape (seeds,)
        As in :func:`lcd.intervals.contrast_interval`.
    gains : pandas.DataFrame
        What :func:`lcd.scores.late_gains` returned.
    teacher_score : float or None
        Normalised score of the teacher on unseen levels, None if unknown.
    threshold : float
        δ.

    Returns
    -------
    Verdict
        The verdict.
    """
    shown, least = intervals_of(samples, errors), least_spreads([cell.mean() for cell in samples])
    careful = verdict_intervals(shown, intervals_of(samples, errors, least))
    name = classify(careful, threshold)
    ways: list[str] = []
    if name == "inconclusive":
        ways += _more_seeds(shown, samples, threshold)
        ways += _more_steps(gains, threshold)
        ways += _better_teacher(gains, teacher_score)
        ways = ways or ["A larger budget, a better teacher or a larger encoder: more seeds would only confirm this."]
    reason = _reason(name, shown, careful, threshold, comparable=len(capped_demands(gains)) < 2)
    return Verdict(name, reason, tuple(ways), _cautions(shown, gains, threshold))


def _reason(
    name: VerdictName,
    shown: Mapping[str, Interval],
    careful: Mapping[str, Interval],
    threshold: float,
    *,
    comparable: bool,
) -> str:
    """Say in one sentence what the verdict rests on."""
    perceptual, policy, joint, headroom = (shown[key] for key in ("perceptual", "policy", "joint", "headroom"))
    difference = shown["difference"]
    both = f"the perceptual demand is {perceptual} and the policy-learning demand {policy}"
    if name == "limited by both":
        sides = careful["difference"]
        side = "perception" if sides.low > 0 else "policy learning" if sides.high < 0 else None
        which = f"{side} is the larger, by {_size(difference)}" if side else f"which is larger is open ({difference})"
        if not comparable:
            which = "which is larger cannot be told at this budget"
        return f"Both limit the learner: {both}; {which}."
    if name in ("perception-limited", "policy-limited"):
        first, other = (
            ("Perception", "policy learning") if name == "perception-limited" else ("Policy learning", "perception")
        )
        weaker = policy if name == "perception-limited" else perceptual
        if weaker.high < threshold:
            return f"{first} limits the learner and {other} hardly does: {both}."
        return (
            f"{first} limits the learner more than {other} does, by {_size(difference)}: {both}, "
            f"so that {other} may limit it too."
        )
    if name == "limited jointly":
        return f"Either help alone is enough, and only both at once limit the learner, by {joint}: {both}."
    if name == "not limited":
        return (
            f"Nothing here limits the learner: {both}, the joint demand {joint}, all below {threshold:g}, "
            f"and the headroom is {headroom}."
        )
    if "nothing" in (perceptual.over, policy.over):
        return f"One seed with one episode an evaluation tells no noise: {both}."
    if "episodes" in (perceptual.over, policy.over):
        return f"One seed cannot tell what another would give: {both}, with intervals over episodes alone."
    if perceptual.high < threshold and policy.high < threshold:
        if joint.high >= threshold:
            return f"Neither alone limits the learner, and whether both at once do is open ({joint}): {both}."
        return (
            f"Neither help is worth {threshold:g} of the normalised range, but even both together leave a headroom of "
            f"{headroom}, so the teacher or the budget limits what can be seen: {both}."
        )
    if classify(shown, threshold) != "inconclusive":
        return (
            f"The intervals would tell what limits the learner if seeds that agree so well did not sometimes do so by "
            f"luck: {both}."
        )
    return f"The intervals do not tell what limits the learner, at a threshold of {threshold:g}: {both}."


def _size(difference: Interval) -> str:
    """Return the difference of the demands without its sign."""
    if difference.estimate >= 0:
        return str(difference)
    return str(Interval(-difference.estimate, -difference.high, -difference.low, difference.over))


def _more_seeds(shown: Mapping[str, Interval], samples: Sequence[Floats], threshold: float) -> list[str]:
    """Say how many seeds would decide if the present estimates and spread were the truth."""
    seeds = min(len(cell) for cell in samples)
    if seeds < 2:
        return ["More seeds: at least 3 a cell, since one seed says nothing about the next."]
    variances, spreads = seed_variances(samples), least_spreads([cell.mean() for cell in samples])
    perceptual, policy, joint, headroom = (shown[key].estimate for key in ("perceptual", "policy", "joint", "headroom"))
    larger = "perceptual" if perceptual >= policy else "policy"
    most = max(MOST_SEEDS, 2 * seeds)
    sides = {"perceptual": perceptual - threshold, "policy": policy - threshold}
    routes = [sides]
    if max(perceptual, policy) < threshold:
        sides["joint"] = joint - threshold
        if joint < threshold:
            if headroom >= SMALL_HEADROOM:
                # All demands are small and the headroom is not: more seeds would only confirm that.
                return []
            sides["headroom"] = headroom - SMALL_HEADROOM
    else:
        routes.append({larger: sides[larger], "difference": shown["difference"].estimate})

    def needed(key: str, distance: float) -> int | None:
        least = spreads if distance > 0 or key == "difference" else 0.0
        return seeds_needed(
            variances, QUANTITIES[key], abs(distance), more_than=seeds, at_most=most, least_spread=least
        )

    found = [[needed(key, distance) for key, distance in route.items()] for route in routes]
    enough = [max(count for count in route if count) for route in found if all(route)]
    if not enough:
        return [f"More seeds alone would not: at the present estimates and spread, over {most} a cell are needed."]
    return [f"More seeds: about {min(enough)} a cell instead of {seeds}, if the present estimates and spread hold."]


def _more_steps(gains: pd.DataFrame, threshold: float) -> list[str]:
    """Say whether the curves ask for a larger budget."""
    best = float(gains["final"].max())
    if best < threshold:
        return [f"More steps: all four cells are still near the random score, the best ends at {best:.2f}."]
    # A straight line makes a third of its gain in the last third; a fifth tells a rising curve from a flattening one.
    rising = gains[(gains["late_gain"] >= threshold / 2) & (gains["late_gain"] >= gains["gain"] / 5)]
    if rising.empty:
        return []
    names = ", ".join(f"{'/'.join(CELLS[str(letter)])} by {gain:.2f}" for letter, gain in rising["late_gain"].items())
    return [f"More steps: curves still rise in the last third of the budget ({names})."]


def _better_teacher(gains: pd.DataFrame, teacher_score: float | None) -> list[str]:
    """Say whether the teacher bounds what imitation can show."""
    reached = float(gains["final"].to_dict()["d"])
    if teacher_score is not None and teacher_score < GOOD_TEACHER:
        return [
            f"A better teacher: this one scores {teacher_score:.2f} itself, and imitation shows little beyond that."
        ]
    if teacher_score is None and reached < GOOD_TEACHER:
        return [f"A better teacher, perhaps: its score is unknown, and its best student ends at {reached:.2f}."]
    if teacher_score is not None and reached < teacher_score / 2:
        return [
            f"A larger budget or encoder: semantic/imitation ends at {reached:.2f}, "
            f"its teacher scores {teacher_score:.2f}."
        ]
    return []


def _cautions(demands: Mapping[str, Interval], gains: pd.DataFrame, threshold: float) -> tuple[str, ...]:
    """Say what the verdict leaves out."""
    found = _floor_cautions(gains)
    for key, help_ in (("perceptual", "The semantic view"), ("policy", "Imitation")):
        if demands[key].high < -threshold:
            found.append(f"{help_} makes scores worse ({demands[key]}): check the oracle before trusting the split.")
    joint = demands["joint"]
    if joint.low > threshold:
        found.append(
            f"Having to learn both at once costs a further {joint}: better sight alone would bring "
            f"{demands['perceptual_gain']}, better learning alone {demands['policy_gain']}."
        )
    if joint.high < -threshold:
        found.append(
            f"The demands overlap by {_size(joint)}, for either help pays more where the other is given: better sight "
            f"alone would bring {demands['perceptual_gain']}, better learning alone {demands['policy_gain']}."
        )
    headroom = demands["headroom"]
    # With all demands absent the reason itself says so.
    all_absent = all(demands[key].high < threshold for key in ("perceptual", "policy", "joint"))
    if headroom.estimate > SMALL_HEADROOM and not all_absent:
        found.append(
            f"A headroom of {headroom} is explained by neither: there the teacher or the budget limits the diagnosis."
        )
    return tuple(found)


def capped_demands(gains: pd.DataFrame) -> dict[str, str]:
    """Return which demands are as large as they could show, for the learner who lacks that help only is at the floor.

    Parameters
    ----------
    gains : pandas.DataFrame
        What :func:`lcd.scores.late_gains` returned.

    Returns
    -------
    dict of str to str
        That learner's cell, by its letter, for each such demand; none where the learner with both kinds of help is at
        the floor as well.
    """
    final = gains["final"].to_dict()
    found = {demand: letter for demand, letter in (("perceptual", "c"), ("policy", "b")) if final[letter] < FLOOR}
    return found if final["d"] >= FLOOR else {}


def _floor_cautions(gains: pd.DataFrame) -> list[str]:
    """Say what cannot be told of a learner that learned hardly anything."""
    low, final = capped_demands(gains), gains["final"].to_dict()
    ends = " and ".join(f"{'/'.join(CELLS[letter])} ends at {two_places(final[letter])}" for letter in low.values())
    if len(low) == 2:
        return [
            f"{ends}, hardly above chance: each demand is all that both kinds of help reach together, and which of "
            "the two is the larger cannot be told by their sizes; more steps may."
        ]
    names = {"perceptual": "perceptual", "policy": "policy-learning"}
    return [
        f"{ends}, hardly above chance: the {names[demand]} demand is as large as it could show at this budget."
        for demand in low
    ]
