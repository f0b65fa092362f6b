"""Confirmation of classes: chosen on one half of the seeds, tested on the other, and by other scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from lcd.measurement.scores import PRIMARY
from lcd.studies.taxonomy.classes import find_classes, fit_classes, mean_noise
from lcd.studies.taxonomy.positions import Cells
from lcd.studies.taxonomy.reliability import halves_of

CONFIRMED = 0.7
"""Adjusted Rand index from which on two divisions of the games count as the same."""

ENOUGH_SCORES = 3
"""Of the five other scores so many must give the same classes."""

MOST_HALVES = 10
"""Ways to halve the seeds that are tried; both halves are once the one on which classes are chosen."""


@dataclass(frozen=True)
class Confirmation:
    """Whether the classes of a taxonomy are kinds of games, or parts of a continuum.

    Attributes
    ----------
    halves : float
        Mean adjusted Rand index of the classes that are chosen on one half of the seeds with those of the other half.
    scores, other_scores : int
        Number of the other scores that give the same classes, and of all of them.
    """

    halves: float
    scores: int
    other_scores: int

    @property
    def confirmed(self) -> bool:
        """Whether both halves of the seeds and enough of the other scores give the same classes."""
        return self.halves >= CONFIRMED and self.scores >= ENOUGH_SCORES

    def __str__(self) -> str:
        """Say so in a sentence."""
        return (
            f"Chosen on one half of the seeds and tested on the other, classes agree by {self.halves:.2f} (adjusted "
            f"Rand index, {CONFIRMED:g} wanted), and {self.scores} of the {self.other_scores} other scores give the "
            f"same ({ENOUGH_SCORES} wanted)."
        )


def confirm(halves: pd.DataFrame, families: pd.DataFrame) -> Confirmation:
    """Judge the classes of a taxonomy.

    Parameters
    ----------
    halves : pandas.DataFrame
        What `class_halves` returned.
    families : pandas.DataFrame
        What `lcd.studies.taxonomy.agreement.family_agreement` returned.
    """
    others = families[(families["levels"] != PRIMARY[0]) | (families["score"] != PRIMARY[1])]
    return Confirmation(float(halves["rand"].mean()), int((others["rand"] >= CONFIRMED).sum()), len(others))


@threadpool_limits.wrap(limits=1)
def class_halves(cells: Cells, number: int, seed: int = 0) -> pd.DataFrame:
    """Choose classes on one half of the seeds, and test them on the other half.

    Parameters
    ----------
    cells : Cells
        The scores of the games.
    number : int
        Number of classes of all seeds: taken where a half is a single seed, from which no number can be chosen.
    seed : int
        Of the fits, and of the halves where there are many.

    Returns
    -------
    pandas.DataFrame
        One row a (half, other half): chosen_on and tested_on (places of the seeds), classes (their number), and rand
        (adjusted Rand index of the classes of both halves; 0 where a half gives one class only, and all seeds several).
    """
    seeds, noise = len(cells.by_seed()), mean_noise(cells)
    rows = []
    for split in halves_of(seeds, seed)[:MOST_HALVES]:
        for chosen, tested in (split, split[::-1]):
            first, second = cells.of_seeds(chosen.tolist()), cells.of_seeds(tested.tolist())
            count = number
            if len(chosen) > 1:
                count = len(find_classes(first, draws=20, refits=10, nulls=39, seed=seed).names)
            mixture = fit_classes(first.positions(), count, noise * seeds / len(chosen), seed)
            labels = (mixture.predict(half.positions()) for half in (first, second))
            rand = float(adjusted_rand_score(*labels)) if count > 1 or number == 1 else 0.0
            rows.append((_places(chosen), _places(tested), count, rand))
    return pd.DataFrame(rows, columns=["chosen_on", "tested_on", "classes", "rand"])


def _places(seeds: np.ndarray) -> str:
    return " ".join(str(place) for place in seeds.tolist())
