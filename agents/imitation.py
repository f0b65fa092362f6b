"""Online DAgger: imitation of a teacher in the states that the student visits."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.utils import FloatSchedule
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, unwrap_vec_wrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn
from torch import nn

from lcd.agents.encoders.convolutional import Encoder
from lcd.agents.gradient import Statistics
from lcd.agents.parallel import parallel_map, single_threaded
from lcd.agents.policy import EncoderPolicy, is_thread_safe
from lcd.agents.ppo import PPO
from lcd.agents.recorded import recordable
from lcd.agents.rollout import ByteRolloutBuffer, channels_first, channels_last, turned_first
from lcd.agents.teacher import Teacher, check_can_teach, check_fits, distributions, shaped
from lcd.envs.gymnasium_vec_env import as_vec_env
from lcd.envs.views import with_last_observations
from lcd.io.limits import short, whole_number

LABELLED_AT_ONCE = 256
"""States that a teacher labels in one batch on a CPU: larger ones are no faster, and their activations would fragment
the memory that training needs next (0.3 GB with the Nature encoder and two threads)."""

LABELLED_AT_ONCE_ON_GPU = 4096
"""On a GPU. Floods and searches are hundreds of small operations one after the other, which take the same time for 256
rows as for thousands; a network fills the device only with thousands."""


def labelled_at_once(teacher: Teacher, device: torch.device) -> int:
    """Rows that a teacher labels together on a device.

    A teacher whose size nobody knows, one that is no `lcd.agents.EncoderPolicy` or has somebody's module as its
    encoder, labels as few on a GPU as on a CPU.
    """
    if device.type == "cpu" or not isinstance(teacher, EncoderPolicy):
        return LABELLED_AT_ONCE
    encoder = teacher.features_extractor
    most = encoder.images_at_once_on_gpu if isinstance(encoder, Encoder) else LABELLED_AT_ONCE
    return min(most, LABELLED_AT_ONCE_ON_GPU)


class TaughtVecEnv(VecEnvWrapper):
    """Gives a student its own view and keeps the teacher's view of the same states.

    Parameters
    ----------
    venv
        Environment whose observations are one view for both, or a dictionary of views; also a vector environment of
        Gymnasium.
    student_view, teacher_view
        Names of the views in a dictionary; ignored for a single view.

    Attributes
    ----------
    teacher_observations : torch.Tensor
        The teacher's view of the current states, uint8.
    """

    def __init__(self, venv: VecEnv | VectorEnv, student_view: str = "pixels", teacher_view: str = "semantic") -> None:
        venv = as_vec_env(venv)
        assert isinstance(venv, VecEnv)
        self._student_view, self._teacher_view = student_view, teacher_view
        space = venv.observation_space
        if isinstance(space, spaces.Dict):
            for view in (student_view, teacher_view):
                if view not in space.spaces:
                    raise ValueError(f"There is no view {view!r} in the environment: it has {', '.join(space.spaces)}.")
            space = space[student_view]
        super().__init__(venv, observation_space=space)

    def _split(self, observations: VecEnvObs) -> np.ndarray:
        if isinstance(observations, dict):
            student, teacher = observations[self._student_view], observations[self._teacher_view]
        else:
            assert isinstance(observations, np.ndarray)
            student = teacher = observations
        self.teacher_observations = turned_first(torch.as_tensor(teacher))
        return student

    def reset(self) -> np.ndarray:
        """Start new episodes."""
        return self._split(self.venv.reset())

    def step_wait(self) -> VecEnvStepReturn:
        """Finish the step; the last observation of an episode is in the student's view as well."""
        observations, rewards, dones, infos = self.venv.step_wait()
        shown = with_last_observations(infos, dones, self._of_student)
        return self._split(observations), rewards, dones, shown

    def _of_student(self, last: Any) -> Any:
        return last[self._student_view] if isinstance(last, dict) else last


class LabelledSamples(NamedTuple):
    """Observations with the teacher's expert labels: log-probabilities of shape (batch, actions)."""

    observations: torch.Tensor
    teacher_log_probabilities: torch.Tensor


class LabelRolloutBuffer(ByteRolloutBuffer):
    """A rollout buffer that also stores the teacher's observations."""

    _observed: torch.Tensor | None = None

    def store_teacher_observations(self, observations: torch.Tensor) -> None:
        """Store the teacher's view of the coming step."""
        observations = channels_last(observations)
        if self._observed is None:
            pinned = self.device.type == "cuda"  # so that the device reads it while the processor goes on
            self._observed = torch.empty(
                (self.buffer_size, *observations.shape), dtype=observations.dtype, pin_memory=pinned
            )
        self._observed[self.pos].copy_(observations)

    def teacher_observations(self, rows: torch.Tensor) -> torch.Tensor:
        """The teacher's view in the given rows."""
        assert self._observed is not None
        return channels_first(self._observed.flatten(0, 1)[rows.to(self._observed.device)].to(self.device))

    def label(self, teacher: Teacher) -> torch.Tensor:
        """Query the teacher's expert labels of every row of the rollout: log-probabilities, checked.

        Raises
        ------
        ValueError
            If a label is not a distribution over the actions.
        """
        assert self._observed is not None
        assert isinstance(self.action_space, spaces.Discrete)
        return labels_of(teacher, channels_first(self._observed.flatten(0, 1)), int(self.action_space.n), self.device)


def prepare(teacher: Teacher, device: torch.device) -> None:
    """Put a teacher that is a module on a device and in evaluation mode.

    Its labels then depend neither on the other states of the batch nor on dropout.
    """
    if isinstance(teacher, nn.Module):
        teacher.to(device)
        teacher.eval()


@torch.no_grad()
def labels_of(teacher: Teacher, observations: torch.Tensor, actions: int, device: torch.device) -> torch.Tensor:
    """Query a teacher's expert labels: log-probabilities of the actions in some states, checked.

    Threads label parts in parallel where the teacher `is_thread_safe`.

    Parameters
    ----------
    teacher
        The teacher.
    observations : torch.Tensor, shape (batch, ...)
        The teacher's observation of each state.
    actions
        Number of actions in the game.
    device
        Where the teacher computes.

    Returns
    -------
    torch.Tensor, shape (batch, actions), float32
        On the device.

    Raises
    ------
    ValueError
        If a label is not a distribution over the actions.
    """

    @torch.no_grad()  # gradient mode is set for each thread
    def labels_of_part(part: torch.Tensor) -> torch.Tensor:
        part = part.to(device, non_blocking=True)
        return shaped(teacher.log_probabilities(part), part, actions)

    with single_threaded() if is_thread_safe(teacher) else nullcontext():
        parts = parallel_map(labels_of_part, observations.split(labelled_at_once(teacher, device)), device)
        return distributions(torch.cat(list(parts)))


class DAgger(PPO):
    """Online DAgger (on-policy distillation): the student acts, a teacher labels every state that it visits.

    After Ross, Gordon and Bagnell, *A Reduction of Imitation Learning to No-Regret Online Learning*, 2011, with action
    distributions as labels. By default nothing aggregates: each rollout is used for its own update only, as in PPO.
    With `memory` the last rollouts aggregate, up to the growing data set of the paper, for the same number of gradient
    steps. Policy, rollouts, minibatches and optimiser are those of `lcd.agents.PPO`, so both spend the same budget.
    Only the loss differs: exploration and credit assignment are gone.

    Parameters
    ----------
    policy
        ``"EncoderPolicy"`` or a class of such policies.
    env
        A `TaughtVecEnv`, possibly wrapped further.
    teacher
        Gives the expert labels. A module is put in evaluation mode. It is queried once before the first rollout, and
        every label is checked. It is not saved: give it to `load` again.
    mixing
        Probability that the teacher acts instead of the student (β in the paper): a number, or a function of the
        remaining share of the budget (from 1 to 0). With 0, the default, the student always acts.
    memory
        Number of earlier rollouts that are kept with their labels. Each epoch samples as many states as a rollout has
        from these and the newest. Checkpoints and saved models hold them.
    **kwargs
        Further arguments of `lcd.agents.PPO`; those of the reinforcement-learning loss have no effect.

    Raises
    ------
    ValueError
        From `learn`, if the teacher's labels are not distributions over the actions, its weights are not finite, or its
        observations or actions are not those of the environment.
    """

    policy: EncoderPolicy

    def __init__(
        self,
        policy: str | type = "EncoderPolicy",
        env: GymEnv | str | None = None,
        *,
        teacher: Teacher | None = None,
        mixing: float | Any = 0.0,
        memory: int = 0,
        **kwargs: Any,
    ) -> None:
        self.teacher = teacher
        self.memory = memory
        self._checked: object = None  # the teacher that passed the checks
        self.mixing: Any = checked_mixing(mixing)
        super().__init__(policy, env, **({"rollout_buffer_class": LabelRolloutBuffer} | kwargs))

    def _setup_model(self) -> None:
        self.mixing = FloatSchedule(self.mixing)  # also a value that is given when loading
        most = whole_number("memory, a number of earlier rollouts,", self.memory)
        self._past: deque[LabelledSamples] = deque(maxlen=most)
        super()._setup_model()
        if not isinstance(self.policy, EncoderPolicy):
            raise ValueError(f"DAgger trains an EncoderPolicy, not a {type(self.policy).__name__}: leave policy out.")
        if self.teacher is not None:
            check_can_teach(self.teacher)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "teacher", "_checked", "_past"]

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Collect a rollout, storing the teacher's observations of it."""
        taught = unwrap_vec_wrapper(env, TaughtVecEnv)
        if taught is None or self.teacher is None:
            raise ValueError(
                "DAgger needs a teacher, and an environment in a TaughtVecEnv: pass teacher= and wrap env."
            )
        assert isinstance(rollout_buffer, LabelRolloutBuffer)
        prepare(self.teacher, self.device)
        if self._checked is not self.teacher:
            assert isinstance(self.action_space, spaces.Discrete)
            actions = int(self.action_space.n)
            check_fits(self.teacher, taught.teacher_observations, actions)
            labels_of(self.teacher, taught.teacher_observations, actions, self.device)
            self._checked = self.teacher
        share = share_of(self.mixing, self._current_progress_remaining)
        recorder = RecordingVecEnv(env, taught, rollout_buffer, self.teacher, share, self.device)
        return super().collect_rollouts(recorder, callback, rollout_buffer, n_rollout_steps)

    def further_state(self) -> dict[str, Any]:
        """Earlier rollouts with their labels."""
        return {"past": [list(samples) for samples in self._past]} if self.memory else {}

    def restore_further_state(self, state: Mapping[str, Any]) -> None:
        """Put the earlier rollouts back."""
        self._past.clear()
        self._past.extend(LabelledSamples(*samples) for samples in state.get("past", ()))

    def _minibatches(self) -> Iterator[LabelledSamples]:
        buffer = self.rollout_buffer
        assert isinstance(buffer, LabelRolloutBuffer)
        if not self._past:
            for rows in buffer.minibatch_rows(self.batch_size):
                yield LabelledSamples(buffer.frames(rows), self._labels[rows])
            return
        sizes = torch.tensor([len(self._labels), *(len(past.observations) for past in self._past)])
        ends = sizes.cumsum(dim=0)
        drawn = np.random.permutation(int(ends[-1]))[: len(self._labels)]  # noqa: NPY002 (SB3's generator)
        for rows in torch.from_numpy(drawn).split(self.batch_size):
            rollouts = torch.bucketize(rows, ends, right=True)
            places = rows - (ends - sizes)[rollouts]
            parts = [LabelledSamples(buffer.frames(now := places[rollouts == 0]), self._labels[now])]
            for number, past in enumerate(self._past, start=1):
                then = places[rollouts == number]
                parts.append(
                    LabelledSamples(
                        past.observations[then].to(self.device), past.teacher_log_probabilities[then].to(self.device)
                    )
                )
            yield LabelledSamples(*(torch.cat(columns) for columns in zip(*parts, strict=True)))

    def train(self) -> None:
        """Update the student towards the teacher's labels on the rollout just collected."""
        assert isinstance(self.rollout_buffer, LabelRolloutBuffer)
        assert self.teacher is not None
        self._labels = self.rollout_buffer.label(self.teacher)
        super().train()
        if self._past.maxlen:
            every = torch.arange(len(self._labels))
            self._past.append(LabelledSamples(self.rollout_buffer.frames(every).cpu(), self._labels.cpu()))
        del self._labels

    @recordable
    def minibatch_loss(self, batch: Any, clip_range: float) -> tuple[torch.Tensor, Statistics]:
        """Kullback-Leibler divergence of the student's action distribution from the teacher's, mean over states."""
        return self.imitation_loss(self.policy.log_probabilities(batch.observations), batch.teacher_log_probabilities)

    @staticmethod
    def imitation_loss(student: torch.Tensor, teacher: torch.Tensor) -> tuple[torch.Tensor, Statistics]:
        """The same from both log-probabilities, shape (batch, actions)."""
        probabilities = teacher.exp()
        cross_entropy = -(probabilities * student).sum(dim=1)
        loss = (cross_entropy - torch.special.entr(probabilities).sum(dim=1)).mean()  # entr is defined at probability 0
        agreement = (student.argmax(dim=1) == teacher.argmax(dim=1)).float().mean()
        return loss, {"loss": loss.detach(), "imitation_loss": loss.detach(), "agreement": agreement}


def checked_mixing(mixing: object) -> Any:
    """The share of the steps that a teacher takes, a number or a schedule of them.

    Raises
    ------
    ValueError
        If it is something else.
    """
    if not (callable(mixing) or isinstance(mixing, int | float)):
        raise ValueError(f"mixing must be a share between 0 and 1, or a schedule of shares, not {short(mixing)}.")
    return mixing


def share_of(mixing: Callable[[float], float], remaining: float) -> float:
    """Share of the steps that a teacher takes.

    Parameters
    ----------
    mixing
        The share by the remaining part of the budget, from 1 to 0.
    remaining
        That part.

    Raises
    ------
    ValueError
        If it is no probability.
    """
    share = mixing(remaining)
    if not 0 <= share <= 1:
        raise ValueError(f"mixing is a probability: it must lie between 0 and 1, not {share}.")
    return share


def mixed_actions(actions: np.ndarray, labels: torch.Tensor, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw the teacher's actions, and let each take the place of the student's with a probability.

    Parameters
    ----------
    actions : numpy.ndarray, shape (games,)
        The student's actions.
    labels : torch.Tensor, shape (games, actions)
        The teacher's log-probabilities in the same states.
    share
        The probability.

    Returns
    -------
    taken, experts : numpy.ndarray, shape (games,)
        The actions to carry out, and the teacher's.
    """
    experts = torch.multinomial(labels.exp(), 1).squeeze(1).cpu().numpy()
    taken_over = torch.rand(len(experts)).numpy() < share
    return np.where(taken_over, experts, actions), experts


class RecordingVecEnv(VecEnvWrapper):
    """Stores the teacher's observations before each step and, with `mixing`, replaces actions by the teacher's."""

    def __init__(
        self,
        venv: VecEnv,
        taught: TaughtVecEnv,
        buffer: LabelRolloutBuffer,
        teacher: Teacher | None = None,
        mixing: float = 0.0,
        device: torch.device | None = None,
    ) -> None:
        super().__init__(venv)
        self._taught, self._buffer, self._teacher = taught, buffer, teacher
        self._mixing, self._device = mixing, device

    def reset(self) -> VecEnvObs:
        """Start new episodes."""
        return self.venv.reset()

    def step_async(self, actions: np.ndarray) -> None:
        """Store the teacher's observations, and start the step."""
        self._buffer.store_teacher_observations(self._taught.teacher_observations)
        if self._mixing > 0 and self._teacher is not None:
            assert isinstance(self.action_space, spaces.Discrete)
            assert self._device is not None
            observed = self._taught.teacher_observations
            labels = labels_of(self._teacher, observed, int(self.action_space.n), self._device)
            actions, _ = mixed_actions(actions, labels, self._mixing)
        self.venv.step_async(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """Finish the step."""
        return self.venv.step_wait()
