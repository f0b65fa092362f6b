"""Networks whose features can be visualised, from a model's name or file, with images to compare with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import nn
from torch.nn import functional

from lcd.agents import Encoder, EncoderPolicy
from lcd.agents.encoders.pretrained import BACKBONES, Classifier
from lcd.agents.encoders.weights import FORMAT, load_classifier, read_card
from lcd.agents.policy_file import encoder_that_a_file_names
from lcd.alignment.importance import Scores, in_full_precision, policy_scores
from lcd.alignment.references import IMAGE_ENDINGS
from lcd.alignment.targets import Visible
from lcd.envs import GameOptions
from lcd.envs.family import observation_space
from lcd.io.untrusted import UnreadableFileError, read_image, read_safetensors_metadata
from lcd.pretraining.frames import collect_frames
from lcd.studies.aligning import unseen_levels
from lcd.studies.policies import check_takes_colour, has_value, load_acting, policy_file

FEATURES = "features"
"""Name of the layer of a policy's features, before their rectification."""

EVERY = 8
"""Of so many consecutive frames of a game one is taken: the others are nearly the same."""

GAMES_AT_ONCE = 32
"""Games that are played at once for frames."""


@dataclass(frozen=True, eq=False)
class VisibleNetwork:
    """A network to visualise.

    Attributes
    ----------
    visible : lcd.alignment.targets.Visible
        Its layers and outputs.
    shape : tuple of int, or None
        Channels, height and width of the images that it takes; None where any size will do.
    levels : lcd.envs.GameOptions or None
        Unseen levels of its game, where one is known.
    policy : lcd.agents.EncoderPolicy or None
        The policy, if it is one that acts.
    outputs : tuple of str
        What is visualised unless targets are named: the logit of an action of each class, and a value that was trained.
    """

    visible: Visible
    shape: tuple[int, ...] | None = None
    levels: GameOptions | None = None
    policy: EncoderPolicy | None = None
    outputs: tuple[str, ...] = ()

    def shares_outputs_with(self, other: VisibleNetwork) -> bool:
        """Whether outputs of one name mean the same: both are classifiers, or policies that may be of one game."""
        if self.policy is None or other.policy is None:
            return self.policy is other.policy
        games = [each.levels.game for each in (self, other) if each.levels is not None]
        return len(set(games)) < 2


def load_visible(model: str, device: str, trust: bool = False) -> VisibleNetwork:
    """Load a network to visualise.

    Parameters
    ----------
    model
        Folder of a run, file of a policy on frames, file of a pretrained encoder, or the name of a classifier, with its
        weights after ``@``.
    device
        Where torch computes.
    trust
        As in `lcd.agents.load_policy`.

    Raises
    ------
    ValueError
        If there is no such network, or it takes no images of three channels.
    """
    if model.partition("@")[0] in BACKBONES:
        classifier = load_classifier(model).eval().to(device)
        modules = {name: module for name, module in classifier.model.named_modules() if name}
        return VisibleNetwork(Visible(classifier, modules, {"logit": classifier}, device))
    file = policy_file(model)
    if (architecture := _architecture(file)) is not None:
        return _pretrained(file, encoder_that_a_file_names(architecture, file, trust).architecture, device, trust)
    policy, card = load_acting(model, trust)
    check_takes_colour(policy.observation_space.shape or (), model)
    policy.to(device)
    outputs = {"logit": policy_scores(policy, "logit")}
    if has_value(card):
        outputs["value"] = policy_scores(policy, "value")
    classes = policy.action_classes or tuple((each,) for each in range(policy.action_space.n))  # type: ignore[attr-defined]
    named = tuple(f"logit:{members[0]}" for members in classes) + tuple(name for name in outputs if name != "logit")
    levels = unseen_levels(card, trusted=trust)
    return VisibleNetwork(_visible(policy, outputs), policy.observation_space.shape, levels, policy, named)


def _architecture(file: Path) -> str | None:
    """Architecture of a file of `lcd.agents.save_backbone`; None for other files."""
    try:
        metadata = read_safetensors_metadata(file)
    except (UnreadableFileError, OSError):
        return None  # load_policy says what is wrong
    return metadata.get("encoder") if metadata.get("format") == FORMAT else None


def _pretrained(file: Path, architecture: str, device: str, trust: bool) -> VisibleNetwork:
    """A pretrained encoder: layers of its backbone alone, as the layer after it is random."""
    levels = unseen_levels(read_card(file), trusted=trust)
    if levels is None:
        raise ValueError(
            f"The card of {file} names no game, or one whose code only a trusted file may run, so that the size of its "
            "images is not known: give a policy, or --trust."
        )
    height, width, channels = observation_space(levels, "pixels").shape or (0, 0, 0)
    check_takes_colour((channels, height, width), str(file))
    space = spaces.Box(0, 255, (channels, height, width), np.uint8)
    policy = EncoderPolicy(space, spaces.Discrete(2), lambda _: 0.0, f"{architecture}@{file}").eval().to(device)
    visible = _visible(policy, {})
    kept = {name: module for name, module in visible.modules.items() if name != FEATURES}
    return VisibleNetwork(Visible(visible.run, kept, {}, device), space.shape, levels)


def _visible(policy: EncoderPolicy, outputs: dict[str, Scores]) -> Visible:
    """Layers of a policy's encoder by name: ``backbone.0``, ..., and its features."""
    encoder = policy.features_extractor
    assert isinstance(encoder, Encoder)
    modules: dict[str, nn.Module] = {
        f"backbone.{name}": module for name, module in encoder.backbone.named_modules() if name
    }
    modules[FEATURES] = encoder.network[1]  # type: ignore[index]
    return Visible(in_full_precision(policy, policy.extract_features), modules, outputs, str(policy.device))


def frames_of(network: VisibleNetwork, count: int, seed: int) -> torch.Tensor:
    """Frames of unseen levels that the policy meets when it plays, or that a random agent does for an encoder alone.

    Parameters
    ----------
    network
        A network whose game is known.
    count
        Number of frames.
    seed
        Seed of levels and actions.

    Returns
    -------
    torch.Tensor, shape (count, 3, height, width), in [0, 1]
    """
    assert network.levels is not None
    steps = -(-count // GAMES_AT_ONCE) * EVERY * GAMES_AT_ONCE
    found = collect_frames(network.levels, steps, policy=network.policy, num_envs=GAMES_AT_ONCE, seed=seed).frames
    chosen = found[EVERY::EVERY].reshape(-1, *found.shape[2:])[:count]
    return torch.from_numpy(chosen.copy()).permute(0, 3, 1, 2).float() / 255


def images_of(folder: Path, size: tuple[int, int], count: int) -> torch.Tensor:
    """Images of a folder, of any sizes: the largest middle part of the wanted shape, resized.

    Parameters
    ----------
    folder
        PNG or JPEG files.
    size
        Wanted height and width.
    count
        Largest number of images; the first by name.

    Returns
    -------
    torch.Tensor, shape (n, 3, height, width), in [0, 1]

    Raises
    ------
    ValueError
        If it holds none, or one cannot be read.
    """
    if not folder.is_dir():
        raise ValueError(f"There is no folder {folder} with images for the magnitude: check the path.")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_ENDINGS)[:count]
    if not files:
        raise ValueError(f"{folder} holds no images: they end in {', '.join(IMAGE_ENDINGS)}.")
    return torch.cat([_fitted(read_image(path, "RGB", remedy="remove or replace it"), size) for path in files])


def _fitted(pixels: Any, size: tuple[int, int]) -> torch.Tensor:
    image = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float() / 255
    share = min(side / wanted for side, wanted in zip(image.shape[-2:], size, strict=True))
    kept = [max(1, min(side, round(wanted * share))) for side, wanted in zip(image.shape[-2:], size, strict=True)]
    top, left = ((side - part) // 2 for side, part in zip(image.shape[-2:], kept, strict=True))
    part = image[..., top : top + kept[0], left : left + kept[1]]
    return functional.interpolate(part, size, mode="bilinear", antialias=True)


def classifier_features(classifier: Classifier) -> Scores:
    """Mean features over the positions of a classifier's last convolution, for `lcd.alignment.plausibility`."""

    def features(images: torch.Tensor) -> torch.Tensor:
        return classifier.model.extract_features(classifier.normalised(images)).mean(dim=(2, 3))  # type: ignore[operator]

    return features
