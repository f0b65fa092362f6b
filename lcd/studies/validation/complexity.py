"""Complexity of a game that no training measures: returns of policies with random weights, and of random play."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from lcd.agents import EncoderPolicy, evaluate
from lcd.agents.parallel import single_threaded
from lcd.agents.rollout import channels_first
from lcd.envs import GameOptions, ProcgenOptions, make_vec_env
from lcd.envs.family import policy_spaces
from lcd.envs.views import PIXELS, SEMANTIC
from lcd.experiments.plan import GamePlan
from lcd.experiments.settings import RunSettings, encoder_of
from lcd.measurement.capacity import information_capacity

POLICIES, EPISODES = 32, 64
"""Random policies, and episodes of each, all at once."""

SPREAD = 3.0
"""Standard deviation of a random policy's logits over actions: it mostly repeats what its weights prefer."""


MOST_STEPS = 2_000
"""Of an episode on average: what does not end then counts with what it has returned."""


def complexity_of(plan: GamePlan, run: RunSettings) -> dict[str, float]:
    """The measures of a game, by the names in `lcd.studies.validation.predictors.COMPLEXITY`.

    Parameters
    ----------
    plan
        Of the game.
    run
        A run of the learner from frames.
    """
    return {"capacity": policy_capacity(run), "effective_horizon": horizon_of(plan, run)}


def horizon_of(plan: GamePlan, run: RunSettings) -> float:
    """The effective horizon of a game of Procgen with a given teacher; NaN for others, whose states are not copied."""
    from lcd.studies.validation.effective_horizon import procgen_horizon

    given = plan.given_teacher
    if not isinstance(run.options, ProcgenOptions) or given is None or given.view != SEMANTIC.name:
        return float("nan")
    teacher, _ = given.load(run.options)
    with single_threaded():
        return procgen_horizon(run.options, teacher)


def policy_capacity(run: RunSettings, policies: int = POLICIES, episodes: int = EPISODES, seed: int = 0) -> float:
    """The policy information capacity of a game's training levels, for the network of a run.

    Parameters
    ----------
    run
        A run of the learner from frames: its game and its encoder.
    policies
        Number of policies with random weights.
    episodes
        Episodes of each.
    seed
        Of weights, levels and actions.

    Returns
    -------
    float
        In bits, see `lcd.measurement.capacity.information_capacity`.
    """
    return information_capacity(random_returns(run.options, encoder_of(run), policies, episodes, seed))


def random_returns(options: GameOptions, encoder: str, policies: int, episodes: int, seed: int) -> NDArray[np.float64]:
    """Returns of policies with random weights, shape (policies, episodes)."""
    env = make_vec_env(options, episodes, PIXELS.name, seed)
    try:
        with torch.random.fork_rng(devices=[]), single_threaded():
            frames = channels_first(torch.as_tensor(env.reset()))
            returns = []
            for number in range(policies):
                torch.manual_seed(seed + number)
                policy = EncoderPolicy(*policy_spaces(options, PIXELS.name), lambda _: 0.0, encoder=encoder)
                policy.set_training_mode(False)
                with torch.no_grad():
                    logits = policy.log_probabilities(frames)
                spread = float(logits.std(dim=1).mean())
                sharper = SPREAD / spread if spread > 0 else 1.0
                played = evaluate(
                    policy, env, 1, seed, inverse_temperature=sharper, max_steps=episodes * MOST_STEPS, cut_off=True
                )
                returns.append(played.returns)
    finally:
        env.close()
    return np.stack([np.asarray(each, np.float64).reshape(-1) for each in returns])
