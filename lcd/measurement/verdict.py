"""The verdict on a game: its reason, and what would decide it where the intervals do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from lcd.measurement.intervals import Floats, Interval, seed_variances, seeds_needed, squared_errors, two_places
from lcd.measurement.rule import (
    FLOOR,
    NEGLIGIBLE,
    QUANTITIES,
    SMALL_HEADROOM,
    VerdictName,
    classify,
    floor_limited_demands,
    has_learned,
    intervals_of,
    least_spreads,
    rule_intervals,
)
from lcd.measurement.scores import CELLS

GOOD_TEACHER = 0.5
"""A teacher below this score is named as a limit of the diagnosis."""

CLEARLY_BETTER = 0.1
"""A learner from reward that ends further above its teacher than this, and than chance explains, is named."""

CLEAR_ERRORS = 3
"""So many standard errors are beyond chance for the best of a handful of learners."""

KNOWN_TRAINING = 0.5
"""A student that ends at this score or above on its training levels, and on unseen ones at less than half of that,
knows its training levels by heart."""

OTHER_LEVELS = "More training levels (--levels) or another encoder (--encoder) may help, more steps hardly."
"""What may help a student that knows its training levels by heart."""

MOST_SEEDS = 50
"""Seeds a cell beyond which more seeds are not proposed, unless they only double those there are."""


@dataclass(frozen=True)
class BetterLearner:
    """A learner from reward that ended clearly above the teacher of imitation.

    Attributes
    ----------
    view : str
        What it sees.
    seed : int
        Its seed.
    score, teacher_score : float
        Normalised scores on training levels, its own and the teacher's.
    """

    view: str
    seed: int
    score: float
    teacher_score: float

    @property
    def meaning(self) -> str:
        """What it means for a verdict, in one sentence."""
        return (
            f"A learner from reward beats the teacher ({self.view}/rl, seed {self.seed}: {two_places(self.score)} to "
            f"{two_places(self.teacher_score)} on training levels), so that imitation shows less than better policy "
            "learning would bring."
        )

    @property
    def remedy(self) -> str:
        """How the diagnosis can be made with the better teacher, as the end of a sentence."""
        return (
            f"policy.safetensors of the run {self.view}/rl, seed {self.seed}, given as --teacher of lcd diagnose with "
            "another --out."
        )


@dataclass(frozen=True)
class Verdict:
    """What limits the learner in this game.

    Attributes
    ----------
    name : str
        "perception-limited", "policy-limited", "limited by both", "limited jointly", "not limited" or "inconclusive".
    reason : str
        One sentence with the numbers it rests on; a second one before it where the teacher is worse than a learner.
    would_decide : tuple of str
        Sentences; empty unless the verdict is inconclusive.
    cautions : tuple of str
        Sentences on what the verdict does not cover.
    """

    name: VerdictName
    reason: str
    would_decide: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()


def decide(
    samples: Sequence[Floats],
    errors: Sequence[Floats],
    *,
    gains: pd.DataFrame,
    training_gains: pd.DataFrame | None = None,
    teacher_score: float | None = None,
    better: BetterLearner | None = None,
    threshold: float = NEGLIGIBLE,
) -> Verdict:
    """Decide the verdict with its reason and, when inconclusive, what would decide it.

    Parameters
    ----------
    samples, errors : sequence of four numpy.ndarray, each of shape (seeds,)
        As in :func:`lcd.measurement.intervals.contrast_interval`.
    gains : pandas.DataFrame
        What :func:`lcd.measurement.scores.late_gains` returned.
    training_gains : pandas.DataFrame, optional
        The same on training levels.
    teacher_score : float or None
        Normalised score of the teacher on unseen levels, None if unknown.
    better : BetterLearner or None
        What :func:`better_than_teacher` found.
    threshold : float
        δ.

    Returns
    -------
    Verdict
        The verdict.
    """
    shown, careful = intervals_of(samples, errors), rule_intervals(samples, errors)
    name = classify(careful, threshold)
    by_heart = None if training_gains is None else _by_heart(gains, training_gains)
    ways: list[str] = []
    if name == "inconclusive":
        ways += [] if better is None else [f"A better teacher: {better.remedy}"]
        ways += _more_seeds(shown, samples, errors, threshold)
        if by_heart is None:
            ways += _more_steps(gains, threshold)
            ways += _better_teacher(gains, teacher_score, named=better is not None)
        else:
            ways += [OTHER_LEVELS]
        ways = ways or ["A larger budget, a better teacher or a larger encoder: more seeds would only confirm this."]
    limit = "the teacher or the budget" if by_heart is None else "learning by heart"
    reason = _reason(name, shown, careful, threshold, limit, comparable=not floor_limited_demands(gains))
    if name == "inconclusive" and not has_learned(gains):
        reason = f"{_unlearnable(gains)} {reason}"
    cautions = _cautions(shown, gains, threshold, limit, steps_help=by_heart is None)
    if by_heart is not None:
        cautions = (by_heart if name == "inconclusive" else f"{by_heart} {OTHER_LEVELS}", *cautions)
    if better is not None:
        reason = f"{better.meaning} {reason}"
        if name != "inconclusive":
            cautions = (f"A better teacher is there: {better.remedy}", *cautions)
    return Verdict(name, reason, tuple(ways), cautions)


def better_than_teacher(curves: pd.DataFrame, teacher_score: float | None) -> BetterLearner | None:
    """Find the learner from reward that ended furthest above the teacher, if one clearly did.

    Imitation shows no more than its teacher can; a teacher that was trained once may have been unlucky.

    Parameters
    ----------
    curves : pandas.DataFrame
        What :func:`lcd.measurement.scores.learning_curves` returned, of learners that can be given as a teacher.
    teacher_score : float or None
        Normalised score of the teacher on training levels, None if unknown.

    Returns
    -------
    BetterLearner or None
        None where no learner clearly did, or the teacher's score is unknown.
    """
    if teacher_score is None:
        return None
    ends = curves[
        (curves["learning"] == "rl") & (curves["levels"] == "training") & (curves["step"] == curves["step"].max())
    ]
    above = ends["score"] - teacher_score
    clear = ends[(above > CLEARLY_BETTER) & (above > CLEAR_ERRORS * ends["score_error"])]  # not where that is unknown
    if clear.empty:
        return None
    best = clear.iloc[int(clear["score"].to_numpy().argmax())]
    return BetterLearner(str(best["view"]), int(best["seed"]), float(best["score"]), teacher_score)


def _reason(
    name: VerdictName,
    shown: Mapping[str, Interval],
    careful: Mapping[str, Interval],
    threshold: float,
    limit: str,
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
        more = f"more than {other} does, by {_size(difference)}" if comparable else f"at this budget more than {other}"
        return f"{first} limits the learner {more}: {both}, so that {other} may limit it too."
    if name == "limited jointly":
        return f"Solving either one is enough, and only learning both at once limits the learner, by {joint}: {both}."
    if name == "not limited":
        return (
            f"Nothing here limits the learner: {both}, the joint demand {joint}, all below {threshold:g}, "
            f"and the headroom is {headroom}."
        )
    if "nothing" in (perceptual.over, policy.over):
        return f"One seed with one episode an evaluation has no estimate of the noise: {both}."
    if "episodes" in (perceptual.over, policy.over):
        return f"One seed does not estimate the variance over seeds: {both}, with intervals over episodes alone."
    if perceptual.high < threshold and policy.high < threshold:
        if joint.high >= threshold:
            return (
                f"Neither demand reaches {threshold:g} of the normalised range, and whether learning both at once "
                f"limits the learner is open ({joint}): {both}."
            )
        return (
            f"Neither demand reaches {threshold:g} of the normalised range, but cell d has a headroom of {headroom}, "
            f"so that {limit} limits the diagnosis: {both}."
        )
    if classify(shown, threshold) != "inconclusive":
        return f"The intervals would decide if so close an agreement of few seeds could not be chance: {both}."
    return f"The intervals do not tell what limits the learner, at a threshold of {threshold:g}: {both}."


def _unlearnable(gains: pd.DataFrame) -> str:
    """Say that no cell reaches the floor, and where the best one is and how much it still rises."""
    best = gains.loc[gains["final"].idxmax()]
    name = "/".join(CELLS[str(best.name)])
    return (
        f"Unlearnable at this budget: no cell reaches {FLOOR:g} in the end. The best, {name}, ends at "
        f"{best['final']:.3f}, {best['late_gain']:+.3f} in the last third of its steps."
    )


def _by_heart(gains: pd.DataFrame, training_gains: pd.DataFrame) -> str | None:
    """Say that the learner with both helps knows its training levels by heart; None where it does not."""
    unseen, training = (float(each["final"].to_dict()["d"]) for each in (gains, training_gains))
    if not (training >= KNOWN_TRAINING and unseen < training / 2):
        return None
    return (
        f"Learned by heart: semantic/imitation ends at {two_places(training)} on training levels and at "
        f"{two_places(unseen)} on unseen ones, where the demands are measured."
    )


def _size(difference: Interval) -> str:
    """Format the difference of the demands without its sign."""
    if difference.estimate >= 0:
        return str(difference)
    return str(Interval(-difference.estimate, -difference.high, -difference.low, difference.over))


def _more_seeds(
    shown: Mapping[str, Interval], samples: Sequence[Floats], errors: Sequence[Floats], threshold: float
) -> list[str]:
    """Estimate how many seeds would decide, taking the present estimates, spread and noise of episodes as true."""
    seeds = min(len(cell) for cell in samples)
    if seeds < 2:
        return ["More seeds: at least 3 a cell, since one seed says nothing about the next."]
    variances, squared = seed_variances(samples), squared_errors(errors)
    spreads = least_spreads([cell.mean() for cell in samples])
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
            variances, squared, QUANTITIES[key], abs(distance), more_than=seeds, at_most=most, least_spread=least
        )

    found = [[needed(key, distance) for key, distance in route.items()] for route in routes]
    enough = [max(count for count in route if count) for route in found if all(route)]
    if not enough:
        return [f"More seeds alone would not: at the present estimates and spread, over {most} a cell are needed."]
    return [f"More seeds: about {min(enough)} a cell instead of {seeds}, if the present estimates and spread hold."]


def _more_steps(gains: pd.DataFrame, threshold: float) -> list[str]:
    """Suggest a larger budget where the curves still rise."""
    if not has_learned(gains):
        return ["More steps, or a learner that learns more from them: no cell has left the floor."]
    # A straight line makes a third of its gain in the last third; a fifth tells a rising curve from a flattening one.
    rising = gains[(gains["late_gain"] >= threshold / 2) & (gains["late_gain"] >= gains["gain"] / 5)]
    if rising.empty:
        return []
    names = ", ".join(f"{'/'.join(CELLS[str(letter)])} by {gain:.2f}" for letter, gain in rising["late_gain"].items())
    return [f"More steps: curves still rise in the last third of the budget ({names})."]


def _better_teacher(gains: pd.DataFrame, teacher_score: float | None, *, named: bool) -> list[str]:
    """Suggest a better teacher where it limits imitation, unless one has been named."""
    reached = float(gains["final"].to_dict()["d"])
    if not named and teacher_score is not None and teacher_score < GOOD_TEACHER:
        return [
            f"A better teacher: this one scores {teacher_score:.2f} itself, and imitation shows little beyond that."
        ]
    if not named and teacher_score is None and reached < GOOD_TEACHER:
        return [f"A better teacher, perhaps: its score is unknown, and its best student ends at {reached:.2f}."]
    if teacher_score is not None and reached < teacher_score / 2:
        return [
            f"A larger budget or encoder: semantic/imitation ends at {reached:.2f}, "
            f"its teacher scores {teacher_score:.2f}."
        ]
    return []


def _cautions(
    demands: Mapping[str, Interval], gains: pd.DataFrame, threshold: float, limit: str, *, steps_help: bool
) -> tuple[str, ...]:
    """Cautions about what the verdict does not cover."""
    found = _floor_cautions(gains, steps_help=steps_help)
    for key, help_ in (("perceptual", "The semantic view"), ("policy", "Imitation")):
        if demands[key].high < -threshold:
            found.append(f"{help_} makes scores worse ({demands[key]}): check it before trusting the demands.")
    joint = demands["joint"]
    if joint.low > threshold:
        found.append(
            f"Learning both at once costs a further {joint}: better perception alone would bring "
            f"{demands['perceptual_gain']}, better policy learning alone {demands['policy_gain']}."
        )
    if joint.high < -threshold:
        found.append(
            f"The demands overlap by {_size(joint)}, as solving either one gains more where the other is solved: "
            f"better perception alone would bring {demands['perceptual_gain']}, better policy learning alone "
            f"{demands['policy_gain']}."
        )
    headroom = demands["headroom"]
    # With all demands absent the reason itself says so.
    all_absent = all(demands[key].high < threshold for key in ("perceptual", "policy", "joint"))
    if headroom.estimate > SMALL_HEADROOM and not all_absent:
        found.append(f"A headroom of {headroom} is explained by neither demand: {limit} limits the diagnosis.")
    return tuple(found)


def _floor_cautions(gains: pd.DataFrame, *, steps_help: bool) -> list[str]:
    """Cautions about floor-limited demands."""
    low, final = floor_limited_demands(gains), gains["final"].to_dict()
    ends = " and ".join(f"{'/'.join(CELLS[letter])} ends at {two_places(final[letter])}" for letter in low.values())
    if len(low) == 2:
        return [
            f"{ends}, below the floor of {FLOOR:g}: both demands are floor-limited, and which of them is the larger "
            f"cannot be told at this budget{'; more steps may help' * steps_help}."
        ]
    names = {"perceptual": "perceptual", "policy": "policy-learning"}
    return [
        f"{ends}, below the floor of {FLOOR:g}: the {names[demand]} demand is floor-limited at this budget."
        for demand in low
    ]
