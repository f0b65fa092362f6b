"""The actor-critic policy that every learner here trains: an encoder and two linear heads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
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
from lcd.agents.encoders.own_modules import OwnModuleEncoder
from lcd.agents.encoders.pretrained import Backbone, ModuleEncoder
from lcd.agents.encoders.registry import EncoderName, check_weights
from lcd.agents.encoders.weights import load_weights
from lcd.agents.machine import bfloat16_is_fast

_LARGEST_HALF = torch.finfo(torch.float16).max


def peak(lr_schedule: Schedule) -> float:
    """The highest learning rate of a schedule; a segment of a longer schedule has it as its attribute `peak`."""
    known = getattr(getattr(lr_schedule, "value_schedule", lr_schedule), "peak", None)
    return max(lr_schedule(left / 100) for left in range(101)) if known is None else float(known)


def is_thread_safe(policy: object) -> bool:
    """Whether threads may call a policy at once: only if it is known to keep no state between forward passes.

    Stable-Baselines3's own policies keep their distribution, and an unknown torch module may keep anything.
    """
    of_others = ModuleEncoder, OwnModuleEncoder
    return isinstance(policy, EncoderPolicy) and not isinstance(policy.features_extractor, of_others)


class EncoderPolicy(ActorCriticPolicy):
    """Stable-Baselines3's actor-critic policy with its encoder in mixed precision and channels last.

    Unless ``ortho_init`` is False, all values begin at zero. Those of Stable-Baselines3 begin as noise, which the
    normalisation of advantages makes as large as any reward: until the first ones arrive, a policy learns from that
    noise, and may learn to stand still (``docs/learner.md``).

    Parameters
    ----------
    observation_space, action_space, lr_schedule
        As in ``ActorCriticPolicy``.
    encoder
        Name of an encoder, see `lcd.agents.encoders.registry.EncoderName`; or a torch module from images to features,
        which is trained with the policy; or an `lcd.agents.Backbone`, a module with its preprocessing, frozen by
        default.
    encoder_arguments
        Further arguments of an encoder that is given by its name, such as ``pretrained=False`` where its weights are
        loaded afterwards.
    action_classes
        Groups of equivalent actions, every action in one of them. The policy then chooses among groups, uniformly
        within one, and its entropy is that of the groups. By default all actions differ.
    mixed_precision
        Whether the encoder computes in bfloat16; by default, where the device has instructions for it. Weights, heads
        and losses stay in float32.
    **kwargs
        Further arguments of ``ActorCriticPolicy``.

    Raises
    ------
    ValueError
        If the encoder is not valid, or is given by another argument.
    """

    backbone_learning_rate: float | None = None
    """Highest learning rate of the backbone; None where it is that of the other layers."""

    detaches_values: bool = False
    """Whether the gradient of the values ends at the features, and does not train the encoder."""

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        lr_schedule: Schedule,
        encoder: str | nn.Module | Backbone = "nature",
        mixed_precision: bool | None = None,
        action_classes: Sequence[Sequence[int]] | None = None,
        encoder_arguments: Mapping[str, Any] = MappingProxyType({}),
        **kwargs: Any,
    ) -> None:
        if not kwargs.get("share_features_extractor", True):
            raise ValueError(
                "An EncoderPolicy has one encoder for its actor and critic: share_features_extractor=True."
            )
        if other := [name for name in kwargs if name.startswith("features_extractor_")]:
            raise ValueError(f"An EncoderPolicy takes its encoder as encoder=, a name or a module, not as {other[0]}=.")
        self._asked = (encoder,)  # in a tuple, so that a module in it is not registered twice
        self.encoder_arguments = dict(encoder_arguments)
        self.action_classes = None if action_classes is None else tuple(tuple(members) for members in action_classes)
        self.mixed_precision = mixed_precision
        self.encoder_name = encoder if isinstance(encoder, str) else None
        if not isinstance(encoder, str | nn.Module | Backbone):
            raise ValueError(f"An encoder is a name, a torch module or an lcd.agents.Backbone, not {encoder!r}.")
        if isinstance(encoder, str):
            encoder_class, arguments_of_encoder = EncoderName.read(encoder).encoder
            arguments_of_encoder = arguments_of_encoder | dict(encoder_arguments)
            check_weights(encoder, encoder_class, arguments_of_encoder, observation_space)
        else:
            backbone = encoder if isinstance(encoder, Backbone) else Backbone(encoder, frozen=False, normalises=False)
            encoder_class, arguments_of_encoder = ModuleEncoder, {"backbone": backbone}
        arguments: dict[str, Any] = {
            "features_extractor_class": encoder_class,
            "features_extractor_kwargs": arguments_of_encoder,
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
            "encoder_arguments": self.arguments_without_weights,
        }

    @property
    def arguments_without_weights(self) -> dict[str, Any]:
        """Arguments for another encoder of this name that fetches no weights, as they are loaded afterwards."""
        encoder = self.features_extractor
        if self.encoder_name is None or not isinstance(encoder, ModuleEncoder):
            return self.encoder_arguments
        decided = {"pretrained": False} | ({} if encoder.pools is None else {"pools": encoder.pools})
        return self.encoder_arguments | decided

    def _build(self, lr_schedule: Schedule) -> None:
        if self.action_classes is not None:
            assert isinstance(self.action_space, spaces.Discrete)
            self.action_dist = _ClassDistribution(int(self.action_space.n), self.action_classes)
        encoder = self.features_extractor
        # Stable-Baselines3 initialises the weights of every layer again.
        pretrained = encoder.backbone if isinstance(encoder, ModuleEncoder | OwnModuleEncoder) else None
        kept = {} if pretrained is None else {name: value.clone() for name, value in pretrained.state_dict().items()}
        for parameter in [] if pretrained is None else pretrained.parameters():
            parameter.data = parameter.data.contiguous()  # orthogonal initialisation needs it
        super()._build(lr_schedule)
        if self.ortho_init:
            self.scale_values(0.0)
        if pretrained is not None:
            pretrained.load_state_dict(kept)
        if isinstance(encoder, Encoder):
            self._configure_encoder(encoder, lr_schedule)

    def _configure_encoder(self, encoder: Encoder, lr_schedule: Schedule) -> None:
        """Load the weights that the encoder's name asks for, and give the optimiser the trained parameters only."""
        asked: EncoderName | Backbone = (
            self.features_extractor_kwargs["backbone"]
            if self.encoder_name is None
            else EncoderName.read(self.encoder_name)
        )
        if not isinstance(encoder, ModuleEncoder):  # which has tried its module
            self._try_encoder(encoder)
        if isinstance(asked, EncoderName) and asked.weights is not None:
            load_weights(encoder, asked.weights)
        if asked.frozen:
            encoder.freeze()
        if not asked.frozen and asked.learning_rate is None:
            return
        rest, of_backbone = self._parameter_groups()
        groups = [{"params": rest}] + [{"params": of_backbone}] * (not asked.frozen)
        self.optimizer = self.optimizer_class(groups, lr=peak(lr_schedule), **self.optimizer_kwargs)  # type: ignore[call-arg]
        if not asked.frozen:
            self.backbone_learning_rate = asked.learning_rate
            self.set_backbone_learning_rate(lr_schedule, 1.0)

    def _parameter_groups(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Parameters of the other layers, and of the backbone."""
        assert isinstance(self.features_extractor, Encoder)
        of_backbone = {id(parameter) for parameter in self.features_extractor.backbone.parameters()}
        return tuple([each for each in self.parameters() if (id(each) in of_backbone) == own] for own in (False, True))  # type: ignore[return-value]

    def parameter_groups(self) -> list[dict[str, list[nn.Parameter]]]:
        """The trained parameters for a further optimiser, a backbone with a learning rate of its own in its own group.

        `set_backbone_learning_rate` then sets that rate.
        """
        every = list(self.parameters())
        groups = [every] if self.backbone_learning_rate is None else self._parameter_groups()
        return [{"params": [each for each in group if each.requires_grad]} for group in groups]

    def set_backbone_learning_rate(
        self, lr_schedule: Schedule, left: float, optimizer: torch.optim.Optimizer | None = None
    ) -> None:
        """Set the backbone's learning rate in an optimiser, where it has one of its own.

        It is proportional to the schedule of the other layers and reaches its highest value with it. It is computed
        from that schedule each time, because a loaded optimiser has the rates of the training run that it was saved in.

        Parameters
        ----------
        lr_schedule
            Learning rate of the other layers, by the remaining share of the training run.
        left
            The remaining share, from 1 to 0.
        optimizer
            One whose groups hold parameters either of the backbone or of other layers; by default the policy's own.

        Raises
        ------
        ValueError
            If a group holds both.
        """
        if self.backbone_learning_rate is None:
            return
        highest = peak(lr_schedule)
        of_backbone = {id(parameter) for parameter in self._parameter_groups()[1]}
        for group in (self.optimizer if optimizer is None else optimizer).param_groups:
            inside = [id(parameter) in of_backbone for parameter in group["params"]]
            if any(inside) and not all(inside):
                raise ValueError(
                    "An optimiser has the backbone, which has a learning rate of its own, in one group with other "
                    "layers: make it of the policy's parameter_groups()."
                )
            if any(inside):
                group["lr"] = self.backbone_learning_rate * (lr_schedule(left) / highest if highest else 0.0)

    def _try_encoder(self, encoder: Encoder) -> None:
        """Check before training that an encoder takes the observations and gives as many features as it says."""
        shape, training = self.observation_space.shape or (), encoder.training
        blank = torch.zeros(1, *shape, dtype=torch.as_tensor(np.empty(0, self.observation_space.dtype)).dtype)
        name = self.encoder_name or type(encoder).__name__
        encoder.eval()  # no dropout is drawn, and no running mean moves
        try:
            with torch.no_grad():
                found = encoder(blank).shape
        except (RuntimeError, IndexError, AssertionError) as error:
            reason = " ".join(str(error).split())[:160]
            raise ValueError(f"The encoder {name} does not take observations of shape {shape} ({reason}).") from error
        finally:
            encoder.train(training)
        if tuple(found) != (1, encoder.features_dim):
            raise ValueError(
                f"The encoder {name} must give {encoder.features_dim} features, its features_dim, for an observation: "
                f"its network gives the shape {tuple(found)}."
            )

    @torch.no_grad()
    def scale_logits(self, inverse_temperature: float) -> None:
        """Multiply the policy's logits by an inverse temperature, in place."""
        for parameter in self.action_net.parameters():
            parameter.mul_(inverse_temperature)

    @torch.no_grad()
    def scale_values(self, factor: float) -> None:
        """Multiply the estimated values by a number, in place."""
        for parameter in self.value_net.parameters():
            parameter.mul_(factor)

    @property
    def is_frozen(self) -> bool:
        """Whether the encoder's backbone is frozen, so that its features can be cached."""
        return isinstance(self.features_extractor, Encoder) and self.features_extractor.frozen

    @torch.no_grad()
    def encode(self, obs: torch.Tensor) -> torch.Tensor:
        """Backbone features of observations, shape (batch, features), in half precision; the policy accepts them."""
        assert isinstance(self.features_extractor, Encoder)
        with self._precision(obs):
            return self.features_extractor.encode(obs).clamp(-_LARGEST_HALF, _LARGEST_HALF).half()

    def _precision(self, obs: torch.Tensor) -> torch.autocast:
        wanted = bfloat16_is_fast(obs.device) if self.mixed_precision is None else self.mixed_precision
        enabled = wanted and not obs.requires_grad  # first and second derivatives by images need full precision
        return torch.autocast(obs.device.type, torch.bfloat16, enabled=enabled, cache_enabled=False)

    def extract_features(self, obs: PyTorchObs, features_extractor: nn.Module | None = None) -> torch.Tensor:
        """Features of raw observations; the encoder converts bytes itself."""
        assert isinstance(obs, torch.Tensor)
        with self._precision(obs):
            return self.features_extractor(obs).float()

    def forward(
        self, obs: torch.Tensor, deterministic: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Sample actions, shape (batch,), with values and log-probabilities."""
        log_probabilities, values = self.heads(obs)
        if deterministic:
            actions = log_probabilities.argmax(dim=1, keepdim=True)
        else:
            with self._telling(log_probabilities):
                actions = torch.multinomial(log_probabilities.exp(), 1)
        return actions.squeeze(1), values, log_probabilities.gather(1, actions).squeeze(1)

    @contextmanager
    def _telling(self, computed: torch.Tensor) -> Iterator[None]:
        """Say what is wrong where torch refuses to draw actions because what was computed is not finite.

        Raises
        ------
        ValueError
            If that is the cause.
        """
        try:
            yield
        except (RuntimeError, ValueError) as error:
            if bool(torch.isfinite(computed).all()):
                raise
            name = self.encoder_name or type(self.features_extractor).__name__
            raise ValueError(
                f"The encoder {name} gives numbers that are not finite for some observations: check its module, such "
                "as a logarithm or a division in it."
            ) from error

    def evaluate_actions(
        self, obs: PyTorchObs, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Values, log-probabilities of given actions, and entropies of the action distributions."""
        log_probabilities, values = self.heads(obs)
        entropies = self.entropies(log_probabilities)
        return values, log_probabilities.gather(1, actions.unsqueeze(1)).squeeze(1), entropies

    def entropies(self, log_probabilities: torch.Tensor) -> torch.Tensor:
        """Entropies of action distributions, shape (batch,), from their logarithms, shape (batch, actions)."""
        of_classes = log_probabilities
        if isinstance(self.action_net, _ClassLinear):
            of_classes = log_probabilities + self.action_net.log_sizes
        return -(log_probabilities.exp() * of_classes).sum(dim=1)

    def heads(self, obs: PyTorchObs) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probabilities of all actions, shape (batch, actions), and values, shape (batch, 1)."""
        return self.heads_of(self.extract_features(obs))

    def heads_of(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """As `heads`, from features of the observations, shape (batch, features)."""
        actor, critic = self.mlp_extractor(features)
        values = self.value_net(critic.detach() if self.detaches_values else critic)
        return torch.log_softmax(self.action_net(actor), dim=1), values

    def get_distribution(self, obs: PyTorchObs) -> Distribution:
        """Action distribution."""
        latent = self.mlp_extractor.forward_actor(self.extract_features(obs))
        with self._telling(latent):
            return self._get_action_dist_from_latent(latent)

    def predict_values(self, obs: PyTorchObs) -> torch.Tensor:
        """Estimated values, shape (batch, 1)."""
        return self.value_net(self.mlp_extractor.forward_critic(self.extract_features(obs)))

    def log_probabilities(self, obs: PyTorchObs) -> torch.Tensor:
        """Log-probabilities of all actions, shape (batch, actions)."""
        return torch.log_softmax(self.action_net(self.mlp_extractor.forward_actor(self.extract_features(obs))), dim=1)


class _ClassLinear(nn.Linear):
    """A linear layer with one logit a class of equivalent actions, which share its probability uniformly."""

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
    """Categorical distribution that is uniform over the actions of a class."""

    def __init__(self, actions: int, classes: Sequence[Sequence[int]]) -> None:
        super().__init__(actions)
        if sorted(action for members in classes for action in members) != list(range(actions)):
            raise ValueError(f"Action classes must hold each of the {actions} actions once, unlike {classes}.")
        self._class_of = torch.zeros(actions, dtype=torch.int64)
        for number, members in enumerate(classes):
            self._class_of[list(members)] = number

    def proba_distribution_net(self, latent_dim: int) -> nn.Module:
        return _ClassLinear(latent_dim, self._class_of)
