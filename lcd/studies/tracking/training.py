"""Training of one condition of the tracking study, and its tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack, VecMonitor, VecTransposeImage

from lcd.agents import TaughtVecEnv
from lcd.agents.memory import MemoryPolicy, RecurrentDAgger, RecurrentMap
from lcd.agents.randomness import seeded
from lcd.envs.calibration.adaptors import CalibrationVecEnv
from lcd.envs.calibration.expert import TrackerExpert
from lcd.envs.calibration.options import TrackerOptions
from lcd.studies.tracking.conditions import STACKED, TESTS, Condition
from lcd.studies.tracking.synchrony import measure_synchrony

GAMES, ROLLOUT = 128, 32
"""Games that step together, and steps of each in a rollout, which is the length of the sequences that are learned: a
quarter of an episode, whose first state is the one that was played with. Games are staggered, so that every rollout
has all parts of episodes in it."""

EPISODES = 128
"""Episodes of an evaluation."""

MEASURED = ("seen", "colours", "textures")
"""Tests in which synchrony is measured: held-out shapes cover few units."""

HYPERPARAMETERS: dict[str, Any] = {
    "n_steps": ROLLOUT,
    "batch_size": GAMES * ROLLOUT // 8,
    "n_epochs": 3,
    "learning_rate": 5e-4,
    "gamma": 0.99,
    "gae_lambda": 0.95,
    "ent_coef": 0.01,
    "max_grad_norm": 0.5,
}
"""Of both learners."""


def games_of(
    condition: Condition, options: TrackerOptions, seed: int, *, trains: bool = False, taught: bool = False
) -> VecEnv:
    """The games as the condition's network sees them, to train in them, with or without a teacher, or to be tested."""
    view = condition.view if not taught or condition.view == "semantic" else "both"
    env: VecEnv = CalibrationVecEnv(options, GAMES, view, seed, staggered=trains)
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
        of steps on the target; the others are those of `lcd.studies.tracking.synchrony.Synchrony`, and with
        ``elsewhere_`` before them the same where the objects of another game are. The first evaluation is of the
        untrained agent.
    """
    with seeded(condition.seed):
        return _trained(condition, report)


def _trained(condition: Condition, report: Callable[[int], None]) -> pd.DataFrame:
    imitates = condition.learner == "imitation"
    env = games_of(condition, condition.training_game(), condition.seed, trains=True, taught=imitates)
    given: dict[str, Any] = {"teacher": TrackerExpert(), "mixing": _teachers_part} if imitates else {}
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
    evaluating = _Evaluating(model, policy, condition, weights, report)
    model.learn(condition.steps, evaluating)
    evaluating.finish()
    env.close()
    return pd.DataFrame(evaluating.rows)


def _teachers_part(remaining: float) -> float:
    """Probability that the teacher acts: at first it mostly does, and less and less, down to 0.

    A student that has lost the target sees nothing that tells where it is, so that its own states teach little at
    first; and the teacher's alone do not show how to come back.
    """
    return 0.9 * remaining


class _Evaluating(BaseCallback):
    """Evaluates at even distances, before the rollout that comes next, and collects the rows."""

    def __init__(
        self, learner: Any, policy: MemoryPolicy, condition: Condition, weights: int, report: Callable[[int], None]
    ) -> None:
        super().__init__()
        self.rows: list[dict[str, Any]] = []
        self._learner, self._policy, self._condition = learner, policy, condition
        self._weights, self._report = weights, report
        self._done, self._seconds, self._since = 0, 0.0, time.perf_counter()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        self._report(self.num_timesteps)
        due = self._condition.evaluations * self.num_timesteps // self._condition.steps
        if self._done < due < self._condition.evaluations or self.num_timesteps == 0:
            self._evaluate(("seen",))
            self._done = due

    def finish(self) -> None:
        """The last evaluation, in all tests."""
        self._evaluate(TESTS)

    def _evaluate(self, tests: Sequence[str]) -> None:
        self._seconds += time.perf_counter() - self._since
        for test in tests:
            found = _tested(self._learner, self._policy, self._condition, test)
            common = asdict(self._condition) | {"weights": self._weights, "seconds": round(self._seconds, 1)}
            common |= {"step": self._learner.num_timesteps, "test": test}
            self.rows += [common | {"measure": name, "value": value} for name, value in found.items()]
        self._since = time.perf_counter()


def _tested(model: Any, policy: MemoryPolicy, condition: Condition, test: str) -> dict[str, float]:
    """Measures of a test on unseen levels, by name."""
    options = condition.test_game(test)
    with seeded(0):
        env = games_of(condition, options, seed=0)
        returns, _ = evaluate_policy(model, env, EPISODES, deterministic=False, return_episode_rewards=True)
        env.close()
        found = {"return": float(np.mean(returns))}
        network = policy.network
        if not isinstance(network, RecurrentMap) or network.synchrony is None or condition.view != "pixels":
            return found
        if test in MEASURED:
            measured, elsewhere = measure_synchrony(model, network, options)
            found |= measured._asdict() | {f"elsewhere_{name}": value for name, value in elsewhere._asdict().items()}
    return found
