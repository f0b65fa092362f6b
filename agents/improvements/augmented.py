"""PPO on augmented frames: learning from them (RAD), or made invariant to them (DrAC)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn
from torch.nn import functional

from lcd.agents.gradient import Statistics
from lcd.agents.improvements.augmentation import Augmentation, get_augmentation
from lcd.agents.policy import EncoderPolicy
from lcd.agents.ppo import PPO
from lcd.agents.recorded import recordable
from lcd.io.limits import real_number


class _Augmenting(PPO):
    """PPO with an augmentation of frames.

    Parameters
    ----------
    augmentation
        Its name, see `lcd.agents.improvements.augmentation.AUGMENTATIONS`.
    **kwargs
        As in `lcd.agents.PPO`.

    Raises
    ------
    ValueError
        If there is no such augmentation, or observations are no frames of bytes.
    """

    policy: EncoderPolicy

    def __init__(self, *args: Any, augmentation: str = "crop", **kwargs: Any) -> None:
        self.augmentation = augmentation
        super().__init__(*args, **kwargs)

    def _setup_model(self) -> None:
        get_augmentation(self.augmentation)
        super()._setup_model()
        space = self.observation_space
        if not (isinstance(space, spaces.Box) and len(space.shape) == 3 and space.dtype == np.uint8):
            raise ValueError(f"Frames of bytes are augmented, not observations of {space}: learn from frames.")
        if self.augmentation == "colour" and space.shape[0] != 3:
            raise ValueError(
                f"Colours are changed of frames with three of them, not with {space.shape[0]}: choose another."
            )

    @property
    def augment(self) -> Augmentation:
        """The augmentation."""
        return get_augmentation(self.augmentation)


class AugmentedPPO(_Augmenting):
    """PPO that acts and learns on augmented frames (Laskin et al., *RAD*, 2020, arXiv:2004.14990).

    Every observation that a step gives is augmented once, before the policy sees it. Policies are evaluated on frames
    as they are.
    """

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Collect a rollout of augmented frames."""
        return super().collect_rollouts(_AugmentedVecEnv(env, self.augment), callback, rollout_buffer, n_rollout_steps)


class _AugmentedVecEnv(VecEnvWrapper):
    """Augments observations."""

    def __init__(self, venv: VecEnv, augmentation: Augmentation) -> None:
        super().__init__(venv)
        self._augmentation = augmentation

    def _augmented(self, observations: VecEnvObs) -> np.ndarray:
        return self._augmentation(torch.as_tensor(observations)).numpy()

    def reset(self) -> VecEnvObs:
        return self._augmented(self.venv.reset())

    def step_wait(self) -> VecEnvStepReturn:
        observations, rewards, dones, infos = self.venv.step_wait()
        return self._augmented(observations), rewards, dones, infos


class RegularisedSamples(NamedTuple):
    """PPO's samples with augmented observations of the same states."""

    observations: torch.Tensor
    actions: torch.Tensor
    old_values: torch.Tensor
    old_log_prob: torch.Tensor
    advantages: torch.Tensor
    returns: torch.Tensor
    augmented: torch.Tensor


class RegularisedPPO(_Augmenting):
    """PPO whose policy and value are made invariant to an augmentation.

    After Raileanu et al., *Automatic Data Augmentation for Generalization in Reinforcement Learning* (DrAC), 2021
    (arXiv:2006.12862). To PPO's loss on frames as they are comes ``weight`` times
    ``KL(π(·|s) ‖ π(·|f(s))) + ½ (V(s) − V(f(s)))²``, in which what comes from frames as they are is constant.

    Parameters
    ----------
    weight
        Weight of the regularisation, α_r.
    **kwargs
        As in `AugmentedPPO`; the encoder is trained.
    """

    trains_encoder = "The regularisation makes the encoder invariant"

    def __init__(self, *args: Any, weight: float = 0.1, **kwargs: Any) -> None:
        self.weight = real_number("weight", weight, least=0)
        super().__init__(*args, **kwargs)

    def _minibatches(self) -> Iterator[RegularisedSamples]:
        for batch in super()._minibatches():  # here and not in the loss, whose parts threads compute at once
            yield RegularisedSamples._make((*batch, self.augment(batch.observations)))

    @recordable
    def minibatch_loss(self, batch: Any, clip_range: float) -> tuple[torch.Tensor, Statistics]:
        """PPO's losses and the regularisation."""
        loss, statistics = super().minibatch_loss(batch, clip_range)
        with torch.no_grad():
            wanted, values = self.policy.heads(batch.observations)
        found, estimates = self.policy.heads(batch.augmented)
        divergence = functional.kl_div(found, wanted, reduction="batchmean", log_target=True)
        regularisation = divergence + functional.mse_loss(estimates, values) / 2
        loss = loss + self.weight * regularisation
        return loss, statistics | {"loss": loss.detach(), "regularisation_loss": regularisation.detach()}
