"""A teacher's course, in legs: each goes on from what the one before left in a file."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecMonitor, VecNormalize
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from lcd.agents import PPO, Encoder, EncoderName, EncoderPolicy, TaughtVecEnv, parse_encoder
from lcd.envs import ProcgenOptions, ProcgenVecEnv
from lcd.envs.procgen.actions import action_classes
from lcd.experiments.settings import Hyperparameters
from lcd.io.files import replacing
from lcd.io.untrusted import UnreadableFileError, read_pickled
from lcd.teachers.avoidance import Wary
from lcd.teachers.imitation import Apprentice, Shown, ShownVecEnv
from lcd.teachers.initial import untaught
from lcd.teachers.recipes import WARY, WAY, Guide
from lcd.teachers.shaping import GuidedVecEnv

LEG = 2**18
"""Environment steps of a leg: what an interruption can cost."""

COOL_DOWN = 0.25
"""Last share of all steps, over which the learning rate and the reward for being undecided fall to nothing."""


@dataclass(frozen=True)
class Course:
    """How long and with which settings a teacher learns.

    Attributes
    ----------
    steps
        Environment steps, rounded up to whole legs.
    hyperparameters
        Settings of PPO.
    encoder
        Visual encoder.
    guidance
        Reward for every cell less to go, see `lcd.teachers.shaping`.
    guide
        Who shows it what to do; None if it learns from reward.
    cool_down
        Last share of the steps, see `COOL_DOWN`.
    """

    steps: int
    hyperparameters: Hyperparameters
    encoder: str
    guidance: float = 0.0
    guide: Guide | None = None
    cool_down: float = COOL_DOWN

    @property
    def legs(self) -> int:
        """Number of legs."""
        return -(-self.steps // LEG)

    def warmth(self, leg: int, left: float = 1.0) -> float:
        """Factor of the learning rate when a share of a leg is left, and of the entropy's weight at its beginning."""
        done = (leg + 1 - left) / self.legs
        return min(1.0, (1 - done) / self.cool_down)

    def cools(self, leg: int) -> bool:
        """Whether the learning rate falls in a leg, so that what it leaves depends on how many legs there are."""
        return leg + 1 > (1 - self.cool_down) * self.legs


@dataclass(frozen=True)
class _LegRate:
    """Learning rate in a leg of a course, by the share of the leg that is left; its peak is that of the course."""

    course: Course
    leg: int

    @property
    def peak(self) -> float:
        return self.course.hyperparameters.learning_rate

    def __call__(self, left: float) -> float:
        return self.peak * self.course.warmth(self.leg, left)


class _Returns(BaseCallback):
    """Keeps the returns of the episodes that end."""

    def __init__(self) -> None:
        super().__init__()
        self.returns: list[float] = []

    def _on_step(self) -> bool:
        self.returns += [info["episode"]["r"] for info in self.locals["infos"] if "episode" in info]
        return True


class _Arranged(VecEnvWrapper):
    """Label maps as an encoder arranges them: once for each step, and not again in every epoch."""

    def __init__(self, venv: VecEnv, encoder: type[Encoder]) -> None:
        super().__init__(venv)
        self._encoder = encoder

    def _arranged(self, observations: VecEnvObs) -> VecEnvObs:
        return self._encoder.arranged(torch.as_tensor(observations)).numpy()

    def reset(self) -> VecEnvObs:
        return self._arranged(self.venv.reset())

    def step_wait(self) -> VecEnvStepReturn:
        observations, rewards, dones, infos = self.venv.step_wait()
        for info in infos:
            if "terminal_observation" in info:
                info["terminal_observation"] = self._arranged(info["terminal_observation"][None])[0]  # type: ignore[index]
        return self._arranged(observations), rewards, dones, infos


def reinforce(
    options: ProcgenOptions,
    course: Course,
    folder: Path,
    *,
    begin: EncoderPolicy | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> EncoderPolicy:
    """Train a policy on the semantic view: by showing it the way, if the course says so, and else by PPO.

    Parameters
    ----------
    options
        The game and its training levels.
    course
        How.
    folder
        Existing folder for what the legs leave, ``leg-0.pt`` and so on, and for their table, ``legs.csv``. The same
        call goes on after the last leg there, to the same weights; one with more steps goes on from where the shorter
        course began to cool down.
    begin
        Policy with the course's encoder to begin with, in place of an untaught one.
    report
        Is told of every finished leg.

    Returns
    -------
    EncoderPolicy
        The trained policy.

    Raises
    ------
    lcd.agents.TrainingDiverged
        If a loss is not finite.
    """
    left = _last_leg(course, folder)
    if begin is not None and left["number"] < 0:
        left["policy"] = begin.state_dict()
    for number in range(left["number"] + 1, course.legs):
        left = _leg(options, course, number, left)
        content = io.BytesIO()  # of a full disk torch says nothing that can be told from other failures
        torch.save(left, content)
        with replacing(folder / f"leg-{number}.pt") as unfinished:
            unfinished.write_bytes(content.getvalue())
        row = left["table"][-1]
        report(
            f"{options.game}: {row['steps']:,} of {course.legs * LEG:,} steps, return {row['mean_return']:.2f} "
            f"({row['episodes']} episodes), {_state_of(row)}, {row['steps_per_second']:.0f} steps/s"
        )
    with replacing(folder / "legs.csv") as unfinished:
        pd.DataFrame(left["table"]).to_csv(unfinished, index=False)
    policy = untaught(options.game, course.encoder)
    policy.load_state_dict(left["policy"])
    policy.set_training_mode(False)
    return policy


def _last_leg(course: Course, folder: Path) -> dict[str, Any]:
    """What the last finished leg of a course left."""
    for number in reversed(range(course.legs)):
        file = folder / f"leg-{number}.pt"
        if file.exists():
            left = _read_leg(file)
            if left["cooled"] in (0, course.legs) and bool(left["cooled"]) == course.cools(number):
                return left
    return {"number": -1, "table": []}


def _read_leg(file: Path) -> dict[str, Any]:
    damaged = f"{file} is damaged: remove it, and the course goes on from the leg before."
    try:
        left: Any = read_pickled(file)
    except UnreadableFileError as error:
        raise ValueError(damaged) from error
    if not isinstance(left, dict) or not {"number", "cooled", "policy", "table"} <= left.keys():
        raise ValueError(damaged)
    return left


def _learner(
    options: ProcgenOptions,
    course: Course,
    number: int,
    left: dict[str, Any],
) -> tuple[PPO, VecNormalize]:
    """The learner at the beginning of a leg, and its environment."""
    hyper = course.hyperparameters
    encoder = parse_encoder(EncoderName.read(course.encoder).architecture)[0]
    games = ProcgenVecEnv(options, hyper.num_envs, "semantic", seed=number)
    counted = VecMonitor(games)  # before any guidance: the returns in the table are the game's own
    helped: VecEnv = counted
    learner: Callable[..., PPO] = PPO
    if course.guide == WAY:
        helped, learner = ShownVecEnv(counted, games), partial(Apprentice, teacher=Shown())
    elif course.guide == WARY:
        helped, learner = TaughtVecEnv(counted), partial(Apprentice, teacher=Wary())
    elif course.guidance:
        helped = GuidedVecEnv(counted, games, course.guidance)
    env = VecNormalize(_Arranged(helped, encoder), norm_obs=False, gamma=hyper.gamma)
    model = learner(
        env=env,
        encoder=course.encoder,
        policy_kwargs={"action_classes": action_classes(options.game)},
        seed=number,
        device="cpu",
        **hyper.for_ppo()
        | {
            "learning_rate": _LegRate(course, number),
            "ent_coef": hyper.entropy * course.warmth(number),
        },
    )
    network = model.policy.features_extractor
    assert isinstance(network, Encoder)
    network.arranges = False
    if "policy" in left:
        model.policy.load_state_dict(left["policy"])
    if number > 0:
        model.policy.optimizer.load_state_dict(left["optimizer"])
        statistics = env.ret_rms
        statistics.mean, statistics.var = (np.asarray(value) for value in left["returns"][:2])
        statistics.count = left["returns"][2]
    return model, env


def _leg(
    options: ProcgenOptions,
    course: Course,
    number: int,
    left: dict[str, Any],
) -> dict[str, Any]:
    """Carry out one leg and give what the next one needs."""
    started, processor = time.perf_counter(), time.process_time()
    model, env = _learner(options, course, number, left)
    seen = _Returns()
    try:
        model.learn(LEG, callback=seen)
    finally:
        env.close()
    row = {
        "steps": (number + 1) * LEG,
        "mean_return": float(np.mean(seen.returns)) if seen.returns else float("nan"),
        "episodes": len(seen.returns),
        "entropy": -_last(model, "train/entropy_loss"),
        "agreement": _last(model, "train/agreement"),
        "steps_per_second": LEG / (time.perf_counter() - started),
        "core_hours": (time.process_time() - processor) / 3600,
    }
    statistics = env.ret_rms
    return {
        "number": number,
        "cooled": course.legs if course.cools(number) else 0,
        "table": [*left["table"], row],
        "policy": model.policy.state_dict(),
        "optimizer": model.policy.optimizer.state_dict(),
        "returns": [float(statistics.mean), float(statistics.var), float(statistics.count)],
    }


def _last(model: PPO, name: str) -> float:
    """What a learner last logged, not a number where it logs no such thing."""
    return float(model.logger.name_to_value.get(name, float("nan")))


def _state_of(row: dict[str, Any]) -> str:
    """How sure of itself a learner from reward is, and how often an apprentice does what it is shown."""
    shown = row["agreement"]
    return f"entropy {row['entropy']:.2f}" if np.isnan(shown) else f"agreement {shown:.2f}"
