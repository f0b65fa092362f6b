"""Gains of improvements, from the runs with seeds that took no part in any estimate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from lcd.experiments.improvements import get_improvement
from lcd.experiments.plan import GamePlan
from lcd.experiments.settings import RunSettings
from lcd.experiments.store import Store
from lcd.measurement.demands import Floats
from lcd.measurement.intervals import difference_interval
from lcd.measurement.scores import PRIMARY, Normalisation, cell_scores, played_by


def gains_of(
    plan: GamePlan,
    plain: Sequence[RunSettings],
    improved: Mapping[str, Sequence[RunSettings]],
    constants: Normalisation,
    store: Store,
) -> pd.DataFrame:
    """Gains of improvements in one game, in units of the normalised score.

    Parameters
    ----------
    plan
        The game's plan.
    plain
        The runs of the learner without improvement.
    improved
        The runs with each improvement.
    constants
        The returns that count as 0 and 1, as in the game's diagnosis.
    store
        Where the runs are.

    Returns
    -------
    pandas.DataFrame
        One row an improvement: game, improvement, kind, seeds, plain and improved (mean areas on unseen levels), gain
        with its 95 % limits ``_low`` and ``_high`` (over seeds; over episodes where there is a single one), and the
        precision of the learners.

    Raises
    ------
    lcd.experiments.store.StoreError
        If a run is missing or damaged.
    """
    precision = plain[0].precision
    before, noise = _scores(plan, plain, constants, store)
    rows = []
    for name, runs in improved.items():
        after, its_noise = _scores(plan, runs, constants, store)
        gain = difference_interval((after, its_noise), (before, noise))
        means = (float(before.mean()), float(after.mean()))
        kind = get_improvement(name).kind
        rows.append((plan.game, name, kind, len(after), *means, gain.estimate, gain.low, gain.high, precision))
    columns = [
        "game", "improvement", "kind", "seeds", "plain", "improved", "gain", "gain_low", "gain_high", "precision",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _scores(
    plan: GamePlan, runs: Sequence[RunSettings], constants: Normalisation, store: Store
) -> tuple[Floats, Floats]:
    """Areas on unseen levels of runs of one cell, and their errors over episodes, each an array over seeds."""
    levels, score = PRIMARY
    episodes = pd.concat([played_by(store.load(run).episodes) for run in runs], ignore_index=True)
    scores = cell_scores(episodes, constants, plan.budget)
    rows = scores[scores["levels"] == levels].sort_values("seed")
    return tuple(rows[name].to_numpy(dtype=np.float64) for name in (score, f"{score}_error"))  # type: ignore[return-value]
