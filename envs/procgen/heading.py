"""The player's heading, integrated from its actions and painted into label maps.

A monochrome drawing fills upright rectangles, so it hides the thrust direction in caveflyer and the throwing direction
in dodgeball and ninja. In all three it follows from the actions alone, by the arithmetic of Procgen's own game files.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

NO_MOVE = 4
"""The move that holds no arrow key."""

_TURN = np.float32(0.5) * (np.float32(15) * np.float32(np.pi) / np.float32(180))  # caveflyer's MIXRATEROT * MAXVTHETA
_FRONT_SHARE = 0.2  # with it a third of a square lies in front, at any angle


def _moves(actions: np.ndarray) -> np.ndarray:
    return np.where(actions < 9, np.where(actions < 0, NO_MOVE, actions), NO_MOVE)


class Heading:
    """Headings of the players of a batch.

    Parameters
    ----------
    game
        ``"caveflyer"``, ``"dodgeball"`` or ``"ninja"``.
    num_envs
        Number of games.

    Attributes
    ----------
    rotation : numpy.ndarray, shape (num_envs,), float32
        Angle by which the player's sprite is turned clockwise, in radians; at 0 it points up in caveflyer, else right.
    """

    def __init__(self, game: str, num_envs: int) -> None:
        self._game = game
        self.rotation = np.zeros(num_envs, np.float32)
        self._spin = np.zeros(num_envs, np.float32)
        self._last_move = np.full(num_envs, 7)

    def advance(self, actions: np.ndarray, began: np.ndarray) -> None:
        """Update the headings by one step.

        Parameters
        ----------
        actions : numpy.ndarray, shape (num_envs,)
        began : numpy.ndarray, shape (num_envs,), bool
            Whether the step ended a level and started a new one.
        """
        moves = _moves(actions)
        across = moves // 3 - 1
        if self._game == "caveflyer":
            self._spin = np.float32(0.5) * self._spin + _TURN * across.astype(np.float32)
            self._spin[began] = 0
            self.rotation = self.rotation + self._spin
        elif self._game == "dodgeball":
            self._last_move = np.where(moves == NO_MOVE, self._last_move, moves)
            self.rotation = -np.arctan2(self._last_move % 3 - 1, self._last_move // 3 - 1).astype(np.float32)
        else:
            self.rotation = np.where(across == 0, self.rotation, np.where(across < 0, np.float32(np.pi), np.float32(0)))
        self.rotation[began] = 0

    def read(self, index: int, player: np.void) -> None:
        """Take one game's heading from the player in its saved state, an `lcd.envs.procgen.saved_state.ENTITY`.

        The last move is kept, as it follows from the actions alone.
        """
        self._spin[index] = player["vrot"]
        self.rotation[index] = np.pi * player["is_reflected"] if self._game == "ninja" else player["rotation"]

    def snapshot(self, games: np.ndarray) -> dict[str, np.ndarray]:
        """What is known of some of the games."""
        return {"rotation": self.rotation[games], "spin": self._spin[games], "last_move": self._last_move[games]}

    def restore(self, snapshot: dict[str, np.ndarray]) -> None:
        """Go on from a snapshot."""
        self.rotation, self._spin, self._last_move = (
            np.array(snapshot[name]) for name in ("rotation", "spin", "last_move")
        )

    def copy_game(self, index: int, other: Heading, other_index: int) -> None:
        """Copy the heading of one game of another batch."""
        self.rotation[index] = other.rotation[other_index]
        self._spin[index] = other._spin[other_index]
        self._last_move[index] = other._last_move[other_index]

    def directions(self) -> tuple[np.ndarray, np.ndarray]:
        """Unit vectors on the screen: to the right and down, each of shape (num_envs,)."""
        cosine, sine = np.cos(self.rotation), np.sin(self.rotation)
        return (sine, -cosine) if self._game == "caveflyer" else (cosine, sine)

    def paint_front(self, labels: np.ndarray, player: Sequence[int], front: int) -> None:
        """Label the front part of the player.

        Parameters
        ----------
        labels : numpy.ndarray, shape (num_envs, height, width), uint8
            Label maps, changed in place.
        player
            The labels of the player.
        front
            The label of the front.
        """
        width = labels.shape[2]
        pixels = np.flatnonzero(np.logical_or.reduce([labels == label for label in player]))
        games, places = np.divmod(pixels, labels.shape[1] * width)
        rows, columns = np.divmod(places, width)
        counts = np.bincount(games, minlength=len(labels))
        sizes = np.maximum(counts, 1)
        right, down = self.directions()
        middles = (
            np.bincount(games, columns, len(labels)) * right + np.bincount(games, rows, len(labels)) * down
        ) / sizes
        ahead = columns * right[games] + rows * down[games] - middles[games]
        labels.reshape(-1)[pixels[ahead > _FRONT_SHARE * np.sqrt(sizes)[games]]] = front
