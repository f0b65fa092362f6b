"""Which layers a network has, and what they give."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces
from tiny_vision import TinyVision, pictures
from torch import nn

from lcd.agents import EncoderName
from lcd.alignment import layers
from lcd.alignment.layers import Layer, LayeredNetwork, find_layers, layer_activations

FRAMES = spaces.Box(0, 255, (3, 64, 64), np.uint8)


def network_of(name):
    made, arguments = EncoderName.read(name).encoder
    torch.manual_seed(0)
    encoder = made(FRAMES, **arguments).eval()
    return encoder, LayeredNetwork(encoder.network, encoder)


def frames(count):
    return torch.from_numpy(pictures(count, side=64)).permute(0, 3, 1, 2)


def test_a_layer_is_a_module_with_weights_and_all_that_follows_up_to_the_next():
    encoder, network = network_of("nature")
    found = find_layers(network, frames(2))
    assert found == [
        Layer("0.1", (32, 14, 14)),
        Layer("0.3", (64, 6, 6)),
        Layer("0.6", (64, 4, 4)),  # flattened before its ReLU, and still a map
        Layer("2", (512,)),
    ]
    given = dict(layer_activations(network, frames(5), found))
    images = encoder.images(frames(5))
    with torch.no_grad():
        first = encoder.network[0][:2](images)
        third = encoder.network[0](images)
    np.testing.assert_allclose(given[found[0]], first, atol=1e-6)
    np.testing.assert_allclose(given[found[2]].reshape(5, -1), third, atol=1e-5)
    np.testing.assert_allclose(given[found[3]], encoder(frames(5)).detach(), atol=1e-5)


class TimeFirst(nn.Module):
    """Two steps of time before the images of a batch, as some recurrent networks have them."""

    def __init__(self):
        super().__init__()
        self.whole, self.steps = nn.Linear(12, 6), nn.Linear(3, 5)

    def forward(self, images):
        kept = self.whole(images.flatten(1)[:, :12])
        return self.steps(kept.unflatten(1, (2, 3)).transpose(0, 1)).sum(dim=0)


def test_a_side_that_is_as_long_as_the_batch_by_chance_is_no_batch():
    model = TimeFirst().eval()
    network = LayeredNetwork(model, lambda images: model(images.float()))
    assert find_layers(network, frames(2)) == [Layer("whole", (6,))]


def test_what_follows_in_place_changes_no_layer():
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True))
    network = LayeredNetwork(body, lambda images: body(images.float()))
    ((_, before),) = layer_activations(network, frames(3), find_layers(network, frames(3), ["0"]))
    assert before.min() < 0


def test_building_blocks_are_layers_and_what_is_used_once_is_opened():
    _, network = network_of("impala:8,16")
    names = [layer.name for layer in find_layers(network, frames(2))]
    assert names == ["0.0.1", "0.0.2", "0.0.3", "0.0.5", "0.0.6", "0.1", "2"]
    _, pretrained = network_of("efficientnet_lite0")
    blocks = [layer.name for layer in find_layers(pretrained, frames(2)) if "_blocks" in layer.name]
    assert blocks == [f"0.module.model._blocks.{number}" for number in range(16)]


def test_a_single_module_is_a_layer_of_its_own():
    alone = nn.Flatten()
    network = LayeredNetwork(alone, lambda images: alone(images.float()))
    assert find_layers(network, frames(2)) == [Layer("", (3 * 64 * 64,))]


def test_layers_are_the_same_however_many_are_computed_at_once(monkeypatch):
    _, network = network_of("small")
    found = find_layers(network, frames(2))
    together = {layer: each.copy() for layer, each in layer_activations(network, frames(9), found)}
    monkeypatch.setattr(layers, "TOGETHER", 1)
    monkeypatch.setattr(layers, "AT_ONCE", 4)
    apart = dict(layer_activations(network, frames(9), found))
    assert list(together) == list(apart) == found
    for layer in found:
        np.testing.assert_allclose(together[layer], apart[layer], atol=1e-5)


def test_modules_that_give_nothing_are_refused_in_a_sentence():
    model = TinyVision()
    model.spare = nn.Linear(2, 2)
    network = LayeredNetwork(model, lambda images: model(images.float() / 255))
    inputs = torch.from_numpy(pictures(2)).permute(0, 3, 1, 2)
    assert [layer.name for layer in find_layers(network, inputs)] == ["first", "second", "last"]
    with pytest.raises(ValueError, match=r"no module 'third': choose among first, second, last, spare\.$"):
        find_layers(network, inputs, ["third"])
    with pytest.raises(ValueError, match=r"^The module spare gives no activations of its own: choose one within"):
        find_layers(network, inputs, ["spare"])
    with torch.no_grad():
        model.second.bias[0] = float("nan")
    with pytest.raises(ValueError, match="The layer second gives activations that are not finite"):
        list(layer_activations(network, inputs, find_layers(network, inputs)))


def test_a_layer_that_does_not_fit_into_the_memory_is_refused(monkeypatch):
    _, network = network_of("small")
    monkeypatch.setattr(layers, "memory", lambda: 10_000)
    with pytest.raises(ValueError, match=r"^The layer 0\.1 has 4,096 activations for each of 3 images, which"):
        list(layer_activations(network, frames(3), find_layers(network, frames(2))))
