"""One game of another package as the LCD plays it: its views as arrays, its actions as numbers, its faults named."""

from __future__ import annotations

import itertools
import math
import signal
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces

from lcd.envs.external.atari import SeededOnce
from lcd.envs.external.images import image_entry, image_reader, label_map, objects, vector
from lcd.envs.external.making import UnknownGame, close, make_game
from lcd.envs.external.options import ExternalOptions
from lcd.envs.external.privileged import Source, with_privileged_view
from lcd.envs.external.randomness import OwnRandomness
from lcd.envs.external.repeating import StickyActions
from lcd.envs.views import BOTH, PIXELS, SEMANTIC, NoSuchView
from lcd.io.limits import MOST_LABELS, short
from lcd.io.watching import WATCH

MOST_ACTIONS = 1_024
"""Largest number of combinations that actions of several parts may have."""

LARGEST_REWARD = float(np.finfo(np.float32).max)
"""Rewards are summed in single precision."""

VALUES_OF_A_PART = 3
"""Values of each part of a continuous action by default: lowest, middle and highest."""


class GameFault(RuntimeError):
    """A game of another package did what no learner can go on from; the message says what, in which level and step."""


class Spaces(NamedTuple):
    """Spaces of a game, found by making it once.

    Attributes
    ----------
    views
        Observation space of each view that it has.
    actions
        Its actions, as numbers.
    label_names
        Names of labels, where they are known.
    action_names
        Name of each action, where the game names them.
    privileged
        What the privileged view is, for people; None without one.
    entry
        Name of the entry that holds the image, where observations are dictionaries.
    """

    views: dict[str, spaces.Space]
    actions: spaces.Discrete
    label_names: dict[int, str]
    action_names: tuple[str, ...]
    privileged: str | None
    entry: str | None = None

    def of_view(self, view: str) -> spaces.Space:
        """Observation space of a view, or of both.

        Raises
        ------
        NoSuchView
            If the game has no such view.
        """
        if view == BOTH:
            return spaces.Dict(self.views)
        if view not in self.views:
            raise NoSuchView(
                "The game has no privileged view: give it a method label_map, or name one with --semantic."
            )
        return self.views[view]


def actions_of(space: spaces.Space, values: int = VALUES_OF_A_PART) -> tuple[int, Callable[[int], Any]]:
    """Number of actions, and the action of a game for each number.

    Parts of `MultiDiscrete` and `MultiBinary` actions are combined, and those of continuous ones; the last part changes
    first from number to number.

    Parameters
    ----------
    space
        The game's own actions.
    values
        Values that each part of a continuous action has, evenly spaced from its lowest to its highest.

    Raises
    ------
    ValueError
        If the space is another one, or has too many combinations.
    """
    if isinstance(space, spaces.Discrete):
        start = int(space.start)
        return int(space.n), lambda action: start + int(action)
    parts: list[np.ndarray]
    if isinstance(space, spaces.MultiDiscrete) and space.nvec.ndim == 1:
        parts = [np.arange(start, start + number) for start, number in zip(space.start, space.nvec, strict=True)]
    elif isinstance(space, spaces.MultiBinary) and len(space.shape) == 1:
        parts = [np.arange(2)] * space.shape[0]
    elif isinstance(space, spaces.Box) and len(space.shape) == 1 and space.is_bounded():
        parts = [_values(low, high, values, space.dtype) for low, high in zip(space.low, space.high, strict=True)]
    else:
        raise ValueError(
            f"Actions {short(space)} are not taken: Discrete, MultiDiscrete, MultiBinary and bounded Box are."
        )
    number = math.prod(len(part) for part in parts)
    if number > MOST_ACTIONS:
        raise ValueError(
            f"Actions {short(space)} have {number:,} combinations, more than {MOST_ACTIONS:,}: restrict them, or give "
            "continuous ones fewer values (action_values)."
        )
    table = np.array(list(itertools.product(*parts)), space.dtype)
    return number, lambda action: table[action].copy()  # some games change what they are given


def _values(low: float, high: float, values: int, dtype: Any) -> np.ndarray:
    """Evenly spaced values of a part of an action; of whole numbers the nearest ones, each once."""
    found = np.linspace(low, high, values)
    return np.unique(found.round()) if np.issubdtype(dtype, np.integer) else found


class NumberedActions(gymnasium.ActionWrapper):
    """A game whose actions are numbers, as `lcd.agents.PPO` takes them.

    Parameters
    ----------
    env
        A game with actions of any kind that `actions_of` takes.
    values
        As in `actions_of`.

    Raises
    ------
    ValueError
        If its actions have no numbers.
    """

    def __init__(self, env: gymnasium.Env, values: int = VALUES_OF_A_PART) -> None:
        super().__init__(env)
        number, self._numbered = actions_of(env.action_space, values)
        self.action_space = spaces.Discrete(number)

    def action(self, action: Any) -> Any:
        """The game's own action for a number."""
        return self._numbered(int(action))


def _is_users(error: BaseException) -> bool:
    """Whether an error is Ctrl-C, and not a game's own: processes that work for another one ignore it."""
    return isinstance(error, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


class ExternalGame:
    """One game.

    Parameters
    ----------
    options
        The game.
    view
        The view that is read, ``"pixels"`` or ``"semantic"``, or ``"both"`` where the game has both.

    Raises
    ------
    UnknownGame
        If it cannot be made.
    ValueError
        If its observations are no images, or its actions are not taken.
    """

    def __init__(self, options: ExternalOptions, view: str = BOTH) -> None:
        self.options, self.view = options, view
        self._randomness = OwnRandomness()
        self._vector_shape: tuple[int, ...] | None = None
        with self._randomness.around(seed=0):
            made = make_game(options)
            for name in ("observation_space", "action_space"):
                if not isinstance(getattr(made, name, None), spaces.Space):
                    raise UnknownGame(f"{options.game} has no {name}, a space of gymnasium.spaces: give it one.")
            self.env, self.source = with_privileged_view(made, options)
        self._read, shape = image_reader(self.env.observation_space, options.image_key)
        self.frame_shape = shape
        if options.action_values is not None and not isinstance(self.env.action_space, spaces.Box):
            actions = short(self.env.action_space)
            raise ValueError(
                f"action_values is for continuous actions, and those of {options.game} are {actions}: leave it out."
            )
        values = options.action_values or VALUES_OF_A_PART
        self.num_actions, self._action = actions_of(self.env.action_space, values)
        self._base = self.env.unwrapped
        self._known = self._base.observation_space, self._base.action_space
        self.level = self.steps = 0

    @property
    def _where(self) -> str:
        return f"step {self.steps}" if self.steps else "its reset"

    def _doing(self) -> str:
        return f"{self.options.game} in {self._where} of level {self.level}"

    def _fault(self, what: str, error: BaseException | None = None) -> GameFault:
        reason = "" if error is None else f" ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
        return GameFault(f"{self.options.game} {what} in {self._where} of level {self.level}{reason}.")

    def _views(self, observation: Any) -> dict[str, np.ndarray]:
        try:
            views: dict[str, np.ndarray] = {}
            if self.view in (PIXELS.name, BOTH):
                views[PIXELS.name] = self._read(observation)
            if self.view in (SEMANTIC.name, BOTH) and self.source is not None:
                views[SEMANTIC.name] = self._privileged(self.source)
        except (Exception, SystemExit) as error:  # of many types: a view is somebody else's code
            raise self._fault("gives observations that cannot be read", error) from error
        return views

    def _privileged(self, source: Source) -> np.ndarray:
        found = source.read()
        if source.kind == "label map":
            return label_map(found, self.frame_shape[:2], MOST_LABELS)
        numbers = vector(objects(found) if source.kind == "object list" else found)
        self._vector_shape = self._vector_shape or numbers.shape
        if numbers.shape != self._vector_shape:
            raise ValueError(
                f"the vector of the privileged view has {numbers.shape[0]} numbers, and had {self._vector_shape[0]} "
                "before: give always as many"
            )
        return numbers

    def begin_noise(self, seed: int) -> None:
        """Seed what its wrappers draw beside the level, such as sticky actions, from the next episode on."""
        env: Any = self.env
        while isinstance(env, gymnasium.Wrapper):
            if isinstance(env, StickyActions | SeededOnce):
                env.begin_noise(seed)
            env = env.env

    def begin(self, level: int) -> dict[str, np.ndarray]:
        """Begin an episode in a level, and give the views of its first state.

        Raises
        ------
        GameFault
            If the game fails.
        """
        self.level, self.steps = level, 0
        found = self._call(lambda: self.env.reset(seed=level), seed=level)
        if not isinstance(found, tuple) or len(found) != 2:
            raise self._fault("gives no pair of an observation and a dictionary, as Gymnasium's reset(seed=…) does,")
        return self._views(found[0])

    def step(self, action: int) -> tuple[dict[str, np.ndarray], float, bool, bool]:
        """Make a step, and give views, reward, terminated and truncated.

        Raises
        ------
        GameFault
            If the game fails, or its reward is not finite.
        """
        self.steps += 1
        found = self._call(lambda: self.env.step(self._action(action)))
        if not isinstance(found, tuple) or len(found) != 5:
            raise self._fault("gives no observation, reward, terminated, truncated and info, as Gymnasium's step does,")
        observation, reward, terminated, truncated, _ = found
        try:
            paid = float(reward)
        except (TypeError, ValueError) as error:
            raise self._fault(f"pays {short(reward)}, which is no number,") from error
        if not math.isfinite(paid):
            raise self._fault(f"pays a reward of {paid}")
        if abs(paid) > LARGEST_REWARD:
            raise self._fault(f"pays a reward of {paid:g}, which single precision does not hold,")
        return self._views(observation), paid, bool(terminated), bool(truncated)

    def _call(self, function: Callable[[], Any], *, seed: int | None = None) -> Any:
        """Call a method of the game: watched, with its own randomness, and with its errors as faults.

        Parameters
        ----------
        function
            Calls it.
        seed
            See `lcd.envs.external.randomness.OwnRandomness.around`.

        Raises
        ------
        GameFault
            If it fails, or the game has other spaces then.
        """
        try:
            with WATCH.over(self._doing), self._randomness.around(seed):
                found = function()
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # of many types: it is somebody else's code
            if _is_users(error):
                raise
            raise self._fault("fails", error) from error
        self._check_spaces()
        return found

    def _check_spaces(self) -> None:
        """Check that the game has still the spaces with which it was made.

        Raises
        ------
        GameFault
            If it has others.
        """
        now = self._base.observation_space, self._base.action_space
        if now[0] is self._known[0] and now[1] is self._known[1]:
            return
        for known, found, what in zip(self._known, now, ("observation_space", "action_space"), strict=True):
            if known != found:
                raise self._fault(f"changes its {what} from {short(known)} to {short(found)}")
        self._known = now

    def spaces(self) -> Spaces:
        """Its spaces, from its first state."""
        views: dict[str, spaces.Space] = {PIXELS.name: spaces.Box(0, 255, self.frame_shape, np.uint8)}
        names: dict[int, str] = {}
        if self.source is not None:
            shape = self.begin(0)[SEMANTIC.name].shape
            if self.source.kind == "label map":
                views[SEMANTIC.name] = spaces.Box(0, MOST_LABELS - 1, shape, np.uint8)
                names = dict(self.source.names)
            else:
                views[SEMANTIC.name] = spaces.Box(-np.inf, np.inf, shape, np.float32)
        described = None if self.source is None else self.source.described
        observed = self.env.observation_space
        entry = image_entry(observed, self.options.image_key) if isinstance(observed, spaces.Dict) else None
        return Spaces(views, spaces.Discrete(self.num_actions), names, self._action_names(), described, entry)

    def _action_names(self) -> tuple[str, ...]:
        """Names of the actions by the method of Atari's games, MiniGrid's enumeration, or a list."""
        game = self.env.unwrapped
        try:
            if callable(meanings := getattr(game, "get_action_meanings", None)):
                given: Iterable[Any] = meanings()
            else:
                given = getattr(game, "actions", None) or getattr(game, "action_names", None) or ()
            found = tuple(str(getattr(each, "name", each)).lower() for each in given)
        except Exception:  # of many types: it is somebody else's code, and names are for people alone
            return ()
        return found if len(found) == self.num_actions else ()

    def close(self) -> None:
        """Free the game."""
        close(self.env)


@cache
def spaces_of(options: ExternalOptions) -> Spaces:
    """Spaces of a game, found by making it once.

    Raises
    ------
    UnknownGame
        If it cannot be made.
    ValueError
        If its observations are no images, or its actions are not taken.
    GameFault
        If it fails in its first level.
    """
    game = ExternalGame(options)
    try:
        return game.spaces()
    finally:
        game.close()


__all__ = ["ExternalGame", "GameFault", "Spaces", "UnknownGame", "actions_of", "spaces_of"]
