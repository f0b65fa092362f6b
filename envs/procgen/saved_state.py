"""Reading and changing of Procgen's saved states.

Procgen writes 4-byte fields one after the other (``serialize`` in its ``game.cpp``, ``basic-abstract-game.cpp`` and
``entity.cpp``); texts and lists follow their length.
"""

from __future__ import annotations

import struct

import numpy as np

OPTIONS = (
    "paint_vel_info",
    "use_generated_assets",
    "use_monochrome_assets",
    "restrict_themes",
    "use_backgrounds",
    "center_agent",
    "debug_mode",
    "distribution_mode",
    "use_sequential_levels",
    "use_easy_jump",
    "plain_assets",
    "physics_mode",
)
"""The drawing and level options that a state carries, in their order."""

ENTITY = np.dtype(
    [
        (name, kind)
        for kind, names in (
            ("<f4", "x y vx vy rx ry"),
            ("<i4", "type image_type image_theme render_z will_erase collides_with_entities"),
            ("<f4", "collision_margin rotation vrot"),
            ("<i4", "is_reflected fire_time spawn_time life_time expire_time use_abs_coords"),
            ("<f4", "friction"),
            ("<i4", "smart_step avoids_collisions auto_erase"),
            ("<f4", "alpha health theta grow_rate alpha_decay climber_spawn_x"),
        )
        for name in names.split()
    ]
)
"""One object of a game."""

INT32_MAX = 2**31 - 1

_NUMBERS_AFTER_OPTIONS = 5  # grid step, two level bounds, game type, game number
_NUMBERS_BEFORE_LEVELS = 1  # of those
_NUMBERS_BEFORE_TIMEOUT = 4  # reward, done, level complete, action
_NUMBERS_BEFORE_TIME = 1 + 8  # the timeout, seeds, episodes, rewards of before
_NUMBERS_BEFORE_ENTITIES = 1 + 10 + 1  # the timeout, the rest of Game::serialize, the grid's size
_NUMBERS_AFTER_ENTITIES = 19  # background, last actions, speeds, centre
_ACTION_FIELDS = (5, 6, 7, 11, 12, 13)  # among those after the entities; the first is the last move's direction
_NUMBERS_BEFORE_GRID = 3 + 6 + 2  # the world's size and border, camera, the grid's width and height
_NUMBERS_BEFORE_VISIBILITY = 3 + 4  # of those
_NO_TEXT = struct.pack("<i", 0)


def without_options(data: bytes) -> bytes:
    """Strip the rendering options from a saved state; the rest determines how the game continues."""
    start = 4 + 4 + struct.unpack_from("<i", data, 4)[0]
    return data[:start] + data[start + 4 * len(OPTIONS) :]


class SavedState:
    """A parsed saved state.

    Parameters
    ----------
    data
        What Procgen's ``get_state`` gave.

    Attributes
    ----------
    entities : numpy.ndarray of ENTITY
        The objects of the game in the order in which they are drawn; the array may be replaced.
    camera : numpy.ndarray, shape (4,), float32
        Pixels per unit of length, units across the frame, and the frame's horizontal and vertical offset in pixels.
    grid : numpy.ndarray, shape (height, width), int32
        Object types of the cells; row 0 is at the bottom.
    own : numpy.ndarray, int32
        The 4-byte fields that only this game has; writing to it changes the state.
    """

    def __init__(self, data: bytes) -> None:
        name_length = self._read_int(data, 4)
        self._options_at = 4 + 4 + name_length
        self._generators_at = self._options_at + 4 * (len(OPTIONS) + _NUMBERS_AFTER_OPTIONS)
        position = self._skip_generator(data, self._skip_generator(data, self._generators_at))
        self._timeout_at = position + 4 * _NUMBERS_BEFORE_TIMEOUT
        position = self._timeout_at + 4 * _NUMBERS_BEFORE_ENTITIES
        count = self._read_int(data, position)
        self._head = bytearray(data[:position])
        self.entities = np.frombuffer(data, ENTITY, count, position + 4).copy()
        start = position = position + 4 + count * ENTITY.itemsize
        position = self._skip_generator(data, position + 4 * _NUMBERS_AFTER_ENTITIES)
        self._visibility_at = position - start + 4 * _NUMBERS_BEFORE_VISIBILITY
        self.camera = np.frombuffer(data, "<f4", 4, position + 12).copy()
        position += 4 * _NUMBERS_BEFORE_GRID
        width, height = struct.unpack_from("<2i", data, position - 8)
        self.grid = np.frombuffer(data, "<i4", width * height, position + 4).reshape(height, width)
        position += 4 + 4 * width * height
        self._middle = bytearray(data[start:position])
        self.own = np.frombuffer(data, "<i4", offset=position).copy()

    @staticmethod
    def _read_int(data: bytes | bytearray, position: int) -> int:
        return int(struct.unpack_from("<i", data, position)[0])

    @classmethod
    def _skip_generator(cls, data: bytes | bytearray, position: int) -> int:
        return position + 8 + cls._read_int(data, position + 4)  # a flag, then a text

    @property
    def timeout(self) -> int:
        """Number of steps after which Procgen cuts an episode off."""
        return self._read_int(self._head, self._timeout_at)

    @timeout.setter
    def timeout(self, steps: int) -> None:
        struct.pack_into("<i", self._head, self._timeout_at, steps)

    @property
    def time(self) -> int:
        """Steps since the level began."""
        return self._read_int(self._head, self._timeout_at + 4 * _NUMBERS_BEFORE_TIME)

    @time.setter
    def time(self, steps: int) -> None:
        struct.pack_into("<i", self._head, self._timeout_at + 4 * _NUMBERS_BEFORE_TIME, steps)

    @property
    def levels(self) -> range:
        """Levels of which the game draws its next one."""
        return range(*struct.unpack_from("<2i", self._head, self._levels_at))

    @levels.setter
    def levels(self, levels: range) -> None:
        struct.pack_into("<2i", self._head, self._levels_at, levels.start, levels.stop)

    @property
    def _levels_at(self) -> int:
        return self._options_at + 4 * (len(OPTIONS) + _NUMBERS_BEFORE_LEVELS)

    def option(self, name: str) -> int:
        """Value of one of `OPTIONS`."""
        return self._read_int(self._head, self._options_at + 4 * OPTIONS.index(name))

    def set_option(self, name: str, value: int) -> None:
        """Change one of `OPTIONS`."""
        struct.pack_into("<i", self._head, self._options_at + 4 * OPTIONS.index(name), value)

    def draw_like(self, other: SavedState) -> None:
        """Copy the rendering options of another state of the same game."""
        options = slice(self._options_at, self._options_at + 4 * len(OPTIONS))
        theirs = slice(other._options_at, other._options_at + 4 * len(OPTIONS))
        self._head[options] = other._head[theirs]

    def forget_action(self, *, with_last_move: bool = False) -> None:
        """Clear the fields that record the last action, so that states after different actions can be compared.

        Parameters
        ----------
        with_last_move
            Whether to keep the last direction in which the player moved.
        """
        struct.pack_into("<i", self._head, self._timeout_at - 4, 0)
        for field in _ACTION_FIELDS[with_last_move:]:
            struct.pack_into("<i", self._middle, 4 * field, 0)

    @property
    def visibility(self) -> float:
        """Units of length across the frame, where the camera follows the player."""
        return float(struct.unpack_from("<f", self._middle, self._visibility_at)[0])

    @visibility.setter
    def visibility(self, units: float) -> None:
        struct.pack_into("<f", self._middle, self._visibility_at, units)

    def drop_idle_generators(self) -> None:
        """Remove the random generators of level seeds and images, which no step within an episode uses.

        A game that is set to the state keeps its own; setting it takes two thirds of the time.
        """
        level_seeds = slice(self._generators_at + 4, self._skip_generator(self._head, self._generators_at))
        self._timeout_at -= level_seeds.stop - level_seeds.start - 4
        self._head[level_seeds] = _NO_TEXT
        at = 4 * _NUMBERS_AFTER_ENTITIES
        images = slice(at + 4, self._skip_generator(self._middle, at))
        self._visibility_at -= images.stop - images.start - 4
        self._middle[images] = _NO_TEXT

    def own_lists(self, *, after: int, count: int) -> list[np.ndarray]:
        """The first lists among the game's own fields, as views of `own`, when `after` single fields precede them."""
        lists, position = [], after
        for _ in range(count):
            length = int(self.own[position])
            lists.append(self.own[position + 1 : position + 1 + length])
            position += 1 + length
        return lists

    def to_bytes(self) -> bytes:
        """The state as Procgen's ``set_state`` takes it."""
        count = struct.pack("<i", len(self.entities))
        return b"".join((bytes(self._head), count, self.entities.tobytes(), bytes(self._middle), self.own.tobytes()))
