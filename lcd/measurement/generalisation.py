"""A cheap second estimator: both demands from the generalisation of cell a alone.

It needs the (pixels, rl) cell only: policy demand ≈ 1 − training-level score, perceptual demand ≈ the score lost from
training to unseen levels. It is a proxy, whose worth is its agreement with the factorial over games.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lcd.measurement.intervals import Interval, mean_interval
from lcd.measurement.scores import CELLS


@dataclass(frozen=True)
class GeneralisationEstimate:
    """Demands estimated from cell a, in units of the normalised score.

    Attributes
    ----------
    perceptual : Interval
        Training-level minus unseen-level score.
    policy : Interval
        One minus the training-level score.
    """

    perceptual: Interval
    policy: Interval


def generalisation_estimate(scores: pd.DataFrame, score: str = "area") -> GeneralisationEstimate:
    """Estimate both demands from training and unseen levels of the (pixels, rl) cell.

    Parameters
    ----------
    scores : pandas.DataFrame
        What :func:`lcd.measurement.scores.cell_scores` returned for one game.
    score : {"area", "final"}
        Score of the family.

    Returns
    -------
    GeneralisationEstimate
        With t intervals over seeds; training and unseen levels are paired by seed.

    Raises
    ------
    ValueError
        If a seed lacks its training or unseen levels.
    """
    view, learning = CELLS["a"]
    cell = scores[(scores["view"] == view) & (scores["learning"] == learning)]
    seeds = cell.pivot_table(index="seed", columns="levels", values=[score, f"{score}_error"], dropna=False)
    if seeds.empty or {"training", "unseen"} - set(seeds[score].columns) or seeds[score].isna().to_numpy().any():
        raise ValueError(f"the ({view}, {learning}) cell needs training and unseen levels for every seed")
    training, unseen = (seeds[score][levels].to_numpy(dtype=np.float64) for levels in ("training", "unseen"))
    noise = [seeds[f"{score}_error"][levels].to_numpy(dtype=np.float64) for levels in ("training", "unseen")]
    loss = mean_interval((training - unseen, np.hypot(*noise)))
    rest = mean_interval((1 - training, noise[0]))
    return GeneralisationEstimate(perceptual=loss, policy=rest)
