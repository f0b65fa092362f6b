"""Teachers: policies that say what they would do, and the file format that they travel in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from gymnasium import spaces
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from agents.policy import EncoderPolicy

FORMAT = "lcd-teacher-1"


class Teacher(Protocol):
    """Anything that gives action probabilities for what it sees."""

    def log_probabilities(self, observations: torch.Tensor) -> torch.Tensor:
        """Logarithms of the action probabilities.

        Parameters
        ----------
        observations : torch.Tensor, shape (batch, height, width) or (batch, 3, height, width), uint8

        Returns
        -------
        torch.Tensor, shape (batch, actions)
        """
        ...


class TeacherFileError(ValueError):
    """A file that cannot be read as a teacher."""


def save_teacher(policy: EncoderPolicy, path: Path, card: dict[str, Any]) -> None:
    """Write a policy as a teacher: weights in safetensors format, with a card that says what it is.

    Parameters
    ----------
    policy
        The policy; its weights are written as they are.
    path
        File to write.
    card
        What a reader should know, as JSON data: the game, how the teacher was made, its scores.
    """
    space = policy.observation_space
    metadata = {
        "format": FORMAT,
        "encoder": policy.encoder_name,
        "observation_shape": json.dumps(list(space.shape or ())),
        "actions": str(int(policy.action_space.n)),  # type: ignore[attr-defined]
        "card": json.dumps(card),
    }
    save_file({name: value.contiguous() for name, value in policy.state_dict().items()}, path, metadata=metadata)


def load_teacher(path: Path) -> tuple[EncoderPolicy, dict[str, Any]]:
    """Read a teacher and its card.

    Returns
    -------
    EncoderPolicy
        The policy, in evaluation mode.
    dict
        The card.

    Raises
    ------
    TeacherFileError
        If the file is missing, cut short or something else; the message says which.
    """
    if not path.is_file():
        raise TeacherFileError(f"There is no teacher file {path}: check the path.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise TeacherFileError(f"{path} is not a whole safetensors file ({error}): write it again.") from error
    if metadata.get("format") != FORMAT:
        raise TeacherFileError(f"{path} holds no LCD teacher: its format is {metadata.get('format')!r}, not {FORMAT!r}.")
    space = spaces.Box(0, 255, tuple(json.loads(metadata["observation_shape"])), np.uint8)
    policy = EncoderPolicy(
        space, spaces.Discrete(int(metadata["actions"])), lambda _: 0.0, encoder=metadata["encoder"]
    )
    try:
        policy.load_state_dict(weights)
    except RuntimeError as error:
        raise TeacherFileError(f"The weights in {path} do not fit the encoder {metadata['encoder']!r}.") from error
    policy.set_training_mode(False)
    return policy, json.loads(metadata["card"])
