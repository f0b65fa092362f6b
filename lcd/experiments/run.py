"""One training run: from its settings to tables of evaluated episodes and weights."""

from __future__ import annotations

import csv
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from stable_baselines3.common.callbacks import CallbackList
from stable_baselines3.common.logger import configure
from stable_baselines3.common.utils import get_device
from stable_baselines3.common.vec_env import VecEnv, VecMonitor, VecNormalize, unwrap_vec_wrapper

from lcd.agents import PPO, EncoderName, EncoderPolicy, TaughtVecEnv, Teacher, load_policy, save_policy
from lcd.agents.encoders.registry import version_of_encoder
from lcd.agents.teacher_value import ValueShapedVecEnv
from lcd.envs import family_of, make_vec_env
from lcd.experiments.checkpoint import CHECKPOINT_SECONDS, Checkpoint, CheckpointCallback
from lcd.experiments.evaluation import EvaluationCallback, Progress
from lcd.experiments.given_teacher import load_imported, read_teacher
from lcd.experiments.harmonized import Harmonizer
from lcd.experiments.improvements import get_improvement, version_of_improvement
from lcd.experiments.learners import get_learner, reward_learner
from lcd.experiments.settings import EXPERT, IMPORTED, RunSettings, check_made_for, encoder_of, made_by_a_run
from lcd.experiments.versions import versions
from lcd.io.files import checksum
from lcd.io.limits import LARGEST_SEED
from lcd.io.settings import Count, Number, Positive, Whole, settings

PROGRESS, POLICY, TEACHER = "progress.csv", "policy.safetensors", "teacher.safetensors"
"""Names of a run's files: its training log, its last weights, and the best of a run that keeps them."""

CHECK_SEED = 10_000
"""Offset of the seed for levels and actions that no earlier evaluation of the run has used."""


@settings(called="{} of the teacher's scores")
class TeacherScore:
    """Mean returns of the kept weights on fresh episodes, and where they come from.

    Attributes
    ----------
    step
        Of the evaluation that returned most on training levels.
    training_return, unseen_return
        Means over `episodes` fresh ones on either kind of levels.
    inverse_temperature
        What the logits were multiplied by, and are in the file.
    """

    step: Whole
    training_return: Number
    unseen_return: Number
    episodes: Count
    inverse_temperature: Positive = 1.0


@dataclass(frozen=True)
class RunResult:
    """Result of a run.

    Attributes
    ----------
    episodes
        One row an evaluated episode: game, view, learning, seed, step, levels, rule (of acting, see
        `lcd.experiments.evaluation`), inverse_temperature, episode, level_seed, return, length.
    divergences
        How often frames and label maps of a game diverged and were synchronised again, see `lcd.envs.ProcgenBatch`.
    seconds
        Time it took.
    teacher
        Scores of the kept weights, for a run that keeps them.
    threads
        Numbers of threads that torch had, the last one last: several, where a run was resumed with others.
    commits
        Commits of the LCD's checkout, the last one last: several, where it was resumed by others.
    """

    episodes: pd.DataFrame
    seconds: float
    teacher: TeacherScore | None
    divergences: int = 0
    threads: tuple[int, ...] = ()
    commits: tuple[str | None, ...] = (None,)


def teacher_of(settings: RunSettings, file: Path | None) -> Teacher | None:
    """Load the teacher of a run: the game's own optimal policy, a file, what a module makes, or none.

    Raises
    ------
    ValueError
        If the file holds another teacher than the run's, or one of another game or mode.
    """
    if settings.teacher == EXPERT:
        return family_of(settings.options).expert(settings.options)
    if settings.teacher is not None and IMPORTED in settings.teacher:
        return load_imported(settings.teacher, settings.options)
    if file is None:
        return None
    assert settings.teacher is not None
    made_here = made_by_a_run(file, settings.teacher, "The teacher")
    policy, card = read_teacher(file, trust=made_here)  # it has the encoder that this run has as well
    if isinstance(policy, EncoderPolicy):
        policy.mixed_precision = _is_mixed(settings)
    check_made_for(card, settings.options, f"The teacher {file}")
    return policy


def begin_with_best(
    policy: EncoderPolicy, settings: RunSettings, files: Sequence[Path], evaluation: EvaluationCallback
) -> None:
    """Give a policy the weights of the candidate that returns most on the run's own training levels.

    Parameters
    ----------
    policy
        The policy of the run.
    settings
        The run.
    files
        Policies of its candidates, in their order; of those that return alike, the first is taken.
    evaluation
        What evaluates the run.

    Raises
    ------
    ValueError
        If a file holds another policy than a candidate's.
    """
    if len(files) != len(settings.candidates):
        raise ValueError(f"The run {settings.name} has {len(settings.candidates)} candidates, not {len(files)}.")
    found = []
    for file, identity in zip(files, settings.candidates, strict=True):
        made_by_a_run(file, identity, "The candidate")
        candidate, _ = load_policy(file, trust=True)  # made here, with the encoder that this run has as well
        policy.load_state_dict(candidate.state_dict())
        found.append((evaluation.training_return(policy), candidate.state_dict()))
    policy.load_state_dict(max(found, key=lambda each: each[0])[1])


def _is_mixed(settings: RunSettings) -> bool | None:
    """Whether encoders compute in bfloat16; None where the machine decides."""
    return None if settings.precision is None else settings.precision == "bfloat16"


def _check_versions(settings: RunSettings) -> None:
    """Check that the code of the game, the encoder and the improvement is still that of the plan.

    Raises
    ------
    ValueError
        If it has changed.
    """
    known = {
        f"game {settings.game}": (settings.game_version, family_of(settings.options).version(settings.options)),
        f"encoder {settings.encoder}": (settings.encoder_version, version_of_encoder(settings.encoder)),
        f"improvement {settings.improvement}": (
            settings.improvement_version,
            version_of_improvement(settings.improvement),
        ),
    }
    for what, (planned, found) in known.items():
        if planned is not None and planned != found:
            raise ValueError(
                f"The {what} has changed since the run was planned ({planned}, and now {found}): take the change back "
                "and start the command again, or give it another --out to begin anew."
            )


def learner(settings: RunSettings, teacher: Teacher | None, device: str, num_threads: int) -> tuple[PPO, VecEnv]:
    """Build the untrained learner of a run, and its environment.

    Parameters
    ----------
    settings
        The run.
    teacher
        Labels for an imitation run, else None.
    device
        Where torch computes.
    num_threads
        Threads that step the games; 0 steps them in the calling thread.
    """
    chosen = get_learner(settings.learning)
    if (teacher is None) == chosen.needs_teacher:
        raise ValueError(f"The run {settings.name} has {'no' if teacher is None else 'a'} teacher.")
    if chosen.is_shaped and not isinstance(teacher, EncoderPolicy):
        raise ValueError(f"The run {settings.name} needs a teacher's value, not {type(teacher).__name__}.")
    encoder = encoder_of(settings)
    weights = EncoderName.read(encoder).weights
    if weights is not None and (not weights.is_file() or checksum(weights) != settings.encoder_checksum):
        raise ValueError(
            f"The file {weights} is gone or has changed since the run was planned: start the command again."
        )
    _check_versions(settings)
    env = _environment(settings, teacher, device, num_threads)
    try:
        return _learner_in(env, settings, teacher, device), env
    except BaseException:  # whose games would go on in processes of their own
        env.close()
        raise


def _environment(settings: RunSettings, teacher: Teacher | None, device: str, num_threads: int) -> VecEnv:
    """Environment of a run, with what the learner sees and is rewarded with."""
    chosen, hyper = get_learner(settings.learning), settings.hyperparameters
    uses_labels = chosen.needs_teacher or settings.harmonizer > 0
    views = dict.fromkeys([settings.view, *[settings.teacher_view] * uses_labels])
    view = tuple(views) if len(views) > 1 else settings.view
    with ExitStack() as opened:
        env: VecEnv = make_vec_env(settings.options, hyper.num_envs, view, settings.seed, num_threads)
        opened.callback(env.close)
        if uses_labels:
            env = TaughtVecEnv(env, settings.view, settings.teacher_view)
        env = VecMonitor(env)  # below any shaping: the returns in the log are the game's own
        if chosen.is_shaped:
            assert isinstance(teacher, EncoderPolicy)
            env = ValueShapedVecEnv(env, teacher, hyper.gamma, get_device(device))
        env = VecNormalize(env, norm_obs=False, gamma=hyper.gamma)
        opened.pop_all()
    return env


def _learner_in(env: VecEnv, settings: RunSettings, teacher: Teacher | None, device: str) -> PPO:
    """Untrained learner of a run, in its environment."""
    chosen, hyper = get_learner(settings.learning), settings.hyperparameters
    arguments: dict[str, Any] = {
        "env": env,
        "encoder": encoder_of(settings),
        "seed": settings.seed,
        "device": device,
        "policy_kwargs": {"mixed_precision": _is_mixed(settings)},
        **hyper.for_ppo(),
    }
    arguments |= {"teacher": teacher, "mixing": hyper.mixing, "memory": hyper.memory}
    if settings.harmonizer:
        harmonizer = Harmonizer(family_of(settings.options).relevant_labels(settings.options), settings.harmonizer)
        assert chosen.harmonized is not None
        return chosen.harmonized(harmonizer=harmonizer, **arguments)
    if settings.improvement is not None:
        improved = get_improvement(settings.improvement).learner
        assert improved is not None
        made = reward_learner(improved)(**arguments)
        if not isinstance(made, PPO):
            raise ValueError(
                f"The improvement {settings.improvement} makes a {type(made).__name__}, and no lcd.agents.PPO: derive "
                "it from that."
            )
        return made
    return chosen.build(**arguments)


def train(
    settings: RunSettings,
    folder: Path,
    *,
    teacher: Teacher | None = None,
    candidates: Sequence[Path] = (),
    report: Callable[[Progress], None] = lambda progress: None,
    device: str = "auto",
    num_threads: int = 0,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    stop: threading.Event | None = None,
) -> RunResult:
    """Carry out a run, or go on with it from its last checkpoint, and write its training log and weights.

    Parameters
    ----------
    settings
        The run.
    folder
        Existing folder for `PROGRESS`, `POLICY` and, for a run that keeps its best weights, `TEACHER`.
    teacher
        Labels for an imitation run.
    candidates
        Files of the policies of which the best is begun with, see `RunSettings.candidates`.
    report
        Called after every rollout.
    device
        Where torch computes.
    num_threads
        Threads that step the games; 0 steps them in the calling thread.
    checkpoint
        File for checkpoints of the run, from which the same call goes on to the same result, bit for bit, see
        `lcd.experiments.checkpoint`; none are taken without it.
    checkpoint_seconds
        Time between two checkpoints.
    stop
        When it is set, the run takes a checkpoint and raises `lcd.experiments.checkpoint.RunStopped`.

    Raises
    ------
    lcd.agents.TrainingDiverged
        If a loss is not finite.
    ValueError
        If the checkpoint is damaged, or the candidates are not those of the settings.
    """
    model, env = learner(settings, teacher, device, num_threads)
    with ExitStack() as opened:
        opened.callback(env.close)
        model.set_logger(configure(str(folder), ["csv"]))
        opened.callback(model.logger.close)
        evaluation = EvaluationCallback(settings, report, num_threads)
        opened.callback(evaluation.close)
        maker = {"run": settings.identity, "versions": versions(), "device": model.device.type}
        checkpoints = CheckpointCallback(
            None if checkpoint is None else Checkpoint(checkpoint, maker),
            evaluation,
            folder / PROGRESS,
            checkpoint_seconds,
            stop,
        )
        resumed = checkpoints.resume(model)
        if settings.candidates and not resumed:
            begin_with_best(model.policy, settings, candidates, evaluation)  # type: ignore[arg-type]
        model.learn(
            settings.steps - model.num_timesteps,
            callback=CallbackList([evaluation, checkpoints]),
            reset_num_timesteps=not resumed,
        )
        if get_learner(settings.learning).fits_values:
            model.policy.scale_values(reward_scale(env))  # type: ignore[operator]
        card = {"run": settings.as_dict()}
        save_policy(model.policy, folder / POLICY, card)  # type: ignore[arg-type]
        score = None
        if evaluation.best_weights is not None:
            model.policy.load_state_dict(evaluation.best_weights)
            model.policy.scale_logits(evaluation.best_inverse_temperature)  # type: ignore[operator]
            played = evaluation.check(
                (settings.seed + CHECK_SEED) % (LARGEST_SEED + 1), 2 * settings.evaluation.episodes_per_env
            )
            score = TeacherScore(
                evaluation.best_step,
                float(played.training.returns.mean()),
                float(played.unseen.returns.mean()),
                played.unseen.returns.size,
                evaluation.best_inverse_temperature,
            )
            save_policy(model.policy, folder / TEACHER, card | {"score": asdict(score)})  # type: ignore[arg-type]
        divergences = env.get_attr("divergences")[0]
        result = RunResult(
            evaluation.table,
            checkpoints.seconds,
            score,
            divergences,
            tuple(checkpoints.threads),
            tuple(checkpoints.commits),
        )
    _sort_columns(folder / PROGRESS)
    return result


def reward_scale(env: VecEnv) -> float:
    """What the learner's rewards are to be multiplied by to have the game's own unit."""
    normalize = unwrap_vec_wrapper(env, VecNormalize)
    assert isinstance(normalize, VecNormalize)
    return float(np.sqrt(normalize.ret_rms.var + normalize.epsilon))


def _sort_columns(table: Path) -> None:
    """Sort the columns of a log, whose order by Stable-Baselines3 differs between processes."""
    with table.open(newline="") as file:
        rows = list(csv.reader(file))
    order = sorted(range(len(rows[0])), key=rows[0].__getitem__) if rows else []
    with table.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([row[place] for place in order] for row in rows)
