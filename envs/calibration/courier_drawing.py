"""Rendering of Courier, as frames and as label maps."""

from __future__ import annotations

import colorsys
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lcd.envs.calibration.counter_random import uniform
from lcd.envs.calibration.courier import EPISODE, MAX_ITEMS, SIZE, Courier
from lcd.envs.calibration.difficulty import DifficultyFactors

CELL = 8
"""Pixels along each side of a cell."""

MIDDLE = SIZE // 2
"""Row and column of the player's cell."""

GROUND_LABEL, PLAYER_LABEL, FIRST_ITEM_LABEL, OTHER_LABEL = 0, 1, 2, 2 + MAX_ITEMS
LABEL_NAMES = {
    GROUND_LABEL: "ground",
    PLAYER_LABEL: "player",
    **{FIRST_ITEM_LABEL + number: f"item {number + 1}" for number in range(MAX_ITEMS)},
    OTHER_LABEL: "decoy",
}

_SHAPES = (
    "........ ..####.. .######. .######. .######. .######. ..####.. ........",  # disc: the first item
    "........ .######. .######. .######. .######. .######. .######. ........",  # square
    "........ ...##... ...##... ..####.. ..####.. .######. .######. ........",  # triangle
    "........ ..####.. ..####.. .######. .######. ..####.. ..####.. ........",  # barrel
    "........ .##..##. .##..##. .######. .######. .##..##. .##..##. ........",  # letter H: the fifth item
    "........ ...##... ...##... .######. .######. ...##... ...##... ........",  # cross: a decoy
    "........ .##..##. ..####.. ...##... ...##... ..####.. .##..##. ........",  # X
    "........ .######. .##..##. .#....#. .#....#. .##..##. .######. ........",  # ring
    "######## #......# #.####.# #.#..#.# #.#..#.# #.####.# #......# ########",  # the player
    "........ ........ ........ ........ ........ ........ ........ ........",  # nothing
)
PLAYER_SHAPE = len(_SHAPES) - 2
OTHER_SHAPES = range(MAX_ITEMS, PLAYER_SHAPE)
NO_SHAPE = len(_SHAPES) - 1

ITEM_HUES = np.arange(MAX_ITEMS) * 0.15
"""Hues of the items in their order, as in a rainbow: red, yellow, green, cyan, blue."""

OTHER_HUES = 0.78 + 0.04 * np.arange(len(OTHER_SHAPES))
"""Hues of decoys, by their shape: purple to pink."""

_OWN_HUES = np.concatenate([ITEM_HUES, OTHER_HUES])

_OPEN = np.isin(np.arange(256), (GROUND_LABEL, OTHER_LABEL))
"""Whether a distractor may be drawn over a label, by label."""

GROUND_BRIGHTNESS, PLAYER_BRIGHTNESS, TEXTURE = 24, 230, 6
"""Greys of the ground and of the player, and by how much the texture differs from both."""

COLOURED_GROUND = 0.5
"""Brightness of the ground as a share of the items', at the maximum of the factor `change`."""

MAX_CLUTTER, LEAST_CONTRAST, MAX_NOISE = 0.5, 0.3, 0.4

_ROWS = np.arange(CELL)[:, None]
_CLUTTER, _DRIFT, _NOISE = range(10, 13)  # purposes of random numbers; the rules use those below 10


@cache
def _masks(channels: int) -> NDArray[np.uint64]:
    """Masks of the pixels that each shape covers, shape (rows of a cell, shapes, channels).

    A row of a cell is ``8 * channels`` bytes, all bits set where the shape is: eight bytes a number, so that rows
    rather than pixels are copied and masked.
    """
    masks = [[[255 * (pixel == "#") for pixel in row] for row in text.split()] for text in _SHAPES]
    return np.repeat(np.array(masks, np.uint8).transpose(1, 0, 2), channels, axis=2).view(np.uint64)


@cache
def bright_colours() -> NDArray[np.uint8]:
    """Bright colours around the circle, shape (256, 3)."""
    circle = [colorsys.hsv_to_rgb(hue / 256, 0.8, 0.9) for hue in range(256)]
    return np.rint(255 * np.array(circle)).astype(np.uint8)


@cache
def _textures() -> NDArray[np.uint8]:
    """The ground's texture as an addition to each byte, modulo 256, from every cell of the world.

    Shape (8, 8, 8, 8, 8, 24): rows and columns travelled; rows of cells, rows of a cell, columns of cells, its bytes.
    """
    side = SIZE * CELL
    grain = np.round((2 * uniform(np.arange(side)[:, None], np.arange(side)) - 1) * TEXTURE).astype(np.int8)
    world = np.repeat(grain.view(np.uint8), 3, axis=1).reshape(SIZE, CELL, SIZE, 3 * CELL)
    cells = np.arange(SIZE)
    visible = (cells - MIDDLE + cells[:, None]) % SIZE  # the cells of the frame, from each position
    return np.ascontiguousarray(world[visible][:, :, :, visible].transpose(0, 3, 1, 2, 4, 5))


@cache
def _noise(share: int) -> NDArray[np.uint16]:
    """Random bytes times a share; each noisy frame uses a slice of them."""
    return np.multiply(np.random.default_rng(0).integers(0, 256, 2**22, np.uint8), share, dtype=np.uint16)


class CourierDrawing:
    """Renders games of Courier.

    Parameters
    ----------
    factors
        Their difficulty; only the perceptual factors matter here.
    """

    def __init__(self, factors: DifficultyFactors) -> None:
        self.factors = factors
        self.contrast = LEAST_CONTRAST**factors.camouflage

    def frames(self, courier: Courier, games: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Frames of some of the games, shape (n, 64, 64, 3)."""
        return self._painted(self._lay(courier, games), courier, games)

    def labels(self, courier: Courier, games: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Label maps of some of the games, shape (n, 64, 64); `LABEL_NAMES` says what the labels mean."""
        return self._mapped(self._lay(courier, games))

    def both(self, courier: Courier, games: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Frames and label maps of some of the games, faster than one after the other."""
        cells = self._lay(courier, games)
        labels = self._mapped(cells)
        return self._painted(cells, courier, games), labels

    def _painted(self, cells: _Cells, courier: Courier, games: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Frames of the cells' content, to which distractors and clutter are added."""
        self._scatter(cells, courier, games)
        if self.factors.clutter:
            self._strew(cells, courier.levels[games], courier.travelled[games])
        ground = self._ground(cells)
        colours = np.tile(self._coloured(cells, ground) ^ ground[:, None, None], CELL).view(np.uint64)
        rows = _masks(3)[_ROWS, cells.shapes[:, :, None]]
        rows &= colours[:, :, None]
        rows ^= np.tile(ground, CELL).view(np.uint64)[:, None, None, None]
        pixels = rows.view(np.uint8)
        pixels += _textures()[tuple(courier.travelled[games].T)].reshape(pixels.shape)
        return self._noisy(pixels.reshape(-1, SIZE * CELL, SIZE * CELL, 3), courier, games)

    @staticmethod
    def _mapped(cells: _Cells) -> NDArray[np.uint8]:
        """Label maps of the cells' content."""
        labels = np.repeat(cells.labels, 8, axis=2).view(np.uint64)
        rows = _masks(1)[_ROWS, cells.shapes[:, :, None], 0] & labels[:, :, None]
        return rows.view(np.uint8).reshape(-1, SIZE * CELL, SIZE * CELL)

    def _lay(self, courier: Courier, games: NDArray[np.int64]) -> _Cells:
        """Content of the cells: decoys, then items with the next on top, then the player."""
        drift = self._drift(courier.levels[games], courier.time[games])
        hues = _OWN_HUES + drift[:, :-1]
        cells = _Cells(drift[:, -1])
        for number in range(courier.decoys.shape[1]):
            shape = OTHER_SHAPES[number % len(OTHER_SHAPES)]
            cells.put(courier.decoys[games, number], shape, hues[:, shape], OTHER_LABEL)
        for number in reversed(range(courier.rules.items)):
            there = courier.fetched[games] <= number
            cells.put(courier.items[games, number], number, hues[:, number], FIRST_ITEM_LABEL + number, there)
        cells.put(np.zeros((len(games), 2), np.int64), PLAYER_SHAPE, np.zeros(len(games)), PLAYER_LABEL)
        return cells

    def _scatter(self, cells: _Cells, courier: Courier, games: NDArray[np.int64]) -> None:
        """Draw the distractors over ground and decoys, in the items' hues."""
        if not courier.distractors.shape[1]:
            return
        hues = ITEM_HUES + self._drift(courier.levels[games], courier.time[games])[:, :MAX_ITEMS]
        everything = np.arange(len(games))
        for number in range(courier.distractors.shape[1]):
            rows, columns = ((courier.distractors[games, number] + MIDDLE) % SIZE).T
            open_to = _OPEN[cells.labels[everything, rows, columns]]
            places = everything[open_to], rows[open_to], columns[open_to]
            cells.shapes[places] = OTHER_SHAPES[number % len(OTHER_SHAPES)]
            cells.hues[places] = hues[open_to, number % courier.rules.items]

    def _strew(self, cells: _Cells, levels: NDArray[np.int64], travelled: NDArray[np.int64]) -> None:
        """Cover empty ground with shapes of items and decoys, none in its own hue."""
        rows, columns = _world_rows_and_columns(travelled)
        drawn = uniform(levels[:, None, None], _CLUTTER, rows, columns) / (MAX_CLUTTER * self.factors.clutter)
        there = (drawn < 1) & (cells.shapes == NO_SHAPE)
        kinds = PLAYER_SHAPE * drawn[there]  # the integer part gives the shape, the fraction the hue
        shapes = kinds.astype(np.int64)
        cells.shapes[there] = shapes
        cells.hues[there] = _OWN_HUES[shapes] + 0.12 + 0.76 * (kinds - shapes)

    def _drift(self, levels: NDArray[np.int64], time: NDArray[np.int64]) -> NDArray[np.float64]:
        """Shift of the hues of all shapes, and of the ground behind them, shape (n, shapes + 1)."""
        kinds = np.arange(len(_OWN_HUES) + 1)
        if not self.factors.change:
            return np.zeros((len(levels), len(kinds)))
        start, way = (uniform(levels[:, None], _DRIFT, kinds, number) for number in range(2))
        return self.factors.change * (start - 0.5 + np.where(way < 0.5, -1, 1) * time[:, None] / EPISODE)

    def _ground(self, cells: _Cells) -> NDArray[np.uint8]:
        """Colours of the ground, shape (n, 3)."""
        grey = np.full((len(cells.ground_hues), 3), GROUND_BRIGHTNESS, np.uint8)
        if not self.factors.change:
            return grey
        colours = COLOURED_GROUND * bright_colours()[(256 * cells.ground_hues).astype(np.int64) & 255]
        return np.rint(grey + self.factors.change * (colours - grey)).astype(np.uint8)

    def _coloured(self, cells: _Cells, ground: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Colour of each cell's object, shape (n, 8, 8, 3)."""
        colours = bright_colours()[(256 * cells.hues).astype(np.int64) & 255]
        if self.contrast < 1:
            behind = ground[:, None, None].astype(float)
            colours = np.rint(behind + self.contrast * (colours - behind)).astype(np.uint8)
        colours[cells.labels == PLAYER_LABEL] = PLAYER_BRIGHTNESS
        return colours

    def _noisy(self, frames: NDArray[np.uint8], courier: Courier, games: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Mix the frames with their share of noise."""
        share = round(256 * MAX_NOISE * self.factors.noise)
        if not share:
            return frames
        size, noise = frames[0].size, _noise(share)
        starts = (len(noise) - size) * uniform(courier.levels[games], _NOISE, courier.time[games])
        for frame, start in zip(frames, starts.astype(int).tolist(), strict=True):  # one frame stays in the cache
            mixed = np.multiply(frame, 256 - share, dtype=np.uint16)
            mixed += noise[start : start + size].reshape(frame.shape)
            mixed >>= 8
            frame[...] = mixed
        return frames


class _Cells:
    """Content of each cell of the frame.

    Attributes
    ----------
    shapes, labels : numpy.ndarray, shape (n, 8, 8)
        Number of the shape, and its label.
    hues : numpy.ndarray, shape (n, 8, 8), float64
        Its hue, of which only the fraction counts.
    ground_hues : numpy.ndarray, shape (n,), float64
        Hue of the ground behind them, where it is coloured.
    """

    def __init__(self, ground_hues: NDArray[np.float64]) -> None:
        count = len(ground_hues)
        self.ground_hues = ground_hues
        self.shapes = np.full((count, SIZE, SIZE), NO_SHAPE)
        self.labels = np.zeros((count, SIZE, SIZE), np.uint8)
        self.hues = np.zeros((count, SIZE, SIZE))

    def put(
        self,
        places: NDArray[np.int64],
        shape: int,
        hues: NDArray[np.float64],
        label: int,
        there: NDArray[np.bool_] | slice = slice(None),
    ) -> None:
        """Put an object into the games that have it; places are relative to the player."""
        rows, columns = ((places[there] + MIDDLE) % SIZE).T
        games = np.arange(len(places))[there]
        self.shapes[games, rows, columns] = shape
        self.hues[games, rows, columns] = hues[there]
        self.labels[games, rows, columns] = label


def _world_rows_and_columns(travelled: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """World rows and columns of the frame's cells, shapes (n, 8, 1) and (n, 1, 8)."""
    first = travelled - MIDDLE
    along = np.arange(SIZE)
    return (first[:, 0, None, None] + along[:, None]) % SIZE, (first[:, 1, None, None] + along) % SIZE
