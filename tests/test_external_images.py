"""Images of other packages' games are read with their whole range, and shown to people as they are."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces

from lcd.envs.external.images import image_reader, shown


@pytest.mark.parametrize("dtype", [np.uint8, bool, np.int64, np.float32])
def test_numbers_from_0_to_1_are_scaled_to_bytes(dtype):
    read, shape = image_reader(spaces.Box(0, 1, (8, 8, 3), dtype))
    image = np.zeros((8, 8, 3), dtype)
    image[2] = 1
    assert shape == (8, 8, 3)
    assert read(image).dtype == np.uint8
    assert np.array_equal(read(image), 255 * image.astype(np.uint8))


def test_bytes_stay_as_they_are_though_a_picture_is_dark():
    read, _ = image_reader(spaces.Box(0, 255, (8, 8, 3), np.uint8))
    assert np.array_equal(read(np.ones((8, 8, 3), np.uint8)), np.ones((8, 8, 3)))


@pytest.mark.parametrize(("shape", "channels"), [((8, 9, 3), 3), ((8, 9, 1), 1), ((3, 8, 9), 3)])
def test_frames_stacked_along_a_dimension_of_their_own_become_channels(shape, channels):
    read, found = image_reader(spaces.Box(0, 255, (4, *shape), np.uint8))
    frames = np.random.default_rng(0).integers(256, size=(4, *shape)).astype(np.uint8)
    one, _ = image_reader(spaces.Box(0, 255, shape, np.uint8))
    assert found == (8, 9, 4 * channels)
    assert np.array_equal(read(frames)[..., -channels:], one(frames[-1]))  # the newest last
    assert np.array_equal(read(frames)[..., :channels], one(frames[0]))


def test_too_many_stacked_frames_are_refused():
    with pytest.raises(ValueError, match="have 66 channels, more than 64: stack fewer frames"):
        image_reader(spaces.Box(0, 255, (22, 8, 9, 3), np.uint8))


def test_numbers_of_another_scale_than_the_space_says_are_refused():
    read, _ = image_reader(spaces.Box(0, 1, (8, 8, 3), np.float32))
    assert read(np.full((8, 8, 3), 1.2, np.float32)).max() == 255
    with pytest.raises(ValueError, match="an observation holds 200, and its space goes from 0 to 1"):
        read(np.full((8, 8, 3), 200, np.float32))


def test_a_picture_is_shown_without_its_alpha_channel():
    colours = np.random.default_rng(0).integers(0, 256, (6, 7, 3)).astype(np.uint8)
    opaque = np.dstack([colours, np.full((6, 7), 255, np.uint8)])
    assert np.array_equal(shown(opaque), colours)
    stacked = np.random.default_rng(0).integers(0, 200, (6, 7, 4)).astype(np.uint8)
    assert np.array_equal(shown(stacked), np.repeat(stacked[..., -1:], 3, axis=-1))
    assert np.array_equal(shown(np.dstack([stacked[..., :3], colours])), colours)


def test_a_space_of_bytes_without_a_type_is_one_of_bytes():
    read, shape = image_reader(spaces.Box(0, 255, (8, 8, 3)))
    frame = np.random.default_rng(0).integers(0, 256, (8, 8, 3))
    assert shape == (8, 8, 3)
    assert (read(frame.astype(np.float32)) == frame).all()
    assert (read(frame.astype(np.uint8)) == frame).all()
    with pytest.raises(ValueError, match=r"an observation holds 0\.5, and its space is one of bytes"):
        read(np.full((8, 8, 3), 0.5, np.float32))
