"""The actor-critic policy that every learner here trains: an encoder and two linear heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import CategoricalDistribution, Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import nn
from torch.optim import Adam

from lcd.agents.encoders.convolutional import Encoder
from lcd.agents.encoders.pretrained import Eye, ModuleEncoder
from lcd.agents.encoders.registry import EncoderName
from lcd.agents.encoders.weights import load_weights
from lcd.agents.machine import bfloat16_is_fast

_LARGEST_HALF = torch.finfo(torch.float16).max


def peak(lr_schedule: Schedule) -> float:
    """The highest learning rate of a schedule, which may begin at nothing; one with a `peak` is a part of a longer."""
    known = getattr(getattr(lr_schedule, "value_schedule", lr_schedule), "peak", None)
    return max(lr_schedule(left / 100) for left in range(101)) if known is None else float(known)


def many_may_ask(policy: object) -> bool:
    """Whether threads may pass something at once: only what is known to keep nothing of one pass for the next.

    Stable-Baselines3's own policies keep their distribution, and what a torch module keeps only its author knows.
    """
    return isinstance(policy, EncoderPolicy) and not isinstance(policy.features_extractor, ModuleEncoder)


class EncoderPolicy(ActorCriticPolicy):
    """Stable-Baselines3's actor-critic policy, computing its encoder in mixed precision and channels last.

    Parameters
    ----------
    observation_space, action_space, lr_schedule
        As in ``ActorCriticPolicy``.
    encoder
        Name of an encoder, see `lcd.agents.encoders.registry.EncoderName`; or a torch module from images to features,
        which is trained with everything else, or in an `lcd.agents.Eye` with its preprocessing and left as it is.
    action_classes
        Groups of actions that do the same, every action in one of them. The policy then prefers one group to another,
        never one action of a group to another, and its entropy is that of the groups. By default all actions differ.
    mixed_precision
        Whether the encoder computes in bfloat16; by default, where the device has instructions for it. Weights, heads
        and losses stay in float32.
    **kwargs
        Further arguments of ``ActorCriticPolicy``.

    Raises
    ------
    ValueError
        If the encoder is none, or is asked for in another way.
    """

    own_learning_rate: float | None = None
    """Of the encoder below its linear layer, at the highest; None where it is that of everything else."""

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        lr_schedule: Schedule,
        encoder: str | nn.Module | Eye = "nature",
        mixed_precision: bool | None = None,
        action_classes: Sequence[Sequence[int]] | None = None,
        **kwargs: Any,
    ) -> None:
        if not kwargs.get("share_features_extractor", True):
            raise ValueError(
                "An EncoderPolicy has one encoder for its actor and critic: share_features_extractor=True."
            )
        if other := [name for name in kwargs if name.startswith("features_extractor_")]:
            raise ValueError(
                f"An EncoderPolicy is told its encoder by encoder=, a name or a module, not by {other[0]}=."
            )
        self._asked = (encoder,)  # in a tuple, so that a module in it is not one of this module's twice
        self.action_classes = None if action_classes is None else tuple(tuple(members) for members in action_classes)
        self.mixed_precision = mixed_precision
        self.encoder_name = encoder if isinstance(encoder, str) else None
        if not isinstance(encoder, str | nn.Module | Eye):
            raise ValueError(f"An encoder is a name, a torch module or an lcd.agents.Eye, not {encoder!r}.")
        if isinstance(encoder, str):
            encoder_class, encoder_arguments = EncoderName.read(encoder).encoder
        else:
            eye = encoder if isinstance(encoder, Eye) else Eye(encoder, frozen=False)
            encoder_class, encoder_arguments = ModuleEncoder, {"eye": eye}
        arguments: dict[str, Any] = {
            "features_extractor_class": encoder_class,
            "features_extractor_kwargs": encoder_arguments,
            "net_arch": [],
        } | kwargs
        if issubclass(arguments.get("optimizer_class", Adam), Adam):
            arguments = {"optimizer_kwargs": {"eps": 1e-5, "fused": True}} | arguments
        super().__init__(observation_space, action_space, lr_schedule, **arguments)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _get_constructor_parameters(self) -> dict[str, Any]:
        parameters = super()._get_constructor_parameters()
        for name in ("features_extractor_class", "features_extractor_kwargs"):
            parameters.pop(name)
        asked = self._asked[0]
        return parameters | {
            "encoder": EncoderName.read(asked).without_weights if isinstance(asked, str) else asked,
            "mixed_precision": self.mixed_precision,
            "action_classes": self.action_classes,
        }

    def _build(self, lr_schedule: Schedule) -> None:
        if self.action_classes is not None:
            assert isinstance(self.action_space, spaces.Discrete)
            self.action_dist = _ClassDistribution(int(self.action_space.n), self.action_classes)
        encoder = self.features_extractor
        # Stable-Baselines3 draws the weights of every layer anew.
        learned = encoder.eye if isinstance(encoder, ModuleEncoder) else None
        kept = {} if learned is None else {name: value.clone() for name, value in learned.state_dict().items()}
        for parameter in [] if learned is None else learned.parameters():
            parameter.data = parameter.data.contiguous()  # which the drawing asks for
        super()._build(lr_schedule)
        if learned is not None:
            learned.load_state_dict(kept)
        if isinstance(encoder, Encoder):
            self._equip(encoder, lr_schedule)

    def _equip(self, encoder: Encoder, lr_schedule: Schedule) -> None:
        """Give the encoder the weights that its name asks for, and leave to the optimiser what is to be trained."""
        wish: EncoderName | Eye = (
            self.features_extractor_kwargs["eye"] if self.encoder_name is None else EncoderName.read(self.encoder_name)
        )
        if not isinstance(encoder, ModuleEncoder):  # which has tried its module
            self._try_encoder(encoder)
        if isinstance(wish, EncoderName) and wish.weights is not None:
            load_weights(encoder, wish.weights)
        if wish.frozen:
            encoder.freeze()
        if not wish.frozen and wish.learning_rate is None:
            return
        rest, of_encoder = self._groups_of_parameters()
        groups = [{"params": rest}] + [{"params": of_encoder}] * (not wish.frozen)
        self.optimizer = self.optimizer_class(groups, lr=peak(lr_schedule), **self.optimizer_kwargs)  # type: ignore[call-arg]
        if not wish.frozen:
            self.own_learning_rate = wish.learning_rate
            self.set_own_learning_rate(lr_schedule, 1.0)

    def _groups_of_parameters(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Parameters of everything else, and of the encoder below its linear layer."""
        assert isinstance(self.features_extractor, Encoder)
        of_encoder = {id(parameter) for parameter in self.features_extractor.eye.parameters()}
        return tuple([each for each in self.parameters() if (id(each) in of_encoder) == own] for own in (False, True))  # type: ignore[return-value]

    def set_own_learning_rate(self, lr_schedule: Schedule, left: float) -> None:
        """Set the encoder's own learning rate, where it has one, in the optimiser.

        It follows the schedule of everything else, whose highest value it is at its own highest. It is computed from
        that schedule each time, for a loaded optimiser brings the rates of the training run that it was saved in.

        Parameters
        ----------
        lr_schedule
            Learning rate of everything else, by the share of the training run that is left.
        left
            That share now, from 1 to 0.
        """
        if self.own_learning_rate is None:
            return
        highest = peak(lr_schedule)
        of_encoder = {id(parameter) for parameter in self._groups_of_parameters()[1]}
        for group in self.optimizer.param_groups:
            if group["params"] and id(group["params"][0]) in of_encoder:
                group["lr"] = self.own_learning_rate * (lr_schedule(left) / highest if highest else 0.0)

    def _try_encoder(self, encoder: Encoder) -> None:
        """Refuse, before anything is learned, an encoder that does not take the observations that it is for."""
        shape, training = self.observation_space.shape or (), encoder.training
        blank = torch.zeros(1, *shape, dtype=torch.as_tensor(np.empty(0, self.observation_space.dtype)).dtype)
        name = self.encoder_name or type(encoder).__name__
        encoder.eval()  # nothing is drawn, and no running mean moves
        try:
            with torch.no_grad():
                found = encoder(blank).shape
        except (RuntimeError, IndexError, AssertionError) as error:
            reason = " ".join(str(error).split())[:160]
            raise ValueError(f"The encoder {name} takes no observations of shape {shape} ({reason}).") from error
        finally:
            encoder.train(training)
        if tuple(found) != (1, encoder.features_dim):
            raise ValueError(
                f"The encoder {name} must give {encoder.features_dim} features, its features_dim, of an observation: "
                f"its network gives the shape {tuple(found)} for one."
            )

    @torch.no_grad()
    def scale_logits(self, inverse_temperature: float) -> None:
        """Make the policy more certain, in place: its logits are multiplied by a number above 1."""
        for parameter in self.action_net.parameters():
            parameter.mul_(inverse_temperature)

    @property
    def is_frozen(self) -> bool:
        """Whether the eye stays as it is, so that what it sees need not be computed twice."""
        return isinstance(self.features_extractor, Encoder) and self.features_extractor.frozen

    @torch.no_grad()
    def see(self, obs: torch.Tensor) -> torch.Tensor:
        """What the eye sees in observations, shape (batch, numbers), in half precision; the policy takes it, too."""
        assert isinstance(self.features_extractor, Encoder)
        with self._precision(obs):
            return self.features_extractor.see(obs).clamp(-_LARGEST_HALF, _LARGEST_HALF).half()

    def _precision(self, obs: torch.Tensor) -> torch.autocast:
        wanted = bfloat16_is_fast(obs.device) if self.mixed_precision is None else self.mixed_precision
        enabled = wanted and not obs.requires_grad  # gradients of images, and theirs in turn, want all their digits
        return torch.autocast(obs.device.type, torch.bfloat16, enabled=enabled, cache_enabled=False)

    def extract_features(self, obs: PyTorchObs, features_extractor: nn.Module | None = None) -> torch.Tensor:
        """Features of raw observations; bytes are converted where they are used, not before."""
        assert isinstance(obs, torch.Tensor)
        with self._precision(obs):
            return self.features_extractor(obs).float()

    def forward(
        self, obs: torch.Tensor, deterministic: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Actions, shape (batch,), with their values and the logarithms of their probabilities."""
        log_probabilities, values = self.heads(obs)
        if deterministic:
            actions = log_probabilities.argmax(dim=1, keepdim=True)
        else:
            actions = torch.multinomial(log_probabilities.exp(), 1)
        return actions.squeeze(1), values, log_probabilities.gather(1, actions).squeeze(1)

    def evaluate_actions(
        self, obs: PyTorchObs, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Values, logarithms of the actions' probabilities, and entropies of the distributions they come from."""
        log_probabilities, values = self.heads(obs)
        of_classes = log_probabilities
        if isinstance(self.action_net, _ClassLinear):
            of_classes = log_probabilities + self.action_net.log_sizes
        entropies = -(log_probabilities.exp() * of_classes).sum(dim=1)
        return values, log_probabilities.gather(1, actions.unsqueeze(1)).squeeze(1), entropies

    def heads(self, obs: PyTorchObs) -> tuple[torch.Tensor, torch.Tensor]:
        """Logarithms of all actions' probabilities, shape (batch, actions), and values, shape (batch, 1)."""
        actor, critic = self.mlp_extractor(self.extract_features(obs))
        return torch.log_softmax(self.action_net(actor), dim=1), self.value_net(critic)

    def get_distribution(self, obs: PyTorchObs) -> Distribution:
        """Distribution of the actions."""
        return self._get_action_dist_from_latent(self.mlp_extractor.forward_actor(self.extract_features(obs)))

    def predict_values(self, obs: PyTorchObs) -> torch.Tensor:
        """Estimated values, shape (batch, 1)."""
        return self.value_net(self.mlp_extractor.forward_critic(self.extract_features(obs)))

    def log_probabilities(self, obs: PyTorchObs) -> torch.Tensor:
        """Logarithms of the action probabilities, shape (batch, actions)."""
        return torch.log_softmax(self.action_net(self.mlp_extractor.forward_actor(self.extract_features(obs))), dim=1)


class _ClassLinear(nn.Linear):
    """Logits of all actions from one number a class, such that the members of a class share its probability."""

    class_of: torch.Tensor
    log_sizes: torch.Tensor

    def __init__(self, features: int, class_of: torch.Tensor) -> None:
        sizes = class_of.bincount()
        super().__init__(features, len(sizes))
        self.register_buffer("class_of", class_of, persistent=False)
        self.register_buffer("log_sizes", sizes.float().log()[class_of], persistent=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return super().forward(features)[:, self.class_of] - self.log_sizes


class _ClassDistribution(CategoricalDistribution):
    """Distribution of actions that treats the members of a class alike."""

    def __init__(self, actions: int, classes: Sequence[Sequence[int]]) -> None:
        super().__init__(actions)
        if sorted(action for members in classes for action in members) != list(range(actions)):
            raise ValueError(f"Action classes hold each of the {actions} actions once, unlike {classes}.")
        self._class_of = torch.zeros(actions, dtype=torch.int64)
        for number, members in enumerate(classes):
            self._class_of[list(members)] = number

    def proba_distribution_net(self, latent_dim: int) -> nn.Module:
        return _ClassLinear(latent_dim, self._class_of)
