"""The semantic view: from Procgen's monochrome drawing to a label map.

With ``use_monochrome_assets`` Procgen fills the rectangle of every object with a colour that names the object's image
type and theme (``color_for_type`` in ``basic-abstract-game.cpp``), so a look-up table turns the frame into a perfect
segmentation of what is on the screen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from envs.games import Game, get_game
from envs.options import ProcgenOptions

EMPTY = 0
"""Label of pixels on which nothing is drawn."""
OTHER = 64
"""Label of pixels whose colour names no class of the game."""
NUM_LABELS = 65
"""Labels run from 0 up to, and without, this number; a game uses a few of them."""

_IMAGE_TYPES = 64
_TYPE_STEP, _THEME_STEP = 29, 19  # p1 and p2 of color_for_type
_TYPE_INVERSE = pow(_TYPE_STEP, -1, _IMAGE_TYPES)


def _colour_code(image_type: int, theme: int) -> int:
    return (_TYPE_STEP * (image_type + 1) + _THEME_STEP * theme) % _IMAGE_TYPES


def _colour(image_type: int, theme: int) -> tuple[int, int, int]:
    code = _colour_code(image_type, theme)
    return 64 * (code // 16 + 1) - 1, 64 * (code // 4 % 4 + 1) - 1, 64 * (code % 4 + 1) - 1


def _label(image_type: int, theme: int) -> int:
    """A label for each colour; without a theme it is the image type plus one."""
    return (_TYPE_INVERSE * _colour_code(image_type, theme) - 1) % _IMAGE_TYPES + 1


def _class_table(game: Game) -> dict[tuple[int, int, int], tuple[int, str]]:
    """Label and class name of every colour that the game's semantic drawing can hold."""
    table: dict[tuple[int, int, int], tuple[int, str]] = {}
    labels: dict[str, int] = {}
    for image_type, name in game.classes.items():
        for theme in range(game.themed.get(image_type, game.merged_themes.get(image_type, 1))):
            full_name = f"{name} {theme + 1}" if image_type in game.themed else name
            label = labels.setdefault(full_name, _label(image_type, theme))
            colour = _colour(image_type, theme)
            table.setdefault(colour, (label, full_name))
    free = (label for label in range(OTHER - 1, EMPTY, -1) if label not in labels.values())
    for colour, name in game.hand_drawn.items():
        table[colour] = labels.setdefault(name, next(free)), name
    return table


def class_names(game: str) -> dict[int, str]:
    """Names of the classes in a game's label maps.

    Parameters
    ----------
    game
        Name of a Procgen game.

    Returns
    -------
    dict
        From label to name, in the order of the labels; 0 is ``"empty"``.

    Examples
    --------
    >>> class_names("maze")
    {0: 'empty', 1: 'player', 3: 'goal', 52: 'wall', 64: 'other'}
    """
    names = {EMPTY: "empty", OTHER: "other"} | dict(_class_table(get_game(game)).values())
    return dict(sorted(names.items()))


def semantic_options(options: ProcgenOptions) -> ProcgenOptions:
    """The options that draw the same game so that its colours name the objects.

    Raises
    ------
    ValueError
        If the options paint the velocity into the frame, which a label map cannot hold.
    """
    if options.paint_vel_info:
        raise ValueError("The semantic view cannot hold paint_vel_info's shades of grey: set paint_vel_info=False.")
    return replace(
        options,
        use_backgrounds=False,
        use_monochrome_assets=True,
        use_generated_assets=False,
        restrict_themes=get_game(options.game).can_restrict_themes,
    )


class LabelReader:
    """Reads the label maps of one game off its monochrome frames.

    Parameters
    ----------
    game
        Name of a Procgen game.
    """

    def __init__(self, game: str) -> None:
        table = _class_table(get_game(game))
        # Each channel value that occurs gets a digit below 8, so that a colour is one number below 512; digit 0 is a
        # value that no class has.
        digits: list[dict[int, int]] = [
            {value: digit for digit, value in enumerate(sorted({0, *(colour[channel] for colour in table)}), start=1)}
            for channel in range(3)
        ]
        self._channel_digits = np.zeros((3, 256), np.uint16)
        for channel, shift in enumerate((6, 3, 0)):
            for value, digit in digits[channel].items():
                self._channel_digits[channel, value] = digit << shift
        self._labels = np.full(512, OTHER, np.uint8)
        self._labels[self._colour_number((0, 0, 0))] = EMPTY
        for colour, (label, _) in table.items():
            self._labels[self._colour_number(colour)] = label

    def _colour_number(self, colour: tuple[int, int, int]) -> int:
        return int(sum(digits[value] for digits, value in zip(self._channel_digits, colour, strict=True)))

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Labels of monochrome frames.

        Parameters
        ----------
        frames : numpy.ndarray, shape (..., height, width, 3), uint8

        Returns
        -------
        numpy.ndarray, shape (..., height, width), uint8
            One label a pixel; `class_names` says what they mean.
        """
        red, green, blue = self._channel_digits
        number = red.take(frames[..., 0])
        number |= green.take(frames[..., 1])
        number |= blue.take(frames[..., 2])
        return self._labels.take(number)


def paint(labels: np.ndarray) -> np.ndarray:
    """Colours for looking at label maps: Procgen's own monochrome colours.

    Parameters
    ----------
    labels : numpy.ndarray, shape (..., height, width), uint8

    Returns
    -------
    numpy.ndarray, shape (..., height, width, 3), uint8
    """
    palette = np.zeros((NUM_LABELS, 3), np.uint8)
    for label in range(1, NUM_LABELS):
        palette[label] = _colour(label - 1, 0)
    return palette[labels]


def label_channels() -> Mapping[int, tuple[int, int, int]]:
    """Three fixed channel values for every label, the colours of `paint`; empty pixels are black."""
    return {label: tuple(paint(np.array(label, np.uint8)).tolist()) for label in range(NUM_LABELS)}
