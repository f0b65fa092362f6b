"""Networks whose layers are read, by their names: agents, encoders, and a user's modules."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from gymnasium import spaces
from torch import nn
from torch.nn import functional

from lcd.agents import Encoder, EncoderName, load_weights
from lcd.agents.encoders.registry import names_a_class
from lcd.agents.randomness import seeded
from lcd.alignment.layers import LayeredNetwork
from lcd.alignment.recordings import Recording
from lcd.io.limits import short
from lcd.io.modules import import_named
from lcd.studies.policies import load_acting, names_policy


def load_layers(
    model: str, shape: tuple[int, int], *, seed: int = 0, device: str = "cpu", trust: bool = False
) -> LayeredNetwork:
    """Load a network whose layers are to be read.

    Parameters
    ----------
    model
        Folder of a run or file of a policy; name of an encoder, see `lcd.agents.EncoderName`, whose weights are random
        without a file; or ``module:Name``, a torch module, a class of one, or a function that makes one.
    shape
        Height and width of the images, for encoders that are made for a size.
    seed
        Seed of random weights.
    device
        Where torch computes.
    trust
        As in `lcd.agents.load_policy`.

    Raises
    ------
    ValueError
        If there is no such model, or it takes no images.
    """
    if names_policy(model):
        return _of_policy(model, device, trust)
    if names_a_class(model.partition("@")[0]):
        return _of_module(model, shape, seed, device)
    name = EncoderName.read(model)
    made, arguments = name.encoder
    return _of_encoder(lambda: made(_frames(shape), **arguments), name.weights, shape, seed, device)


def _of_policy(model: str, device: str, trust: bool) -> LayeredNetwork:
    policy, _ = load_acting(model, trust)
    found = policy.observation_space.shape or ()
    encoder = policy.features_extractor
    if len(found) not in (2, 3) or not isinstance(encoder, Encoder) or (len(found) == 3 and found[0] != 3):
        raise ValueError(
            f"The policy {model} takes observations of the shape {found}, not single images: give another."
        )
    encoder.to(device).eval()
    takes = "images" if len(found) == 3 else "label maps"
    space = policy.observation_space
    largest = int(space.high.max()) if isinstance(space, spaces.Box) else 255
    return LayeredNetwork(encoder.network, encoder, takes, (found[-2], found[-1]), device, largest)


def _of_encoder(
    make: Callable[[], Encoder], weights: Path | None, shape: tuple[int, int], seed: int, device: str
) -> LayeredNetwork:
    """The backbone of an encoder; its linear layer would not be trained."""
    with seeded(seed):
        encoder = make()
    if weights is not None:
        load_weights(encoder, weights)
    encoder.to(device).eval()
    return LayeredNetwork(encoder.backbone, encoder.encode, "images", shape, device)


def _of_module(model: str, shape: tuple[int, int], seed: int, device: str) -> LayeredNetwork:
    """A user's module, which takes images from 0 to 1; importing it runs its code, as its user asks."""
    named, at, file = model.partition("@")
    module, _, name = named.partition(":")
    try:
        found = getattr(import_named(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"The module {short(named)} cannot be found: {error}.") from error
    if isinstance(found, type) and issubclass(found, Encoder):
        return _of_encoder(lambda: found(_frames(shape)), Path(file) if at else None, shape, seed, device)
    if at:
        raise ValueError(f"{short(named)} is no lcd.agents.Encoder, and takes no file: load its weights in a function.")
    if not isinstance(found, nn.Module) and callable(found):
        try:
            inspect.signature(found).bind()
        except TypeError as error:
            raise ValueError(f"{short(named)} needs arguments ({error}): name a function without.") from None
        with seeded(seed):
            found = found()
    if not isinstance(found, nn.Module):
        raise ValueError(f"{short(named)} is no torch module, nor makes one: name one that does.")
    network = found.to(device).eval()
    return LayeredNetwork(network, lambda images: network(images.float() / 255), device=device)


def _frames(shape: tuple[int, int]) -> spaces.Box:
    return spaces.Box(0, 255, (3, *shape), np.uint8)


def inputs_of(network: LayeredNetwork, recording: Recording) -> torch.Tensor:
    """A recording's images, or its label maps, as a network takes them.

    Returns
    -------
    torch.Tensor, shape (n, 3, height, width) or (n, height, width), uint8
        Images are resized to the network's size.

    Raises
    ------
    ValueError
        If the recording has none, or label maps of another size.
    """
    if network.takes == "label maps":
        if recording.labels is None:
            raise ValueError(
                "The policy takes label maps, and the file of responses holds none: give a policy that was trained "
                "from pixels, or the array labels."
            )
        if recording.labels.shape[1:] != network.size:
            raise ValueError(
                f"The policy takes label maps of {network.size} pixels, and these have "
                f"{recording.labels.shape[1:]}: give others."
            )
        if (largest := int(recording.labels.max())) > network.largest_label:
            raise ValueError(
                f"The policy knows labels up to {network.largest_label}, and the label maps hold {largest}: give those "
                "of its game."
            )
        return torch.from_numpy(np.require(recording.labels, requirements="W"))
    if recording.images is None:
        raise ValueError("The file of responses holds no images: name their folder with --images.")
    images = torch.from_numpy(np.require(recording.images, requirements="W")).permute(0, 3, 1, 2)
    if network.size is None or tuple(images.shape[2:]) == network.size:
        return images
    parts = [
        functional.interpolate(part.float(), network.size, mode="bilinear", antialias=True).round().byte()
        for part in images.split(64)
    ]
    return torch.cat(parts)
