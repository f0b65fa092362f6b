"""The semantic view: label maps from Procgen's monochrome rendering.

With ``use_monochrome_assets`` Procgen fills the rectangle of every object with a colour that names the object's image
type and theme (``color_for_type`` in ``basic-abstract-game.cpp``), so a look-up table turns the frame into a perfect
segmentation of what is on the screen.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lcd.envs.painting import colour_of_code
from lcd.envs.procgen.games import Game, get_game
from lcd.envs.procgen.options import ProcgenOptions

EMPTY = 0
"""Label of pixels on which nothing is drawn."""
OTHER = 64
"""Label of pixels whose colour names no class of the game."""
NUM_LABELS = 65
"""Labels run from 0 up to, and without, this number; a game uses a few of them."""

FRONT = "player front"
"""Name of the part of the player that points ahead, in games where that decides play."""

_IMAGE_TYPES = 64
_TYPE_STEP, _THEME_STEP = 29, 19  # p1 and p2 of color_for_type

_GLAZE_ALPHA = 120  # of the white ellipse in jumper.cpp

_Colour = tuple[int, int, int]


def _colour(image_type: int, theme: int = 0) -> _Colour:
    return colour_of_code(_TYPE_STEP * (image_type + 1) + _THEME_STEP * theme)


def _glazed(colour: _Colour) -> _Colour:
    red, green, blue = ((_GLAZE_ALPHA * 255 + (255 - _GLAZE_ALPHA) * channel + 127) // 255 for channel in colour)
    return red, green, blue


def _labels_and_colours(game: Game) -> tuple[dict[str, int], dict[_Colour, str]]:
    """Label of every class, and class of every colour that the game's semantic drawing can hold."""
    labels: dict[str, int] = {}
    colours: dict[_Colour, str] = {}
    unnumbered: list[str] = []

    def add(colour: _Colour, name: str) -> None:
        if colours.setdefault(colour, name) != name:
            raise ValueError(f"{game.name}: {colours[colour]} and {name} are both drawn in {colour}.")

    for image_type, name in game.classes.items():
        themes = game.themed.get(image_type, 1)
        names = [f"{name} {theme + 1}" for theme in range(themes)] if themes > 1 else [name]
        labels.setdefault(names[0], image_type + 1)
        unnumbered += names[1:]
        for theme in range(max(themes, game.merged_themes.get(image_type, 1))):
            if theme not in game.replaced_themes.get(image_type, ()):
                add(_colour(image_type, theme), names[theme % themes])
    for colour, name in game.hand_drawn.items():
        add(colour, name)
        unnumbered.append(name)
    if game.glaze:
        for colour in [(0, 0, 0), *colours]:
            colours.setdefault(_glazed(colour), game.glaze)
        unnumbered.append(game.glaze)
    if game.has_front:
        unnumbered.append(FRONT)
    free = (label for label in range(OTHER - 1, EMPTY, -1) if label not in labels.values())
    for name in unnumbered:
        if name not in labels:
            labels[name] = next(free)
    return labels, colours


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
    labels, _ = _labels_and_colours(get_game(game))
    return dict(sorted({EMPTY: "empty", OTHER: "other", **{label: name for name, label in labels.items()}}.items()))


def semantic_options(options: ProcgenOptions) -> ProcgenOptions:
    """Options of the same game in the monochrome rendering, whose colours name objects.

    Raises
    ------
    ValueError
        If the options paint the velocity into the frame, which a label map cannot hold, or draw generated assets, whose
        shapes change play and which the semantic drawing does not have.
    """
    if options.paint_vel_info:
        raise ValueError("The semantic view cannot hold paint_vel_info's shades of grey: set paint_vel_info=False.")
    if options.use_generated_assets:
        raise ValueError("The semantic view cannot follow games with generated assets: set use_generated_assets=False.")
    return replace(
        options,
        use_backgrounds=False,
        use_monochrome_assets=True,
        use_generated_assets=False,
        restrict_themes=options.restrict_themes or not get_game(options.game).sized_themes,
    )


class LabelReader:
    """Converts monochrome frames of one game to label maps.

    Parameters
    ----------
    game
        Name of a Procgen game.

    Notes
    -----
    Each pixel's three bytes are read as one number and hashed into a table by one multiplication. The multiplier is
    chosen so that all colours of all object types and all hand-drawn colours have slots of their own.
    """

    def __init__(self, game: str) -> None:
        labels, names = _labels_and_colours(get_game(game))
        known = {(0, 0, 0): EMPTY}
        known |= {_colour(image_type): OTHER for image_type in range(_IMAGE_TYPES)}
        known |= {colour: labels[name] for colour, name in names.items()}
        colours = np.array(list(known), np.uint32) @ np.array([1, 2**8, 2**16], np.uint32)
        rng = np.random.default_rng(0)
        while True:
            # A multiple of 256 pushes the fourth byte, the next pixel's red, out of the 32 bits.
            self._multiplier = np.uint32(256 * int(rng.integers(2**24)))
            slots = (colours * self._multiplier) >> np.uint32(16)
            if len(set(slots.tolist())) == len(known):
                break
        self._table = np.full(2**16, OTHER, np.uint8)
        self._table[slots] = list(known.values())
        self._make_room(0)

    def _make_room(self, size: int) -> None:
        """Allocate buffers for frames of a number of bytes; allocation can take longer than the conversion."""
        self._bytes = np.zeros(size + 1, np.uint8)  # one spare byte, so that the last pixel too has four
        self._pixels: np.ndarray = np.ndarray((size // 3,), "<u4", self._bytes, strides=(3,))
        self._slots, self._indices = np.empty(size // 3, np.uint32), np.empty(size // 3, np.intp)

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
        if self._bytes.size != frames.size + 1:
            self._make_room(frames.size)
        self._bytes[:-1].reshape(frames.shape)[...] = frames
        np.multiply(self._pixels, self._multiplier, out=self._slots)
        np.right_shift(self._slots, np.uint32(16), out=self._slots)
        self._indices[:] = self._slots
        return self._table.take(self._indices).reshape(frames.shape[:-1])
