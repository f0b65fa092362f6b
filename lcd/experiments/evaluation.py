"""Evaluation of a policy during training, by one rule of acting for every cell.

PPO's entropy bonus keeps the policy stochastic; a student copies the entropy of its teacher. A comparison of sampled
actions would attribute this difference to policy learning. So every evaluation first selects the inverse temperature of
the logits with the highest return on training levels, and plays unseen levels with it. The rule is the same for all
cells, and uses no unseen level. The returns at a temperature of 1 are recorded, too.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from lcd.agents import EncoderPolicy, Episodes, best_tempered, evaluate
from lcd.envs import make_vec_env
from lcd.envs.external.options import ExternalOptions
from lcd.experiments.settings import RunSettings
from lcd.measurement.scores import SAMPLED, TEMPERED

LEVELS = ("training", "unseen")


@dataclass(frozen=True)
class Progress:
    """Progress of a run.

    Attributes
    ----------
    step, steps
        Environment steps done, and in all.
    seconds
        Time since the run began.
    training_return, unseen_return
        Means of the last evaluation, at the selected temperature where several are tried; NaN before the first.
    """

    step: int
    steps: int
    seconds: float
    training_return: float
    unseen_return: float


@dataclass(frozen=True)
class Played:
    """Episodes of one evaluation.

    Attributes
    ----------
    rule
        `lcd.measurement.scores.TEMPERED` or `lcd.measurement.scores.SAMPLED`.
    inverse_temperature
        What the logits were multiplied by.
    training, unseen
        The episodes on either kind of levels.
    """

    rule: str
    inverse_temperature: float
    training: Episodes
    unseen: Episodes

    @property
    def by_levels(self) -> dict[str, Episodes]:
        """The episodes by the name of their levels."""
        return dict(zip(LEVELS, (self.training, self.unseen), strict=True))


PATIENCE, LEAST_PATIENCE = 4, 1000
"""In a game of another package, episodes of a tempered policy do not end if all together take more than so many times
the steps of the sampled ones, and than so many steps each. Such a policy stands still, in a game of Atari for thousands
of steps, which took longer to play than all training. The LCD's own games end by themselves, after a few thousand steps
at most."""


class EvaluationCallback(BaseCallback):
    """Callback that evaluates the policy on training and on unseen levels at the steps of the settings.

    Every evaluation of a run plays the same levels, and so do runs of the same game and seed. Differences between
    evaluations or cells are then due to the policy, not to the levels.

    Parameters
    ----------
    settings
        The run.
    report
        Called with the progress after every rollout, and after each part of an evaluation.
    num_threads
        Threads that step the games; 0 steps them in the calling thread.

    Attributes
    ----------
    before : callable
        Called before each evaluation, which may take long; by default it does nothing.
    """

    def __init__(self, settings: RunSettings, report: Callable[[Progress], None], num_threads: int) -> None:
        super().__init__()
        self._settings = settings
        self._report = report
        self._envs: dict[str, VecEnv] = {}
        with ExitStack() as opened:
            for levels, chosen in zip(LEVELS, (settings.options, settings.unseen_options), strict=True):
                env = make_vec_env(chosen, settings.evaluation.num_envs, settings.view, num_threads=num_threads)
                opened.callback(env.close)
                self._envs[levels] = env
            opened.pop_all()
        self._tables: list[pd.DataFrame] = []
        self._done: set[int] = set()
        self._patience: int | None = None
        self._last = dict.fromkeys(LEVELS, float("nan"))
        self._started = time.perf_counter()
        self._best = -np.inf
        self.best_weights: dict[str, torch.Tensor] | None = None
        self.best_step = 0
        self.best_inverse_temperature = 1.0
        self.before: Callable[[], None] = lambda: None

    def _play(
        self, policy: EncoderPolicy, levels: str, inverse_temperature: float, seed: int, episodes_per_env: int
    ) -> Episodes:
        env, sampled = self._envs[levels], inverse_temperature == 1
        played = evaluate(
            policy,
            env,
            episodes_per_env,
            seed,
            inverse_temperature=inverse_temperature,
            max_steps=None if sampled else self._most_steps(env, episodes_per_env),
            cut_off=not sampled and levels == "unseen",
        )
        if sampled and levels == "training" and isinstance(self._settings.options, ExternalOptions):
            self._patience = max(LEAST_PATIENCE, int(PATIENCE * played.lengths.mean()))
        self._report_progress()  # what takes long is known not to hang
        return played

    def _most_steps(self, env: VecEnv, episodes_per_env: int) -> int | None:
        """Limit of the steps of a tempered policy's episodes, where there is one."""
        return None if self._patience is None else self._patience * env.num_envs * episodes_per_env

    def training_return(self, policy: EncoderPolicy) -> float:
        """Mean return of a policy on the training levels of every evaluation, at the temperature that is best there."""
        chosen, seed = self._settings.evaluation, self._settings.seed
        _, played = best_tempered(
            lambda factor: self._play(policy, "training", factor, seed, chosen.episodes_per_env),
            chosen.inverse_temperatures,
        )
        return float(played.returns.mean())

    def played(self, seed: int, episodes_per_env: int) -> Iterator[Played]:
        """Evaluate the present policy by each rule of acting; that with a temperature of 1 comes first.

        Parameters
        ----------
        seed
            Decides levels and actions.
        episodes_per_env
            Episodes in each environment, of each inverse temperature.
        """
        policy: EncoderPolicy = self.model.policy  # type: ignore[assignment]

        def play(levels: str, factor: float) -> Episodes:
            return self._play(policy, levels, factor, seed, episodes_per_env)

        sampled = Played(SAMPLED, 1.0, play("training", 1.0), play("unseen", 1.0))
        yield sampled
        factors = self._settings.evaluation.inverse_temperatures
        if set(factors) == {1.0}:
            return
        best, training = best_tempered(
            lambda factor: sampled.training if factor == 1 else play("training", factor), factors
        )
        yield Played(TEMPERED, best, training, sampled.unseen if best == 1 else play("unseen", best))

    def check(self, seed: int, episodes_per_env: int) -> Played:
        """Evaluate kept weights, whose logits are scaled, after the last evaluation, on fresh episodes.

        Parameters
        ----------
        seed
            Decides levels and actions.
        episodes_per_env
            Episodes in each environment. One that does not end counts with what it has returned.
        """
        policy: EncoderPolicy = self.model.policy  # type: ignore[assignment]
        sampled = self.best_inverse_temperature == 1
        training, unseen = (
            evaluate(
                policy,
                env,
                episodes_per_env,
                seed,
                max_steps=None if sampled else self._most_steps(env, episodes_per_env),
                cut_off=True,
            )
            for env in (self._envs[levels] for levels in LEVELS)
        )
        return Played(SAMPLED, 1.0, training, unseen)

    def _evaluate(self) -> None:
        self.before()
        settings = self._settings
        self._done.add(self.num_timesteps)
        for played in self.played(settings.seed, settings.evaluation.episodes_per_env):
            for levels, episodes in played.by_levels.items():
                self._tables.append(self._table_of(played, levels, episodes))
                self._last[levels] = float(episodes.returns.mean())
        if settings.keep_best and self._last["training"] > self._best:
            self._best = self._last["training"]
            self.best_weights = copy.deepcopy(self.model.policy.state_dict())
            self.best_step = self.num_timesteps
            self.best_inverse_temperature = played.inverse_temperature

    def _table_of(self, played: Played, levels: str, episodes: Episodes) -> pd.DataFrame:
        settings = self._settings
        columns = {
            "game": settings.game,
            "view": settings.view,
            "learning": settings.learning,
            "seed": settings.seed,
            "step": self.num_timesteps,
            "levels": levels,
            "rule": played.rule,
            "inverse_temperature": played.inverse_temperature,
            "episode": np.arange(episodes.returns.size),
            "level_seed": episodes.level_seeds.ravel(),
            "return": episodes.returns.ravel(),
            "length": episodes.lengths.ravel(),
        }
        return pd.DataFrame(columns)

    def _report_progress(self) -> None:
        seconds = time.perf_counter() - self._started
        self._report(
            Progress(self.num_timesteps, self._settings.steps, seconds, self._last["training"], self._last["unseen"])
        )

    def _on_rollout_start(self) -> None:
        due = self.num_timesteps in self._settings.evaluation.steps
        if due and self.num_timesteps not in self._done:  # a resumed run has evaluated before its checkpoint
            self._evaluate()
        self._report_progress()

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        self._evaluate()
        self._report_progress()

    @property
    def table(self) -> pd.DataFrame:
        """All evaluated episodes so far."""
        return pd.concat(self._tables, ignore_index=True)

    def snapshot(self) -> dict[str, Any]:
        """Everything that was found so far, for a checkpoint."""
        return {
            "table": self.table.to_dict("list") if self._tables else {},
            "done": sorted(self._done),
            "last": self._last,
            "best": float(self._best),
            "best_weights": self.best_weights,
            "best_step": self.best_step,
            "best_inverse_temperature": self.best_inverse_temperature,
        }

    def restore(self, snapshot: dict[str, Any], seconds: float) -> None:
        """Go on from a snapshot that was taken so many seconds after the run began."""
        self._tables = [pd.DataFrame(snapshot["table"])] if snapshot["table"] else []
        self._done, self._last, self._best = set(snapshot["done"]), dict(snapshot["last"]), snapshot["best"]
        self.best_weights, self.best_step = snapshot["best_weights"], snapshot["best_step"]
        self.best_inverse_temperature = snapshot["best_inverse_temperature"]
        self._started -= seconds

    def close(self) -> None:
        """Free the games."""
        for env in self._envs.values():
            env.close()
