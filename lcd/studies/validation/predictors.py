"""What of a game may predict the gains of improvements: demands, cheaper numbers of a diagnosis, and complexity."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from lcd.measurement.scores import CELLS, PRIMARY
from lcd.studies.diagnosis import Diagnosis
from lcd.studies.ladder import STEPS

SCORE = "score"
"""The predictor that partial correlations hold constant."""

PREDICTORS: Mapping[str, str] = MappingProxyType(
    {
        "perceptual": "the perceptual demand P",
        "policy": "the policy-learning demand L",
        "joint": "the joint demand J",
        "difference": "P minus L",
        "gap": "the learning gap P + L + J",
        SCORE: "the plain score of the learner from frames and reward, on unseen levels",
        "training_score": "its score on training levels",
        "generalisation": "the score that it loses from training to unseen levels",
        **{name.replace(" ", "_"): f"the ladder's step {name!r}" for name in STEPS},
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
    levels, score = PRIMARY
    view, learning = CELLS["a"]
    cell = diagnosis.scores[(diagnosis.scores["view"] == view) & (diagnosis.scores["learning"] == learning)]
    means = cell.groupby("levels")[score].mean()
    unseen, training = float(means[levels]), float(means.get("training", np.nan))
    found = dict.fromkeys(PREDICTORS, float("nan")) | {
        "perceptual": diagnosis.perceptual.estimate,
        "policy": diagnosis.policy.estimate,
        "joint": diagnosis.joint.estimate,
        "difference": diagnosis.difference.estimate,
        "gap": diagnosis.gap.estimate,
        SCORE: unseen,
        "training_score": training,
        "generalisation": training - unseen,
    }
    if diagnosis.ladder is not None:
        gains = diagnosis.ladder.set_index("step")["gain"]
        found |= {name.replace(" ", "_"): float(gain) for name, gain in gains.items() if name in STEPS}  # type: ignore[attr-defined]
    return found
