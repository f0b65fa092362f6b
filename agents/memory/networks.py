"""Networks that remember from frame to frame, and the same without memory, for a policy of `lcd.agents.memory.policy`.

Each maps a frame, and what is remembered of those before it, to features and to what is remembered next. Encoders of
`lcd.agents` take part without memory, or with an LSTM after them. The others share one trunk and one head, and differ
in what they carry:

- **convolutional**: a convolutional gated recurrent unit (Ballas et al., 2016, arXiv:1511.06432);
- **phase**: the phases of `lcd.agents.encoders.phase.Synchrony`, which go on from where the last frame left them;
- **phase+convolutional**: both. As in the paper of phase synchrony (Muzellec et al., arXiv:2410.02094), the recurrent
  unit takes the complex-valued map; without the phases it is the convolutional network.

Each of them is also there with the same weights and nothing remembered, which tells what memory adds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from gymnasium import spaces
from torch import nn
from torch.nn import functional

from lcd.agents.encoders.convolutional import label_channels
from lcd.agents.encoders.phase import Synchrony, unit
from lcd.agents.encoders.registry import EncoderName
from lcd.agents.observations import is_label_map
from lcd.io.limits import short

FEATURES = 128
"""Number of features of every network."""

CHANNELS = 16
"""Channels of the trunk's map, and of what the convolutional network remembers."""

ITERATIONS = 4
"""Steps of synchronisation for each frame, which go on from those before."""


class MemoryNetwork(nn.Module, ABC):
    """A network with a memory.

    Parameters
    ----------
    space
        Of one game's observation: frames, channels first, or label maps.

    Attributes
    ----------
    state_size : int
        Numbers that are remembered of a game; all are 0 where an episode begins.
    """

    state_size: int = 0

    def __init__(self, space: spaces.Box) -> None:
        super().__init__()
        self.space = space

    @abstractmethod
    def forward(
        self, observations: torch.Tensor, state: torch.Tensor, begins: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Features of a sequence of observations.

        Parameters
        ----------
        observations : torch.Tensor, shape (time, games, ...)
            Frames in [0, 1], or label maps.
        state : torch.Tensor, shape (games, state_size)
            What is remembered from before.
        begins : torch.Tensor, shape (time, games)
            1 where an observation is the first of its episode, else 0: nothing is remembered there.

        Returns
        -------
        features : torch.Tensor, shape (time, games, FEATURES)
        state : torch.Tensor, shape (games, state_size)
        """


class WithoutMemory(MemoryNetwork):
    """An encoder by its name (`lcd.agents.EncoderName`), and a linear layer after it."""

    def __init__(self, space: spaces.Box, encoder: str) -> None:
        super().__init__(space)
        made, arguments = EncoderName.read(encoder).encoder
        self.encoder = made(space, **arguments)
        self.features = nn.Linear(self.encoder.features_dim, FEATURES)

    def forward(
        self, observations: torch.Tensor, state: torch.Tensor, begins: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `MemoryNetwork.forward`; the state stays empty."""
        return functional.relu(self.features(self._encoded(observations))), state

    def _encoded(self, observations: torch.Tensor) -> torch.Tensor:
        images = observations.flatten(0, 1)
        if self.encoder.reads_labels:
            images = images.to(torch.uint8)
        return self.encoder(images).unflatten(0, observations.shape[:2])


class LongShortTerm(WithoutMemory):
    """An encoder by its name, and an LSTM after it."""

    state_size = 2 * FEATURES

    def __init__(self, space: spaces.Box, encoder: str) -> None:
        super().__init__(space, encoder)
        self.cell = nn.LSTMCell(FEATURES, FEATURES)

    def forward(
        self, observations: torch.Tensor, state: torch.Tensor, begins: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `MemoryNetwork.forward`."""
        inputs, _ = super().forward(observations, state, begins)
        outputs = []
        for each, begin in zip(inputs, begins, strict=True):
            hidden, cell = (state * (1 - begin)[:, None]).chunk(2, dim=1)
            hidden, cell = self.cell(each, (hidden, cell))
            state = torch.cat([hidden, cell], dim=1)
            outputs.append(hidden)
        return torch.stack(outputs), state


class RecurrentMap(MemoryNetwork):
    """A map of units that remember, with or without phases.

    Parameters
    ----------
    space
        As in `MemoryNetwork`.
    phases
        Whether units have phases that synchronise.
    gated
        Whether a convolutional gated recurrent unit follows.
    """

    def __init__(self, space: spaces.Box, *, phases: bool, gated: bool) -> None:
        super().__init__(space)
        self._labels = is_label_map(space)
        channels = 3 if self._labels else space.shape[0]
        self.trunk = nn.Sequential(
            nn.Conv2d(channels, CHANNELS, kernel_size=5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(CHANNELS, CHANNELS, kernel_size=3, stride=2, padding=1),
            nn.ReLU(),
        )
        with torch.no_grad():
            _, _, self.height, self.width = self.trunk(torch.zeros(1, channels, *space.shape[-2:])).shape
        units = self.height * self.width
        self.synchrony = Synchrony(self.height, self.width, ITERATIONS) if phases else None
        self.first = nn.Conv2d(CHANNELS, 2, kernel_size=5, padding=2) if phases else None
        self.gate = GatedMap(CHANNELS * (1 + phases), CHANNELS) if gated else None
        self._phase_numbers, self._gated_numbers = 2 * units * phases, CHANNELS * units * gated
        self.state_size = self._phase_numbers + self._gated_numbers
        self.head = nn.Sequential(
            nn.Conv2d(2 * CHANNELS, 32, kernel_size=3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * ((self.height + 1) // 2) * ((self.width + 1) // 2), FEATURES),
            nn.ReLU(),
        )

    def forward(
        self, observations: torch.Tensor, state: torch.Tensor, begins: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `MemoryNetwork.forward`."""
        images = observations.flatten(0, 1)
        if self._labels:
            images = label_channels(images.to(torch.uint8), torch.float32)
        amplitudes = self.trunk(images)
        started = self._started(amplitudes).unflatten(0, observations.shape[:2])
        maps = []
        for each, first, begin in zip(amplitudes.unflatten(0, observations.shape[:2]), started, begins, strict=True):
            shown, state = self._step(each, first, state, begin)
            maps.append(shown)
        return self.head(torch.stack(maps).flatten(0, 1)).unflatten(0, observations.shape[:2]), state

    def phases(self, state: torch.Tensor) -> torch.Tensor:
        """Phases in a state as unit vectors, shape (games, 2, height, width)."""
        return state[:, : self._phase_numbers].view(len(state), 2, self.height, self.width)

    def _started(self, amplitudes: torch.Tensor) -> torch.Tensor:
        """Phases that the first frame of an episode gives; empty without phases."""
        return amplitudes[:, :0] if self.first is None else unit(self.first(amplitudes))

    def _step(
        self, amplitudes: torch.Tensor, first: torch.Tensor, state: torch.Tensor, begin: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Map for the head, and the next state."""
        shown, parts = amplitudes, []
        if self.synchrony is not None:
            phases = self.phases(state)
            none = (phases == 0).flatten(1).all(dim=1) | (begin > 0)  # a state of zeros has no phases to go on with
            phases = torch.where(none.view(-1, 1, 1, 1), first, phases)
            phases = self.synchrony.synchronised(phases, amplitudes.sum(dim=1, keepdim=True))
            shown = (phases[:, :, None] * amplitudes[:, None]).flatten(1, 2)
            parts.append(phases.flatten(1))
        if self.gate is not None:
            kept = state[:, self._phase_numbers :] * (1 - begin)[:, None]
            hidden = self.gate(shown, kept.view(len(kept), CHANNELS, self.height, self.width))
            shown = torch.cat([amplitudes, hidden], dim=1)
            parts.append(hidden.flatten(1))
        return shown, torch.cat(parts, dim=1)


class Forgetful(MemoryNetwork):
    """A map that remembers nothing: every frame is the first of an episode.

    Parameters
    ----------
    space
        As in `MemoryNetwork`.
    name
        One of `MAPS`.
    """

    def __init__(self, space: spaces.Box, name: str) -> None:
        super().__init__(space)
        self.map = RecurrentMap(space, **MAPS[name])

    def forward(
        self, observations: torch.Tensor, state: torch.Tensor, begins: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `MemoryNetwork.forward`; the state stays empty."""
        frames = observations.flatten(0, 1)[None]
        nothing = torch.zeros(frames.shape[1], self.map.state_size, device=frames.device)
        features, _ = self.map(frames, nothing, torch.ones(1, frames.shape[1], device=frames.device))
        return features[0].unflatten(0, observations.shape[:2]), state


class GatedMap(nn.Module):
    """A convolutional gated recurrent unit.

    Parameters
    ----------
    inputs, channels
        Channels of the input, and of what is remembered.
    """

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.gates = nn.Conv2d(inputs + channels, 2 * channels, kernel_size=3, padding=1)
        self.candidate = nn.Conv2d(inputs + channels, channels, kernel_size=3, padding=1)

    def forward(self, shown: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """What is remembered next, shape (batch, channels, height, width)."""
        update, reset = self.gates(torch.cat([shown, hidden], dim=1)).sigmoid().chunk(2, dim=1)
        candidate = self.candidate(torch.cat([shown, reset * hidden], dim=1)).tanh()
        return hidden + update * (candidate - hidden)


MAPS = {
    "convolutional": {"phases": False, "gated": True},
    "phase": {"phases": True, "gated": False},
    "phase+convolutional": {"phases": True, "gated": True},
}
"""Networks with a trunk of their own, by name."""

WITH_ENCODER = {"none": WithoutMemory, "stacked": WithoutMemory, "lstm": LongShortTerm}
"""What remembers with an encoder, by name; stacked frames are the environment's."""

FORGETFUL = "forgetful"
"""Before a map of `MAPS`: the same without what it remembers."""


def build_network(name: str, space: spaces.Box) -> MemoryNetwork:
    """Make a network by its name.

    Parameters
    ----------
    name
        ``"none=nature"``, ``"lstm=impala:8,16,16"``, one of `MAPS`, or one of these that remembers nothing, such as
        ``"forgetful=phase"``.
    space
        As in `MemoryNetwork`.

    Raises
    ------
    ValueError
        If there is no such network, or its encoder does not take the observations.
    """
    check_network(name)
    if name in MAPS:
        return RecurrentMap(space, **MAPS[name])
    memory, _, encoder = name.partition("=")
    if memory == FORGETFUL:
        return Forgetful(space, encoder)
    return WITH_ENCODER[memory](space, encoder)


def check_network(name: str) -> None:
    """Check a network's name.

    Raises
    ------
    ValueError
        If there is no such network.
    """
    memory, equals, encoder = name.partition("=")
    if name in MAPS or (memory == FORGETFUL and encoder in MAPS):
        return
    if memory not in WITH_ENCODER or not equals:
        known = ", ".join([*MAPS, f"{FORGETFUL}={next(iter(MAPS))}", *(f"{each}=ENCODER" for each in WITH_ENCODER)])
        raise ValueError(f"There is no network {short(name)}: choose from {known}, as in none=nature.")
    read = EncoderName.read(encoder)
    if read.weights is not None or read.frozen or read.learning_rate is not None or read.comes_with_weights:
        raise ValueError(
            f"{short(name)} names weights, or how an encoder's weights learn: encoders of these networks begin from "
            f"random weights, which all learn, as in {memory}=nature."
        )
