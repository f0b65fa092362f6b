"""The twin of a game: the same levels and actions, rendered so that colours name the objects.

Procgen's monochrome colour is a hash of an object's type and theme, so some pairs of objects share a colour once themes
vary. Two repairs make every colour name one class; neither touches a random generator or anything that decides play.

- In bigfish, bossfight, fruitbot and starpilot a theme decides an object's shape (``match_aspect_ratio`` and
  ``fit_aspect_ratio`` in Procgen's sources), so these games cannot begin with themes switched off.
  Procgen remembers the shape of a sprite once it has drawn it, however, and its options are part of its saved
  state: each game draws every theme once, as it is, and only then has its themes switched off for good (unless the
  frames' own themes are restricted from the start: then the twin's are, too).
- In plunder the theme of a ship is what the game is about. An episode shows two of six themes (all of the same shape):
  where one of them shares its colour with something else, the twin plays the episode with another theme in its place,
  and the label maps name the true one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lcd.envs.procgen.engine import Engine
from lcd.envs.procgen.games import get_game
from lcd.envs.procgen.heading import Heading
from lcd.envs.procgen.options import ProcgenOptions
from lcd.envs.procgen.saved_state import ENTITY, SavedState, without_options
from lcd.envs.procgen.semantic import FRONT, LabelReader, class_names, semantic_options

_SHIP = 7  # plunder's image type of ships
_SHIP_CLASS = "ship {}"
_PLAYERS = ("player", "player jumping", "player walking")
_PLAYER = 0
_NOTHING = 59  # an object type that no rule of play looks for


class SemanticEngine(Engine):
    """A batch of Procgen games rendered for their label maps.

    Parameters
    ----------
    options
        The game, its levels and the appearance of its frames.
    num_envs, seed, num_threads
        As in `lcd.envs.procgen.engine.Engine`.
    """

    def __init__(self, options: ProcgenOptions, num_envs: int, seed: int, num_threads: int = 0) -> None:
        super().__init__(semantic_options(options), num_envs, seed, num_threads)
        game = get_game(options.game)
        names = class_names(game.name)
        self._labels = {name: label for label, name in names.items()}
        self._read_labels = LabelReader(game.name)
        self._player = [label for label, name in names.items() if name in _PLAYERS]
        self._heading = Heading(game.name, num_envs) if game.has_front else None
        self._replaced = game.replaced_themes.get(_SHIP, ())
        self._true_labels: dict[int, np.ndarray] = {}
        self._actions = np.zeros(num_envs, np.int32)
        if game.sized_themes and not options.restrict_themes:
            sprites = [(kind, theme) for kind, themes in game.sized_themes.items() for theme in range(themes)]
            for index in range(num_envs):
                self._switch_themes_off(index, sprites)
        if self._replaced:
            for index in range(num_envs):
                self._replace_themes(index)

    def act(self, actions: np.ndarray) -> None:
        """Start a step of every game; returns at once when the engine has threads."""
        self._actions = np.array(actions, np.int32)
        super().act(actions)

    def observe(self) -> None:
        """Wait for the started step, after which the arrays hold its results."""
        super().observe()
        began = self.firsts | self.level_completes
        if self._heading is not None:
            self._heading.advance(self._actions, began)
        if self._replaced:
            for index in np.flatnonzero(began).tolist():
                self._replace_themes(index)

    def look_at(self, index: int, other: Engine, other_index: int) -> None:
        """Set a game to the present state of a game of another engine, without time limit."""
        super().look_at(index, other, other_index)
        if isinstance(other, SemanticEngine):
            if self._heading is not None and other._heading is not None:
                self._heading.copy_game(index, other._heading, other_index)
            self._true_labels.pop(index, None)
            if other_index in other._true_labels:
                self._true_labels[index] = other._true_labels[other_index]

    def snapshot(self, games: np.ndarray) -> dict[str, Any]:
        """Everything that decides how some of the games go on and are drawn: arrays by name."""
        heading = {} if self._heading is None else {"heading": self._heading.snapshot(games)}
        places = {index: place for place, index in enumerate(games.tolist())}
        true_labels = {places[index]: labels for index, labels in self._true_labels.items() if index in places}
        return super().snapshot(games) | heading | {"true_labels": true_labels}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go on from a snapshot of an engine of the same options and number of games."""
        super().restore(snapshot)
        if self._heading is not None:
            self._heading.restore(snapshot["heading"])
        self._true_labels = {int(index): np.asarray(labels) for index, labels in snapshot["true_labels"].items()}

    def shows(self, index: int, other: Engine) -> bool:
        """Whether a game has the same state as that of the same number in another engine, apart from rendering."""
        theirs = other.get_state(index)
        if self._replaced:
            state = SavedState(theirs)
            self._rename_themes(state)
            theirs = state.to_bytes()
        return without_options(self.get_state(index)) == without_options(theirs)

    def follow(self, index: int, other: Engine) -> None:
        """Set a game to the present state of that of the same number in another engine, and keep its own rendering."""
        mine, theirs = SavedState(self.get_state(index)), SavedState(other.get_state(index))
        theirs.draw_like(mine)
        self.set_state(index, theirs.to_bytes())
        if self._replaced:
            self._replace_themes(index)
        if self._heading is not None:
            self._heading.read(index, theirs.entities[theirs.entities["type"] == _PLAYER][0])

    def labels(self) -> np.ndarray:
        """Label maps of all games, shape (num_envs, 64, 64), uint8."""
        labels = self._read_labels(self.frames)
        for index, true_labels in self._true_labels.items():
            labels[index] = true_labels.take(labels[index])
        if self._heading is not None:
            self._heading.paint_front(labels, self._player, self._labels[FRONT])
        return labels

    def _switch_themes_off(self, index: int, sprites: list[tuple[int, int]]) -> None:
        data = self.get_state(index)
        gallery, state = SavedState(data), SavedState(data)
        pictures = np.zeros(len(sprites), ENTITY)
        pictures["type"], pictures["rx"], pictures["ry"], pictures["alpha"] = _NOTHING, 1, 1, 1
        pictures["image_type"], pictures["image_theme"] = np.array(sprites).T
        gallery.entities = np.concatenate([gallery.entities, pictures])
        gallery.set_option("use_monochrome_assets", 0)
        self.set_state(index, gallery.to_bytes())
        state.set_option("restrict_themes", 1)
        self.set_state(index, state.to_bytes())

    def _rename_themes(self, state: SavedState) -> np.ndarray | None:
        """Give the ships shown in a state other themes where their own share a colour with something else.

        Returns
        -------
        numpy.ndarray, shape (themes,), or None
            The theme that stands in for each, if any had to.
        """
        _, targets, order, _ = state.own_lists(after=1, count=4)
        shown = order[:2].tolist()
        swap = np.arange(len(order))
        free = [theme for theme in swap.tolist() if theme not in shown and theme not in self._replaced]
        for theme in sorted(set(shown) & set(self._replaced)):
            stand_in = free.pop()
            swap[[theme, stand_in]] = stand_in, theme
        if (swap == np.arange(len(swap))).all():
            return None
        ships = state.entities["image_type"] == _SHIP
        state.entities["image_theme"][ships] = swap[state.entities["image_theme"][ships]]
        targets[:] = targets[swap]
        order[:] = swap[order]
        return swap

    def _replace_themes(self, index: int) -> None:
        state = SavedState(self.get_state(index))
        swap = self._rename_themes(state)
        self._true_labels.pop(index, None)
        if swap is None:
            return
        self.set_state(index, state.to_bytes())
        true_labels = np.arange(256, dtype=np.uint8)
        ship_labels = np.array([self._labels[_SHIP_CLASS.format(theme + 1)] for theme in range(len(swap))])
        true_labels[ship_labels] = ship_labels[swap]
        self._true_labels[index] = true_labels
