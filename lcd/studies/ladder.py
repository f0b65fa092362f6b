"""The ladder: what of learning from reward L is made of, and what of perception is left beyond P.

Two chains of cells lead from the cells of a diagnosis to finer ones, each with one more help than the one before. The
differences along a chain are its steps, and they add up.

*Perception, with imitation*: frames, label maps, label maps around the player. The first step is the perceptual demand
P: to tell what things are. The second is to tell where they are relative to the player, which no cell of a diagnosis
solves, so that it is a part of the headroom.

*Learning from reward, on label maps*: reward, reward shaped by the teacher's value, imitation. With shaping a reward
tells at once what an action is worth (`lcd.agents.teacher_value`), so that the first step is credit assignment. The
second is what remains: exploration, and learning from a number instead of from an action. Their sum is the
policy-learning demand L.

Where the camera follows the player, the player is in the middle already, and the step of perception beyond P can only
be noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pandas as pd

from lcd.envs.centring import CENTRED
from lcd.envs.family import has_label_maps, has_view
from lcd.envs.views import PIXELS, SEMANTIC
from lcd.experiments.plan import GamePlan, Plan, shown_view
from lcd.experiments.settings import RunSettings
from lcd.experiments.store import Store
from lcd.measurement.intervals import Sample, difference_interval
from lcd.measurement.scores import PRIMARY, Cell, cell_scores, played_by
from lcd.studies.finished_runs import episodes_of, normalisation_of

VALUE_SHARE = 2
"""The value of the teacher is learned in a part of a cell's budget: one divided by this number."""

SHAPED: Cell = (SEMANTIC.name, "shaped")
AROUND: Cell = (CENTRED.name, "imitation")


class Step(NamedTuple):
    """A step of the ladder: two cells that differ in one help.

    Attributes
    ----------
    chain
        ``"perception"`` or ``"learning"``.
    without, with_help
        The two cells.
    """

    chain: str
    without: Cell
    with_help: Cell


STEPS: Mapping[str, Step] = MappingProxyType(
    {
        "what things are": Step("perception", (PIXELS.name, "imitation"), (SEMANTIC.name, "imitation")),
        "where they are": Step("perception", (SEMANTIC.name, "imitation"), AROUND),
        "credit assignment": Step("learning", (SEMANTIC.name, "rl"), SHAPED),
        "the rest of learning from reward": Step("learning", SHAPED, (SEMANTIC.name, "imitation")),
    }
)
"""The steps by what they ask of a learner, those of a chain one after the other."""


@dataclass(frozen=True)
class Ladder:
    """The runs that a ladder needs beyond those of its diagnosis.

    Attributes
    ----------
    plan
        The diagnosis.
    value_run
        The run that learns the teacher's value.
    further
        The finer cells.
    """

    plan: GamePlan
    value_run: RunSettings
    further: tuple[RunSettings, ...]

    def as_plan(self) -> Plan:
        """All runs, those of the diagnosis first."""
        return Plan((self.plan, replace(self.plan, cells=(self.value_run, *self.further))))


def ladder_of(plan: GamePlan) -> Ladder:
    """Plan the ladder of a diagnosis.

    Raises
    ------
    ValueError
        If the game's privileged view is no label map, between which the ladder's steps are, or its learner from reward
        is not PPO, which learns from shaped rewards.
    """
    whole = next(run for run in plan.cells if (run.view, run.learning) == (PIXELS.name, "rl"))
    if whole.improvement is not None:
        raise ValueError(f"The ladder is climbed by PPO, not by {whole.improvement}: leave it or the algorithm out.")
    taught = [run for run in plan.cells if (run.view, run.learning) == (SEMANTIC.name, "imitation")]
    if plan.is_encoded or not has_label_maps(whole.options):
        raise ValueError(f"The ladder is made of label maps, and {plan.game} is diagnosed without: leave it out.")
    first, rollout = taught[0], taught[0].hyperparameters.rollout
    steps = -(-plan.budget // VALUE_SHARE // rollout) * rollout
    value_run = replace(
        first,
        options=whole.options.relevant_to(shown_view(SEMANTIC.name, first.teacher_view), "teacher-value"),
        learning="teacher-value",
        steps=steps,
        evaluation=replace(first.evaluation, steps=(0, steps), inverse_temperatures=(1.0,)),
    )
    shaped = [
        replace(
            run,
            options=whole.options.relevant_to(SEMANTIC.name, "shaped"),
            learning="shaped",
            teacher=value_run.identity,
            teacher_view=SEMANTIC.name,
        )
        for run in taught
    ]
    around = [replace(run, view=CENTRED.name) for run in taught] if has_view(whole.options, CENTRED.name) else []
    return Ladder(plan, value_run, (*shaped, *around))


def read_ladder(ladder: Ladder, store: Store) -> pd.DataFrame:
    """Estimate the steps of a ladder from its finished runs.

    Returns
    -------
    pandas.DataFrame
        See `ladder_table`.
    """
    plan = ladder.plan
    episodes = played_by(episodes_of(plan, store, *ladder.further))
    return ladder_table(cell_scores(episodes, normalisation_of(plan, store), plan.budget))


def ladder_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Estimate the steps of a ladder.

    Parameters
    ----------
    scores : pandas.DataFrame
        Scores of the cells of the diagnosis and of the finer ones, see `lcd.measurement.scores.cell_scores`.

    Returns
    -------
    pandas.DataFrame
        One row a step whose cells are there: chain, step (what it asks of a learner), without and with_help (mean areas
        on unseen levels of its two cells), gain, its 95 % limits ``gain_low`` and ``gain_high``, and over what they
        are (`lcd.measurement.intervals.Interval`): seeds, or with one seed its episodes. The gains of a chain add up to
        the difference between its last and its first cell.
    """
    levels, score = PRIMARY
    chosen = scores[scores["levels"] == levels].sort_values("seed")

    def cell(asked: Cell) -> Sample:
        rows = chosen[(chosen["view"] == asked[0]) & (chosen["learning"] == asked[1])]
        return rows[score].to_numpy(dtype=np.float64), rows[f"{score}_error"].to_numpy(dtype=np.float64)

    rows = []
    for name, step in STEPS.items():
        without, helped = cell(step.without), cell(step.with_help)
        if not len(without[0]) or not len(helped[0]):
            continue
        gain = difference_interval(helped, without)
        rows.append(
            {
                "chain": step.chain,
                "step": name,
                "without": float(without[0].mean()),
                "with_help": float(helped[0].mean()),
                "gain": gain.estimate,
                "gain_low": gain.low,
                "gain_high": gain.high,
                "over": gain.over,
            }
        )
    return pd.DataFrame(rows)
