"""Acting on a GPU: one transfer there, one launch and one transfer back for a step of all games."""

from __future__ import annotations

import numpy as np
import torch

from lcd.agents.encoders.convolutional import Encoder
from lcd.agents.policy import EncoderPolicy
from lcd.agents.recorded import Function, Recorded
from lcd.agents.rollout import channels_first, channels_last


def acts_recorded(policy: object) -> bool:
    """Whether the network of a policy does the same operations in every state, so that a GPU can record them."""
    encoder = policy.features_extractor if isinstance(policy, EncoderPolicy) else None
    return isinstance(encoder, Encoder) and encoder.same_operations


def _recorded(policy: EncoderPolicy, function: Function) -> Recorded:
    recorded = Recorded(function)
    if not acts_recorded(policy):
        recorded.refused = "the encoder does not do the same operations in every state"
    return recorded


def places(policy: torch.nn.Module) -> tuple[tuple[int, bool], ...]:
    """Where the weights of a policy lie, and which are trained: with others, what was recorded means nothing."""
    return tuple((parameter.data_ptr(), parameter.requires_grad) for parameter in policy.parameters())


class Frames:
    """Moves the observations of all games to a device, through memory that the device reads by itself.

    Parameters
    ----------
    device
        Where they go.

    Notes
    -----
    What was moved before is overwritten, so the move before must be over: whoever waits for the actions that follow
    from it has waited for that.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pinned: torch.Tensor | None = None

    def moved(self, observations: np.ndarray) -> torch.Tensor:
        """Observations, shape (games, ...), on the device: frames with their channels last, all else as it is."""
        here = channels_last(torch.as_tensor(observations))
        if self._device.type != "cuda":
            return here
        if self._pinned is None or self._pinned.shape != here.shape or self._pinned.dtype != here.dtype:
            self._pinned = torch.empty(here.shape, dtype=here.dtype, pin_memory=True)
        self._pinned.copy_(here)
        return self._pinned.to(self._device, non_blocking=True)


class Actor:
    """Draws the actions of a policy in a batch of games, recorded where its network allows it.

    Parameters
    ----------
    policy
        It may learn meanwhile: a recording reads the weights where they are.
    """

    def __init__(self, policy: EncoderPolicy) -> None:
        self.policy = policy
        self.drawing = _recorded(policy, self._draw)

    def __call__(self, stored: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Actions, values and logarithms of the actions' probabilities, each of shape (games,), on the device.

        Parameters
        ----------
        stored : torch.Tensor, shape (games, ...)
            Observations as `Frames` moves them.
        """
        actions, values, log_probs = self.drawing(stored, constants=places(self.policy))
        return actions, values, log_probs

    @torch.no_grad()
    def _draw(self, stored: torch.Tensor) -> tuple[torch.Tensor, ...]:
        log_probabilities, values = self.policy.heads(channels_first(stored))
        actions = drawn(log_probabilities)
        return actions, values.flatten(), log_probabilities.gather(1, actions[:, None]).squeeze(1)


class ActionProbabilities:
    """Action probabilities of a policy in all games at once, recorded where its network allows it.

    Parameters
    ----------
    policy
        On a GPU.
    """

    def __init__(self, policy: EncoderPolicy) -> None:
        self._policy, self._frames = policy, Frames(policy.device)
        self._tempered = _recorded(policy, self._temper)

    def __call__(self, observations: np.ndarray, inverse_temperature: float = 1.0) -> torch.Tensor:
        """Probabilities of shape (games, actions), in the processor's memory.

        Parameters
        ----------
        observations : numpy.ndarray, shape (games, ...)
            Frames may have their channels first or last, as the policy's observation space has them.
        inverse_temperature
            What the logarithms of the probabilities are multiplied by.
        """
        shape = self._policy.observation_space.shape
        if observations.ndim == 4 and observations.shape[1:] != shape:
            observations = np.moveaxis(observations, -1, 1)
        factor = torch.full((), inverse_temperature, device=self._policy.device)
        return self._tempered(self._frames.moved(observations), factor)[0].cpu()

    @torch.no_grad()
    def _temper(self, stored: torch.Tensor, factor: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (torch.softmax(self._policy.log_probabilities(channels_first(stored)) * factor, dim=1),)


def drawn(log_probabilities: torch.Tensor) -> torch.Tensor:
    """An action from each distribution, without waiting for the device.

    The action whose exponential clock, of the action's probability as its rate, rings first: what ``torch.multinomial``
    computes for one draw, which in older versions of torch waits to see whether its numbers are probabilities.

    Parameters
    ----------
    log_probabilities : torch.Tensor, shape (batch, actions)

    Returns
    -------
    torch.Tensor, shape (batch,), int64
    """
    clocks = torch.empty_like(log_probabilities).exponential_()
    return (log_probabilities - clocks.log()).argmax(dim=1)
