"""A policy with a memory, for sb3-contrib's RecurrentPPO."""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from typing import Any

import torch
from gymnasium import spaces
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from torch import nn

from lcd.agents.encoders.own_modules import OwnModuleEncoder
from lcd.agents.memory.networks import FEATURES, MemoryNetwork, build_network

States = tuple[torch.Tensor, torch.Tensor]


class MemoryCell(nn.Module):
    """A `MemoryNetwork` in the place of the policy's LSTM: its state travels as the LSTM's hidden and cell state.

    Attributes
    ----------
    input_size, hidden_size, num_layers : int
        As in `torch.nn.LSTM`: numbers of an observation, half of those that are remembered (one at least), and 1.
    """

    num_layers = 1

    def __init__(self, network: MemoryNetwork, space: spaces.Box) -> None:
        super().__init__()
        self.network = network
        self._shape = space.shape
        self.input_size = spaces.flatdim(space)
        self.hidden_size = max(1, (network.state_size + 1) // 2)

    def forward(self, observations: torch.Tensor, states: States, begins: torch.Tensor) -> tuple[torch.Tensor, States]:
        """Features and next states of a sequence.

        Parameters
        ----------
        observations : torch.Tensor, shape (time, games, input_size)
        states : tuple of torch.Tensor, shape (1, games, hidden_size)
        begins : torch.Tensor, shape (time, games)
        """
        size = self.network.state_size
        kept = torch.cat(states, dim=2)[0]
        features, state = self.network(observations.unflatten(2, self._shape), kept[:, :size], begins)
        state = nn.functional.pad(state, (0, 2 * self.hidden_size - size))
        hidden, cell = state.unsqueeze(0).chunk(2, dim=2)
        return features, (hidden, cell)


class MemoryPolicy(RecurrentActorCriticPolicy):
    """A policy and a value on the features of one network with a memory, which both train.

    Parameters
    ----------
    observation_space, action_space, lr_schedule
        As in Stable-Baselines3.
    network
        Name of the network, see `lcd.agents.memory.networks.build_network`.
    **kwargs
        Further arguments of sb3-contrib's ``RecurrentActorCriticPolicy``.
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        lr_schedule: Any,
        network: str = "convolutional",
        **kwargs: Any,
    ) -> None:
        assert isinstance(observation_space, spaces.Box)
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            net_arch=[],
            lstm_hidden_size=FEATURES,
            shared_lstm=True,
            enable_critic_lstm=False,
            **kwargs,
        )
        self.network_name = network
        built = build_network(network, observation_space)
        if self.ortho_init:  # as Stable-Baselines3 does: features of frames are too small otherwise
            own = [each.backbone for each in built.modules() if isinstance(each, OwnModuleEncoder)]
            first = [deepcopy(each.state_dict()) for each in own]
            built.apply(partial(self.init_weights, gain=2**0.5))
            for module, weights in zip(own, first, strict=True):
                module.load_state_dict(weights)
            nn.init.zeros_(self.value_net.weight)  # see EncoderPolicy
        cell = MemoryCell(built, observation_space)
        self.lstm_actor = cell  # type: ignore[assignment]
        self.lstm_hidden_state_shape = (cell.num_layers, 1, cell.hidden_size)
        made: Any = self.optimizer_class
        self.optimizer = made(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        parameters = super()._get_constructor_parameters()
        del parameters["net_arch"]
        return parameters | {"network": self.network_name}

    @property
    def network(self) -> MemoryNetwork:
        """The network."""
        return self.lstm_actor.network  # type: ignore[return-value]

    @staticmethod
    def _process_sequence(  # type: ignore[override]
        features: torch.Tensor, lstm_states: States, episode_starts: torch.Tensor, lstm: Any
    ) -> tuple[torch.Tensor, States]:
        """Features of padded sequences, shape (sequences × time, features), as in the parent."""
        sequences = lstm_states[0].shape[1]
        observations, begins = (
            each.reshape(sequences, -1, *rest).swapaxes(0, 1)
            for each, rest in ((features, (lstm.input_size,)), (episode_starts, ()))
        )
        output, states = lstm(observations, lstm_states, begins)
        return output.transpose(0, 1).flatten(0, 1), states

    def evaluate_actions(  # type: ignore[override]
        self, obs: torch.Tensor, actions: torch.Tensor, lstm_states: RNNStates, episode_starts: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """As in the parent, but the value trains the network, too."""
        observations = self.extract_features(obs)
        assert isinstance(observations, torch.Tensor)
        states = (lstm_states.pi[0], lstm_states.pi[1])
        features, _ = self._process_sequence(observations, states, episode_starts, self.lstm_actor)
        distribution = self._get_action_dist_from_latent(self.mlp_extractor.forward_actor(features))
        values = self.value_net(self.mlp_extractor.forward_critic(features))
        entropy = distribution.entropy()
        assert entropy is not None
        return values, distribution.log_prob(actions), entropy
