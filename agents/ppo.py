"""Proximal policy optimisation: Stable-Baselines3's, made faster on CPUs and GPUs."""

from __future__ import annotations

import io
import pathlib
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from typing import Any, ClassVar

import numpy as np
import stable_baselines3
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.save_util import load_from_zip_file
from stable_baselines3.common.type_aliases import GymEnv, RolloutBufferSamples, TensorDict
from stable_baselines3.common.utils import explained_variance
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn
from torch import nn
from torch.nn import functional

from lcd.agents.acting import Actor
from lcd.agents.deferred import RecordedGradient, can_skip, steps_of_epoch
from lcd.agents.encoders.convolutional import Encoder
from lcd.agents.encoders.pretrained import Backbone
from lcd.agents.encoders.registry import EncoderName
from lcd.agents.gpu_rollout import collect
from lcd.agents.gradient import Statistics, accumulate_gradient
from lcd.agents.machine import keep_freed_memory
from lcd.agents.parallel import single_threaded
from lcd.agents.policy import EncoderPolicy, is_thread_safe
from lcd.agents.recorded import recordable
from lcd.agents.rollout import ByteRolloutBuffer
from lcd.envs.gymnasium_vec_env import as_vec_env
from lcd.io.untrusted import portable

PROCGEN_SETTINGS: Mapping[str, Any] = {
    "n_steps": 256,
    "batch_size": 2048,
    "n_epochs": 3,
    "learning_rate": 5e-4,
    "gamma": 0.999,
    "gae_lambda": 0.95,
    "clip_range": 0.2,
    "ent_coef": 0.01,
}
"""The usual hyperparameters for Procgen with 64 environments (Cobbe et al., 2020, arXiv:1912.01588)."""

FURTHER = "further_state"
"""Name of a learner's further state among its parameters."""


class TrainingDiverged(RuntimeError):
    """A loss or a gradient is not finite; the weights are those from before it."""


def raise_if_diverged(statistics: Mapping[str, float], steps: int) -> None:
    """Check the loss and the norm of the gradient of a minibatch, before the weights change.

    Raises
    ------
    TrainingDiverged
        If one is not finite.
    """
    for name in ("loss", "grad_norm"):
        if not np.isfinite(statistics[name]):
            raise TrainingDiverged(
                f"Training diverged after {steps} steps: {name} is {statistics[name]}. "
                "Lower the learning rate, or check the environment's rewards."
            )


class PPO(stable_baselines3.PPO):
    """PPO (Schulman et al., 2017, arXiv:1707.06347) on image observations.

    Everything that Stable-Baselines3's users know works: callbacks, loggers, `save`, `load`, `predict`. The defaults
    are `PROCGEN_SETTINGS`.

    Parameters
    ----------
    policy
        ``"EncoderPolicy"``, or a policy of Stable-Baselines3, such as ``"CnnPolicy"``.
    env
        Environment with byte frames or label maps; also a vector environment of Gymnasium, see
        `lcd.envs.GymnasiumVecEnv`.
    encoder
        The visual encoder: a name, a torch module or an `lcd.agents.Backbone`, see `lcd.agents.EncoderPolicy`. The
        features of a frozen backbone are computed once a frame and cached.
    micro_batch_size
        Largest number of observations in one forward pass; the default depends on the encoder and the device. The
        gradient of a minibatch is accumulated over its parts, so this bounds memory and changes nothing but rounding;
        of a harmonized learner also which images are harmonized, the first eighth of each part.
    **kwargs
        Further arguments of ``stable_baselines3.PPO``.

    Attributes
    ----------
    trains_encoder
        Why the encoder must be one that is trained, as the beginning of a sentence; empty where a frozen one will do.

    Raises
    ------
    ValueError
        If the encoder is frozen and must not be.
    TrainingDiverged
        From `learn`, when a loss is not finite.
    """

    trains_encoder: ClassVar[str] = ""
    policy_aliases: ClassVar[dict[str, Any]] = stable_baselines3.PPO.policy_aliases | {"EncoderPolicy": EncoderPolicy}

    def __init__(
        self,
        policy: str | type = "EncoderPolicy",
        env: GymEnv | str | None = None,
        *,
        encoder: str | nn.Module | Backbone | None = None,
        micro_batch_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        self.micro_batch_size = micro_batch_size
        if encoder is not None:
            if "encoder" in (kwargs.get("policy_kwargs") or {}):
                raise ValueError("There is an encoder in policy_kwargs as well: give it once.")
            chosen = self.policy_aliases.get(policy) if isinstance(policy, str) else policy
            if chosen is not None and not issubclass(chosen, EncoderPolicy):
                raise ValueError(f"{policy} brings its own network: leave encoder= out, or leave the policy out.")
            kwargs["policy_kwargs"] = {"encoder": encoder} | (kwargs.get("policy_kwargs") or {})
        defaults = {**PROCGEN_SETTINGS, "rollout_buffer_class": ByteRolloutBuffer}
        if not kwargs.get("_init_setup_model", True):
            defaults["batch_size"] = defaults["n_steps"]  # SB3's load replaces it, but would first warn of its size
        super().__init__(policy, env, **(defaults | kwargs))  # type: ignore[arg-type]

    @staticmethod
    def _wrap_env(env: Any, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        return stable_baselines3.PPO._wrap_env(as_vec_env(env), verbose, monitor_wrapper)

    def _setup_model(self) -> None:
        if "encoder" in vars(self):  # Stable-Baselines3's load sets whatever it is given
            raise ValueError("A saved model keeps its encoder: leave encoder= out, or make a new model with it.")
        if not isinstance(self.action_space, spaces.Discrete):
            raise ValueError(
                f"lcd.agents.PPO needs discrete actions: {self.action_space} is not Discrete. Wrap each game in "
                "lcd.envs.NumberedActions, which numbers them."
            )
        if self.action_space.start != 0:
            raise ValueError(
                f"lcd.agents.PPO takes actions that are numbered from 0, not {self.action_space}: wrap each game in "
                "lcd.envs.NumberedActions, which numbers them so."
            )
        if not isinstance(self.observation_space, spaces.Box):
            raise ValueError(f"lcd.agents.PPO takes one image at a time: {self.observation_space} is not a Box.")
        super()._setup_model()
        if self.caches_features:
            if self.trains_encoder:
                raise ValueError(
                    f"{self.trains_encoder}, and a frozen encoder does not learn: choose one that is trained."
                )
            self._cache_features()
        if self.device.type == "cpu":
            keep_freed_memory()
        self._actor: Actor | None = None
        self._recorded_gradient: RecordedGradient | None = None

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_actor", "_recorded_gradient"]

    @property
    def part_size(self) -> int:
        """Largest number of observations in one forward pass: `micro_batch_size`, or what suits encoder and device."""
        if self.micro_batch_size is not None:
            return self.micro_batch_size
        if self.caches_features:
            return self.batch_size
        name = "images_at_once" if self.device.type == "cpu" else "images_at_once_on_gpu"
        return int(getattr(self.policy.features_extractor, name, self.batch_size))

    @property
    def acts_on_gpu(self) -> bool:
        """Whether rollouts are collected as suits a GPU, see `lcd.agents.gpu_rollout`."""
        known = isinstance(self.policy, EncoderPolicy) and isinstance(self.rollout_buffer, ByteRolloutBuffer)
        return self.device.type == "cuda" and known and not self.use_sde

    @property
    def reads_once_an_epoch(self) -> bool:
        """Whether the statistics of gradient steps are read once an epoch, see `lcd.agents.deferred`."""
        return self.device.type == "cuda" and self.target_kl is None and can_skip(self.policy.optimizer)

    @property
    def actor(self) -> Actor:
        """What draws the policy's actions on a GPU."""
        if self._actor is None or self._actor.policy is not self.policy:
            assert isinstance(self.policy, EncoderPolicy)
            self._actor = Actor(self.policy)
        return self._actor

    @property
    def recorded_gradient(self) -> RecordedGradient:
        """What computes minibatches' gradients on a GPU."""
        if self._recorded_gradient is None:
            self._recorded_gradient = RecordedGradient(self)
        return self._recorded_gradient

    @property
    def caches_features(self) -> bool:
        """Whether the rollout buffer stores the features of a frozen backbone instead of the observations."""
        return isinstance(self.policy, EncoderPolicy) and self.policy.is_frozen

    def _cache_features(self) -> None:
        """Make the rollout buffer store backbone features."""
        encoder = self.policy.features_extractor
        assert isinstance(encoder, Encoder)
        self.rollout_buffer = self.rollout_buffer_class(  # type: ignore[misc]
            self.n_steps,
            spaces.Box(-np.inf, np.inf, (encoder.backbone_dim,), np.float16),
            self.action_space,
            device=self.device,
            gamma=self.gamma,
            gae_lambda=self.gae_lambda,
            n_envs=self.n_envs,
            **self.rollout_buffer_kwargs,
        )

    def further_state(self) -> dict[str, Any]:
        """What decides how the learner goes on, beside its policy, optimiser, counters and environment.

        Checkpoints hold it, and so do models that `save` writes.

        Returns
        -------
        dict
            Tensors, arrays and plain data by name; `restore_further_state` puts a learner that was made alike to it.
        """
        return {}

    def restore_further_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `further_state` gave; arrays have become tensors.

        A saved model may be loaded with another number of environments.
        """

    def get_parameters(self) -> dict[str, dict[str, Any]]:
        """Weights and states of optimisers by name, as in Stable-Baselines3, and the further state where there is one.

        It is what `save` writes beside the settings.
        """
        parameters = super().get_parameters()
        further = {name: value for name, value in self.further_state().items() if name not in parameters}
        return parameters | ({FURTHER: portable(further)} if further else {})

    def set_parameters(
        self,
        load_path_or_dict: str | pathlib.Path | TensorDict,
        exact_match: bool = True,
        device: torch.device | str = "auto",
    ) -> None:
        """Put back what `get_parameters` gave, or what is in the file of a saved model; `load` does so."""
        if isinstance(load_path_or_dict, dict):
            given = load_path_or_dict
        else:
            given = load_from_zip_file(load_path_or_dict, device=device, load_data=False)[1]
        super().set_parameters({name: given[name] for name in given if name != FURTHER}, exact_match, device)
        if FURTHER in given:
            self.restore_further_state(self.further_state() | portable(given[FURTHER]))

    def save(
        self,
        path: str | pathlib.Path | io.BufferedIOBase,
        exclude: Iterable[str] | None = None,
        include: Iterable[str] | None = None,
    ) -> None:
        """Save as Stable-Baselines3 does; loading fetches no weights of a backbone, and reads no file of them."""
        asked = self.policy_kwargs
        named = asked.get("encoder")
        if isinstance(named, str):
            loaded: dict[str, Any] = {"encoder": EncoderName.read(named).without_weights}
            if arguments := getattr(self.policy, "arguments_without_weights", {}):
                loaded |= {"encoder_arguments": arguments}
            self.policy_kwargs = asked | loaded
        try:
            super().save(path, exclude, include)
        finally:
            self.policy_kwargs = asked

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Collect a rollout; a frozen backbone encodes each frame once."""
        if self.caches_features:
            env = _FeatureVecEnv(env, self.policy, self.device)  # type: ignore[arg-type]
            assert isinstance(self._last_obs, np.ndarray)
            if self._last_obs.ndim > 2:
                self._last_obs = env.encode(self._last_obs)
        if self.acts_on_gpu:
            assert isinstance(rollout_buffer, ByteRolloutBuffer)
            return collect(self, self.actor, env, callback, rollout_buffer, n_rollout_steps)
        return super().collect_rollouts(env, callback, rollout_buffer, n_rollout_steps)

    def dump_logs(self, iteration: int = 0) -> None:
        """Write the log; iterations are counted over all calls of `learn` that go on with the same steps."""
        super().dump_logs(self.num_timesteps // (self.n_steps * self.n_envs) if iteration else 0)

    def _update_learning_rate(self, optimizers: Any) -> None:
        super()._update_learning_rate(optimizers)
        for optimizer in optimizers if isinstance(optimizers, list) else [optimizers]:
            for policy in self.encoder_policies:
                policy.set_backbone_learning_rate(self.lr_schedule, self._current_progress_remaining, optimizer)

    @property
    def encoder_policies(self) -> list[EncoderPolicy]:
        """All policies that are trained and may have a backbone with a learning rate of its own."""
        return [self.policy] if isinstance(self.policy, EncoderPolicy) else []

    @recordable
    def minibatch_loss(self, batch: RolloutBufferSamples, clip_range: float) -> tuple[torch.Tensor, Statistics]:
        """Clipped surrogate, value and entropy losses of a minibatch.

        Parameters
        ----------
        batch
            Observations with actions, advantages (normalised) and returns.
        clip_range
            Clipping range of the probability ratio.

        Returns
        -------
        torch.Tensor
            The loss, a scalar.
        dict
            Scalars for the log.
        """
        values, log_prob, entropy = self.policy.evaluate_actions(batch.observations, batch.actions.long().flatten())
        assert entropy is not None
        policy_loss, statistics = self.policy_loss(batch, log_prob, entropy, clip_range)
        values = values.flatten()
        if self.clip_range_vf is not None:
            limit = self.clip_range_vf(self._current_progress_remaining)  # type: ignore[operator]
            values = batch.old_values + (values - batch.old_values).clamp(-limit, limit)
        value_loss = functional.mse_loss(batch.returns, values)
        loss = policy_loss + self.vf_coef * value_loss
        return loss, statistics | {"value_loss": value_loss.detach(), "loss": loss.detach()}

    def policy_loss(
        self, batch: Any, log_prob: torch.Tensor, entropy: torch.Tensor, clip_range: float
    ) -> tuple[torch.Tensor, Statistics]:
        """Clipped surrogate and entropy losses of a minibatch.

        Parameters
        ----------
        batch
            As in `minibatch_loss`.
        log_prob, entropy : torch.Tensor, shape (batch,)
            Of its actions and states, by the present policy.
        clip_range
            Clipping range of the probability ratio.

        Returns
        -------
        torch.Tensor
            The loss, a scalar.
        dict
            Scalars for the log.
        """
        log_ratio = log_prob - batch.old_log_prob
        ratio = log_ratio.exp()
        clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
        surrogate = -torch.min(batch.advantages * ratio, batch.advantages * clipped).mean()
        entropy_loss = -entropy.mean()
        return surrogate + self.ent_coef * entropy_loss, {
            "policy_gradient_loss": surrogate.detach(),
            "entropy_loss": entropy_loss.detach(),
            "approx_kl": (ratio - 1 - log_ratio).mean().detach(),
            "clip_fraction": ((ratio - 1).abs() > clip_range).float().mean(),
        }

    @property
    def trained_parameters(self) -> list[nn.Parameter]:
        """Parameters of which `gradient` accumulates the gradient: the policy's, without those that are frozen."""
        return [parameter for parameter in self.policy.parameters() if parameter.requires_grad]

    def gradient(self, batch: Any, clip_range: float) -> Statistics:
        """Accumulate a minibatch's gradient, clipped, into ``.grad``; gives scalars for the log."""
        parameters = self.trained_parameters
        part_size = self.part_size
        statistics = accumulate_gradient(
            parameters, batch, part_size, lambda samples: self.minibatch_loss(samples, clip_range)
        )
        statistics["grad_norm"] = torch.nn.utils.clip_grad_norm_(parameters, self.max_grad_norm)
        return statistics

    def _gradient(self, batch: Any, clip_range: float) -> dict[str, float]:
        """Accumulate a minibatch's gradient into ``.grad``.

        Returns numbers for the log. Tensors would outlive the minibatch and fragment the memory of its activations,
        which costs imitation 0.4 GB more.
        """
        statistics = self.gradient(batch, clip_range)
        return dict(zip(statistics, torch.stack(list(statistics.values())).tolist(), strict=True))

    @property
    def period(self) -> int:
        """Rollouts after which what is done in one repeats."""
        return 1

    def shorten(self, share: float) -> None:
        """Prepare for a measurement of the speed, in a few rollouts that are so much shorter than the usual ones."""

    def _went_too_far(self, statistics: dict[str, float]) -> bool:
        return self.target_kl is not None and statistics.get("approx_kl", 0.0) > 1.5 * self.target_kl

    def _minibatches(self) -> Any:
        for batch in self.rollout_buffer.get(self.batch_size):
            yield batch._replace(advantages=self.normalised(batch.advantages))

    def normalised(self, advantages: torch.Tensor) -> torch.Tensor:
        """Normalise a minibatch's advantages, if asked for."""
        if not self.normalize_advantage or len(advantages) < 2:
            return advantages
        return (advantages - advantages.mean()) / (advantages.std() + 1e-8)

    def train(self) -> None:
        """Update the policy on the rollout just collected."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        clip_range = self.clip_range(self._current_progress_remaining)  # type: ignore[operator]
        with single_threaded() if is_thread_safe(self.policy) else nullcontext():
            history = self._improve(clip_range)
        self._log_training(history, clip_range)

    def _improve(self, clip_range: float) -> list[dict[str, float]]:
        history: list[dict[str, float]] = []
        for _ in range(self.n_epochs):
            self._n_updates += 1
            if self.reads_once_an_epoch:
                history += self._epoch_on_gpu(clip_range)
                continue
            for batch in self._minibatches():
                history.append(self._gradient(batch, clip_range))
                raise_if_diverged(history[-1], self.num_timesteps)
                if self._went_too_far(history[-1]):
                    return history
                self.policy.optimizer.step()
        return history

    def _epoch_on_gpu(self, clip_range: float) -> list[dict[str, float]]:
        gradient = self.recorded_gradient
        epoch = steps_of_epoch(
            self.policy.optimizer, self._minibatches(), lambda batch: gradient(batch, clip_range), self.device
        )
        for statistics in epoch:
            raise_if_diverged(statistics, self.num_timesteps)
        return epoch

    def _log_training(self, history: list[dict[str, float]], clip_range: float) -> None:
        for name in history[0]:
            self.logger.record(f"train/{name}", float(np.mean([statistics[name] for statistics in history])))
        buffer = self.rollout_buffer
        self.logger.record(
            "train/explained_variance", explained_variance(buffer.values.flatten(), buffer.returns.flatten())
        )
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/clip_range", clip_range)
        if self.clip_range_vf is not None:
            self.logger.record("train/clip_range_vf", self.clip_range_vf(self._current_progress_remaining))  # type: ignore[operator]


class _FeatureVecEnv(VecEnvWrapper):
    """Replaces observations by the features of a policy's frozen backbone."""

    def __init__(self, venv: VecEnv, policy: EncoderPolicy, device: torch.device) -> None:
        super().__init__(venv)
        self._policy, self._device = policy, device

    def encode(self, observations: VecEnvObs) -> np.ndarray:
        return self._policy.encode(torch.as_tensor(observations, device=self._device)).cpu().numpy()

    def reset(self) -> VecEnvObs:
        return self.encode(self.venv.reset())

    def step_wait(self) -> VecEnvStepReturn:
        observations, rewards, dones, infos = self.venv.step_wait()
        return self.encode(observations), rewards, dones, infos
