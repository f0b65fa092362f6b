"""What of a game may predict the gains of improvements: demands, cheaper numbers of a diagnosis, and complexity."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import pandas as pd

from lcd.measurement.demands import demands_of
from lcd.measurement.intervals import cell_samples
from lcd.measurement.scores import PRIMARY
from lcd.studies.diagnosis import Diagnosis
from lcd.studies.ladder import STEPS

COMPLEXITY = ("capacity", "effective_horizon")
"""Those that random play measures, see `lcd.studies.validation.complexity`."""

SCORE = "score"
"""The predictor that partial correlations hold constant."""

OF_LADDER = tuple(name.replace(" ", "_") for name in STEPS)
"""The predictors that the ladder's steps are."""

PREDICTORS: Mapping[str, str] = MappingProxyType(
    {
        "perceptual": "the perceptual demand P",
        "policy": "the policy-learning demand L",
        "joint": "the joint demand J",
        "difference": "P minus L",
        "gap": "the learning gap P + L + J",
        "perceptual_gain": "what label maps alone gain, P + J",
        "policy_gain": "what imitation alone gains, L + J",
        SCORE: "the plain score of the learner from frames and reward, on unseen levels",
        "training_score": "its score on training levels",
        "generalisation": "the score that it loses from training to unseen levels",
        **{name: f"the ladder's step {step!r}" for name, step in zip(OF_LADDER, STEPS, strict=True)},
        "capacity": "the policy information capacity",
        "effective_horizon": "the effective horizon",
    }
)
"""Predictors by name, as parts of a sentence."""


def predictors_of(diagnosis: Diagnosis) -> dict[str, float]:
    """The predictors that a diagnosis gives, by name; NaN for those that were not measured.

    Parameters
    ----------
    diagnosis
        Of one game; its ladder's steps are among them where it has one.
    """
    found = predictors_of_scores(diagnosis.scores)
    if diagnosis.ladder is not None:
        gains = diagnosis.ladder.set_index("step")["gain"]
        found |= {name.replace(" ", "_"): float(gain) for name, gain in gains.items() if name in STEPS}  # type: ignore[attr-defined]
    return found


def predictors_of_scores(scores: pd.DataFrame) -> dict[str, float]:
    """The predictors that the scores of the four cells give, by name; NaN for all others.

    Parameters
    ----------
    scores : pandas.DataFrame
        What `lcd.measurement.scores.cell_scores` returned for one game, or a survey's table of scores holds of it.
    """
    levels, score = PRIMARY
    a, b, c, d = (float(cell.mean()) for cell in cell_samples(scores, levels, score)[0])
    training = cell_samples(scores, "training", score)[0][0]
    at_training = float(training.mean()) if len(training) else float("nan")
    demands = demands_of(a, b, c, d)
    return dict.fromkeys(PREDICTORS, float("nan")) | {
        "perceptual": float(demands.perceptual),
        "policy": float(demands.policy),
        "joint": float(demands.joint),
        "difference": float(demands.perceptual - demands.policy),
        "gap": float(demands.gap),
        "perceptual_gain": float(demands.perceptual_gain),
        "policy_gain": float(demands.policy_gain),
        SCORE: a,
        "training_score": at_training,
        "generalisation": at_training - a,
    }
