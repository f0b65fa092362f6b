"""Training of one condition of the tracking study, and its tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import torch
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack, VecMonitor, VecTransposeImage

from lcd.agents import TaughtVecEnv
from lcd.agents.memory import MemoryPolicy, RecurrentDAgger, RecurrentMap
from lcd.envs.calibration.adaptors import CalibrationVecEnv
from lcd.envs.calibration.expert import TrackerExpert
from lcd.envs.calibration.options import TrackerOptions
from lcd.studies.tracking.conditions import TESTS, Condition
from lcd.studies.tracking.synchrony import measure_synchrony

GAMES, ROLLOUT = 32, 64
"""Games that step together, and steps of each in a rollout, which is the length of the sequences that are learned."""

EPISODES = 128
"""Episodes of an evaluation."""

STACKED = 4
"""Frames that a network with stacked frames sees."""

HYPERPARAMETERS: dict[str, Any] = {
    "n_steps": ROLLOUT,
    "batch_size": GAMES * ROLLOUT // 4,
    "n_epochs": 2,
    "learning_rate": 5e-4,
    "gamma": 0.99,
    "gae_lambda": 0.95,
    "ent_coef": 0.01,
    "max_grad_norm": 0.5,
}
"""Of both learners."""


def games_of(condition: Condition, options: TrackerOptions, seed: int, *, taught: bool = False) -> VecEnv:
    """The games as the condition's network sees them."""
    view = condition.view if not taught or condition.view == "semantic" else "both"
    env: VecEnv = CalibrationVecEnv(options, GAMES, view, seed)
    if taught:
        env = TaughtVecEnv(env, condition.view)
    if condition.network.startswith("stacked=") and condition.view == "pixels":
        env = VecFrameStack(env, STACKED)
    if condition.view == "pixels":
        env = VecTransposeImage(env)
    return VecMonitor(env)


def train(condition: Condition, report: Callable[[int], None] = lambda steps: None) -> pd.DataFrame:
    """Train an agent, evaluate it along the way, and test it at the end.

    Parameters
    ----------
    condition
        What is trained.
    report
        Called with the steps so far, after each rollout.

    Returns
    -------
    pandas.DataFrame
        One row a measurement: the condition's settings, weights (of the network), seconds (of training until then),
        step, test (see `lcd.studies.tracking.conditions.TESTS`), measure and value. The measure ``return`` is the share
        of steps on the target; the others are those of `lcd.studies.tracking.synchrony.Synchrony`.
    """
    torch.manual_seed(condition.seed)
    imitates = condition.learner == "imitation"
    env = games_of(condition, condition.training_game(), condition.seed, taught=imitates)
    given: dict[str, Any] = {"teacher": TrackerExpert()} if imitates else {}
    made = RecurrentDAgger if imitates else RecurrentPPO
    model = made(
        MemoryPolicy,
        env,
        policy_kwargs={"network": condition.network},
        seed=condition.seed,
        device="cpu",
        **HYPERPARAMETERS,
        **given,
    )
    policy = model.policy
    assert isinstance(policy, MemoryPolicy)
    weights = sum(each.numel() for each in policy.network.parameters())
    rows: list[dict[str, Any]] = []
    trained = 0.0
    for number in range(1, condition.evaluations + 1):
        started = time.perf_counter()
        wanted = condition.steps * number // condition.evaluations
        model.learn(max(1, wanted - model.num_timesteps), _Reporting(report), reset_num_timesteps=False)
        trained += time.perf_counter() - started
        last = number == condition.evaluations
        for test in TESTS if last else ("seen",):
            found = _tested(model, policy, condition, test)
            common = asdict(condition) | {"weights": weights, "seconds": round(trained, 1), "step": model.num_timesteps}
            rows += [common | {"test": test, "measure": name, "value": value} for name, value in found.items()]
    env.close()
    return pd.DataFrame(rows)


class _Reporting(BaseCallback):
    """Reports the steps after each rollout."""

    def __init__(self, report: Callable[[int], None]) -> None:
        super().__init__()
        self._report = report

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self._report(self.num_timesteps)


def _tested(model: Any, policy: MemoryPolicy, condition: Condition, test: str) -> dict[str, float]:
    """Measures of a test on unseen levels, by name."""
    options = condition.test_game(test)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        env = games_of(condition, options, seed=0)
        returns, _ = evaluate_policy(model, env, EPISODES, deterministic=False, return_episode_rewards=True)
        env.close()
        found = {"return": float(np.mean(returns))}
        network = policy.network
        if isinstance(network, RecurrentMap) and network.synchrony is not None and condition.view == "pixels":
            found |= measure_synchrony(model, network, options)._asdict()
    return found
