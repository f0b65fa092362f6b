"""Training of a teacher, in resumable segments: each starts from the checkpoint of the one before."""

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
from lcd.agents.encoders.weights import not_finite
from lcd.envs import ProcgenOptions, ProcgenVecEnv
from lcd.envs.procgen.actions import action_classes
from lcd.experiments.settings import Hyperparameters
from lcd.io.files import replacing
from lcd.io.limits import real_number, whole_number
from lcd.io.untrusted import UnreadableFileError, in_short, read_pickled
from lcd.teachers.enemy_avoidance import EnemyAvoidingExpert
from lcd.teachers.imitation import DAggerWithCritic, PassthroughTeacher, ShortestPathLabelVecEnv
from lcd.teachers.initial import untrained_policy
from lcd.teachers.recipes import ENEMY_AVOIDING, SHORTEST_PATH, LabelExpert
from lcd.teachers.shaping import ShapedRewardVecEnv

SEGMENT_STEPS = 2**18
"""Environment steps of a segment, and so the most that an interruption can cost."""

ANNEALED_SHARE = 0.25
"""Last share of all steps, over which the learning rate and the entropy bonus are annealed linearly to 0."""


@dataclass(frozen=True)
class TrainingRun:
    """Schedule and settings of a teacher's training.

    Attributes
    ----------
    steps
        Environment steps, rounded up to whole segments.
    hyperparameters
        Settings of PPO.
    encoder
        Visual encoder.
    shaping
        Shaping reward for each cell closer to the goal, see `lcd.teachers.shaping`.
    label_expert
        Expert that labels the visited states; None trains by PPO from reward.
    annealed_share
        Last share of the steps, over which the learning rate is annealed; see `ANNEALED_SHARE`.
    """

    steps: int
    hyperparameters: Hyperparameters
    encoder: str
    shaping: float = 0.0
    label_expert: LabelExpert | None = None
    annealed_share: float = ANNEALED_SHARE

    @property
    def segments(self) -> int:
        """Number of segments."""
        return -(-self.steps // SEGMENT_STEPS)

    def annealing_factor(self, segment: int, remaining: float = 1.0) -> float:
        """Factor of the learning rate at a remaining share of a segment, and at its start of the entropy bonus."""
        done = (segment + 1 - remaining) / self.segments
        return min(1.0, (1 - done) / self.annealed_share)

    def is_annealed(self, segment: int) -> bool:
        """Whether the learning rate is annealed in a segment, so that its result depends on the number of segments."""
        return segment + 1 > (1 - self.annealed_share) * self.segments


@dataclass(frozen=True)
class _SegmentLearningRate:
    """Learning rate as a function of the remaining share of a segment; `peak` is that of the whole run."""

    run: TrainingRun
    segment: int

    @property
    def peak(self) -> float:
        return self.run.hyperparameters.learning_rate

    def __call__(self, remaining: float) -> float:
        return self.peak * self.run.annealing_factor(self.segment, remaining)


class _Returns(BaseCallback):
    """Collects the returns of finished episodes."""

    def __init__(self) -> None:
        super().__init__()
        self.returns: list[float] = []

    def _on_step(self) -> bool:
        self.returns += [info["episode"]["r"] for info in self.locals["infos"] if "episode" in info]
        return True


class _ArrangedVecEnv(VecEnvWrapper):
    """Apply an encoder's preprocessing to label maps once for each step, rather than in every epoch."""

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


def train_policy(
    options: ProcgenOptions,
    run: TrainingRun,
    folder: Path,
    *,
    begin: EncoderPolicy | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> EncoderPolicy:
    """Train a policy on the semantic view: by imitation if the run names an expert for its labels, else by PPO.

    Parameters
    ----------
    options
        The game and its training levels.
    run
        Schedule and settings.
    folder
        Existing folder for the checkpoints of the segments, ``segment-0.pt`` and so on, and for their table,
        ``segments.csv``. The same call resumes after the last checkpoint there, with the same final weights; a longer
        run resumes from the last segment of the shorter one before annealing.
    begin
        Policy with the run's encoder to start from, in place of an untrained one.
    report
        Is called with a line of text after every segment.

    Returns
    -------
    EncoderPolicy
        The trained policy.

    Raises
    ------
    lcd.agents.TrainingDiverged
        If a loss is not finite.
    """
    state = _last_segment(options.game, run, folder)
    if begin is not None and state["number"] < 0:
        state["policy"] = begin.state_dict()
    for number in range(state["number"] + 1, run.segments):
        state = _segment(options, run, number, state)
        content = io.BytesIO()  # of a full disk torch says nothing that can be told from other failures
        torch.save(state, content)
        with replacing(_checkpoints(folder, number)[0]) as unfinished:
            unfinished.write_bytes(content.getvalue())
        row = state["table"][-1]
        report(
            f"{options.game}: {row['steps']:,} of {run.segments * SEGMENT_STEPS:,} steps, "
            f"return {row['mean_return']:.2f} ({row['episodes']} episodes), {_learning_state(row)}, "
            f"{row['steps_per_second']:.0f} steps/s"
        )
    with replacing(folder / "segments.csv") as unfinished:
        pd.DataFrame(state["table"]).to_csv(unfinished, index=False)
    policy = untrained_policy(options.game, run.encoder)
    policy.load_state_dict(state["policy"])
    policy.set_training_mode(False)
    return policy


def _last_segment(game: str, run: TrainingRun, folder: Path) -> dict[str, Any]:
    """Load the last checkpoint from which a run can resume."""
    for number in reversed(range(run.segments)):
        file = next((file for file in _checkpoints(folder, number) if file.exists()), None)
        if file is not None:
            state = _read_segment(file, game, run.encoder)
            if state["cooled"] in (0, run.segments) and bool(state["cooled"]) == run.is_annealed(number):
                return state
    return {"number": -1, "table": []}


def _checkpoints(folder: Path, number: int) -> tuple[Path, Path]:
    """Names of a segment's checkpoint: the present one, and that of earlier versions."""
    return folder / f"segment-{number}.pt", folder / f"leg-{number}.pt"


def _read_segment(file: Path, game: str, encoder: str) -> dict[str, Any]:
    """Read a checkpoint, and check that training can go on from it.

    Raises
    ------
    ValueError
        If it is damaged, or of another network.
    """
    remedy = "remove it, and training resumes from the segment before"
    try:
        state: Any = read_pickled(file)
        _check_segment(state)
        policy = untrained_policy(game, encoder)
        _load_weights(policy, state["policy"], file, encoder)
        policy.optimizer.load_state_dict(state["optimizer"])
        _check_optimizer(policy.optimizer)
    except _OtherNetwork:
        raise
    except (UnreadableFileError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, IndexError) as error:
        raise ValueError(f"{file} is damaged ({in_short(error)}): {remedy}.") from error
    return state


class _OtherNetwork(ValueError):
    """A checkpoint is of another network."""


def _load_weights(policy: EncoderPolicy, weights: dict[str, torch.Tensor], file: Path, encoder: str) -> None:
    """Load the weights of a checkpoint.

    Raises
    ------
    _OtherNetwork
        If they are of another network.
    """
    try:
        policy.load_state_dict(weights)
    except RuntimeError as error:
        raise _OtherNetwork(
            f"{file} was not made with the encoder {encoder} ({in_short(error)}): name its own, or another folder."
        ) from error


_ROW = {"steps", "mean_return", "entropy", "steps_per_second", "core_hours"}
"""What every version has written of a segment; returns and entropies may be unknown."""


def _check_segment(state: Any) -> None:
    """Check the types and the sizes of what a checkpoint holds, but for the optimiser's.

    Raises
    ------
    ValueError
        If something is missing, or no number where one belongs.
    """
    wanted = {"number", "cooled", "table", "policy", "optimizer", "returns"}
    if not isinstance(state, dict) or not wanted <= state.keys():
        raise ValueError(f"it does not hold {', '.join(sorted(wanted))}")
    for name in ("number", "cooled"):
        whole_number(name, state[name])
    returns, table = state["returns"], state["table"]
    if not isinstance(returns, list) or len(returns) != 3 or not isinstance(table, list) or not table:
        raise ValueError("its tables are none")
    for each in returns:
        real_number("a statistic of returns", each)
    for row in table:
        if not isinstance(row, dict) or not row.keys() >= _ROW or not all(isinstance(name, str) for name in row):
            raise ValueError("a row of its table lacks a column")
        for name, value in row.items():
            if not (name in ("mean_return", "entropy", "agreement") and isinstance(value, float) and np.isnan(value)):
                real_number(name, value, -1e15, 1e15)
        whole_number("steps", row["steps"])
    if not isinstance(state["policy"], dict) or not isinstance(state["optimizer"], dict):
        raise ValueError("its weights are none")
    if not all(isinstance(value, torch.Tensor) for value in state["policy"].values()):
        raise ValueError("a weight is no tensor")
    if (weights := not_finite(state["policy"])) is not None:
        raise ValueError(f"the weights {weights} are not finite")


def _check_optimizer(optimizer: torch.optim.Optimizer) -> None:
    """Check that the moments of an optimiser are finite, and have the shapes of their weights.

    Raises
    ------
    ValueError
        If they are not.
    """
    for weights, moments in optimizer.state.items():
        for name, value in moments.items():
            if not isinstance(value, torch.Tensor) or value.shape not in (weights.shape, ()):
                raise ValueError(f"the optimiser's {name} does not belong to its weights")
            if not torch.isfinite(value).all():
                raise ValueError(f"the optimiser's {name} is not finite")


def _learner(
    options: ProcgenOptions,
    run: TrainingRun,
    number: int,
    state: dict[str, Any],
) -> tuple[PPO, VecNormalize]:
    """Build the learner at the start of a segment, and its environment."""
    hyper = run.hyperparameters
    encoder = parse_encoder(EncoderName.read(run.encoder).architecture)[0]
    games = ProcgenVecEnv(options, hyper.num_envs, "semantic", seed=number)
    monitored = VecMonitor(games)  # below any shaping: the returns in the table are the game's own
    training_env: VecEnv = monitored
    learner: Callable[..., PPO] = PPO
    if run.label_expert == SHORTEST_PATH:
        training_env = ShortestPathLabelVecEnv(monitored, games)
        learner = partial(DAggerWithCritic, teacher=PassthroughTeacher())
    elif run.label_expert == ENEMY_AVOIDING:
        training_env, learner = TaughtVecEnv(monitored), partial(DAggerWithCritic, teacher=EnemyAvoidingExpert())
    elif run.shaping:
        training_env = ShapedRewardVecEnv(monitored, games, run.shaping)
    env = VecNormalize(_ArrangedVecEnv(training_env, encoder), norm_obs=False, gamma=hyper.gamma)
    model = learner(
        env=env,
        encoder=run.encoder,
        policy_kwargs={"action_classes": action_classes(options.game)},
        seed=number,
        device="cpu",
        **hyper.for_ppo()
        | {
            "learning_rate": _SegmentLearningRate(run, number),
            "ent_coef": hyper.entropy * run.annealing_factor(number),
        },
    )
    network = model.policy.features_extractor
    assert isinstance(network, Encoder)
    network.arranges = False
    if "policy" in state:
        model.policy.load_state_dict(state["policy"])
    if number > 0:
        model.policy.optimizer.load_state_dict(state["optimizer"])
        statistics = env.ret_rms
        statistics.mean, statistics.var = (np.asarray(value) for value in state["returns"][:2])
        statistics.count = state["returns"][2]
    return model, env


def _segment(
    options: ProcgenOptions,
    run: TrainingRun,
    number: int,
    state: dict[str, Any],
) -> dict[str, Any]:
    """Train for one segment and return the state that the next one starts from."""
    started, processor = time.perf_counter(), time.process_time()
    model, env = _learner(options, run, number, state)
    finished = _Returns()
    try:
        model.learn(SEGMENT_STEPS, callback=finished)
    finally:
        env.close()
    row = {
        "steps": (number + 1) * SEGMENT_STEPS,
        "mean_return": float(np.mean(finished.returns)) if finished.returns else float("nan"),
        "episodes": len(finished.returns),
        "entropy": -_last(model, "train/entropy_loss"),
        "agreement": _last(model, "train/agreement"),
        "steps_per_second": SEGMENT_STEPS / (time.perf_counter() - started),
        "core_hours": (time.process_time() - processor) / 3600,
    }
    statistics = env.ret_rms
    return {
        "number": number,
        "cooled": run.segments if run.is_annealed(number) else 0,
        "table": [*state["table"], row],
        "policy": model.policy.state_dict(),
        "optimizer": model.policy.optimizer.state_dict(),
        "returns": [float(statistics.mean), float(statistics.var), float(statistics.count)],
    }


def _last(model: PPO, name: str) -> float:
    """Last logged value under a name, NaN if there is none."""
    return float(model.logger.name_to_value.get(name, float("nan")))


def _learning_state(row: dict[str, Any]) -> str:
    """Progress measure for a log line: agreement with the expert labels, or the policy's entropy under PPO."""
    agreement = row["agreement"]
    return f"entropy {row['entropy']:.2f}" if np.isnan(agreement) else f"agreement {agreement:.2f}"
