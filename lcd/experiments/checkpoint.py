"""Checkpoints within a run: everything that decides how it goes on, so that on a CPU it resumes bit for bit.

A checkpoint is taken between two rollouts, or before an evaluation. It holds the weights, the optimiser, the statistics
that normalise rewards, all random states, the games' own states, the evaluations so far and the log. The file is one of
``torch.save``; it is written whole or not at all, and loads without running code.

The states of another package's games cannot be saved: such a run goes on with new episodes, in the levels that would
have come next. On a GPU a resumed run draws other actions, since recording its graph draws some.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import CSVOutputFormat
from stable_baselines3.common.vec_env import VecEnv, VecMonitor, VecNormalize, unwrap_vec_wrapper

from lcd.agents import PPO, TaughtVecEnv
from lcd.envs.vec_env import GameVecEnv
from lcd.experiments.evaluation import EvaluationCallback
from lcd.experiments.versions import commit
from lcd.io.files import replacing
from lcd.io.untrusted import UnreadableFileError, portable, read_pickled

FORMAT = "lcd.checkpoint/4"

CHECKPOINT_SECONDS = 120.0
"""Time between two checkpoints: what a run that is killed loses at the most, a rollout and an evaluation apart."""

LARGEST = 2**40
"""Limit of a checkpoint's bytes: what was written can be read."""

State = dict[str, Any]


class Checkpoint:
    """The file of a run's last checkpoint.

    Parameters
    ----------
    path
        The file; its folder is made if need be.
    maker
        What must be alike for the run to go on as it would have: its identity, the versions of the packages, the
        device. A checkpoint of another maker counts for nothing.
    """

    def __init__(self, path: Path, maker: dict[str, Any]) -> None:
        self.path = path
        self._maker = json.dumps(maker, sort_keys=True)

    def read(self) -> State | None:
        """The last checkpoint of the same maker, or None.

        Raises
        ------
        ValueError
            If the file is damaged.
        """
        if not self.path.exists():
            return None
        remedy = "remove it, and the run begins anew"
        try:
            content: Any = read_pickled(self.path, LARGEST, remedy=remedy)
        except UnreadableFileError as error:
            if not self.path.exists():  # another process has finished the run since
                return None
            raise ValueError(str(error)) from error
        if not isinstance(content, dict) or not {"format", "maker", "state"} <= content.keys():
            raise ValueError(f"{self.path} is not a checkpoint: {remedy}.")
        same = content["format"] == FORMAT and content["maker"] == self._maker
        return content["state"] if same else None

    def write(self, state: State) -> None:
        """Put another checkpoint in the place of the last."""
        with replacing(self.path) as unfinished, unfinished.open("wb") as file:  # torch tells nothing of a full disk
            torch.save({"format": FORMAT, "maker": self._maker, "state": portable(state)}, file)


def _typed(number: Any) -> list[Any]:
    """A number and the name of its type in NumPy, none for one of Python: what is logged is written as its type is."""
    return [number.dtype.name, number.item()] if isinstance(number, np.generic) else ["", number]


def _untyped(typed: list[Any]) -> Any:
    """The number that `_typed` took apart."""
    name, number = typed
    return np.dtype(name).type(number) if name else number


def _with_last(earlier: Sequence[Any], last: Any) -> list[Any]:
    """Each of the earlier ones once, and the last one last."""
    return [*(each for each in dict.fromkeys(earlier) if each != last), last]


class RunStopped(Exception):
    """A run was asked to stop, and has taken a checkpoint."""


class CheckpointCallback(BaseCallback):
    """Takes checkpoints of a run before rollouts and before evaluations, and puts a run back to one.

    It comes behind the run's `EvaluationCallback`, so that an evaluation is in the checkpoint after it.

    Parameters
    ----------
    checkpoint
        The file; without one no checkpoints are taken.
    evaluation
        The run's evaluations.
    log
        The run's table of training statistics, ``progress.csv``.
    seconds
        Time between two checkpoints.
    stop
        When it is set, the run takes a checkpoint after the current rollout or evaluation and raises `RunStopped`.

    Attributes
    ----------
    threads : list of int
        Numbers of threads that torch had so far: with others sums have other last digits.
    commits : list of str or None
        Commits of the LCD's checkout that trained it so far, see `lcd.experiments.versions.commit`.
    """

    def __init__(
        self,
        checkpoint: Checkpoint | None,
        evaluation: EvaluationCallback,
        log: Path,
        seconds: float = CHECKPOINT_SECONDS,
        stop: threading.Event | None = None,
    ) -> None:
        super().__init__()
        self._checkpoint, self._evaluation, self._log, self._seconds = checkpoint, evaluation, log, seconds
        self._stop = stop
        self._began = self._last = time.perf_counter()
        self._before = 0.0
        self.threads = [torch.get_num_threads()]
        self.commits = [commit()]  # now, for the checkout may change meanwhile
        self._pending: State | None = None
        evaluation.before = self._look

    @property
    def seconds(self) -> float:
        """Time that the run has taken, with that before its checkpoint."""
        return self._before + time.perf_counter() - self._began

    def resume(self, model: PPO) -> bool:
        """Put a new learner to where the last checkpoint was taken; whether there was one."""
        state = None if self._checkpoint is None else self._checkpoint.read()
        if state is None:
            return False
        self._before = float(state["seconds"])
        self.threads = _with_last(state["threads"], self.threads[-1])
        self.commits = _with_last(state.get("commits", ()), self.commits[-1])
        self._evaluation.restore(state["evaluation"], self._before)
        _restore_model(model, state["model"])
        _restore_games(model, state["games"])
        _restore_log(model, state["log"])
        self._pending = state  # random states come last, and the logger's clock once it runs
        return True

    def _on_rollout_start(self) -> None:
        self._look()

    def _look(self) -> None:
        """Take a checkpoint if it is time for one, and stop if that was asked for."""
        if self._pending is not None:
            _restore_random_states(self._pending["random"])
            self.model.start_time -= int(1e9 * self._before)
            self.model._num_timesteps_at_start = 0
            self._pending = None
        stops = self._stop is not None and self._stop.is_set()
        if self._checkpoint is not None and (stops or time.perf_counter() - self._last >= self._seconds):
            self._take(self._checkpoint)
            self._last = time.perf_counter()
        if stops:
            raise RunStopped

    def _on_step(self) -> bool:
        return True

    def _take(self, checkpoint: Checkpoint) -> None:
        assert isinstance(self.model, PPO)
        checkpoint.write(
            {
                "seconds": self.seconds,
                "threads": self.threads,
                "commits": self.commits,
                "evaluation": self._evaluation.snapshot(),
                "model": _model_state(self.model),
                "games": _games_state(self.model.env),
                "log": _log_state(self.model, self._log.read_text()),
                "random": _random_states(),
            }
        )


def _model_state(model: PPO) -> State:
    assert model.ep_info_buffer is not None
    return {
        "policy": model.policy.state_dict(),
        "optimizer": model.policy.optimizer.state_dict(),
        "steps": model.num_timesteps,
        "updates": model._n_updates,
        "remaining": model._current_progress_remaining,
        "observations": np.asarray(model._last_obs),
        "starts": model._last_episode_starts,
        "episodes": [{name: _typed(value) for name, value in info.items()} for info in model.ep_info_buffer],
        "further": model.further_state(),
    }


def _restore_model(model: PPO, state: State) -> None:
    model.policy.load_state_dict(state["policy"])
    model.policy.optimizer.load_state_dict(state["optimizer"])
    model.num_timesteps, model._n_updates = int(state["steps"]), int(state["updates"])
    model._current_progress_remaining = float(state["remaining"])
    model._last_obs = state["observations"].numpy()
    model._last_episode_starts = state["starts"].numpy()
    episodes = [{name: _untyped(value) for name, value in info.items()} for info in state["episodes"]]
    model.ep_info_buffer = deque(episodes, maxlen=model._stats_window_size)
    model.ep_success_buffer = deque(maxlen=model._stats_window_size)
    model.restore_further_state(state["further"])


def _wrappers(env: VecEnv | None) -> tuple[VecNormalize, VecMonitor, TaughtVecEnv | None, GameVecEnv]:
    normalize, monitor = unwrap_vec_wrapper(env, VecNormalize), unwrap_vec_wrapper(env, VecMonitor)  # type: ignore[arg-type]
    games = env.unwrapped if env is not None else None
    assert isinstance(normalize, VecNormalize)
    assert isinstance(monitor, VecMonitor)
    assert isinstance(games, GameVecEnv)
    return normalize, monitor, unwrap_vec_wrapper(env, TaughtVecEnv), games  # type: ignore[arg-type]


def _games_state(env: VecEnv | None) -> State:
    normalize, monitor, taught, games = _wrappers(env)
    statistics = normalize.ret_rms
    return {
        "games": games.snapshot(),
        "returns": normalize.returns,
        "statistics": [np.asarray(each) for each in (statistics.mean, statistics.var, statistics.count)],
        "episode_returns": monitor.episode_returns,
        "episode_lengths": monitor.episode_lengths,
        "episode_count": monitor.episode_count,
        "taught": None if taught is None else taught.teacher_observations,
    }


def _restore_games(model: PPO, state: State) -> None:
    """Put the games back; those whose states cannot be saved lose their unfinished episodes."""
    assert model.env is not None
    normalize, monitor, taught, games = _wrappers(model.env)
    games.restore(state["games"])
    if games.saves_states:
        normalize.returns = state["returns"].numpy()
        monitor.episode_returns = state["episode_returns"].numpy()
        monitor.episode_lengths = state["episode_lengths"].numpy()
        if taught is not None:
            taught.teacher_observations = state["taught"]
    else:
        model._last_obs = model.env.reset()  # type: ignore[assignment]
        model._last_episode_starts = np.ones(model.env.num_envs, bool)
    mean, variance, count = (each.numpy() for each in state["statistics"])
    normalize.ret_rms.mean, normalize.ret_rms.var, normalize.ret_rms.count = mean, variance, float(count)
    monitor.episode_count = int(state["episode_count"])


def _log_state(model: PPO, text: str) -> State:
    """The table so far, and what was recorded since its last row."""
    logger = model.logger
    recorded = {name: _typed(value) for name, value in logger.name_to_value.items()}
    return {
        "text": text,
        "values": recorded,
        "counts": dict(logger.name_to_count),
        "excluded": {name: list(logger.name_to_excluded[name]) for name in recorded},
    }


def _restore_log(model: PPO, state: State) -> None:
    logger, text = model.logger, state["text"]
    logger.name_to_value.update({name: _untyped(value) for name, value in state["values"].items()})
    logger.name_to_count.update(state["counts"])
    logger.name_to_excluded.update({name: tuple(formats) for name, formats in state["excluded"].items()})
    for output in model.logger.output_formats:
        if isinstance(output, CSVOutputFormat):
            output.file.write(text)
            output.file.flush()  # the next checkpoint reads it, perhaps before the next row is written
            output.keys = text.split("\n", 1)[0].split(",") if text else []


def _random_states() -> State:
    name, keys, place, has_gauss, gauss = np.random.get_state()  # noqa: NPY002 (Stable-Baselines3's generator)
    states = {
        "python": json.dumps(random.getstate()),
        "numpy": {"name": name, "keys": keys, "place": place, "has_gauss": has_gauss, "gauss": gauss},
        "torch": torch.get_rng_state(),
    }
    return states | ({"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_initialized() else {})


def _restore_random_states(states: State) -> None:
    version, internal, gauss = json.loads(states["python"])
    random.setstate((version, tuple(internal), gauss))
    numpy = states["numpy"]
    keys = numpy["keys"].numpy().astype(np.uint32)
    np.random.set_state((numpy["name"], keys, numpy["place"], numpy["has_gauss"], numpy["gauss"]))  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    if "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"])
