"""Imitation of a teacher in the states that the student visits (DAgger)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.utils import FloatSchedule
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, unwrap_vec_wrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn
from torch import nn

from lcd.agents.encoders.convolutional import Encoder
from lcd.agents.gradient import Statistics
from lcd.agents.parallel import side_by_side, working_alone
from lcd.agents.policy import EncoderPolicy, many_may_ask
from lcd.agents.ppo import PPO
from lcd.agents.recorded import recordable
from lcd.agents.rollout import ByteRolloutBuffer, channels_first, channels_last
from lcd.agents.teacher import Teacher, check_can_teach, check_fits, distributions, shaped

LABELLED_AT_ONCE = 256
"""Rows that a teacher labels together on a CPU: as fast as more of them, and what it computes meanwhile leaves no large
holes in the memory that training then asks for (0.3 GB with the Nature encoder and two threads)."""

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
    """Shows a student its own view and keeps the teacher's view of the same states.

    Parameters
    ----------
    venv
        Environment whose observations are either one view for both, or a dictionary of views.
    student_view, teacher_view
        Names of the views in a dictionary; ignored for a single view.

    Attributes
    ----------
    seen : torch.Tensor
        What the teacher sees now, uint8.
    """

    def __init__(self, venv: VecEnv, student_view: str = "pixels", teacher_view: str = "semantic") -> None:
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
        self.seen = channels_first(torch.as_tensor(teacher))
        return student

    def reset(self) -> np.ndarray:
        """Begin new episodes."""
        return self._split(self.venv.reset())

    def step_wait(self) -> VecEnvStepReturn:
        """Make the step; the last observation of an episode is the student's view as well."""
        observations, rewards, dones, infos = self.venv.step_wait()
        for index in np.flatnonzero(dones).tolist():
            final = infos[index].get("terminal_observation")
            if isinstance(final, dict):
                infos[index] = infos[index] | {"terminal_observation": final[self._student_view]}
        return self._split(observations), rewards, dones, infos


class LabelledSamples(NamedTuple):
    """Observations with the teacher's logarithms of the action probabilities, shape (batch, actions)."""

    observations: torch.Tensor
    teacher_log_probabilities: torch.Tensor


class LabelRolloutBuffer(ByteRolloutBuffer):
    """A rollout buffer that also keeps what the teacher saw."""

    _seen: torch.Tensor | None = None

    def keep(self, seen: torch.Tensor) -> None:
        """Store the teacher's view of the coming step."""
        seen = channels_last(seen)
        if self._seen is None:
            pinned = self.device.type == "cuda"  # so that the device reads it while the processor goes on
            self._seen = torch.empty((self.buffer_size, *seen.shape), dtype=seen.dtype, pin_memory=pinned)
        self._seen[self.pos].copy_(seen)

    def seen(self, rows: torch.Tensor) -> torch.Tensor:
        """The teacher's view in the given rows."""
        assert self._seen is not None
        return channels_first(self._seen.flatten(0, 1)[rows.to(self._seen.device)].to(self.device))

    def label(self, teacher: Teacher) -> torch.Tensor:
        """The teacher's logarithms of the action probabilities in every row of the rollout, checked.

        Raises
        ------
        ValueError
            If a label is no distribution over the actions.
        """
        assert self._seen is not None
        assert isinstance(self.action_space, spaces.Discrete)
        return labels_of(teacher, channels_first(self._seen.flatten(0, 1)), int(self.action_space.n), self.device)


@torch.no_grad()
def labels_of(teacher: Teacher, seen: torch.Tensor, actions: int, device: torch.device) -> torch.Tensor:
    """A teacher's logarithms of the action probabilities in some states, checked.

    Threads label parts at once where `many_may_ask` the teacher.

    Parameters
    ----------
    teacher
        The teacher.
    seen : torch.Tensor, shape (batch, ...)
        What it sees in each state.
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
        If a label is no distribution over the actions.
    """

    @torch.no_grad()  # which every thread is told for itself
    def labels_of_part(part: torch.Tensor) -> torch.Tensor:
        part = part.to(device, non_blocking=True)
        return shaped(teacher.log_probabilities(part), part, actions)

    with working_alone() if many_may_ask(teacher) else nullcontext():
        parts = seen.split(labelled_at_once(teacher, device))
        return distributions(torch.cat(list(side_by_side(labels_of_part, parts, device))))


class DAgger(PPO):
    """Online DAgger: the student acts, and a teacher labels every state that the student visits.

    After Ross, Gordon and Bagnell, *A Reduction of Imitation Learning to No-Regret Online Learning*, 2011, with
    whole action distributions as labels. By default each rollout is learned from once, as PPO does; `memory` keeps
    earlier ones, up to the growing data set of the paper, for the same number of gradient steps. Policy, rollouts,
    minibatches and optimiser are those of `lcd.agents.PPO`, so the two spend the same budget; only the loss differs,
    and exploration and credit assignment are gone.

    Parameters
    ----------
    policy
        ``"EncoderPolicy"`` or a class of such policies.
    env
        A `TaughtVecEnv`, possibly wrapped further.
    teacher
        Gives the labels. It is put in evaluation mode if it is a module, asked once before the first rollout, and
        every label is checked.
    mixing
        Probability that the teacher's action is carried out instead of the student's: a number, or a function of the
        share of the budget that is left (from 1 to 0). 0, the default, lets the student act always.
    memory
        Number of earlier rollouts that are kept with their labels: each pass then draws as many states as a rollout has
        from all of them and the newest.
    **kwargs
        Further arguments of `lcd.agents.PPO`; those of the reinforcement loss have no effect.

    Raises
    ------
    ValueError
        From `learn`, if the teacher gives no distributions over the actions, has weights that are not finite, or is one
        of other observations or actions.
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
        if memory < 0:
            raise ValueError(f"memory is a number of earlier rollouts, at least 0, not {memory}.")
        self.teacher = teacher
        self._past: deque[LabelledSamples] = deque(maxlen=memory)
        self._checked: object = None  # the teacher that was found fit
        self.mixing: Any = mixing
        super().__init__(policy, env, **({"rollout_buffer_class": LabelRolloutBuffer} | kwargs))

    def _setup_model(self) -> None:
        self.mixing = FloatSchedule(self.mixing)  # also what a loaded learner is told anew
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
        """Collect a rollout, keeping what the teacher sees of it."""
        taught = unwrap_vec_wrapper(env, TaughtVecEnv)
        if taught is None or self.teacher is None:
            raise ValueError(
                "DAgger needs a teacher, and an environment in a TaughtVecEnv: pass teacher= and wrap env."
            )
        assert isinstance(rollout_buffer, LabelRolloutBuffer)
        if isinstance(self.teacher, nn.Module):
            self.teacher.to(self.device)  # whoever read it from a file need not know where the student learns
            self.teacher.eval()  # what it says of a state depends on no other state, and on no draw
        if self._checked is not self.teacher:
            assert isinstance(self.action_space, spaces.Discrete)
            actions = int(self.action_space.n)
            check_fits(self.teacher, taught.seen, actions)
            labels_of(self.teacher, taught.seen, actions, self.device)
            self._checked = self.teacher
        share = self.mixing(self._current_progress_remaining)
        if not 0 <= share <= 1:
            raise ValueError(f"mixing is a probability: it must lie between 0 and 1, not {share}.")
        recorder = RecordingVecEnv(env, taught, rollout_buffer, self.teacher, share, self.device)
        return super().collect_rollouts(recorder, callback, rollout_buffer, n_rollout_steps)

    def _minibatches(self) -> Iterator[LabelledSamples]:
        buffer = self.rollout_buffer
        assert isinstance(buffer, LabelRolloutBuffer)
        if not self._past:
            for rows in buffer.minibatch_rows(self.batch_size):
                yield LabelledSamples(buffer.frames(rows), self._labels[rows])
            return
        size = len(self._labels)
        drawn = np.random.permutation((1 + len(self._past)) * size)[:size]  # noqa: NPY002 (SB3's generator)
        for rows in torch.from_numpy(drawn).split(self.batch_size):
            places, rollouts = rows % size, rows // size
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
        """Move the student towards the teacher on the rollout just collected."""
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
        """Kullback-Leibler divergence from the student's action distribution to the teacher's, mean over states."""
        return self.imitation_loss(self.policy.log_probabilities(batch.observations), batch.teacher_log_probabilities)

    @staticmethod
    def imitation_loss(student: torch.Tensor, teacher: torch.Tensor) -> tuple[torch.Tensor, Statistics]:
        """The same from the logarithms of both sides' action probabilities, shape (batch, actions)."""
        chances = teacher.exp()
        cross_entropy = -(chances * student).sum(dim=1)
        loss = (cross_entropy - torch.special.entr(chances).sum(dim=1)).mean()  # entr is right at 0, for a sure teacher
        agreement = (student.argmax(dim=1) == teacher.argmax(dim=1)).float().mean()
        return loss, {"loss": loss.detach(), "imitation_loss": loss.detach(), "agreement": agreement}


class RecordingVecEnv(VecEnvWrapper):
    """Stores the teacher's view before each step and, where mixing asks for it, lets the teacher act."""

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
        """Begin new episodes."""
        return self.venv.reset()

    def step_async(self, actions: np.ndarray) -> None:
        """Store the teacher's view, and begin the step."""
        self._buffer.keep(self._taught.seen)
        if self._mixing > 0 and self._teacher is not None:
            assert isinstance(self.action_space, spaces.Discrete)
            assert self._device is not None
            labels = labels_of(self._teacher, self._taught.seen, int(self.action_space.n), self._device)
            probabilities = labels.exp()
            advised = torch.multinomial(probabilities, 1).squeeze(1).cpu().numpy()
            taken_over = torch.rand(len(advised)).numpy() < self._mixing
            actions = np.where(taken_over, advised, actions)
        self.venv.step_async(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """Make the step."""
        return self.venv.step_wait()
