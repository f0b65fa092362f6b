"""PPO with networks and optimisers beside those of its policy."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any, ClassVar

from lcd.agents.policy import EncoderPolicy
from lcd.agents.ppo import PPO


class PPOWithNetworks(PPO):
    """PPO with networks and optimisers of its own, which decide how it learns and are no part of its policy.

    They are saved in models and in checkpoints, and not in policy files: what acts is the policy alone.

    Attributes
    ----------
    networks
        Names of attributes with a ``state_dict``, such as ``"critic"`` or ``"critic.optimizer"``.
    scheduled
        Those among them that are optimisers with the learning rate of the policy's. Made of
        `lcd.agents.EncoderPolicy.parameter_groups`, they fine-tune a backbone at its own.
    """

    policy: EncoderPolicy
    networks: ClassVar[tuple[str, ...]] = ()
    scheduled: ClassVar[tuple[str, ...]] = ()

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        modules, others = super()._get_torch_save_params()
        return [*modules, *self.networks], others

    def _update_learning_rate(self, optimizers: Any) -> None:
        given = optimizers if isinstance(optimizers, list) else [optimizers]
        super()._update_learning_rate([*given, *(attrgetter(name)(self) for name in self.scheduled)])

    @property
    def encoder_policies(self) -> list[EncoderPolicy]:
        """The policy, and those among the networks."""
        networks = (attrgetter(name)(self) for name in self.networks)
        return [*super().encoder_policies, *(each for each in networks if isinstance(each, EncoderPolicy))]

    def further_state(self) -> dict[str, Any]:
        """The networks' weights, and the optimisers' states."""
        return super().further_state() | {name: attrgetter(name)(self).state_dict() for name in self.networks}

    def restore_further_state(self, state: Mapping[str, Any]) -> None:
        """Put the networks and optimisers back."""
        super().restore_further_state(state)
        for name in self.networks:
            attrgetter(name)(self).load_state_dict(state[name])
