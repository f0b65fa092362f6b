"""A check of a game before it is diagnosed: what works, what is missing, and what would go wrong hours later."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Literal

import numpy as np

from lcd.envs import GameOptions, family_of, make_vec_env
from lcd.envs.external.game import spaces_of
from lcd.envs.external.options import ExternalOptions
from lcd.envs.external.randomness import stirred
from lcd.envs.external.watching import CHECKS, WATCH
from lcd.envs.family import chosen_options, has_view, observation_space, policy_spaces, random_actions
from lcd.envs.views import BOTH, PIXELS, SEMANTIC
from lcd.io.child_processes import hidden_script
from lcd.io.limits import LONGEST_STEP_LIMIT, real_number

Status = Literal["ok", "note", "problem"]

STEPS, NUM_ENVS = 400, 4
SILENCE = 60.0
"""Seconds without a finding or a step after which the game is taken to hang."""

PLAYED_SECONDS = 15.0
"""Random play of a slow game ends after these, before all `STEPS` are done."""

SHOWN_EVERY = 40
"""Steps between the observations of random play that are compared."""

CLOSING = 5.0
"""Seconds that its process has to end by itself, with processes that the game has started."""

STARTING = 300.0
"""Seconds that its process may take until it begins, on a busy machine or from a slow disk."""

BEAT, BEAT_SECONDS = "a step", 0.5
"""Sent so often while the game is stepped, so that a slow one is not taken for one that hangs."""

HANGS = "hangs"
"""Name of the finding that ends an examination."""

UNFIT = "cannot be diagnosed"
"""Name of the finding that a game is none which can be diagnosed as it is, or cannot be made."""

MOST_NAMES = 300
"""Characters of the names of actions that are shown."""

FEW = 100
"""Steps of random play below which nothing is said of its memory."""

SLOW, GROWTH_MB = 200.0, 50.0

GROWS_AFTER = 4
"""A quarter of random play, in which libraries are loaded, passes before growing memory counts."""


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


def examine(
    game: Any,
    *,
    encoder: str = "nature",
    seconds: float = SILENCE,
    step_limit: float | None = None,
    report: Callable[[Finding], None] = lambda finding: None,
    **settings: Any,
) -> list[Finding]:
    """Examine a game in a process of its own, which is ended if it hangs.

    Parameters
    ----------
    game, encoder, **settings
        As in `lcd.diagnose`.
    seconds
        Time without a finding or a step after which the game is taken to hang.
    step_limit
        Seconds after which a step or a reset is taken to hang, which is named then; by default `seconds`.
    report
        Called with each finding.

    Returns
    -------
    list of Finding
        In the order of the checks, which end at what makes the rest impossible.

    Raises
    ------
    ValueError
        If there is no such game or setting.
    """
    real_number("seconds", seconds, 0.01, LONGEST_STEP_LIMIT)
    limit = seconds if step_limit is None else real_number("step_limit", step_limit, 0.01, LONGEST_STEP_LIMIT)
    silence = max(seconds, limit * (1 + 2 / CHECKS))  # that the step is named first
    options = chosen_options(game, **settings)
    encoder = _named(encoder)
    here, there = multiprocessing.Pipe(duplex=False)
    arguments = (there, options, encoder, limit)
    process = multiprocessing.get_context("spawn").Process(target=_child, args=arguments)  # which may start others
    with hidden_script():
        process.start()
    there.close()
    findings: list[Finding] = []

    def add(finding: Finding) -> None:
        findings.append(finding)
        report(finding)

    waited, hangs = max(silence, STARTING), "its process did not begin: the machine is too busy, so try again later."
    try:
        while True:
            if not here.poll(waited):
                add(Finding(HANGS, "problem", f"For {waited:.0f} seconds nothing came back: {hangs}"))
                break
            waited, hangs = silence, "it hangs where it is made, reset or stepped, or needs more --seconds."
            try:
                found = here.recv()
            except EOFError:
                add(Finding("crashes", "problem", "Its process died, without an error that Python could tell."))
                break
            if found is None:
                process.join(CLOSING)
                break
            if found != BEAT:
                add(found)
            if found != BEAT and found.what == HANGS:
                break
    finally:
        process.kill()
        process.join()
    return findings


def _named(encoder: Any) -> str:
    """The name of an encoder that may be a class, after its import."""
    if isinstance(encoder, str) and ":" not in encoder:
        return encoder
    from lcd.agents import import_encoder  # takes seconds

    return import_encoder(encoder)


def _child(out: Connection, options: GameOptions, encoder: str, limit: float = SILENCE) -> None:
    """Send a beat at first and while the game is stepped, each finding, a step that hangs, and None at the end."""
    sending, ended = threading.Lock(), threading.Event()

    def send(found: Finding | str | None) -> None:
        with sending:
            out.send(found)

    def beat() -> None:
        before = WATCH.calls
        while not ended.wait(BEAT_SECONDS):
            if WATCH.calls != before:
                before = WATCH.calls
                send(BEAT)

    WATCH.limit, WATCH.ended = limit, lambda sentence: send(Finding(HANGS, "problem", sentence))
    import lcd.agents  # noqa: F401 (takes seconds, which are none of the game's)

    send(BEAT)
    beating = threading.Thread(target=beat, daemon=True)
    beating.start()
    for finding in examined_here(options, encoder):
        send(finding)
    ended.set()
    beating.join()
    send(None)


def examined_here(options: GameOptions, encoder: str) -> Iterator[Finding]:
    """The findings of `examine`, in this process."""
    try:
        yield from _checks(options, encoder)
    except ValueError as error:  # what `lcd.diagnose` refuses
        yield Finding(UNFIT, "problem", str(error))
    except (Exception, SystemExit) as error:  # of many types: it is somebody else's code
        yield Finding("fails", "problem", " ".join(str(error).split())[:400] or type(error).__name__)


def _checks(options: GameOptions, encoder: str) -> Iterator[Finding]:
    began = time.perf_counter()
    frames = observation_space(options, "pixels")
    yield Finding("game", "ok", f"{options.game} is made in {time.perf_counter() - began:.1f} s.")
    yield Finding("frames", "ok", f"Images of shape {frames.shape}, height, width and channels.")
    yield _actions(options)
    has_privileged = False
    for finding in _privileged(options):
        has_privileged |= finding.status == "ok"
        yield finding
    yield _encoder(options, encoder)
    with _stdout_of_games() as printed:
        played = _play(options, BOTH if has_privileged else PIXELS.name, STEPS, PLAYED_SECONDS)
        compared = list(_compared(options, played, has_privileged))
    yield from compared
    if has_privileged:
        yield from _shown(played)
    yield from _episodes(played)
    yield _levels(options)
    yield _speed(played)
    yield _memory(played)
    yield _prints(printed(), played)


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
    described = "label maps"
    if isinstance(options, ExternalOptions):
        described = spaces_of(options.training_levels(0)).privileged or described
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


@dataclass
class _Played:
    """What random play of some games showed.

    Attributes
    ----------
    views
        Some observations by view, after how many steps they were shown.
    rewards, ended, levels, steps : numpy.ndarray, shape (steps, games)
        Of each step: reward, whether the episode ended, its level, and the number of the step in its episode.
    printed_in
        The first step, or what came before it, in which lines were written to the standard output while it is caught.
    """

    views: dict[int, dict[str, np.ndarray]]
    rewards: np.ndarray
    ended: np.ndarray
    levels: np.ndarray
    steps: np.ndarray
    returns: list[float]
    lengths: list[int]
    steps_per_second: float
    growth_mb: float
    printed_in: str | None = None


def _resident_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)


@stirred()
def _play(options: GameOptions, view: str, steps: int, seconds: float) -> _Played:
    silent = _written()
    env, rng = make_vec_env(options, NUM_ENVS, view, seed=0), np.random.default_rng(0)
    printed_in = None if _written() == silent else "its construction"
    views, returns, lengths, resident = {}, [], [], []
    rewards: list[np.ndarray] = []
    ends, levels, numbers = [], [], []
    running, since = np.zeros(NUM_ENVS), np.zeros(NUM_ENVS, np.int64)
    try:
        views[0] = _by_view(env.reset(), view)
        if printed_in is None and _written() != silent:
            printed_in = "its first reset"
        began = time.perf_counter()
        while len(rewards) < steps and time.perf_counter() - began < seconds:
            observed, paid, ended, infos = env.step(random_actions(options, rng, NUM_ENVS))
            running += paid
            since += 1
            rewards.append(paid)
            ends.append(ended)
            levels.append([info.get("prev_level_seed", -1) for info in infos])
            numbers.append(since.copy())
            if printed_in is None and _written() != silent:
                printed_in = f"step {since[0]} of level {levels[-1][0]}, or in the same step of the games beside it"
            for index in np.flatnonzero(ended).tolist():
                returns.append(float(running[index]))
                lengths.append(int(since[index]))
            running[ended], since[ended] = 0.0, 0
            if len(rewards) % SHOWN_EVERY == 1:
                views[len(rewards)] = _by_view(observed, view)
            resident.append(_resident_mb())
        rate = len(rewards) * NUM_ENVS / (time.perf_counter() - began)
    finally:
        env.close()
    growth = resident[-1] - resident[len(resident) // GROWS_AFTER]
    rewarded, ended_at, played, numbered = (np.array(each) for each in (rewards, ends, levels, numbers))
    return _Played(views, rewarded, ended_at, played, numbered, returns, lengths, rate, growth, printed_in)


def _written() -> int:
    """Bytes that are written to the standard output, where it is a file."""
    return os.fstat(1).st_size


def _by_view(observed: Any, view: str) -> dict[str, np.ndarray]:
    return {name: np.array(each) for name, each in observed.items()} if isinstance(observed, dict) else {view: observed}


def _compared(options: GameOptions, played: _Played, has_privileged: bool) -> Iterator[Finding]:
    """Whether the same seeds and actions give the same once more, and with each view alone."""

    def again(view: str) -> _Played:
        return _play(options, view, len(played.rewards), float("inf"))

    alone = again(PIXELS.name)
    if not has_privileged:
        yield _determinism(_difference(played, alone))
        return
    privileged = again(SEMANTIC.name)
    pairs = {
        "images and with the privileged view": (alone, privileged),
        "images and with both views": (alone, played),
        "the privileged view and with both": (privileged, played),
    }
    found = {names: found for names, pair in pairs.items() if (found := _difference(*pair)) is not None}
    by_chance = _difference(alone, again(PIXELS.name)) if found else None
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


def _shown(played: _Played) -> Iterator[Finding]:
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


def _difference(one: _Played, other: _Played) -> str | None:
    """The first thing that differs in two plays of the same seeds and actions, None if nothing does."""
    columns = {"rewards": "rewards", "ended": "ends of episodes", "levels": "levels", "steps": "numbers of steps"}
    differing = np.stack([getattr(one, name) != getattr(other, name) for name in columns], axis=-1)
    places = np.argwhere(differing)  # the earliest step first
    if len(places):
        step, game, column = places[0].tolist()
        name = list(columns)[column]
        first, second = (getattr(each, name)[step, game] for each in (one, other))
        return (
            f"other {columns[name]}, first in step {one.steps[step, game]} of level {one.levels[step, game]} "
            f"({first} and {second})"
        )
    for after, shown in one.views.items():
        for view in (each for each in shown if each in other.views[after]):
            if not np.array_equal(shown[view], other.views[after][view]):
                what = "frames" if view == PIXELS.name else "privileged views"
                return f"other {what}, first seen after {after} steps"
    return None


def _episodes(played: _Played) -> Iterator[Finding]:
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
    if not family_of(options).levels_differ(options):
        return Finding(
            "levels",
            "note",
            "All of those tried are alike, so that a diagnosis says nothing of generalisation: the seed of reset "
            "should decide the level, and it alone.",
        )
    return Finding("levels", "ok", "They differ.")


def _speed(played: _Played) -> Finding:
    rate = f"{played.steps_per_second:,.0f} steps a second in one process"
    if played.steps_per_second < SLOW:
        return Finding(
            "speed", "note", f"{rate}: a million steps take {1e6 / played.steps_per_second / 3600:.1f} hours."
        )
    return Finding("speed", "ok", f"{rate}.")


def _memory(played: _Played) -> Finding:
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


def _prints(text: str, played: _Played) -> Finding:
    if not text:
        return Finding("prints", "ok", "It prints nothing.")
    where = "" if played.printed_in is None else f", first in {played.printed_in}"
    return Finding(
        "prints", "note", f"It prints to the standard output, {text[:60]!r}{where}: results are hard to read."
    )


@contextlib.contextmanager
def _stdout_of_games() -> Iterator[Callable[[], str]]:
    """Catch what is written to the standard output, by C code too."""
    sys.stdout.flush()
    kept = os.dup(1)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 1)
        text: list[str] = []
        try:
            with os.fdopen(os.dup(1), "w", buffering=1) as stream, contextlib.redirect_stdout(stream):
                yield lambda: "".join(text)
        finally:
            os.dup2(kept, 1)
            os.close(kept)
            file.seek(0)
            text.append(file.read(10_000).decode(errors="replace").strip())
