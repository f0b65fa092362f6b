"""Confirmation of classes: chosen on some seeds and tested on the others, and by other scores."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_rand_score

from lcd.measurement.scores import PRIMARY
from lcd.studies.taxonomy.classes import REFITS, find_classes
from lcd.studies.taxonomy.positions import Cells

CONFIRMED = 0.7
"""Adjusted Rand index from which on two divisions of the games count as the same."""

ENOUGH_SCORES = 3
"""Of the five other scores so many must give the same classes."""

MOST_PARTS = 8
"""Ways to part the seeds that are tried, drawn where there are more."""


@dataclass(frozen=True)
class Confirmation:
    """Whether the classes of a taxonomy are confirmed as kinds of games, or may be parts of a continuum.

    Attributes
    ----------
    parts : float
        Mean adjusted Rand index of the classes that are chosen on some seeds with those of the other seeds; NaN where
        there are too few seeds.
    scores, other_scores : int
        Number of the other scores that give the same classes, and of all of them.
    """

    parts: float
    scores: int
    other_scores: int

    @property
    def confirmed(self) -> bool:
        """Whether other seeds and enough of the other scores give the same classes."""
        return self.parts >= CONFIRMED and self.scores >= ENOUGH_SCORES

    def __str__(self) -> str:
        """Say so in a sentence."""
        agree = (
            "There are too few seeds to test classes on others than they are chosen on"
            if np.isnan(self.parts)
            else f"Chosen on some seeds and tested on the others, classes agree by {self.parts:.2f} (adjusted Rand "
            f"index, {CONFIRMED:g} wanted)"
        )
        return (
            f"{agree}, and {self.scores} of the {self.other_scores} other scores give the same "
            f"({ENOUGH_SCORES} wanted)."
        )


def confirm(parts: pd.DataFrame, families: pd.DataFrame) -> Confirmation:
    """Judge the classes of a taxonomy.

    Parameters
    ----------
    parts : pandas.DataFrame
        What `class_parts` returned.
    families : pandas.DataFrame
        What `lcd.studies.taxonomy.agreement.family_agreement` returned.
    """
    others = families[(families["levels"] != PRIMARY[0]) | (families["score"] != PRIMARY[1])]
    return Confirmation(float(parts["rand"].mean()), int((others["rand"] >= CONFIRMED).sum()), len(others))


def class_parts(cells: Cells, number: int, seed: int = 0) -> pd.DataFrame:
    """Choose classes, and their number, on one part of the seeds, and test them on the other.

    The parts are halves; of an odd number of seeds the larger part is the one to choose on, as a single seed tells no
    variance.

    Parameters
    ----------
    cells : Cells
        The scores of the games; of seeds that not all games have, none are used.
    number : int
        Number of classes by all seeds.
    seed : int
        Of the parts that are drawn where there are many.

    Returns
    -------
    pandas.DataFrame
        One row a way to part the seeds: chosen_on and tested_on (places of the seeds), classes (their number by the
        former), and rand (adjusted Rand index of the classes of both parts; 0 where the former give a single class, and
        all seeds several). Empty with two seeds.
    """
    seeds = len(cells.by_seed())
    ways = list(combinations(range(seeds), (seeds + 1) // 2)) if seeds > 2 else []
    if len(ways) > MOST_PARTS:
        drawn = np.random.default_rng(seed).choice(len(ways), MOST_PARTS, replace=False)
        ways = [ways[place] for place in sorted(drawn)]
    rows = []
    for chosen in ways:
        tested = [place for place in range(seeds) if place not in chosen]
        first, second = cells.of_seeds(chosen), cells.of_seeds(tested)
        found = find_classes(first, draws=REFITS)
        labels = (found.mixture.predict(part.positions()) for part in (first, second))
        count = len(found.names)
        rand = float(adjusted_rand_score(*labels)) if count > 1 or number == 1 else 0.0
        rows.append((" ".join(map(str, chosen)), " ".join(map(str, tested)), count, rand))
    return pd.DataFrame(rows, columns=["chosen_on", "tested_on", "classes", "rand"])
