"""Policies as files that hold no code: weights in safetensors format, with a card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from lcd.agents.encoders.convolutional import LABELS
from lcd.agents.encoders.pretrained import BACKBONES, HUBS, ModuleEncoder, needs_hub
from lcd.agents.encoders.registry import EncoderName, import_encoder, names_a_class, parse_encoder
from lcd.agents.encoders.weights import (
    POOLS,
    check_sealed,
    checked_card,
    checked_pools,
    not_finite,
    within,
    write_tensors,
)
from lcd.agents.policy import EncoderPolicy
from lcd.io.limits import LARGEST_SIDE, MOST_ACTIONS, short, whole_number
from lcd.io.limits import path as path_of
from lcd.io.untrusted import UnreadableFileError, check_file, in_short, parse_json, read_safetensors

FORMAT = "lcd-policy-1"

LARGEST = 4 * 2**30
"""Largest size of a policy file, in bytes."""

LONGEST_VECTOR = 65_536
"""Largest number of values of an observation that is a vector."""

LARGEST_WEIGHT = 1e6
"""Largest absolute weight that is not taken for damage."""

_REMEDY = "write the file again"


class PolicyFileError(ValueError):
    """A file that cannot be read as a policy."""


class UntrustedPolicyError(PolicyFileError):
    """A file that must be trusted to be read."""


def _weights(policy: EncoderPolicy) -> dict[str, torch.Tensor]:
    """The policy's weights, without the second and third name that Stable-Baselines3 gives the one encoder."""
    aliases = ("pi_features_extractor.", "vf_features_extractor.")
    return {name: value.contiguous() for name, value in policy.state_dict().items() if not name.startswith(aliases)}


def save_policy(policy: EncoderPolicy, path: Path, card: dict[str, Any], *, half: bool = False) -> None:
    """Write a policy with a card that describes it.

    Parameters
    ----------
    policy
        The policy.
    path
        File to write.
    card
        JSON data: the game, how the policy was trained, its scores.
    half
        Whether to write the weights in half precision.

    Raises
    ------
    ValueError
        If the policy is not a named encoder with two linear heads, or has arguments that are not in the name.
    """
    if policy.encoder_name is None:
        raise ValueError("A policy file describes an encoder by its name: it cannot hold a custom module.")
    checked_card(card, "The card")
    name = EncoderName.read(policy.encoder_name)
    if policy.net_arch:
        raise ValueError(
            "A policy file describes an encoder by its name and two linear heads: it cannot hold "
            f"net_arch={policy.net_arch!r}."
        )
    arguments = policy.arguments_without_weights
    if further := sorted(arguments.keys() - {"pretrained", "pools"}):
        raise ValueError(
            "A policy file describes an encoder by its name, and cannot hold its encoder_arguments "
            f"{', '.join(further)}: give what the name takes in it, as in nature:256."
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
    if "pools" in arguments:
        metadata[POOLS] = json.dumps(arguments["pools"])
    weights = _weights(policy)
    write_tensors({name: value.half() for name, value in weights.items()} if half else weights, path, metadata)


def load_policy(path: Path, *, trust: bool = False) -> tuple[EncoderPolicy, dict[str, Any]]:
    """Read a policy and its card.

    Parameters
    ----------
    path
        A file of `save_policy`: it holds all weights, no other file is opened.
    trust
        Whether you trust the file: a module may be imported for its encoder (``my_nets:MyNet``), or the encoder's
        architecture fetched over the network. Its weights are in the file, and none are fetched. ``timm:NAME`` is
        built by timm itself, and ``hf:NAME`` from your cache if you have used that model before: they need no trust.

    Returns
    -------
    EncoderPolicy
        The policy, in evaluation mode.
    dict
        The card.

    Raises
    ------
    PolicyFileError
        If the file is missing, cut short or not a policy; the message says which.
    """
    path = path_of("path", path)
    try:
        check_file(path, LARGEST, what="policy file", remedy=_REMEDY)
        weights, metadata = read_safetensors(path, LARGEST, remedy=_REMEDY)
        if metadata.get("format") != FORMAT:
            found = short(metadata.get("format"))
            raise PolicyFileError(f"{path} is not a policy file of the LCD: its format is {found}, not {FORMAT!r}.")
        card = checked_card(_json(metadata, "card", path), f"The card in {path}")
        described = _Description.read(metadata, path, trust)
    except UnreadableFileError as error:
        raise PolicyFileError(str(error)) from None
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, PolicyFileError):
            raise
        raise PolicyFileError(f"The description in {path} is not valid ({in_short(error)}): {_REMEDY}.") from error
    misfit = PolicyFileError(f"The weights in {path} do not fit the encoder {described.encoder!r}: {_REMEDY}.")
    if not described.fits(weights):
        raise misfit
    try:
        with torch.random.fork_rng(devices=[]):  # initialising the weights to be replaced leaves the generator alone
            policy = described.policy()
    except (KeyError, IndexError, TypeError, ValueError, AssertionError, RuntimeError, MemoryError) as error:
        if isinstance(error, ValueError) and described.encoder.partition(":")[0] in HUBS:  # which names the package
            raise PolicyFileError(f"The encoder of {path} cannot be built. {error}") from error
        raise PolicyFileError(f"The description in {path} is not valid ({in_short(error)}): {_REMEDY}.") from error
    begun = {name: value.clone() for name, value in policy.state_dict().items() if not within(value, LARGEST_WEIGHT)}
    try:
        if weights.keys() != _weights(policy).keys():
            raise RuntimeError("other names")
        policy.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise misfit from error
    try:
        check_sealed(path)
    except ValueError as error:
        raise PolicyFileError(str(error)) from None
    if (damaged := not_finite({name: value for name, value in weights.items() if name not in begun})) is not None:
        raise PolicyFileError(f"{path} is damaged: {damaged} is not finite. Write or fetch it again.")
    policy.set_training_mode(False)
    _check_numbers(policy, path, begun)
    return policy, card


def encoder_that_a_file_names(asked: str, path: Path, trust: bool) -> EncoderName:
    """Read the name of an encoder in a file's metadata, and import its class if the file is trusted.

    Raises
    ------
    PolicyFileError
        If it names a further file.
    UntrustedPolicyError
        If it names a class, or a model of a hub, and the file is not trusted.
    ValueError
        If it is not a valid name.
    """
    if names_a_class(asked.partition("+")[0].partition("@")[0]):
        if not trust:
            raise UntrustedPolicyError(
                f"{path} names the encoder {short(asked)}, a class whose module would be imported: if you trust "
                "the file, give --trust (trust=True)."
            )
        import_encoder(asked)
    name = EncoderName.read(asked)
    if name.weights is not None:
        raise PolicyFileError(
            f"{path} names another file, in its encoder {short(asked)}, though its weights are inside: {_REMEDY}, "
            "without what follows the @."
        )
    if not trust and needs_hub(name.architecture):
        raise UntrustedPolicyError(
            f"{path} names the encoder {short(asked)}, which would be fetched over the network: if you trust the file, "
            "give --trust (trust=True)."
        )
    return name


@dataclass(frozen=True)
class _Description:
    """The policy that a file's metadata describe."""

    encoder: str
    observation_shape: tuple[int, ...]
    actions: int
    action_classes: list[list[int]] | None
    trusted: bool = False
    pools: bool | None = None

    @classmethod
    def read(cls, metadata: dict[str, str], path: Path, trust: bool) -> _Description:
        encoder_that_a_file_names(metadata["encoder"], path, trust)
        pools = checked_pools(metadata, path)
        shape = _json(metadata, "observation_shape", path)
        if not isinstance(shape, list) or len(shape) not in (1, 2, 3):
            raise ValueError(
                "observation_shape is [length], [height, width] or [channels, height, width], not " + short(shape)
            )
        for size in shape:
            whole_number("A size in observation_shape", size, 1, LARGEST_SIDE if len(shape) > 1 else LONGEST_VECTOR)
        digits = metadata["actions"]
        if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
            raise ValueError(f"actions is a whole number, not {short(digits)}")
        actions = whole_number("actions", int(digits), 1, MOST_ACTIONS)
        classes = _json(metadata, "action_classes", path) if "action_classes" in metadata else None
        if classes is not None:
            members = [each for several in classes for each in several]
            if any(type(each) is not int for each in members) or sorted(members) != list(range(actions)):
                raise ValueError(f"action_classes hold each of the {actions} actions once, not {short(classes)}")
        return cls(metadata["encoder"], tuple(shape), actions, classes, trust, pools)

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of the encoder beside those that its name says."""
        if parse_encoder(EncoderName.read(self.encoder).architecture)[0] is not ModuleEncoder:
            return {}
        return {"pretrained": False} | ({} if self.pools is None else {"pools": self.pools})

    @property
    def space(self) -> spaces.Box:
        if len(self.observation_shape) == 1:
            return spaces.Box(-np.inf, np.inf, self.observation_shape, np.float32)
        largest = LABELS - 1 if len(self.observation_shape) == 2 else 255
        return spaces.Box(0, largest, self.observation_shape, np.uint8)

    def fits(self, weights: dict[str, torch.Tensor]) -> bool:
        """Whether the weights have the described shapes, before memory is allocated for them.

        An encoder whose shapes are not known without computing passes here and is tried later.
        """
        outputs = self.actions if self.action_classes is None else len(self.action_classes)
        if "action_net.bias" not in weights or weights["action_net.bias"].shape != (outputs,):
            return False
        if not all(value.is_floating_point() for name, value in weights.items() if name.startswith("action_net.")):
            return False
        encoder, arguments = parse_encoder(EncoderName.read(self.encoder).architecture)
        if encoder is ModuleEncoder and (self.trusted or arguments["backbone"] in BACKBONES):
            return True
        try:
            with torch.device("meta"):
                wanted = encoder(self.space, **arguments, **self.arguments).state_dict()
        except Exception:  # of many types: an encoder's constructor may compute with real tensors
            return True
        before = "features_extractor."
        there = {name.removeprefix(before): value for name, value in weights.items() if name.startswith(before)}
        return wanted.keys() == there.keys() and all(
            value.shape == there[name].shape and value.is_floating_point() == there[name].is_floating_point()
            for name, value in wanted.items()
        )

    def policy(self) -> EncoderPolicy:
        actions = spaces.Discrete(self.actions)
        return EncoderPolicy(
            self.space,
            actions,
            lambda _: 0.0,
            self.encoder,
            action_classes=self.action_classes,
            encoder_arguments=self.arguments,
        )


def _json(metadata: dict[str, str], key: str, path: Path) -> Any:
    return parse_json(metadata[key], f"{key} in {path}", remedy=_REMEDY)


@torch.no_grad()
def _check_numbers(policy: EncoderPolicy, path: Path, begun: Mapping[str, torch.Tensor]) -> None:
    """Refuse weights that are not finite or too large, or with which values or log-probabilities are not finite.

    Parameters
    ----------
    policy
        With the weights of a file.
    path
        That file.
    begun
        What a newly made policy has beyond these limits, as masks are: it may stay as it is.

    Raises
    ------
    PolicyFileError
        If there are any.
    """
    for name, value in policy.state_dict().items():
        if not within(value, LARGEST_WEIGHT) and not (name in begun and torch.equal(value, begun[name])):
            raise PolicyFileError(
                f"The weights in {path} are damaged: {name} has a value that is not finite, or beyond "
                f"{LARGEST_WEIGHT:g}."
            )
    assert isinstance(policy.observation_space, spaces.Box)
    shape = policy.observation_space.shape
    if len(shape) == 1:
        tried = torch.stack([torch.full(shape, value) for value in (-1.0, 0.0, 1.0)])
    else:
        largest = int(policy.observation_space.high.max())
        tried = torch.stack([torch.full(shape, value, dtype=torch.uint8) for value in (0, largest // 2, largest)])
    if not all(torch.isfinite(found).all() for found in policy.heads(tried)):
        raise PolicyFileError(f"The weights in {path} are damaged: they give no finite action probabilities.")
