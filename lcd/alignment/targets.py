"""Targets of a feature visualisation: units, channels and directions of layers, logits and the value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from lcd.alignment.importance import Scores
from lcd.alignment.visualisation import Objective

LEAK = 0.01
"""Slope of a channel's rectification below zero, so that a silent channel has a gradient."""

_PATTERN = re.compile(r"(?P<layer>[\w.]+)(:(?P<channel>\d{1,9}))?(@(?P<row>\d{1,9})x(?P<column>\d{1,9}))?", re.ASCII)

_FORM = "write LAYER:CHANNEL, LAYER:CHANNEL@ROWxCOLUMN, LAYER:FILE.npz, logit:ACTION or value"


@dataclass(frozen=True, eq=False)
class Target:
    """What an image is to excite.

    Attributes
    ----------
    layer : str
        Name of a layer, or of an output such as ``"logit"`` or ``"value"``.
    channel : int
        Number of the channel of a convolution, of the unit of a linear layer, or of the output.
    position : tuple of int, optional
        Row and column of one unit of a channel; by default all of them.
    direction : numpy.ndarray, shape (channels,), optional
        A direction in the space of the channels, in place of one channel.
    label : str
        Its name in tables and files; by default what the other attributes say.
    """

    layer: str
    channel: int = 0
    position: tuple[int, int] | None = None
    direction: NDArray[np.floating] | None = None
    label: str = ""

    @property
    def name(self) -> str:
        """Its name in tables and files."""
        what = f"{self.channel}" if self.direction is None else "direction"
        where = "" if self.position is None else f"@{self.position[0]}x{self.position[1]}"
        return self.label or f"{self.layer}:{what}{where}"


def read_target(text: str) -> tuple[str, int | None, tuple[int, int] | None]:
    """Layer, channel and position that a target's name says: ``LAYER:CHANNEL@ROWxCOLUMN``.

    Raises
    ------
    ValueError
        If it is no such name.
    """
    found = _PATTERN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no target: {_FORM}.")
    channel = None if found["channel"] is None else int(found["channel"])
    position = None if found["row"] is None else (int(found["row"]), int(found["column"]))
    return found["layer"], channel, position


@dataclass(frozen=True, eq=False)
class Visible:
    """A network whose layers and outputs can be made visible.

    Attributes
    ----------
    run : callable
        Compute the network on images, so that all of its layers are computed.
    modules : mapping of str to torch.nn.Module
        Its layers by name.
    outputs : mapping of str to callable
        Its outputs by name, from images to an array of shape (batch, numbers).
    device : str
        Where it computes, and the images of `run` and `outputs` are.
    """

    run: Scores
    modules: Mapping[str, nn.Module]
    outputs: Mapping[str, Scores]
    device: str = "cpu"

    def activations(self, layer: str) -> Scores:
        """The function from images to what a layer or an output gives, before any later layer changes it in place.

        Raises
        ------
        ValueError
            If there is none.
        """
        if layer in self.outputs:
            return self.outputs[layer]
        if layer not in self.modules:
            known = [*self.outputs, *(name for name, each in self.modules.items() if _has_units(each))]
            raise ValueError(f"The network has no layer {layer!r}: choose among {', '.join(known)}.")
        module = self.modules[layer]

        def compute(images: torch.Tensor) -> torch.Tensor:
            found: list[Any] = []
            hook = module.register_forward_hook(
                lambda module, inputs, output: found.append(output.clone() if torch.is_tensor(output) else output)
            )
            try:
                self.run(images)
            finally:
                hook.remove()
            if len(found) != 1 or not torch.is_tensor(found[0]):
                raise ValueError(f"The layer {layer!r} does not give one array for an image: choose one of its parts.")
            return found[0]

        return compute

    def channels(self, layer: str, image: torch.Tensor) -> tuple[int, ...]:
        """Channels of a layer, then its rows and columns if it has any, for images of the shape of one.

        Raises
        ------
        ValueError
            If there is no such layer, or it gives another kind of array.
        """
        with torch.no_grad():
            shape = tuple(self.activations(layer)(image[None].to(self.device)).shape)
        if len(shape) not in (2, 4):
            raise ValueError(
                f"The layer {layer!r} gives arrays of shape {shape}, not (batch, units) or (batch, channels, rows, "
                "columns): choose another."
            )
        return shape[1:]

    def channel_activations(self, target: Target) -> Scores:
        """From images to the activation of every channel of a target's layer, at its position if it has one."""
        compute = self.activations(target.layer)
        return lambda images: pooled(compute(images), target.position)

    def objective(self, target: Target, image: torch.Tensor) -> Objective:
        """What a target is of images of the shape of one.

        An output or a unit is itself. A channel or a direction of a convolution is the mean over the positions of what
        passes the rectification: the plain mean of a first layer is nearly the same for all images of one magnitude.

        Raises
        ------
        ValueError
            If the network has no such target.
        """
        count, *size = self.channels(target.layer, image)
        compute, position = self.activations(target.layer), target.position
        direction = None if target.direction is None else torch.as_tensor(target.direction, dtype=torch.float32)
        if direction is None and target.channel >= count:
            raise ValueError(f"{target.name} does not exist: {target.layer} has channels 0 to {count - 1}.")
        if direction is not None and direction.shape != (count,):
            raise ValueError(f"A direction in {target.layer} has {count} numbers, not {tuple(direction.shape)}.")
        if direction is not None and not 0 < direction.norm() < torch.inf:
            raise ValueError(f"The direction {target.name} must be finite in single precision, and not 0: scale it.")
        if position is not None and (not size or any(at >= side for at, side in zip(position, size, strict=True))):
            sides = f"{size[0]} x {size[1]} positions, counted from 0" if size else "no positions"
            raise ValueError(f"{target.name} does not exist: {target.layer} has {sides}.")

        def objective(images: torch.Tensor) -> torch.Tensor:
            found = compute(images)
            if direction is None:
                found = found[:, target.channel : target.channel + 1]
            else:
                found = torch.tensordot(found, (direction / direction.norm()).to(found), dims=([1], [0]))[:, None]
            return pooled(found, position)[:, 0]

        return objective


def pooled(activations: torch.Tensor, position: tuple[int, int] | None = None) -> torch.Tensor:
    """Activations of each channel at a position, or the mean over the positions of what passes the rectification.

    Parameters
    ----------
    activations : torch.Tensor, shape (batch, channels) or (batch, channels, rows, columns)
    position : tuple of int, optional
        Row and column.

    Returns
    -------
    torch.Tensor, shape (batch, channels)
    """
    if activations.ndim == 2:
        return activations
    if position is not None:
        return activations[:, :, position[0], position[1]]
    return functional.leaky_relu(activations, LEAK).mean(dim=(2, 3))


def _has_units(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d | nn.Linear)
