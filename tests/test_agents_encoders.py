"""Encoders: one topology for both views, fixed label channels, and Stable-Baselines3's own PPO."""

from __future__ import annotations

import numpy as np
import pytest
import stable_baselines3
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import NatureCNN
from toy_games import ColourGame

from lcd.agents import ENCODERS, Encoder, EncoderPolicy, Impala, Impoola, Nature, parse_encoder, register_encoder
from lcd.agents.encoders.convolutional import StridedConv2d, label_channels
from lcd.agents.encoders.residual import SpaceToDepth
from lcd.envs import NUM_LABELS, paint

FRAMES = spaces.Box(0, 255, (3, 64, 64), np.uint8)
LABELS = spaces.Box(0, NUM_LABELS - 1, (64, 64), np.uint8)


def shapes(module):
    return [tuple(parameter.shape) for parameter in module.parameters()]


READ_BOTH = [name for name, encoder in ENCODERS.items() if encoder.reads_frames]


@pytest.mark.parametrize("text", [*READ_BOTH, "impala:8,16", "impoola:4,4,4,4"])
def test_frames_and_label_maps_pass_the_same_topology(text):
    encoder_class, arguments = parse_encoder(text)
    of_frames, of_labels = encoder_class(FRAMES, **arguments), encoder_class(LABELS, **arguments)
    assert shapes(of_frames) == shapes(of_labels)
    of_labels.load_state_dict(of_frames.state_dict())
    labels = torch.as_tensor(np.random.default_rng(0).integers(0, NUM_LABELS, (5, 64, 64)), dtype=torch.uint8)
    frames = torch.as_tensor(paint(labels.numpy())).permute(0, 3, 1, 2)
    with torch.no_grad():
        features = of_frames(frames)
        assert features.shape == (5, of_frames.features_dim)
        # painted levels are 63, 127, 191 and 255 of 255, channels 1/4, 2/4, 3/4 and 1: the same up to 0.3 %
        assert torch.allclose(features, of_labels(labels), atol=0.02 * float(features.abs().max()))


def test_label_channels_are_the_monochrome_drawing():
    labels = torch.arange(NUM_LABELS, dtype=torch.uint8).reshape(1, 1, NUM_LABELS)
    channels = label_channels(labels, torch.float32)
    assert channels.shape == (1, 3, 1, NUM_LABELS)
    painted = paint(labels.numpy()).astype(np.float32)
    levels = np.where(painted > 0, (painted + 1) / 256, 0)
    assert np.array_equal(channels.permute(0, 2, 3, 1).numpy(), levels)
    assert len({tuple(pixel) for pixel in levels.reshape(-1, 3).tolist()}) == NUM_LABELS
    assert torch.equal(label_channels(labels, torch.bfloat16).float(), channels)  # the levels are exact in bfloat16
    for width in (16, 15):  # even and odd, and cut out of something larger
        maps = torch.randint(NUM_LABELS, (3, 8, 20), dtype=torch.uint8)[:, 2:, :width]
        images = label_channels(maps, torch.float32)
        assert torch.equal(images, channels[0, :, 0][:, maps.long()].transpose(0, 1))
        assert images.is_contiguous(memory_format=torch.channels_last)


def test_depths_set_the_stages_and_their_channels():
    encoder_class, arguments = parse_encoder("impala:4,8,16,32")
    assert (encoder_class, arguments) == (Impala, {"depths": (4, 8, 16, 32)})
    convolutions = [m for m in encoder_class(FRAMES, **arguments).modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) == 4 * 5
    assert [m.out_channels for m in convolutions[::5]] == [4, 8, 16, 32]
    assert parse_encoder("nature") == (Nature, {})
    assert parse_encoder("nature:256") == (Nature, {"features_dim": 256})


def test_impoola_is_impala_with_one_number_a_channel_before_its_linear_layer():
    pooled, flat = Impoola(FRAMES), Impala(FRAMES)
    assert shapes(pooled)[:-2] == shapes(flat)[:-2]
    assert shapes(pooled)[-2] == (256, 32)
    assert shapes(flat)[-2] == (256, 32 * 8 * 8)
    larger = Impoola(spaces.Box(0, 255, (3, 96, 80), np.uint8))
    assert shapes(larger) == shapes(pooled)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "vgg",
        "Nature",
        "nature:32,32",
        "nature:0",
        "impala:",
        "impala:16,,32",
        "impala:0",
        "impala:-1",
        "impala:a",
        "impala:²",
    ],
)
def test_bad_specifications_are_one_clear_error(text):
    with pytest.raises(ValueError, match=r"^[^\n]{20,200}$"):
        parse_encoder(text)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(0, 255, (64, 64, 3), np.uint8),
        spaces.Box(0, 255, (64, 64, 4), np.uint8),
        spaces.Box(0, 255, (64,), np.uint8),
        spaces.Box(0, 255, (3, 20, 20), np.uint8),
        spaces.Box(0, 255, (84, 84), np.uint8),  # grey, not labels
        spaces.Box(0, 255, (3, 64, 64), np.float32),
        spaces.Dict(pixels=FRAMES, semantic=LABELS),
        spaces.Discrete(3),
    ],
)
def test_spaces_that_hold_no_images_are_one_clear_error(space):
    with pytest.raises(ValueError, match=r"(?i)^[^\n]*encoder[^\n]*$"):
        Nature(space)


def test_a_registered_encoder_is_found_by_its_name_once():
    class Tiny(Encoder):
        def __init__(self, observation_space, features_dim=8):
            super().__init__(observation_space, features_dim)
            self.network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(features_dim))
            self.network(torch.zeros(1, *self.image_shape))

    try:
        assert register_encoder("tiny")(Tiny) is Tiny
        policy = EncoderPolicy(LABELS, spaces.Discrete(5), lambda _: 1e-3, encoder="tiny")
        assert policy.log_probabilities(torch.zeros(2, 64, 64, dtype=torch.uint8)).shape == (2, 5)
        with pytest.raises(ValueError, match="already"):
            register_encoder("tiny")(Tiny)
        with pytest.raises(ValueError, match="colon"):
            register_encoder("ti:ny")
    finally:
        ENCODERS.pop("tiny", None)


@pytest.mark.parametrize("view", ["pixels", "semantic"])
def test_encoders_serve_plain_stable_baselines3(view):
    model = stable_baselines3.PPO(
        "CnnPolicy" if view == "pixels" else "MlpPolicy",  # what SB3 calls them: either takes any extractor
        ColourGame(2, view),
        n_steps=4,
        batch_size=8,
        n_epochs=1,
        device="cpu",
        policy_kwargs={"features_extractor_class": Impoola, "features_extractor_kwargs": {"depths": (4, 4)}},
    )
    before = [p.clone() for p in model.policy.features_extractor.parameters()]
    model.learn(8)
    after = list(model.policy.features_extractor.parameters())
    assert all(not torch.equal(b, a) for b, a in zip(before, after, strict=True))


@pytest.mark.parametrize("text", ["nature", "impoola:4,4"])
def test_bytes_and_stable_baselines3s_scaled_floats_give_the_same_features(text):
    encoder_class, arguments = parse_encoder(text)
    encoder = encoder_class(FRAMES, **arguments)
    frames = torch.as_tensor(np.random.default_rng(1).integers(0, 256, (3, 3, 64, 64)), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.allclose(encoder(frames), encoder(frames.float() / 255), atol=1e-5)


def test_nature_is_stable_baselines3s_network():
    encoder, reference = Nature(FRAMES), NatureCNN(FRAMES)
    mine = encoder.state_dict()
    reference.load_state_dict(dict(zip(reference.state_dict(), mine.values(), strict=True)))
    frames = torch.as_tensor(np.random.default_rng(2).integers(0, 256, (3, 3, 64, 64)), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.allclose(encoder(frames), reference(frames / 255), atol=1e-5)


@pytest.mark.parametrize("name", ["nature", "small", "impala:4", "impoola:4", "phase"])
@pytest.mark.parametrize("shape", [(64, 64), (84, 84), (83, 101), (36, 51)])
@pytest.mark.parametrize("view", ["pixels", "semantic"])
def test_encoders_take_images_of_any_size_above_their_smallest(name, shape, view):
    space = spaces.Box(0, 255, (3, *shape), np.uint8) if view == "pixels" else spaces.Box(0, 64, shape, np.uint8)
    policy = EncoderPolicy(space, spaces.Discrete(5), lambda _: 0.0, encoder=name)
    observations = torch.as_tensor(np.stack([space.sample() for _ in range(2)]))
    assert policy.log_probabilities(observations).shape == (2, 5)


@pytest.mark.parametrize(("kernel", "stride"), [(8, 4), (4, 4), (4, 2)])
@pytest.mark.parametrize("side", [8, 9, 21, 84, 87])
def test_a_strided_convolution_is_torchs_for_any_width(kernel, stride, side):
    mine = StridedConv2d(3, 4, kernel_size=kernel, stride=stride)
    theirs = torch.nn.Conv2d(3, 4, kernel, stride)
    theirs.load_state_dict(mine.state_dict())
    images = torch.randn(2, 3, 30, side)
    assert torch.allclose(mine(images), theirs(images), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "side", "smallest"), [("nature", 35, 36), ("nature", 3, 36), ("small", 15, 16), ("egocentric", 20, 32)]
)
def test_images_that_are_too_small_are_refused_with_the_smallest_size(name, side, smallest):
    frames = spaces.Box(0, 255, (3, side, side), np.uint8)
    space = spaces.Box(0, 64, (side, side), np.uint8) if name == "egocentric" else frames
    with pytest.raises(
        ValueError, match=f"too small for this encoder: it takes {smallest} x {smallest} pixels or more"
    ):
        EncoderPolicy(space, spaces.Discrete(5), lambda _: 0.0, encoder=name)


@pytest.mark.parametrize("encoder", ["nature", "small", "impala:4,8", "impoola:4", "phase", "residual:4,8"])
@pytest.mark.parametrize("channels", [1, 4, 12])
def test_frames_may_have_any_number_of_channels(encoder, channels):
    encoder_class, arguments = parse_encoder(encoder)
    made = encoder_class(spaces.Box(0, 255, (channels, 64, 64), np.uint8), **arguments)
    frames = torch.as_tensor(np.random.default_rng(0).integers(0, 256, (2, channels, 64, 64)), dtype=torch.uint8)
    with torch.no_grad():
        features = made(frames)
        other = made(frames.roll(1, dims=1))
    assert features.shape == (2, made.features_dim)
    assert torch.allclose(features, other) == (channels == 1)


def test_vectors_have_an_encoder_of_their_own():
    encoder_class, arguments = parse_encoder("mlp:16")
    made = encoder_class(spaces.Box(-1, 1, (5,), np.float32), **arguments)
    assert made(torch.zeros(2, 5)).shape == (2, 16)
    of_bytes = encoder_class(spaces.Box(0, 255, (5,), np.uint8), **arguments)
    of_bytes.load_state_dict(made.state_dict())
    assert torch.allclose(of_bytes(torch.full((1, 5), 51, dtype=torch.uint8)), made(torch.full((1, 5), 0.2)))
    for length in (10, 16):  # as long as its features, too
        space = spaces.Box(-1, 1, (length,), np.float32)
        policy = EncoderPolicy(space, spaces.Discrete(2), lambda _: 0.0, "mlp:16+frozen")
        policy.mixed_precision = False
        frozen, vectors = policy.features_extractor, torch.rand(4, length)
        with torch.no_grad():
            whole = frozen.network(frozen.images(vectors))
            assert torch.allclose(frozen(vectors), whole)
            assert torch.allclose(frozen(policy.encode(vectors)), whole, atol=1e-2)
    with pytest.raises(ValueError, match="mlp takes vectors"):
        encoder_class(FRAMES, **arguments)


REFUSED = {
    "at most 64 channels": spaces.Box(0, 255, (65, 84, 84), np.uint8),
    r"\(3, 1, 1\) are too small": spaces.Box(0, 255, (3, 1, 1), np.uint8),
    r"\(4, 3, 4\) are too small": spaces.Box(0, 255, (4, 3, 4), np.uint8),
    r"not \(84, 84, 4\): .*VecTransposeImage": spaces.Box(0, 255, (84, 84, 4), np.uint8),
    r"not \(84, 84, 12\): .*TransformObservation": spaces.Box(0, 255, (84, 84, 12), np.uint8),
    "VecTransposeImage brings them first": spaces.Box(0, 255, (64, 64, 3), np.uint8),
    "TransformObservation.*VecTransposeImage beneath VecNormalize": spaces.Box(0, 1, (64, 64, 3), np.float32),
    r"not float32 from -50 to 50": spaces.Box(-50, 50, (3, 64, 64), np.float32),
    r"not float32 from 0 to 255": spaces.Box(0, 255, (3, 64, 64), np.float32),
    "not float32 from -inf to inf": spaces.Box(-np.inf, np.inf, (3, 64, 64), np.float32),
    "give a grey frame a channel": spaces.Box(0, 255, (84, 84), np.uint8),
    "whole numbers from 0 to 64, not float32": spaces.Box(0, 1, (84, 84), np.float32),
    "not int8 from -1 to 3": spaces.Box(-1, 3, (84, 84), np.int8),
    "stack frames along their channels": spaces.Box(0, 255, (4, 64, 64, 3), np.uint8),
}


@pytest.mark.parametrize("encoder", ["nature", "small", "impala", "impoola", "phase", "egocentric"])
@pytest.mark.parametrize(("reason", "space"), REFUSED.items(), ids=range(len(REFUSED)))
def test_observations_that_no_encoder_takes_are_refused_with_the_right_reason(encoder, reason, space):
    with pytest.raises(ValueError, match=f"^[^\n]*{reason}[^\n]*$") as refused:
        EncoderPolicy(space, spaces.Discrete(5), lambda _: 0.0, encoder=encoder)
    if "VecTransposeImage" not in reason:
        assert "VecTransposeImage" not in str(refused.value)


def test_frames_of_floating_point_numbers_do():
    for low, high, kind in ((0, 1, np.float32), (-1, 1, np.float32), (0, 1, np.float64), (-10, 10, np.float32)):
        space = spaces.Box(low, high, (3, 40, 40), kind)
        policy = EncoderPolicy(space, spaces.Discrete(5), lambda _: 0.0, encoder="small")
        assert policy.log_probabilities(torch.as_tensor(space.sample()[None])).shape == (1, 5)


def test_an_encoder_whose_network_fails_or_gives_something_else_is_refused_before_it_is_trained():
    class Square(Encoder):
        def __init__(self, observation_space, features_dim=64):
            super().__init__(observation_space, features_dim)
            self.network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 64 * 64, 32))

    try:
        register_encoder("square")(Square)
        for space, sentence in (
            (spaces.Box(0, 255, (3, 84, 84), np.uint8), r"square does not take observations of shape \(3, 84, 84\)"),
            (FRAMES, r"square must give 64 features.* gives the shape \(1, 32\)"),
        ):
            with pytest.raises(ValueError, match=sentence):
                EncoderPolicy(space, spaces.Discrete(5), lambda _: 0.0, encoder="square")
    finally:
        ENCODERS.pop("square", None)


def test_space_to_depth_is_pixel_unshuffle_with_its_channels_in_another_order():
    images = torch.arange(2 * 3 * 8 * 12, dtype=torch.float32).view(2, 3, 8, 12)
    ours, theirs = SpaceToDepth(4)(images), torch.nn.functional.pixel_unshuffle(images, 4)
    assert ours.shape == theirs.shape == (2, 48, 2, 3)
    assert ours.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(ours.sort(dim=1).values, theirs.sort(dim=1).values)


def test_the_residual_encoder_is_named_by_its_patch_size_and_depths():
    space = spaces.Box(0, 255, (3, 64, 64), np.uint8)
    encoder_class, arguments = parse_encoder("residual:8,16,24")
    encoder = encoder_class(space, **arguments)
    assert encoder(torch.zeros(2, 3, 64, 64, dtype=torch.uint8)).shape == (2, 256)
    assert [layer.out_channels for layer in encoder.modules() if isinstance(layer, torch.nn.Conv2d)] == [
        *(16, 16, 16),
        *(24, 24, 24),
    ]
    with pytest.raises(ValueError, match="the side of its patches and the depth of each stage"):
        parse_encoder("residual:8")
    with pytest.raises(ValueError, match="Images of 60 x 64 pixels do not divide into patches of 8 x 8"):
        encoder_class(spaces.Box(0, 255, (3, 60, 64), np.uint8), **arguments)
