"""Feature visualisation: optima that are known, magnitudes that are kept, targets, and measures of images."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_images
from torch import nn

from lcd.alignment.plausibility import Excitation, Plausibility, matching_channel
from lcd.alignment.spectra import Spectrum, natural_spectrum, spectrum_of, unit_phases
from lcd.alignment.targets import LEAK, Target, Visible, read_target
from lcd.alignment.visualisation import SPACES, Optimisation, fourier_space, phase_space, random_crops, visualise

SIDE = 24
PLAIN = Optimisation(steps=200, crops=1, crop=1.0, noise=0.0)
"""An optimisation of the objective itself, without crops and noise."""


def faint(height: int = SIDE, width: int = SIDE) -> Spectrum:
    """Natural images with so little contrast that none of their values leaves [0, 1]."""
    found = natural_spectrum(height, width)
    return Spectrum(found.magnitude * 0.2, found.mean, found.axes, width, found.source)


def random_images(count: int, height: int = SIDE, width: int = SIDE, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def phases_of(spectrum: Spectrum, image: torch.Tensor) -> torch.Tensor:
    found = spectrum.components(image)
    return found / found.abs().clamp_min(1e-12)


def magnitude_error(spectrum: Spectrum, image: torch.Tensor) -> float:
    return float((spectrum.components(image).abs() - spectrum.magnitude).abs().max() / spectrum.magnitude.max())


SIZES = [(24, 24), (24, 25), (25, 24), (25, 25), (8, 30)]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_an_image_is_made_of_its_own_magnitude_and_phase(height, width):
    (image,) = random_images(1, height, width)
    spectrum = spectrum_of(image[None], "one image")
    assert torch.allclose(spectrum.image(phases_of(spectrum, image)), image, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_whatever_the_phases_are_the_magnitude_is_the_given_one(height, width):
    spectrum = natural_spectrum(height, width)
    angles = 10 * torch.randn(spectrum.magnitude.shape, generator=torch.Generator().manual_seed(0))
    image = spectrum.image(unit_phases(angles, width))
    assert magnitude_error(spectrum, image) < 1e-6
    assert image.mean(dim=(1, 2)).numpy() == pytest.approx(spectrum.mean.numpy(), abs=1e-5)
    free = spectrum.image(torch.polar(torch.ones_like(angles), angles))  # as no real image has them
    assert magnitude_error(spectrum, free) > 1e-2


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("width", [SIDE, SIDE + 1])
def test_the_optimum_of_a_linear_network_is_the_phase_of_its_weight(width, seed):
    spectrum = faint(SIDE, width)
    weight = torch.randn(3, SIDE, width, generator=torch.Generator().manual_seed(5))
    best = spectrum.image(phases_of(spectrum, weight + spectrum.mean[:, None, None]))
    made = visualise(lambda images: (images * weight).sum(dim=(1, 2, 3)), phase_space(spectrum), PLAIN, seed=seed)
    assert torch.allclose(made.image, best, atol=1e-4)
    assert made.scores[0] < 0.5 * made.scores[-1]
    assert float((made.image * weight).sum()) == pytest.approx(float((best * weight).sum()), rel=1e-6)
    assert torch.allclose(made.attribution, weight.abs().sum(dim=0), atol=1e-3)


def test_the_scale_of_the_objective_is_of_no_account():
    weight = random_images(1)[0] - 0.5
    one, other = (
        visualise(lambda images, by=by: by * (images * weight).sum(dim=(1, 2, 3)), phase_space(faint()), PLAIN)
        for by in (1.0, 1e-7)
    )
    assert torch.allclose(one.image, other.image, atol=1e-4)


def filter_of(orientation: int, phase: float) -> torch.Tensor:
    """A Gabor filter whose stripes cross the direction of an angle in degrees."""
    down, right = torch.meshgrid(*(torch.arange(SIDE) - SIDE / 2,) * 2, indexing="ij")
    angle = math.radians(orientation)
    wave = torch.cos(2 * math.pi / 6 * (right * math.cos(angle) + down * math.sin(angle)) + phase)
    stripes = torch.exp(-(right**2 + down**2) / 18) * wave
    return (stripes - stripes.mean()).expand(3, -1, -1)


ORIENTATIONS = range(0, 180, 30)


def orientation_energies(image: torch.Tensor) -> list[float]:
    return [
        sum(float((image * filter_of(angle, phase)).sum()) ** 2 for phase in (0.0, math.pi / 2))
        for angle in ORIENTATIONS
    ]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_filter_for_edges_gives_its_orientation(orientation):
    weight = filter_of(orientation, math.pi / 2)
    settings = Optimisation(steps=120, crops=4, noise=0.02)
    made = visualise(lambda images: (images * weight).sum(dim=(1, 2, 3)), phase_space(faint()), settings)
    assert ORIENTATIONS[int(np.argmax(orientation_energies(made.image)))] == orientation


def test_the_phase_of_a_filter_for_stripes_has_no_orientation():
    """Its coefficients are nearly all of one sign, so the optimum is a spot: a limit of the method, not of the code."""
    contrasts = []
    for phase in (math.pi / 2, 0.0):
        weight = filter_of(0, phase)
        best = faint().image(phases_of(faint(), weight + faint().mean[:, None, None]))
        energies = orientation_energies(best)
        contrasts.append((max(energies) - min(energies)) / (max(energies) + min(energies)))
    assert contrasts[0] > 4 * contrasts[1]


def network(stride: int = 1) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 5, stride), nn.ReLU(inplace=True), nn.Conv2d(6, 4, 3), nn.ReLU(inplace=True), nn.Flatten(),
        nn.LazyLinear(5),
    ).eval()  # fmt: skip


def visible(made: nn.Sequential) -> Visible:
    made(random_images(1))
    return Visible(made, {f"backbone.{name}": each for name, each in made.named_children()}, {"logit": made})


def test_channels_are_counted_where_the_network_is():
    made = network()[:4].to("meta")
    seen = Visible(made, {"backbone.0": made[0]}, {"logit": made}, "meta")
    assert seen.channels("backbone.0", torch.zeros(3, SIDE, SIDE))[0] == 6


def test_images_keep_their_magnitude_excite_their_target_and_show_where():
    seen = visible(network())
    spectrum = spectrum_of(random_images(8) ** 3, "random images")
    image = torch.zeros(3, SIDE, SIDE)
    objective = seen.objective(Target("backbone.2", 1, (4, 6)), image)
    made = visualise(objective, phase_space(spectrum), Optimisation(steps=60, crops=2, crop=1.0))
    assert magnitude_error(spectrum, made.image) < 1e-6
    found = Excitation.of(objective, made.shown, random_images(64, seed=3) ** 3)
    assert found.deviations > 3
    assert found.exceeds == 1
    field = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    field[4:11, 6:13] = True  # 5 + 3 - 1 pixels from the unit's row and column on
    assert (made.attribution[field] > 0).any()
    assert (made.attribution[~field] == 0).all()


def test_the_same_seed_gives_the_same_image_and_another_one_another():
    seen, image = visible(network()), torch.zeros(3, SIDE, SIDE)
    made = [
        visualise(seen.objective(Target("logit", 2), image), phase_space(faint()), Optimisation(steps=5), seed=seed)
        for seed in (1, 1, 2)
    ]
    assert torch.equal(made[0].image, made[1].image)
    assert not torch.allclose(made[0].image, made[2].image, atol=0.05)


@pytest.mark.parametrize("name", ["fourier", "pixels"])
def test_the_other_spaces_hold_every_contrast(name):
    weight = torch.where(random_images(1)[0, :1] > 0.5, 1.0, -1.0).expand(3, -1, -1)
    settings = Optimisation(steps=300, crops=1, crop=1.0, noise=0.0, learning_rate=0.5)
    made = visualise(lambda images: (images * weight).sum(dim=(1, 2, 3)), SPACES[name](faint()), settings)
    assert 0 <= made.image.min() <= made.image.max() <= 1
    assert float(made.image[weight > 0].mean()) > 0.9
    assert float(made.image[weight < 0].mean()) < 0.1


def test_an_image_of_coefficients_0_has_the_mean_colour():
    for name in ("fourier", "pixels"):
        space = SPACES[name](faint())
        image = space.image(torch.zeros_like(space.start(torch.Generator())))
        assert image.mean(dim=(1, 2)).numpy() == pytest.approx(faint().mean.numpy(), abs=1e-5)
    assert fourier_space(faint()).learning_rate == 0.05


def test_the_law_of_natural_images_falls_as_photographs_do():
    frequency = (torch.fft.fftfreq(400)[:, None] ** 2 + torch.fft.rfftfreq(400)[None] ** 2).sqrt()
    middle = (frequency > 0.01) & (frequency < 0.4)

    def slope(spectrum: Spectrum) -> float:
        heights = spectrum.magnitude[0][middle].log().numpy()
        return float(np.polyfit(frequency[middle].log().numpy(), heights, 1)[0])

    photographs = [torch.from_numpy(image[:400, :400].copy()) / 255 for image in load_sample_images().images]
    slopes = [slope(spectrum_of(image.permute(2, 0, 1)[None], "a photograph")) for image in photographs]
    law = natural_spectrum(400, 400)
    assert slope(law) == pytest.approx(-1, abs=1e-3)
    assert min(slopes) < slope(law) < max(slopes)
    assert law.deviations.numpy() == pytest.approx([0.462, 0.127, 0.062], abs=1e-3)  # of lucid's colours


def test_crops_are_parts_of_the_image_at_its_size():
    generator = torch.Generator().manual_seed(0)
    ramp = torch.linspace(0, 1, SIDE).expand(3, SIDE, SIDE)
    assert torch.equal(random_crops(ramp, 2, 1.0, generator), ramp.expand(2, -1, -1, -1))
    crops = random_crops(ramp, 50, 0.5, generator)
    assert crops.shape == (50, 3, SIDE, SIDE)
    inner = crops[:, 0, 0, 1:-1].diff(dim=1)
    slopes = inner.mean(dim=1) * (SIDE - 1)
    assert 0.5 <= float(slopes.min()) < 0.6
    assert 0.9 < float(slopes.max()) <= 1.0
    assert (inner > 0).all()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("backbone.4:12", ("backbone.4", 12, None)),
        ("backbone.4:12@3x5", ("backbone.4", 12, (3, 5))),
        ("value", ("value", None, None)),
        ("logit:7", ("logit", 7, None)),
    ],
)
def test_targets_are_read(text, found):
    assert read_target(text) == found


@pytest.mark.parametrize("text", ["", "a b", "conv:x", "conv:1@2", "conv:1@2x", "conv:-1", "conv:1e9"])
def test_other_targets_are_refused(text):
    with pytest.raises(ValueError, match=r"is no target: write LAYER:CHANNEL"):
        read_target(text)


def test_a_target_is_the_activation_that_it_names():
    made, images = network(), random_images(3)
    seen = visible(made)
    before = made[0](images)  # which the rectification after it changes in place
    unit = seen.objective(Target("backbone.0", 3, (2, 5)), images[0])
    assert torch.allclose(unit(images), before[:, 3, 2, 5])
    rectified = torch.where(before > 0, before, LEAK * before).mean(dim=(2, 3))
    assert torch.allclose(seen.objective(Target("backbone.0", 3), images[0])(images), rectified[:, 3])
    assert torch.allclose(seen.objective(Target("logit", 4), images[0])(images), made(images)[:, 4])
    direction = np.array([0.0, 3.0, 0.0, 0.0, -4.0, 0.0])
    along = seen.objective(Target("backbone.0", direction=direction, position=(2, 5)), images[0])(images)
    assert torch.allclose(along, 0.6 * before[:, 1, 2, 5] - 0.8 * before[:, 4, 2, 5], atol=1e-6)
    assert torch.allclose(seen.channel_activations(Target("backbone.0", 0))(images), rectified)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (Target("conv9"), "choose among logit, backbone.0, backbone.2, backbone.5"),
        (Target("backbone.0", 6), "backbone.0 has channels 0 to 5"),
        (Target("backbone.0", 0, (20, 0)), "backbone.0 has 20 x 20 positions"),
        (Target("logit", 0, (0, 0)), "logit has no positions"),
        (Target("backbone.0", direction=np.ones(5)), "A direction in backbone.0 has 6 numbers"),
        (Target("backbone.0", direction=np.zeros(6)), "must be finite in single precision, and not 0"),
    ],
)
def test_a_target_that_a_network_lacks_is_refused(target, words):
    with pytest.raises(ValueError, match=words):
        visible(network()).objective(target, torch.zeros(3, SIDE, SIDE))


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        (lambda images: torch.zeros(len(images)), "does not depend on the image"),
        (lambda images: images.sum(dim=(1, 2, 3)) * torch.inf, "is not finite"),
    ],
)
def test_an_objective_without_a_gradient_is_refused(objective, words):
    with pytest.raises(ValueError, match=words):
        visualise(objective, phase_space(faint()), Optimisation(steps=2))


def test_images_of_one_colour_have_no_spectrum():
    with pytest.raises(ValueError, match="all of one colour"):
        spectrum_of(torch.full((4, 3, 8, 8), 0.5), "grey")


def test_channels_of_a_permuted_network_are_found_again():
    random = np.random.default_rng(0)
    own, order = random.normal(size=(200, 7)), random.permutation(7)
    others = 3 * own[:, order] + 5 + 0.1 * random.normal(size=(200, 7))
    for channel in range(7):
        found, correlation = matching_channel(own[:, channel], others)
        assert order[found] == channel
        assert correlation > 0.99
    for constant in (1.0, 0.1):  # the mean of which is rounded
        same = np.full(1000, constant, np.float32)
        assert math.isnan(matching_channel(same, random.random((1000, 5), np.float32))[1])
    others[:, 0] = 1.0  # one constant channel is no match
    assert matching_channel(own[:, order[1]], others)[0] == 1


def test_excitation_is_in_deviations_of_real_images():
    real = torch.linspace(0, 1, 101)[:, None, None, None].expand(-1, 3, 2, 2)
    found = Excitation.of(lambda images: 7 * images.mean(dim=(1, 2, 3)), torch.full((3, 2, 2), 0.8), real)
    assert found.deviations == pytest.approx(0.3 / float(torch.linspace(0, 1, 101).std()), rel=1e-5)
    assert found.exceeds == pytest.approx(80 / 101, abs=0.01)
    assert math.isnan(Excitation.of(lambda images: images.sum(dim=(1, 2, 3)) * 0, real[0], real).deviations)


def test_images_from_elsewhere_are_less_plausible():
    generator = torch.Generator().manual_seed(0)
    kind = torch.tensor([1.0, 0.2, 0.1])[:, None, None]

    def drawn(of: torch.Tensor, count: int) -> torch.Tensor:
        return of * (1 + 0.1 * torch.randn(count, 3, 1, 1, generator=generator))

    measure = Plausibility(lambda images: images.mean(dim=(2, 3)), drawn(kind, 200))
    alike, other = measure.distances(drawn(kind, 50)), measure.distances(drawn(kind.flip(0), 50))
    assert 0.7 < np.median(alike) < 1.4
    assert other.min() > 5 * np.median(alike)
    with pytest.raises(ValueError, match="more than 5 real images"):
        Plausibility(lambda images: images.mean(dim=(2, 3)), drawn(kind, 5))
