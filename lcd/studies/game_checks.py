"""The checks of a game before it is diagnosed, one after the other."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lcd.envs import GameOptions, family_of
from lcd.envs.external.game import Spaces, spaces_of
from lcd.envs.external.making import is_atari
from lcd.envs.external.options import ExternalOptions
from lcd.envs.family import has_view, observation_space, policy_spaces
from lcd.envs.views import BOTH, PIXELS, SEMANTIC
from lcd.studies.random_play import GROWS_AFTER, NUM_ENVS, Played, first_difference, play, stdout_of_games

Status = Literal["ok", "note", "problem"]

STEPS = 400

PLAYED_SECONDS = 15.0
"""Random play of a slow game ends after these, before all `STEPS` are done."""

UNFIT = "cannot be diagnosed"
"""Name of the finding that a game is none which can be diagnosed as it is, or cannot be made."""

MOST_NAMES = 300
"""Characters of the names of actions that are shown."""

FEW = 100
"""Steps of random play below which nothing is said of its memory."""

SLOW, GROWTH_MB = 200.0, 50.0


@dataclass(frozen=True)
class Finding:
    """One thing that was examined.

    Attributes
    ----------
    what
        Its name.
    status
        ``"ok"``; ``"note"`` for what limits a diagnosis; ``"problem"`` for what prevents or falsifies one.
    sentence
        What was found, and what would help.
    """

    what: str
    status: Status
    sentence: str


def examined_here(options: GameOptions, encoder: str) -> Iterator[Finding]:
    """The findings of `examine`, in this process."""
    try:
        yield from _checks(options, encoder)
    except ValueError as error:  # what `lcd.diagnose` refuses
        yield Finding(UNFIT, "problem", str(error))
    except (Exception, SystemExit) as error:  # of many types: it is somebody else's code
        yield Finding("fails", "problem", " ".join(str(error).split())[:400] or type(error).__name__)


def _checks(options: GameOptions, encoder: str) -> Iterator[Finding]:
    with stdout_of_games() as printed:
        played = yield from _checks_without_prints(options, encoder)
    yield _prints(printed(), played)


def _checks_without_prints(options: GameOptions, encoder: str) -> Generator[Finding, None, Played]:
    began = time.perf_counter()
    frames = observation_space(options, "pixels")
    yield Finding("game", "ok", f"{options.game} is made in {time.perf_counter() - began:.1f} s.")
    known = _known_spaces(options)
    whence = "" if known is None or known.entry is None else f", the entry {known.entry!r} of the observations"
    yield Finding("frames", "ok", f"Images of shape {frames.shape}, height, width and channels{whence}.")
    yield _actions(options)
    has_privileged = False
    for finding in _privileged(options):
        has_privileged |= finding.status == "ok"
        yield finding
    yield _encoder(options, encoder)
    played = play(options, BOTH if has_privileged else PIXELS.name, STEPS, PLAYED_SECONDS)
    yield from _compared(options, played, has_privileged)
    if has_privileged:
        yield from _shown(played)
    yield from _episodes(played)
    yield _levels(options)
    yield _speed(played)
    yield _memory(played)
    return played


def _known_spaces(options: GameOptions) -> Spaces | None:
    """What is known of the spaces of another package's game; None for the LCD's own."""
    return spaces_of(options.training_levels(0)) if isinstance(options, ExternalOptions) else None


def _actions(options: GameOptions) -> Finding:
    family = family_of(options)
    number, names = int(family.action_space(options).n), ", ".join(family.action_names(options))
    listed = f": {names}" if names and len(names) <= MOST_NAMES else ""
    return Finding("actions", "ok" if number <= 64 else "note", f"{number} actions{listed}.")


def _privileged(options: GameOptions) -> Iterator[Finding]:
    if not has_view(options, "semantic"):
        yield Finding(
            "privileged view",
            "note",
            "None: the frozen encoder of an expert will take its place, which takes longer and says less. Give the "
            "game a method label_map, or name one with --semantic.",
        )
        return
    space = observation_space(options, "semantic")
    known = _known_spaces(options)
    described = "label maps" if known is None or known.privileged is None else known.privileged
    yield Finding("privileged view", "ok", f"{described[0].upper()}{described[1:]}, shape {space.shape}.")


def _encoder(options: GameOptions, encoder: str) -> Finding:
    from lcd.agents import EncoderPolicy, import_encoder
    from lcd.experiments.plan import check_encoder

    try:
        name = import_encoder(encoder)
        check_encoder(name, options)
        EncoderPolicy(*policy_spaces(options, "pixels"), lambda left: 0.0, name)
    except ValueError as error:
        return Finding("encoder", "problem", f"{encoder} does not take the images: {error}")
    return Finding("encoder", "ok", f"{encoder} takes the images.")


def _compared(options: GameOptions, played: Played, has_privileged: bool) -> Iterator[Finding]:
    """Whether the same seeds and actions give the same once more, and with each view alone."""

    def again(view: str) -> Played:
        return play(options, view, len(played.rewards), float("inf"))

    alone = again(PIXELS.name)
    if not has_privileged:
        yield _determinism(first_difference(played, alone))
        return
    privileged = again(SEMANTIC.name)
    pairs = {
        "images and with the privileged view": (alone, privileged),
        "images and with both views": (alone, played),
        "the privileged view and with both": (privileged, played),
    }
    found = {names: found for names, pair in pairs.items() if (found := first_difference(*pair)) is not None}
    by_chance = first_difference(alone, again(PIXELS.name)) if found else None
    yield _determinism(by_chance)
    if by_chance is not None:
        yield Finding("views", "note", "They cannot be compared: the game is not the same from one time to the next.")
    elif found:
        names, difference = next(iter(found.items()))
        yield Finding(
            "views",
            "problem",
            f"With {names} the same seeds and actions give {difference}: no view may change the game that it shows.",
        )
    else:
        yield Finding("views", "ok", "Rewards, ends and steps are the same with images, the privileged view and both.")


def _shown(played: Played) -> Iterator[Finding]:
    """A privileged view that stands still while the frames change."""
    shown = {name: np.stack([views[name] for views in played.views.values()]) for name in (PIXELS.name, SEMANTIC.name)}
    changes = {name: (each != each[0]).any() for name, each in shown.items()}
    if changes[PIXELS.name] and not changes[SEMANTIC.name]:
        yield Finding(
            "privileged view",
            "problem",
            f"It was the same in all of the {len(played.views)} steps that were compared, while the frames changed: it "
            "should show what the game's state is now.",
        )


def _determinism(difference: str | None) -> Finding:
    if difference is None:
        return Finding("determinism", "ok", "The same seeds and actions give the same frames and rewards.")
    return Finding(
        "determinism",
        "note",
        f"The same seeds and actions give {difference}: runs cannot be repeated to the digit, and episodes of one "
        "level differ.",
    )


def _episodes(played: Played) -> Iterator[Finding]:
    if not played.returns:
        yield Finding(
            "episodes",
            "note",
            f"No episode ended within {len(played.rewards)} steps of random play: evaluations take long, and one "
            "that never ends is refused. Limit it with max_episode_steps.",
        )
    else:
        yield Finding(
            "episodes",
            "ok",
            f"{len(played.returns)} episodes of random play, {np.mean(played.lengths):.0f} steps in the mean.",
        )
    kinds = np.unique(played.rewards)
    if len(kinds) == 1:
        yield Finding(
            "rewards",
            "note",
            f"Random play was paid {kinds[0]:g} in each of {len(played.rewards)} steps: learning from reward can "
            "hardly begin by chance.",
        )
    else:
        mean = f", {np.mean(played.returns):.3g} an episode in the mean" if played.returns else ""
        yield Finding("rewards", "ok", f"Rewards from {kinds.min():g} to {kinds.max():g}{mean}.")


def _levels(options: GameOptions) -> Finding:
    if isinstance(options, ExternalOptions) and is_atari(options):
        return Finding(
            "levels",
            "note",
            "They are 30 beginnings at most, all of which training knows: a diagnosis says nothing of generalisation.",
        )
    if not family_of(options).levels_differ(options):
        return Finding(
            "levels",
            "note",
            "All of those tried are alike, so that a diagnosis says nothing of generalisation: the seed of reset "
            "should decide the level, and it alone.",
        )
    return Finding("levels", "ok", "They differ.")


def _speed(played: Played) -> Finding:
    rate = f"{played.steps_per_second:,.0f} steps a second in one process"
    if played.steps_per_second < SLOW:
        return Finding(
            "speed", "note", f"{rate}: a million steps take {1e6 / played.steps_per_second / 3600:.1f} hours."
        )
    return Finding("speed", "ok", f"{rate}.")


def _memory(played: Played) -> Finding:
    steps = len(played.rewards)
    if steps < FEW:
        return Finding("memory", "note", f"In {steps} steps, all that were played, a leak would not be seen.")
    if played.growth_mb > GROWTH_MB:
        first, each = steps // GROWS_AFTER, 1000 * played.growth_mb / (NUM_ENVS * (steps - steps // GROWS_AFTER))
        return Finding(
            "memory",
            "problem",
            f"It grew by {played.growth_mb:.0f} MB from step {first} to {steps} of {NUM_ENVS} games, {each:.0f} kB a "
            "step: it leaks.",
        )
    return Finding("memory", "ok", f"It grew by {played.growth_mb:.0f} MB in {steps} steps.")


def _prints(text: str, played: Played) -> Finding:
    if not text:
        return Finding("prints", "ok", "It prints nothing.")
    where = "" if played.printed_in is None else f", first in {played.printed_in}"
    return Finding(
        "prints", "note", f"It prints to the standard output, {text[:60]!r}{where}: results are hard to read."
    )
