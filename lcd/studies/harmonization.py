"""The effect of the neural harmonizer on a game's learners."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import stats

from lcd.agents import load_policy
from lcd.alignment.agreement import Agreement, agreement
from lcd.alignment.importance import importance_maps, policy_scores
from lcd.alignment.privileged import collect_references
from lcd.alignment.references import ReferenceMaps
from lcd.experiments.execution import Listener, execute
from lcd.experiments.plan import GamePlan, Plan
from lcd.experiments.settings import RunSettings
from lcd.experiments.store import Store
from lcd.measurement.scores import played_by

FRAMES = 128
MEASURES = ("alignment", "training", "unseen")


def harmonized_plan(plan: GamePlan, *weights: float) -> Plan:
    """The runs of a game on pixels, each with and without the harmonizer, and a teacher where one must be trained."""
    for weight in weights:
        if not 0 < weight < float("inf"):
            raise ValueError(f"The harmonizer's weight must be a number above 0, not {weight}: the paper's is 1.")
    plain = tuple(run for run in plan.cells if run.view == "pixels")
    harmonized = tuple(replace(run, harmonizer=weight) for weight in weights for run in plain)
    return Plan((replace(plan, cells=(*plain, *harmonized)),))


def measure_harmonization(
    plan: Plan, store: Store, *, workers: int | None = None, threads: int | None = None, device: str = "auto",
    listener: Listener = lambda event: None,
) -> pd.DataFrame:  # fmt: skip
    """Run a plan of `harmonized_plan`, and measure every run's final policy.

    Returns
    -------
    pandas.DataFrame
        One row a run: game, learning, harmonizer (its weight), seed, maps (privileged, never human), alignment (mean
        Spearman correlation of the gradient map of the preferred action with the privileged map, on frames of unseen
        levels), undefined (number of constant maps, left out of the mean), and mean returns on training and on unseen
        levels.

    Raises
    ------
    lcd.experiments.execution.RunFailed
        If a run failed; the same call resumes from the finished ones.
    """
    execute(plan, store, workers=workers, threads=threads, device=device, listener=listener)
    (game,) = plan.games
    return pd.DataFrame([_measured(run, store) for run in game.cells])


def unseen_references(run: RunSettings, count: int) -> ReferenceMaps:
    """Frames of levels that a run has not trained on, with privileged reference maps."""
    return collect_references(run.unseen_options, count)


def _measured(run: RunSettings, store: Store) -> dict[str, object]:
    stored = store.load(run)
    policy, _ = load_policy(stored.folder / "policy.safetensors", ask_hubs=True)
    references = unseen_references(run, FRAMES)
    images = references.inputs
    maps = importance_maps(policy_scores(policy), images)
    found = Agreement.of(agreement(maps.numpy(), references.maps))
    episodes = played_by(stored.episodes)
    last = episodes[episodes["step"] == run.steps].groupby("levels")["return"].mean()
    return {
        "game": run.game,
        "learning": run.learning,
        "harmonizer": run.harmonizer,
        "seed": run.seed,
        "maps": references.source,
        "alignment": found.mean,
        "undefined": found.undefined,
        "training": float(last["training"]),
        "unseen": float(last["unseen"]),
    }


def effect_table(runs: pd.DataFrame, measures: Sequence[str] = MEASURES) -> pd.DataFrame:
    """Estimate the effect of the harmonizer, paired by seed.

    Parameters
    ----------
    runs : pandas.DataFrame
        Result of `measure_harmonization`.
    measures : sequence of str
        Its columns to compare.

    Returns
    -------
    pandas.DataFrame
        One row a (game, learning, measure): without, with, and change with its 95 % t limits low and high over seeds.
    """
    rows = []
    for (game, learning), group in runs.groupby(["game", "learning"], sort=False):
        plain, harmonized = (
            group[(group["harmonizer"] > 0) == used].sort_values("seed").set_index("seed") for used in (False, True)
        )
        for measure in measures:
            change = (harmonized[measure] - plain[measure]).to_numpy(dtype=np.float64)
            half = float("nan")
            if len(change) > 1:
                half = float(stats.t.ppf(0.975, len(change) - 1) * stats.sem(change))
            mean, both = float(change.mean()), (plain[measure].mean(), harmonized[measure].mean())
            rows.append((game, learning, measure, *both, mean, mean - half, mean + half))
    columns = ["game", "learning", "measure", "without", "with", "change", "low", "high"]
    return pd.DataFrame(rows, columns=columns)
