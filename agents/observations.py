"""Observation spaces of image encoders, and why others are refused."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from lcd.io.limits import MOST_CHANNELS, MOST_LABELS

CHANNELS, LABELS = 3, MOST_LABELS
"""Channels of a label map's image, and number of labels."""

LARGEST_NUMBER = 20.0
"""Largest size of a frame's floating-point numbers: those that VecNormalize gives end at 10, and bytes go to 255."""

_CHANNELS_FIRST = (
    "gymnasium.wrappers.TransformObservation(env, lambda frame: np.moveaxis(frame, -1, 0), space) brings them first"
)


def is_label_map(space: spaces.Space) -> bool:
    """Whether observations of the space are maps of labels rather than frames with channels."""
    return isinstance(space, spaces.Box) and len(space.shape) == 2


def check_observations(space: spaces.Space) -> None:
    """Refuse observations that are neither frames, channels first, nor label maps.

    Parameters
    ----------
    space
        Frames have the shape (channels, height, width), such as 1 (grey), 3 (RGB) or 4 (stacked grey frames), and hold
        bytes, or floating-point numbers of at most `LARGEST_NUMBER` in size; label maps have the shape (height, width)
        and hold whole numbers from 0 to 64.

    Raises
    ------
    ValueError
        If it is another space; the message says what is wrong with it, and what would do.
    """
    if not isinstance(space, spaces.Box) or len(space.shape) not in (2, 3):
        raise ValueError(
            f"An encoder takes frames of shape (channels, height, width) or label maps of shape (height, width), "
            f"not {space}: stack frames along their channels, and choose one view of several."
        )
    check = _check_label_maps if is_label_map(space) else _check_frames
    check(space)


def _check_label_maps(space: spaces.Box) -> None:
    largest = LABELS - 1
    if not np.issubdtype(space.dtype, np.integer) or space.low.min() < 0 or space.high.max() > largest:
        raise ValueError(
            f"An encoder takes images of shape (height, width) as label maps, whole numbers from 0 to {largest}, not "
            f"{_numbers(space)}: give a grey frame a channel, shape (1, height, width)."
        )


def _check_frames(space: spaces.Box) -> None:
    first, last = space.shape[0], space.shape[-1]
    whole = np.issubdtype(space.dtype, np.integer)
    if not (whole or np.issubdtype(space.dtype, np.floating)):
        raise ValueError(f"An encoder takes frames of bytes or of scaled numbers, not of {space.dtype}: convert them.")
    if space.low.min() < (0 if whole else -LARGEST_NUMBER) or space.high.max() > (255 if whole else LARGEST_NUMBER):
        raise ValueError(
            f"An encoder takes frames of bytes, 0 to 255, or of floating-point numbers scaled to [0, 1] or normalised, "
            f"up to {LARGEST_NUMBER:g} in size, not {_numbers(space)}: leave frames as they are, or scale them."
        )
    if first <= min(space.shape[1:]) and first <= MOST_CHANNELS:
        return
    if sorted(space.shape)[1] <= max(CHANNELS, 4):  # whichever are the channels, the picture is a few pixels wide
        raise ValueError(f"Frames of the shape {space.shape} are too small for any encoder: give larger ones.")
    if last < first:
        known = whole and last in (1, 3, 4)  # what Stable-Baselines3 takes for an image
        stacked = "stable_baselines3's VecTransposeImage brings them first" if known else _CHANNELS_FIRST
        if not whole:
            stacked += ", as does VecTransposeImage beneath VecNormalize"
        raise ValueError(
            f"An encoder takes frames of shape (channels, height, width), channels first, not {space.shape}: {stacked}."
        )
    raise ValueError(
        f"An encoder takes frames of at most {MOST_CHANNELS} channels, no more than their height and width, not "
        f"{space.shape}: stack fewer of them."
    )


def _numbers(space: spaces.Box) -> str:
    return f"{space.dtype} from {space.low.min():g} to {space.high.max():g}"
