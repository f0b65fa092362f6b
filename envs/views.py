"""Views: what of a game's state a learner sees.

A view is data. A game draws the `PIXELS` and, if it can, the `SEMANTIC` view; other views are made of these, and a new
one is an entry in `VIEWS` and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from lcd.io.limits import short

Kind = Literal["image", "label map", "vector"]


@dataclass(frozen=True)
class View:
    """A view of a game's state.

    Attributes
    ----------
    name
        Its name in settings and tables.
    kind
        ``"image"``: frames of shape (height, width, 3); ``"label map"``: class labels of shape (height, width);
        ``"vector"``: numbers of shape (length,).
    hides
        What it keeps from the learner, in words.
    shows_appearance
        Whether it depends on how objects are drawn, beside which objects are where.
    base
        Name of the view that it is made from, None for one that the game draws.
    transform
        Makes a batch of it from a batch of the base.
    transform_for
        The same where it depends on the game: makes the transform from the game's options, or raises `NoSuchView`.
    space
        Of one observation; None where it is that of the base.
    """

    name: str
    kind: Kind
    hides: str
    shows_appearance: bool = True
    base: str | None = None
    transform: Callable[[NDArray[Any]], NDArray[Any]] | None = None
    transform_for: Callable[[Any], Callable[[NDArray[Any]], NDArray[Any]]] | None = None
    space: spaces.Space | None = None

    def of_game(self, options: Any) -> View:
        """The same view, with its transform for a game.

        Raises
        ------
        NoSuchView
            If the game cannot be shown in it.
        """
        if self.transform_for is None:
            return self
        return replace(self, transform=self.transform_for(options), transform_for=None)

    @property
    def drawn_as(self) -> str:
        """Name of the view that the game draws for it."""
        return self.base or self.name


PIXELS = View("pixels", "image", hides="nothing that a player sees")
SEMANTIC = View("semantic", "label map", hides="how objects look", shows_appearance=False)
BLIND = View("blind", "image", hides="everything", shows_appearance=False, base="pixels", transform=np.zeros_like)
"""A constant frame: what a learner earns on it needs no perception at all."""

VIEWS: dict[str, View] = {view.name: view for view in (PIXELS, SEMANTIC, BLIND)}
"""Views by name; `register_view` adds to them."""

BOTH = "both"
"""In the place of a view: a dictionary of `PIXELS` and `SEMANTIC` for the same state."""


def register_view(view: View) -> View:
    """Register a view that is made from another one.

    Raises
    ------
    ValueError
        If the name is taken, or the view is not made from one that games draw.
    """
    if view.name in VIEWS or view.name == BOTH:
        raise ValueError(f"There is a view {view.name!r} already: choose another name.")
    if (view.transform or view.transform_for) is None or view.base not in (PIXELS.name, SEMANTIC.name):
        raise ValueError(f"The view {view.name!r} must have a transform, and pixels or semantic as its base.")
    VIEWS[view.name] = view
    return view


def get_view(name: str) -> View:
    """Look a view up by its name.

    Raises
    ------
    ValueError
        If there is no such view.
    """
    if not isinstance(name, str) or name not in VIEWS:
        raise ValueError(f"Unknown view {short(name)}: choose one of {', '.join(VIEWS)}.")
    return VIEWS[name]


def both_spaces(view: str, frame_shape: tuple[int, int], num_labels: int) -> spaces.Space:
    """Space of one game's observation in a view that the game draws.

    Parameters
    ----------
    view
        ``"pixels"``: RGB frames; ``"semantic"``: label maps; ``"both"``: a dictionary of the two.
    frame_shape
        Height and width.
    num_labels
        Labels run from 0 up to, and without, this number.

    Raises
    ------
    ValueError
        If the view is another one.
    """
    pixels = spaces.Box(0, 255, (*frame_shape, 3), np.uint8)
    semantic = spaces.Box(0, num_labels - 1, frame_shape, np.uint8)
    known: dict[str, spaces.Space] = {
        "pixels": pixels,
        "semantic": semantic,
        "both": spaces.Dict(pixels=pixels, semantic=semantic),
    }
    if view not in known:
        raise ValueError(f"Unknown view {view!r}: choose one of {', '.join(known)}.")
    return known[view]


def drawn_for(views: Sequence[str]) -> str:
    """What a game must draw for some views: one view, or ``"both"``."""
    drawn = {get_view(name).drawn_as for name in views}
    return drawn.pop() if len(drawn) == 1 else BOTH


class NoSuchView(ValueError):
    """A game cannot be shown in a view."""


class ViewVecEnv(VecEnvWrapper):
    """Shows a vector environment in one view, or in a dictionary of several.

    Parameters
    ----------
    venv
        Environment that draws what `drawn_for` says.
    views
        The views, or their names.
    as_dict
        Whether observations are a dictionary by view, which several always are.
    """

    def __init__(self, venv: VecEnv, views: Sequence[str | View], as_dict: bool = False) -> None:
        self._views = [view if isinstance(view, View) else get_view(view) for view in views]
        self._as_dict = as_dict or len(views) > 1
        drawn = venv.observation_space
        shown = {
            view.name: view.space or (drawn[view.drawn_as] if isinstance(drawn, spaces.Dict) else drawn)
            for view in self._views
        }
        super().__init__(venv, spaces.Dict(shown) if self._as_dict else shown[self._views[0].name])

    def _show(self, drawn: Any) -> Any:
        shown = {}
        for view in self._views:
            observation = drawn[view.drawn_as] if isinstance(drawn, dict) else drawn
            shown[view.name] = observation if view.transform is None else view.transform(observation)
        return shown if self._as_dict else shown[self._views[0].name]

    def reset(self) -> VecEnvObs:
        """Begin new episodes."""
        return self._show(self.venv.reset())

    def step_wait(self) -> VecEnvStepReturn:
        """Finish the step; the last observation of an episode is shown in the same views."""
        observations, rewards, dones, infos = self.venv.step_wait()
        return self._show(observations), rewards, dones, with_last_observations(infos, dones, self._show_one)

    def _show_one(self, last: Any) -> Any:
        one = {name: each[None] for name, each in last.items()} if isinstance(last, dict) else last[None]
        shown = self._show(one)
        return {name: each[0] for name, each in shown.items()} if isinstance(shown, dict) else shown[0]


def with_last_observations(
    infos: Sequence[dict[str, Any]], dones: NDArray[np.bool_], show: Callable[[Any], Any]
) -> list[dict[str, Any]]:
    """Infos of a step in which the last observations of the episodes that it ends are shown otherwise.

    Parameters
    ----------
    infos
        Of each game, as a vector environment of Stable-Baselines3 gives them; some give a tuple. They stay as they are.
    dones
        Whether the step has ended each game's episode, shape (games,).
    show
        What is shown of a last observation.

    Returns
    -------
    list of dict
        One a game.
    """
    changed = list(infos)
    for game in np.flatnonzero(dones).tolist():
        if (last := changed[game].get("terminal_observation")) is not None:
            changed[game] = changed[game] | {"terminal_observation": show(last)}
    return changed
