"""Baselines that every diagnosis can have: what needs no perception, and what of its teacher a view can hold.

*Blind*: the learners of the factorial on a constant frame, the input-independent baseline of both. What they earn needs
no perception, and the cells above them earn it, too.

*Imitability*: a supervised fit of the teacher on its own states, from each view (behavioural cloning: the teacher
acts). Its measure is how much of what the teacher's actions depend on it predicts, on states of the teacher in unseen
levels. A teacher that a view cannot hold is no teacher for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch

from lcd.agents import TaughtVecEnv, Teacher, load_policy
from lcd.agents.imitation import labels_of, prepare
from lcd.agents.policy import EncoderPolicy
from lcd.agents.rollout import channels_first
from lcd.envs import make_vec_env
from lcd.envs.views import BLIND, PIXELS
from lcd.experiments.execution import weights_of
from lcd.experiments.plan import GamePlan, Plan, shown_view
from lcd.experiments.run import teacher_of
from lcd.experiments.settings import RunSettings
from lcd.experiments.store import Store
from lcd.measurement.intervals import cell_samples, mean_interval
from lcd.measurement.scores import PRIMARY, cell_scores, played_by
from lcd.studies.finished_runs import normalisation_of

STATES, GAMES_AT_ONCE, EVERY = 4096, 64, 4
"""States of the teacher on which imitability is measured, games that visit them, and steps between two states."""


@dataclass(frozen=True)
class Baselines:
    """The runs of the baselines of a diagnosis.

    Attributes
    ----------
    plan
        The diagnosis.
    blind
        The learners on a constant frame.
    cloned
        A supervised fit of the teacher on its own states, one for each view.
    """

    plan: GamePlan
    blind: tuple[RunSettings, ...]
    cloned: tuple[RunSettings, ...]

    def as_plan(self) -> Plan:
        """All runs, those of the diagnosis first."""
        return Plan((self.plan, replace(self.plan, cells=(*self.blind, *self.cloned))))


def baselines_of(plan: GamePlan) -> Baselines:
    """Plan the baselines of a diagnosis.

    Raises
    ------
    ValueError
        If the game is diagnosed with an encoder as its privileged view, which has controls of its own.
    """
    if plan.is_encoded:
        raise ValueError(
            f"{plan.game} is diagnosed with an expert's encoder, which has controls of its own: leave baselines out."
        )
    whole = next(run for run in plan.cells if (run.view, run.learning) == (PIXELS.name, "rl")).options
    blind = [
        replace(
            run,
            view=BLIND.name,
            options=whole.relevant_to(shown_view(BLIND.name, run.teacher_view), run.learning),
        )
        for run in plan.cells
        if run.view == PIXELS.name
    ]
    first_seed = min(run.seed for run in plan.cells)
    first = [run for run in plan.cells if run.learning == "imitation" and run.seed == first_seed]
    cloned = [replace(run, hyperparameters=replace(run.hyperparameters, mixing=1.0)) for run in first]
    return Baselines(plan, tuple(blind), tuple(cloned))


def read_baselines(baselines: Baselines, store: Store) -> pd.DataFrame:
    """Estimate the baselines from their finished runs.

    Returns
    -------
    pandas.DataFrame
        One row a baseline: baseline (``"blind"`` or ``"imitability"``), view, learning, value and its 95 % limits low
        and high. The value of a blind learner is its mean score, as of the cells; limits are over seeds. That of
        imitability is explained by `imitability`; it has no limits.
    """
    plan = baselines.plan
    episodes = pd.concat([store.load(run).episodes for run in baselines.blind], ignore_index=True)
    scores = cell_scores(played_by(episodes), normalisation_of(plan, store), plan.budget)
    samples, errors = cell_samples(scores.assign(view=PIXELS.name), *PRIMARY)
    rows = []
    for learning, letter in (("rl", 0), ("imitation", 2)):
        score = mean_interval((samples[letter], errors[letter]))
        rows.append(("blind", BLIND.name, learning, score.estimate, score.low, score.high))
    files = weights_of(baselines.as_plan(), store)
    for run in baselines.cloned:
        student, _ = load_policy(store.load(run).policy_file, trust=True)
        teacher = teacher_of(run, files.get(run.teacher or ""))
        assert teacher is not None
        unknown = float("nan")
        rows.append(("imitability", run.view, "imitation", imitability(student, teacher, run), unknown, unknown))
    return pd.DataFrame(rows, columns=["baseline", "view", "learning", "value", "low", "high"])


@torch.no_grad()
def imitability(student: EncoderPolicy, teacher: Teacher, run: RunSettings) -> float:
    """Share of what a teacher's actions tell of its state that a student predicts, in unseen levels.

    It is 1 − KL(teacher, student) / KL(teacher, mean of the teacher), both mean divergences over states that the
    teacher visits: 1 for the teacher itself, 0 for a constant distribution that is as good as one can be, below 0 for a
    worse one. NaN if the teacher acts alike in all states.

    Parameters
    ----------
    student
        A policy.
    teacher
        The teacher, who acts.
    run
        The run of the student, for its game and views.
    """
    device = torch.device("cpu")
    prepare(teacher, device)
    student.set_training_mode(False)
    views = tuple(dict.fromkeys((run.view, run.teacher_view)))
    games = make_vec_env(run.unseen_options, GAMES_AT_ONCE, views if len(views) > 1 else views[0], run.seed)
    env = TaughtVecEnv(games, run.view, run.teacher_view)
    generator = torch.Generator().manual_seed(run.seed)
    actions = int(env.action_space.n)  # type: ignore[attr-defined]
    told, known = [], []
    try:
        observed = env.reset()
        for step in range(EVERY * STATES // GAMES_AT_ONCE):
            labels = labels_of(teacher, env.teacher_observations, actions, device)
            if step % EVERY == 0:
                told.append(labels)
                known.append(student.log_probabilities(channels_first(torch.as_tensor(observed))))
            acted = torch.multinomial(labels.exp(), 1, generator=generator).squeeze(1)
            observed = np.asarray(env.step(acted.numpy())[0])
    finally:
        env.close()
    wanted, predicted = torch.cat(told).double(), torch.cat(known).double()
    probabilities = wanted.exp()
    constant = probabilities.mean(dim=0).log()
    by_student, by_constant = (
        (probabilities * (wanted - other).nan_to_num()).sum(dim=1).mean() for other in (predicted, constant)
    )
    return float("nan") if by_constant < 1e-9 else float(1 - by_student / by_constant)
