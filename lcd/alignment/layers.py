"""Activations of a network's layers: which layers there are, and what they give for images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lcd.io.limits import short
from lcd.io.untrusted import memory

AT_ONCE = 64
"""Batch size, which bounds the memory."""

TOGETHER = 2**30
"""Bytes of activations that are kept at once: layers are computed in as many passes as this asks for."""

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_NORMALISATIONS = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.LocalResponseNorm,
)


@dataclass(frozen=True)
class Layer:
    """A layer of a network.

    Attributes
    ----------
    name
        Name of the module whose output it is, as in ``named_modules``.
    shape
        Shape of its activations for one image: (channels, rows, columns) where they have places.
    """

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of activations for one image."""
        return prod(self.shape)


@dataclass(frozen=True)
class LayeredNetwork:
    """A network whose layers can be read.

    Attributes
    ----------
    root
        The module that holds the layers.
    compute
        Forward pass: from inputs, as `inputs_of` gives them, through the root.
    takes
        ``"images"``, or ``"label maps"``.
    size
        Height and width of its inputs; None where it takes any.
    device
        Device of torch.
    largest_label
        Of the label maps that it takes.
    """

    root: nn.Module
    compute: Callable[[torch.Tensor], object]
    takes: str = "images"
    size: tuple[int, int] | None = None
    device: str = "cpu"
    largest_label: int = 255


def find_layers(network: LayeredNetwork, inputs: torch.Tensor, names: Sequence[str] = ()) -> list[Layer]:
    """Layers of a network, in the order in which they compute.

    By default a layer begins at each module with weights, and ends before the next: a convolution with the
    normalisation, activation and pooling behind it is one layer, and so is a building block, a class that the network
    uses several times. What the network does between its modules, in its own code, belongs to none.

    Parameters
    ----------
    network : LayeredNetwork
        The network.
    inputs : torch.Tensor
        A few of its inputs.
    names : sequence of str
        Modules whose outputs are wanted instead.

    Raises
    ------
    ValueError
        If the network has no such module, or the module gives no activations in the forward pass.
    """
    modules = dict(network.root.named_modules())
    if unknown := [name for name in names if name not in modules]:
        known = [name for name in modules if name]
        raise ValueError(f"The network has no module {short(unknown[0])}: choose among {', '.join(known[:60])}.")
    followed = list(names) or list(_opened(network.root, Counter(map(type, network.root.modules()))))
    found = dict(_called(network, inputs[:2], followed))
    if silent := [name for name in names if name not in found]:
        raise ValueError(f"The module {silent[0]} gives no activations of its own: choose one within or around it.")
    layers = [Layer(name, shape) for name, shape in found.items()] if names else _grouped(found, modules)
    if not layers:
        raise ValueError("The network has no module whose activations could be read: name one that has.")
    return layers


def layer_activations(
    network: LayeredNetwork, inputs: torch.Tensor, layers: Sequence[Layer]
) -> Iterator[tuple[Layer, NDArray[np.float32]]]:
    """Compute activations.

    Parameters
    ----------
    network : LayeredNetwork
        The network.
    inputs : torch.Tensor, shape (n, ...)
        Its inputs.
    layers : sequence of Layer
        What `find_layers` returned.

    Yields
    ------
    tuple of Layer and numpy.ndarray
        Activations of shape (n, ...), the layer's shape last.

    Raises
    ------
    ValueError
        If a layer takes more memory than there is, or an activation is not finite.
    """
    several: list[Layer] = []
    for layer in (*layers, None):
        if several and (layer is None or 4 * len(inputs) * sum(each.size for each in (*several, layer)) > TOGETHER):
            yield from _computed(network, inputs, several)
            several = []
        if layer is not None:
            if 4 * len(inputs) * layer.size > memory() // 8:
                raise ValueError(
                    f"The layer {layer.name} has {layer.size:,} activations for each of {len(inputs):,} images, which "
                    "take more than an eighth of the memory: name other layers with --layers, or use fewer images."
                )
            several.append(layer)


@torch.no_grad()
def _computed(
    network: LayeredNetwork, inputs: torch.Tensor, layers: Sequence[Layer]
) -> Iterator[tuple[Layer, NDArray[np.float32]]]:
    found = {layer.name: np.empty((len(inputs), layer.size), np.float32) for layer in layers}
    for start in range(0, len(inputs), AT_ONCE):
        with _outputs(network.root, list(found)) as outputs:
            network.compute(inputs[start : start + AT_ONCE].to(network.device))
            for name, array in found.items():
                array[start : start + AT_ONCE] = outputs[name].flatten(1).cpu().numpy()
    for layer in layers:
        if not np.isfinite(found[layer.name]).all():
            raise ValueError(f"The layer {layer.name} gives activations that are not finite: check the weights.")
        yield layer, found.pop(layer.name).reshape(-1, *layer.shape)


def _opened(module: nn.Module, times: Counter[type[nn.Module]], prefix: str = "") -> Iterator[str]:
    """Names of modules to follow: what is used once, and containers, are opened; building blocks are not."""
    for name, child in module.named_children():
        opens = isinstance(child, _CONTAINERS) or times[type(child)] == 1
        if opens and any(True for _ in child.children()):
            yield from _opened(child, times, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
    if not prefix and not any(True for _ in module.children()):
        yield ""


@contextmanager
def _outputs(root: nn.Module, names: Sequence[str]) -> Iterator[dict[str, torch.Tensor]]:
    """Collect outputs of modules, in the order of their last calls; what is no batch of numbers is left out."""
    outputs: dict[str, torch.Tensor] = {}

    def keep(name: str, module: nn.Module, given: object, output: object) -> None:
        outputs.pop(name, None)
        if isinstance(output, torch.Tensor) and output.is_floating_point() and output.ndim > 1:
            outputs[name] = output.detach().float().clone()  # what follows may change it in place

    modules = dict(root.named_modules())
    handles = [modules[name].register_forward_hook(partial(keep, name)) for name in names]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def _called(
    network: LayeredNetwork, inputs: torch.Tensor, names: Sequence[str]
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Modules whose outputs have a row an input, with the shape of a row."""
    batches = [inputs, inputs[:1]]  # two sizes, as another side may be as long as a batch by chance
    shapes: list[dict[str, tuple[int, ...]]] = []
    for batch in batches:
        with _outputs(network.root, names) as outputs:
            network.compute(batch.to(network.device))
        shapes.append({name: tuple(output.shape) for name, output in outputs.items() if len(output) == len(batch)})
    for name, shape in shapes[0].items():
        if name in shapes[1] and shapes[1][name][1:] == shape[1:]:
            yield name, shape[1:]


def _grouped(found: dict[str, tuple[int, ...]], modules: dict[str, nn.Module]) -> list[Layer]:
    """Join each module with weights and those without that follow; a map that was only flattened keeps its shape."""
    layers: list[Layer] = []
    for name, shape in found.items():
        module = modules[name]
        if next(module.parameters(), None) is not None and not isinstance(module, _NORMALISATIONS):
            layers.append(Layer(name, shape))
        elif layers:  # what comes before all weights only rearranges pixels
            last = layers.pop()
            flattened = len(shape) == 1 and len(last.shape) == 3 and prod(shape) == last.size
            layers.append(Layer(name, last.shape if flattened else shape))
    return layers or [Layer(name, shape) for name, shape in found.items()]
