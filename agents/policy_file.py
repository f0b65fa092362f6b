"""Policies as files that hold no code: weights in safetensors format, with a card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from safetensors import SafetensorError, safe_open

from agents.encoders import LABELS
from agents.policy import EncoderPolicy
from agents.registry import EncoderName
from agents.weights import check_sealed, not_finite, write_tensors

FORMAT = "lcd-policy-1"


class PolicyFileError(ValueError):
    """A file that cannot be read as a policy."""


def _weights(policy: EncoderPolicy) -> dict[str, torch.Tensor]:
    """The policy's weights, without the second and third name that SB3 gives the one encoder."""
    aliases = ("pi_features_extractor.", "vf_features_extractor.")
    return {name: value.contiguous() for name, value in policy.state_dict().items() if not name.startswith(aliases)}


def save_policy(policy: EncoderPolicy, path: Path, card: dict[str, Any], *, half: bool = False) -> None:
    """Write a policy with a card that says what it is.

    Parameters
    ----------
    policy
        The policy.
    path
        File to write.
    card
        What a reader should know, as JSON data: the game, how the policy was made, its scores.
    half
        Whether to write the weights in half precision.

    Raises
    ------
    ValueError
        If the policy is more than an encoder, as the file names it, and two linear heads.
    """
    if policy.encoder_name is None:
        raise ValueError("A policy file describes an encoder by its name: it cannot hold a module of your own.")
    name = EncoderName.read(policy.encoder_name)
    if policy.net_arch:
        raise ValueError(
            "A policy file describes an encoder by its name and two linear heads: it cannot hold "
            f"net_arch={policy.net_arch!r}."
        )
    space = policy.observation_space
    metadata = {
        "format": FORMAT,
        "encoder": name.without_weights,
        "observation_shape": json.dumps(list(space.shape or ())),
        "actions": str(int(policy.action_space.n)),  # type: ignore[attr-defined]
        "action_classes": json.dumps(policy.action_classes),
        "card": json.dumps(card),
    }
    weights = _weights(policy)
    write_tensors({name: value.half() for name, value in weights.items()} if half else weights, path, metadata)


def load_policy(path: Path) -> tuple[EncoderPolicy, dict[str, Any]]:
    """Read a policy and its card.

    Returns
    -------
    EncoderPolicy
        The policy, in evaluation mode.
    dict
        The card.

    Raises
    ------
    PolicyFileError
        If the file is missing, cut short or something else; the message says which.
    """
    if not path.is_file():
        raise PolicyFileError(f"There is no policy file {path}: check the path.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise PolicyFileError(f"{path} is not a whole safetensors file ({error}): write it again.") from error
    if metadata.get("format") != FORMAT:
        raise PolicyFileError(
            f"{path} holds no policy of the LCD: its format is {metadata.get('format')!r}, not {FORMAT!r}."
        )
    try:
        card = json.loads(metadata["card"])
        shape = tuple(json.loads(metadata["observation_shape"]))
        space = spaces.Box(0, LABELS - 1 if len(shape) == 2 else 255, shape, np.uint8)
        actions = spaces.Discrete(int(metadata["actions"]))
        with torch.random.fork_rng(devices=[]):  # the weights to be replaced are drawn; reading a file draws nothing
            classes = json.loads(metadata.get("action_classes", "null"))
            policy = EncoderPolicy(space, actions, lambda _: 0.0, metadata["encoder"], action_classes=classes)
    except (KeyError, TypeError, ValueError, AssertionError) as error:
        raise PolicyFileError(f"The description in {path} makes no policy ({error}): write the file again.") from error
    try:
        if weights.keys() != _weights(policy).keys():
            raise RuntimeError("other names")
        policy.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise PolicyFileError(f"The weights in {path} do not fit the encoder {metadata['encoder']!r}.") from error
    try:
        check_sealed(path)
    except ValueError as error:
        raise PolicyFileError(str(error)) from None
    if (damaged := not_finite(weights)) is not None:
        raise PolicyFileError(f"{path} cannot be used, for {damaged} holds what is no number: write or fetch it again.")
    policy.set_training_mode(False)
    return policy, card
