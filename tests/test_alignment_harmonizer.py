"""The neural harmonizer, against the published definition and the numbers of its authors' own code."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from lcd.alignment.harmonizer import (
    harmonization_loss,
    harmonized_loss,
    pyramid,
    standardise_and_cut,
    training_maps,
)

BINOMIAL = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256


def halved(image):
    """One level further, pixel by pixel: TensorFlow's convolution of stride 2 with "same" padding."""
    height, width = image.shape
    before = [max(2 * (math.ceil(size / 2) - 1) + 5 - size, 0) // 2 for size in image.shape]
    found = np.zeros((math.ceil(height / 2), math.ceil(width / 2)))
    for row in range(found.shape[0]):
        for column in range(found.shape[1]):
            for i in range(5):
                for j in range(5):
                    y, x = 2 * row - before[0] + i, 2 * column - before[1] + j
                    if 0 <= y < height and 0 <= x < width:
                        found[row, column] += BINOMIAL[i, j] * image[y, x]
    return found


def published_loss(model_maps, references, tokens):
    """The definition, in NumPy and 64 bits."""
    cut = [
        np.maximum((maps - maps.mean((1, 2), keepdims=True)) / (maps.std((1, 2), keepdims=True) + 1e-5), 0)
        for maps in (model_maps, references)
    ]
    highest = [maps.max((1, 2), keepdims=True) + 1e-6 for maps in cut]
    levels = [cut[0], cut[1] / highest[1] * highest[0]]
    errors = []
    for _ in range(5):
        errors.append((np.square(levels[0] - levels[1]) * tokens[:, None, None]).mean())
        levels = [np.stack([halved(image) for image in maps]) for maps in levels]
    return np.mean(errors)


@pytest.mark.parametrize("training", [True, False])
def test_a_transformer_can_be_harmonized(training):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
    patches, head = nn.Conv2d(3, 16, 8, 8), nn.Linear(16, 5)

    def model(images):
        return head(layer(patches(images).flatten(2).mT).mean(dim=1))

    layer.train(training)
    loss, _ = harmonized_loss(model, torch.rand(4, 3, 32, 32), torch.arange(4), torch.rand(4, 32, 32))
    loss.backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in patches.parameters())


@pytest.mark.parametrize("size", [(64, 64), (47, 30), (16, 9)])
def test_the_loss_is_the_published_one(size):
    random = np.random.default_rng(1)
    maps, references = random.standard_normal((2, 4, *size))
    tokens = np.array([1, 0, 0.5, 1])
    found = harmonization_loss(*(torch.tensor(each) for each in (maps, references, tokens)))
    assert float(found) == pytest.approx(published_loss(maps, references, tokens), abs=1e-9)


@pytest.mark.parametrize(("size", "expected"), [(64, 0.1248220652), (47, 0.1259015501), (224, 0.1160519347)])
def test_the_loss_is_the_number_that_the_authors_code_gives(size, expected):
    """Their TensorFlow code of 2022 on these numbers, through a network of one convolution, in float32."""
    random = np.random.default_rng(0)
    drawn = {}
    for side in (64, 47, 224):
        drawn[side] = [random.random(shape, dtype=np.float32) for shape in ((6, 3, side, side), (6, side, side))]
    targets, filters = random.integers(0, 5, 6), random.normal(size=(7, 3, 5, 5))
    weights = [torch.tensor(each.astype(np.float32)) for each in (filters, random.normal(size=(7, 5)))]

    def model(images):
        return functional.softplus(functional.conv2d(images, weights[0])).mean((2, 3)) @ weights[1]

    images, maps = (torch.tensor(each) for each in drawn[size])
    tokens = torch.tensor([1, 1, 0, 1, 0.5, 1])
    _, parts = harmonized_loss(model, images, torch.tensor(targets), maps**4, tokens)
    assert float(parts["harmonization"]) == pytest.approx(expected, abs=1e-7)


def test_a_perfect_map_costs_nothing_whatever_its_scale():
    maps = torch.rand(3, 64, 64) ** 2
    assert float(harmonization_loss(maps, 7 * maps + 3)) == pytest.approx(0, abs=1e-6)
    assert float(harmonization_loss(maps, 1 - maps)) > 0.05
    assert float(harmonization_loss(maps, 1 - maps, torch.zeros(3))) == 0
    smooth = functional.avg_pool2d(maps, 9, 1, 4, count_include_pad=False)
    larger = functional.interpolate(smooth[:, None], 128, mode="bilinear")[:, 0]
    assert float(harmonization_loss(smooth, larger)) < 0.01


def test_the_pyramid_halves_and_keeps_the_mean_inside():
    levels = pyramid(torch.ones(1, 64, 47), 5)
    assert [tuple(level.shape[1:]) for level in levels] == [(64, 47), (32, 24), (16, 12), (8, 6), (4, 3)]
    assert levels[1][0, 5:-5, 5:-5].numpy() == pytest.approx(1)


def test_gradients_flow_through_the_maps_and_training_lowers_the_loss():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 5), nn.Softplus(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, 4))
    images, targets = torch.rand(16, 3, 32, 32), torch.arange(16) % 4
    maps = torch.zeros(16, 32, 32)
    maps[:, :16, :16] = 1  # important in the upper left
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss, parts = harmonized_loss(network, images, targets, maps, weight=5.0)
        loss.backward()
        optimizer.step()
        losses.append(float(parts["harmonization"]))
    assert losses[-1] < 0.5 * losses[0]


def test_the_second_derivative_is_that_of_finite_differences():
    torch.manual_seed(0)
    weight = torch.rand(4, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    images = torch.rand(2, 3, 12, 12, dtype=torch.float64)
    reference = torch.ones(2, 12, 12, dtype=torch.float64)  # constant: no gradient flows through the rescaling

    def loss(filters):
        inputs = images.clone().requires_grad_()
        outputs = functional.softplus(functional.conv2d(inputs, filters)).square().mean((1, 2, 3))
        (maps,) = torch.autograd.grad(outputs.sum(), inputs, create_graph=True)
        return harmonization_loss(maps.mean(1), reference, levels=3)

    assert torch.autograd.gradcheck(loss, (weight,), atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, 0.3, 0.7, 3.0, -1e-8, 1e6])
@pytest.mark.parametrize("size", [8, 63])
def test_constant_maps_are_zero_with_finite_gradients(value, size):
    maps = torch.full((1, size, size), value, requires_grad=True)
    cut = standardise_and_cut(maps)
    assert torch.equal(cut, torch.zeros(1, size, size))
    (gradient,) = torch.autograd.grad(cut.sum(), maps)
    assert torch.isfinite(gradient).all()


def test_maps_are_gradients_averaged_over_channels():
    images = torch.rand(2, 3, 4, 4, requires_grad=True)
    factors = torch.arange(48.0).view(3, 4, 4)
    maps = training_maps((images * factors).sum((1, 2, 3)), images)
    assert torch.allclose(maps, factors.mean(0).expand(2, 4, 4))


def test_an_image_with_the_token_0_counts_for_nothing_whatever_its_reference():
    maps, references = torch.rand(2, 8, 8), torch.rand(2, 8, 8)
    tokens = torch.tensor([1.0, 0.0])
    expected = harmonization_loss(maps, references, tokens)
    references[1] = float("nan")
    assert harmonization_loss(maps, references, tokens) == expected > 0


@pytest.mark.parametrize(
    ("maps", "references", "tokens", "sentence"),
    [
        (torch.rand(2, 8, 8), torch.rand(3, 8, 8), None, "2 maps of the model need as many references, not 3"),
        (torch.rand(2, 8, 8), torch.rand(2, 8, 8), torch.ones(3), "and 3 tokens"),
        (torch.rand(1, 8, 8), torch.full((1, 8, 8), float("nan")), None, "not finite"),
    ],
)
def test_what_does_not_fit_is_a_clear_error(maps, references, tokens, sentence):
    with pytest.raises(ValueError, match=sentence):
        harmonization_loss(maps, references, tokens)


def test_a_model_whose_maps_are_not_finite_makes_the_loss_so():
    maps = torch.rand(2, 8, 8)
    maps[0, 0, 0] = float("nan")
    assert not torch.isfinite(harmonization_loss(maps, torch.rand(2, 8, 8)))
