"""What to try first in a diagnosed game, as far as a validation's evidence carries it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from lcd.measurement.intervals import Interval, mean_limits
from lcd.measurement.rule import floor_limited_demands
from lcd.measurement.scores import late_gains
from lcd.measurement.validity import FEWEST_GAMES, KINDS, mean_gain
from lcd.studies.diagnosis import OWN_VIEW, Diagnosis
from lcd.studies.survey.rows import differences, measured_settings
from lcd.studies.validation.evidence import read_evidence, reference_validations
from lcd.studies.validation.result import CHEAP_RULE, DEMAND_RULE, ValidationResult, fixed_rules

Floats = NDArray[np.float64]

TRY = {"perceptual": "perception", "policy": "policy learning"}
"""What improvements of each kind improve, as words."""


@dataclass(frozen=True)
class Advice:
    """What to try first.

    Attributes
    ----------
    kind
        ``"perceptual"`` or ``"policy"``; None where nothing can be recommended.
    expected
        What improvements of the kind gained in the games for which the same rule chooses it, in units of the normalised
        score, with the 95 % limits of a single further one; None where nothing is recommended or was measured.
    text
        The advice with its evidence, in a sentence or two.
    """

    kind: str | None
    expected: Interval | None
    text: str


def advise(diagnosis: Diagnosis, evidence: ValidationResult | None = None) -> Advice:
    """Say what to try first in a game.

    A rule is followed if in the validation its decisions regretted significantly less than the better fixed choice
    did: first that of the larger demand, then that of the generalisation estimate, which is cheaper. Where neither did,
    the kind whose improvements gained significantly more over all games is recommended, whatever the diagnosis says;
    and where none did, nothing.

    Parameters
    ----------
    diagnosis
        Of the game.
    evidence
        A validation (`lcd.read_evidence`); by default the one that comes with the package and was measured most like
        this game.
    """
    if evidence is None:
        kept = [read_evidence(name) for name in reference_validations()]
        if not kept:
            return Advice(None, None, "Nothing to recommend: no validation was given that tells what demands predict.")
        return advise(diagnosis, min(kept, key=lambda each: len(_measured_otherwise(diagnosis, each))))
    if diagnosis.privileged_view != OWN_VIEW:
        return Advice(
            None,
            None,
            "Nothing to recommend: the evidence is of games with a privileged view of their own, and this one has an "
            "expert's encoder in its place.",
        )
    if (algorithm := _algorithm_of(diagnosis)) is not None:
        return Advice(None, None, f"Nothing to recommend: the evidence is of PPO, and this diagnosis of {algorithm}.")
    named = f"the validation {evidence.source}".rstrip()
    if otherwise := _measured_otherwise(diagnosis, evidence):
        how = ", ".join(
            f"{name.replace('_', ' ')} {there} and here {here}" for name, (there, here) in otherwise.items()
        )
        return Advice(None, None, f"Nothing to recommend: {named} was measured otherwise ({how}).")
    gains = {kind: mean_gain(evidence.gains, kind) for kind in KINDS}
    games = sorted(set.intersection(*(set(gain.index) for gain in gains.values())))
    if len(games) < FEWEST_GAMES:
        return Advice(None, None, f"Nothing to recommend: {named} has {len(games)} games, too few to tell.")
    on = f"on {len(games)} games of {named}"
    rules = evidence.decisions.set_index("rule")
    predictors = evidence.predictors.set_index("game").loc[games]
    for name, chosen in _rules(diagnosis).items():
        if name in rules.index and rules["gain_over_fixed_low"][name] > 0:
            kind, sure = chosen()
            if not sure:
                unsure = "in this game it cannot be told which is larger"
                return Advice(None, None, f"Nothing to recommend: {_SAYS[name]}, and {unsure}.")
            perception_first = fixed_rules(predictors)[name].choices(np.zeros(len(games)))
            alike = np.array(games)[perception_first == (kind == "perceptual")]
            of_alike = gains[kind].loc[alike].to_numpy(np.float64)
            return _recommended(kind, of_alike, f"{_SAYS[name]} {on}", f"In the {len(alike)} where it decides so")
    advantage = (gains["perceptual"] - gains["policy"]).loc[games].to_numpy(np.float64)
    mean, low, high = mean_limits(advantage)
    if low * high > 0:
        kind = _kind(mean)
        why = f"{on} improvements of {TRY[kind]} gained more than the others, whatever the demands were"
        return _recommended(kind, gains[kind].loc[games].to_numpy(np.float64), why, "There")
    return Advice(
        None,
        None,
        f"Nothing to recommend: {on} neither demands nor the generalisation estimate decided better than a fixed "
        "choice, and neither kind of improvement gained more.",
    )


def _measured_otherwise(diagnosis: Diagnosis, evidence: ValidationResult) -> dict[str, tuple[Any, Any]]:
    """How the evidence's learners differ from the diagnosed ones; empty where they don't, or that is not known."""
    plans = diagnosis.settings.get("plan", {}).get("games", [])
    return differences(evidence.measured, measured_settings(plans[0])) if plans and evidence.measured else {}


def _algorithm_of(diagnosis: Diagnosis) -> str | None:
    """What learned from reward instead of PPO."""
    games = diagnosis.settings.get("plan", {}).get("games", [])
    return next((run["improvement"] for game in games for run in game["runs"] if "improvement" in run), None)


_SAYS = {
    DEMAND_RULE: "the larger demand decides what to try first",
    CHEAP_RULE: "the generalisation estimate, which needs the learner from frames and reward alone, decides what to "
    "try first",
}


def _rules(diagnosis: Diagnosis) -> dict[str, Callable[[], tuple[str, bool]]]:
    """What each rule chooses in a game, and whether its two sides differ significantly."""

    def by_demand() -> tuple[str, bool]:
        difference = diagnosis.difference
        comparable = not floor_limited_demands(late_gains(diagnosis.curves))
        return _kind(difference.estimate), comparable and difference.low * difference.high > 0

    def by_generalisation() -> tuple[str, bool]:
        found = diagnosis.generalisation
        if found is None:
            return "policy", False
        apart = found.perceptual.low > found.policy.high or found.policy.low > found.perceptual.high
        return _kind(found.perceptual.estimate - found.policy.estimate), apart

    return {DEMAND_RULE: by_demand, CHEAP_RULE: by_generalisation}


def _kind(difference: float) -> str:
    return "perceptual" if difference > 0 else "policy"


def _recommended(kind: str, gains: Floats, why: str, where: str) -> Advice:
    """A kind, with the prediction interval of its gain in a further one of the games for which it was chosen."""
    if len(gains) < 2:
        return Advice(kind, None, f"Try improvements of {TRY[kind]} first: {why}. What they gain was not measured.")
    half = stats.t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) * np.sqrt(1 + 1 / len(gains))
    mean = float(gains.mean())
    expected = Interval(mean, float(mean - half), float(mean + half))
    return Advice(
        kind,
        expected,
        f"Try improvements of {TRY[kind]} first: {why}. {where} they gained {mean:.3f} on average; in a further one, "
        f"{expected.low:.3f} to {expected.high:.3f} of the range.",
    )
