"""PPO and online DAgger with the neural harmonizer as an auxiliary loss.

The reference maps come from the label map of the same state: privileged, never human.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import torch
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_wrapper

from lcd.agents import PPO, DAgger, EncoderPolicy, TaughtVecEnv
from lcd.agents.gradient import Statistics
from lcd.agents.imitation import LabelledSamples, LabelRolloutBuffer, RecordingVecEnv
from lcd.alignment.harmonizer import harmonization_loss, training_maps, twice_differentiable
from lcd.alignment.privileged import privileged_maps

SHARE = 8
"""One image in so many of a minibatch is harmonized: the second derivative costs several times the first."""


class Harmonizer:
    """The auxiliary harmonization loss of both learners.

    Parameters
    ----------
    relevant : set of int
        Labels of what matters to play, see `lcd.envs.family.GameFamily.relevant_labels`.
    weight : float
        Weight of the harmonization loss.
    """

    def __init__(self, relevant: Collection[int], weight: float) -> None:
        self.relevant, self.weight = frozenset(relevant), weight

    def __call__(
        self, policy: EncoderPolicy, frames: torch.Tensor, labels: torch.Tensor, actions: torch.Tensor
    ) -> torch.Tensor:
        """The weighted loss on a part of a minibatch; with attention, call it within `twice_differentiable`.

        Parameters
        ----------
        policy : EncoderPolicy
            A policy on frames.
        frames : torch.Tensor, shape (batch, 3, height, width), bytes or numbers from 0 to 1
        labels : torch.Tensor, shape (batch, height, width), uint8
            Label maps of the same states.
        actions : torch.Tensor, shape (batch,)
            Actions whose log-probabilities the importance maps explain.
        """
        count = -(-len(frames) // SHARE)
        chosen = frames[:count]
        images = (chosen.clone() if chosen.is_floating_point() else chosen.float() / 255).requires_grad_()
        log_probabilities = policy.log_probabilities(images)
        maps = training_maps(log_probabilities.gather(1, actions[:count, None].long())[:, 0], images)
        references = torch.from_numpy(privileged_maps(labels[:count].cpu().numpy(), self.relevant)).to(maps.device)
        shows = (references.flatten(1).amax(dim=1) > 0).float()  # a state without anything relevant asks for nothing
        return self.weight * harmonization_loss(maps, references, shows)


def _check_harmonizer(harmonizer: object) -> None:
    if not isinstance(harmonizer, Harmonizer):
        raise ValueError(f"A harmonized learner needs a Harmonizer, not {harmonizer!r}: pass harmonizer=.")


class HarmonizedSamples(NamedTuple):
    """Observations, the teacher's log-probabilities, and the label maps of the same states."""

    observations: torch.Tensor
    teacher_log_probabilities: torch.Tensor
    labels: torch.Tensor


class HarmonizedDAgger(DAgger):
    """Online DAgger with the harmonization loss.

    Parameters
    ----------
    harmonizer : Harmonizer
        The auxiliary loss, saved with the learner. The importance map explains the teacher's preferred action.
    **kwargs
        As in `lcd.agents.DAgger`.
    """

    harmonizer: Harmonizer | None

    def __init__(self, *args: Any, harmonizer: Harmonizer | None = None, **kwargs: Any) -> None:
        self.harmonizer = harmonizer
        super().__init__(*args, **kwargs)

    def _setup_model(self) -> None:
        _check_harmonizer(self.harmonizer)
        if self.memory:
            raise ValueError("A harmonized learner keeps no earlier rollouts: leave memory out.")
        super()._setup_model()

    def train(self) -> None:
        """Update the student towards the teacher's labels, and its importance maps towards the references."""
        with twice_differentiable():  # for the whole process: threads would exit it for one another
            super().train()

    def _minibatches(self) -> Iterator[HarmonizedSamples]:  # type: ignore[override]
        buffer = self.rollout_buffer
        assert isinstance(buffer, LabelRolloutBuffer)
        for rows in buffer.minibatch_rows(self.batch_size):
            yield HarmonizedSamples(buffer.frames(rows), self._labels[rows], buffer.teacher_observations(rows))

    def minibatch_loss(self, batch: Any, clip_range: float) -> tuple[torch.Tensor, Statistics]:
        """The imitation loss and the harmonizer's."""
        samples = LabelledSamples(batch.observations, batch.teacher_log_probabilities)
        loss, statistics = super().minibatch_loss(samples, clip_range)
        actions = batch.teacher_log_probabilities.argmax(dim=1)
        assert self.harmonizer is not None
        auxiliary = self.harmonizer(self.policy, batch.observations, batch.labels, actions)
        return loss + auxiliary, statistics | {"harmonization_loss": auxiliary.detach()}


class LabelledRewards(NamedTuple):
    """PPO's samples with the label maps of the same states."""

    observations: torch.Tensor
    actions: torch.Tensor
    old_values: torch.Tensor
    old_log_prob: torch.Tensor
    advantages: torch.Tensor
    returns: torch.Tensor
    labels: torch.Tensor


class HarmonizedPPO(PPO):
    """PPO with the harmonization loss; its environment is a `TaughtVecEnv`.

    Parameters
    ----------
    harmonizer : Harmonizer
        The auxiliary loss, saved with the learner. The importance map explains the action taken.
    **kwargs
        As in `lcd.agents.PPO`.
    """

    policy: EncoderPolicy

    harmonizer: Harmonizer | None

    def __init__(self, *args: Any, harmonizer: Harmonizer | None = None, **kwargs: Any) -> None:
        self.harmonizer = harmonizer
        super().__init__(*args, **({"rollout_buffer_class": LabelRolloutBuffer} | kwargs))

    def _setup_model(self) -> None:
        _check_harmonizer(self.harmonizer)
        super()._setup_model()
        if not isinstance(self.policy, EncoderPolicy):
            raise ValueError(
                f"HarmonizedPPO trains an EncoderPolicy, not a {type(self.policy).__name__}: leave policy out."
            )

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Collect a rollout, storing the label maps beside the frames."""
        taught = unwrap_vec_wrapper(env, TaughtVecEnv)
        if taught is None:
            raise ValueError("A HarmonizedPPO needs the label maps of its states: wrap env in a TaughtVecEnv.")
        assert isinstance(rollout_buffer, LabelRolloutBuffer)
        recorder = RecordingVecEnv(env, taught, rollout_buffer)
        return super().collect_rollouts(recorder, callback, rollout_buffer, n_rollout_steps)

    def train(self) -> None:
        """Update the policy, and its importance maps towards the references."""
        with twice_differentiable():
            super().train()

    def _minibatches(self) -> Iterator[LabelledRewards]:
        buffer = self.rollout_buffer
        assert isinstance(buffer, LabelRolloutBuffer)
        columns = buffer.columns()
        for rows in buffer.minibatch_rows(self.batch_size):
            actions, values, log_probs, advantages, returns = (column[rows] for column in columns)
            learned = (actions, values, log_probs, self.normalised(advantages), returns)
            yield LabelledRewards(buffer.frames(rows), *learned, buffer.teacher_observations(rows))

    def minibatch_loss(self, batch: Any, clip_range: float) -> tuple[torch.Tensor, Statistics]:
        """PPO's losses and the harmonizer's."""
        loss, statistics = super().minibatch_loss(batch, clip_range)
        assert self.harmonizer is not None
        auxiliary = self.harmonizer(self.policy, batch.observations, batch.labels, batch.actions.flatten())
        return loss + auxiliary, statistics | {"harmonization_loss": auxiliary.detach()}
