"""Policies that act, by a run's folder or their file: what studies of trained networks begin with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lcd.agents import EncoderName, EncoderPolicy, load_policy
from lcd.alignment.importance import Scores
from lcd.experiments.learners import has_fitted_values
from lcd.experiments.run import POLICY


def policy_file(model: Path | str) -> Path:
    """File of a policy, given itself or the folder of its run."""
    file = Path(model)
    return file / POLICY if file.is_dir() else file


def names_policy(model: str) -> bool:
    """Whether a model's name is that of a policy's file or of a run's folder, and not of an encoder or a module."""
    name, at, _ = model.partition("@")
    is_file = Path(name).suffix.lower() == ".safetensors" or "/" in name.partition(":")[0]
    return Path(model).exists() or (not at and is_file)


def files_of(model: str) -> tuple[Path, ...]:
    """Files that a model's name may read, so that no output overwrites them.

    Parameters
    ----------
    model
        Folder of a run, file of a policy, or name of an encoder or a classifier with its weights after ``@``.
    """
    try:
        weights = EncoderName.read(model).weights
    except ValueError:  # no encoder's name
        weights = None
    named = model.partition("@")[2]
    return (policy_file(model), *([Path(named)] if named else []), *([] if weights is None else [weights]))


def load_acting(model: str, trust: bool = False) -> tuple[EncoderPolicy, dict[str, Any]]:
    """Load a policy that has learned to act, with its card.

    Parameters
    ----------
    model
        Folder of a run, or file of a policy.
    trust
        As in `lcd.agents.load_policy`.

    Raises
    ------
    ValueError
        If there is none, or it has learned values only.
    """
    policy, card = load_policy(policy_file(model), trust=trust)
    if has_fitted_values(card):
        raise ValueError(f"{model} has learned what its teacher returns, and not to act: give another run.")
    return policy, card


def has_value(card: Mapping[str, Any]) -> bool:
    """Whether the value of a policy with this card was trained: imitation trains none."""
    run = card.get("run")
    return not (isinstance(run, Mapping) and run.get("learning") == "imitation")


def check_takes(scores: Scores, shape: tuple[int, ...], model: str) -> None:
    """Refuse images that a network cannot compute with, such as those that are smaller than its kernels.

    Parameters
    ----------
    scores
        The network.
    shape
        Channels, height and width of the images.
    model
        What the user named.

    Raises
    ------
    ValueError
        If it takes others.
    """
    try:
        with torch.no_grad():
            scores(torch.zeros(1, *shape))
    except RuntimeError as error:
        height, width = shape[1:]
        raise ValueError(
            f"{model} takes no images of {height} x {width} pixels ({' '.join(str(error).split())[:100]}): give larger "
            "ones."
        ) from None


def check_takes_colour(shape: tuple[int, ...], model: str) -> None:
    """Refuse a network that takes anything but single colour images.

    Parameters
    ----------
    shape
        Of its observations: channels, height and width of images.
    model
        What the user named.

    Raises
    ------
    ValueError
        If it takes label maps, vectors, or images of other channels.
    """
    if len(shape) == 3 and shape[0] == 3:
        return
    takes = {1: "vectors", 2: "label maps"}.get(len(shape), f"images of {shape[0] if shape else 0} channels")
    raise ValueError(f"{model} takes {takes}: give one that was trained from single colour images.")
