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
from lcd.envs.external.making import named
from lcd.envs.external.options import ExternalOptions
from lcd.envs.external.watching import CHECKS, WATCH
from lcd.envs.family import game_options, has_view, observation_space, policy_spaces, random_actions
from lcd.envs.views import BOTH
from lcd.io.limits import LONGEST_STEP_LIMIT, real_number

Status = Literal["ok", "note", "problem"]

STEPS, NUM_ENVS = 400, 4
SILENCE = 60.0
"""Seconds without a finding or a step after which the game is taken to hang."""

PLAYED_SECONDS = 15.0
"""Random play of a slow game ends after these, before all `STEPS` are done."""

SHOWN_EVERY = 40
"""Steps between the observations of random play that are compared."""

BEAT, BEAT_SECONDS = "a step", 0.5
"""Sent so often while the game is stepped, so that a slow one is not taken for one that hangs."""

HANGS = "hangs"
"""Name of the finding that ends an examination."""

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
    name, own = named(game)
    options = game_options(name, **(own | settings))
    here, there = multiprocessing.Pipe(duplex=False)
    arguments = (there, options, encoder, limit)
    process = multiprocessing.get_context("spawn").Process(target=_child, args=arguments, daemon=True)
    process.start()
    there.close()
    findings: list[Finding] = []

    def add(finding: Finding) -> None:
        findings.append(finding)
        report(finding)

    try:
        while True:
            if not here.poll(silence):
                add(Finding(HANGS, "problem", f"For {silence:.0f} seconds nothing came back: a step or reset hangs."))
                break
            try:
                found = here.recv()
            except EOFError:
                add(Finding("crashes", "problem", "Its process died, without an error that Python could tell."))
                break
            if found is None:
                break
            if found != BEAT:
                add(found)
            if found != BEAT and found.what == HANGS:
                break
    finally:
        process.kill()
        process.join()
    return findings


def _child(out: Connection, options: GameOptions, encoder: str, limit: float = SILENCE) -> None:
    """Send each finding, a beat while the game is stepped, a step that hangs, and None at the end."""
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
        view = BOTH if has_privileged else "pixels"
        played = _play(options, view, STEPS, PLAYED_SECONDS)
        again = _play(options, view, len(played.rewards), float("inf"))
    yield _same(played, again)
    yield from _episodes(played)
    yield _levels(options)
    yield _speed(played)
    yield _memory(played)
    text = printed()
    yield (
        Finding("prints", "note", f"It prints to the standard output, such as {text[:60]!r}: results are hard to read.")
        if text
        else Finding("prints", "ok", "It prints nothing.")
    )


def _actions(options: GameOptions) -> Finding:
    number = int(family_of(options).action_space(options).n)
    return Finding("actions", "ok" if number <= 64 else "note", f"{number} actions.")


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
    from lcd.agents import EncoderPolicy

    try:
        EncoderPolicy(*policy_spaces(options, "pixels"), lambda left: 0.0, encoder)
    except ValueError as error:
        return Finding("encoder", "problem", f"{encoder} does not take the images: {error}")
    return Finding("encoder", "ok", f"{encoder} takes the images.")


@dataclass
class _Played:
    """What random play of some games showed."""

    views: list[dict[str, np.ndarray]]
    rewards: np.ndarray
    returns: list[float]
    lengths: list[int]
    steps_per_second: float
    growth_mb: float


def _resident_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)


def _play(options: GameOptions, view: str, steps: int, seconds: float) -> _Played:
    env, rng = make_vec_env(options, NUM_ENVS, view, seed=0), np.random.default_rng(0)
    views, returns, lengths, resident = [], [], [], []
    rewards: list[np.ndarray] = []
    running, since = np.zeros(NUM_ENVS), np.zeros(NUM_ENVS, np.int64)
    try:
        views.append(_as_dict(env.reset()))
        began = time.perf_counter()
        while len(rewards) < steps and time.perf_counter() - began < seconds:
            observed, paid, ended, _ = env.step(random_actions(options, rng, NUM_ENVS))
            rewards.append(paid)
            running += paid
            since += 1
            for index in np.flatnonzero(ended).tolist():
                returns.append(float(running[index]))
                lengths.append(int(since[index]))
            running[ended], since[ended] = 0.0, 0
            if len(rewards) % SHOWN_EVERY == 1:
                views.append(_as_dict(observed))
            resident.append(_resident_mb())
        rate = len(rewards) * NUM_ENVS / (time.perf_counter() - began)
    finally:
        env.close()
    growth = resident[-1] - resident[len(resident) // 4]
    return _Played(views, np.array(rewards), returns, lengths, rate, growth)


def _as_dict(observed: Any) -> dict[str, np.ndarray]:
    return {name: np.array(each) for name, each in observed.items()} if isinstance(observed, dict) else {"": observed}


def _same(one: _Played, other: _Played) -> Finding:
    """Whether the same seeds and actions gave the same episode."""
    if not np.array_equal(one.rewards, other.rewards):
        return Finding(
            "determinism",
            "note",
            "The same seeds and actions pay different rewards: runs cannot be repeated to the digit, and episodes of "
            "one level differ.",
        )
    for first, second in zip(one.views, other.views, strict=True):
        if different := [name or "frames" for name in first if not np.array_equal(first[name], second[name])]:
            return Finding("determinism", "note", f"The same seeds and actions show other {different[0]}.")
    return Finding("determinism", "ok", "The same seeds and actions give the same frames and rewards.")


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
            "should decide the level.",
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
        return Finding("memory", "problem", f"It grew by {played.growth_mb:.0f} MB in {steps} steps: it leaks.")
    return Finding("memory", "ok", f"It grew by {played.growth_mb:.0f} MB in {steps} steps.")


@contextlib.contextmanager
def _stdout_of_games() -> Iterator[Callable[[], str]]:
    """Catch what is written to the standard output, by C code too."""
    sys.stdout.flush()
    kept = os.dup(1)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 1)
        text: list[str] = []
        try:
            with os.fdopen(os.dup(1), "w") as stream, contextlib.redirect_stdout(stream):
                yield lambda: "".join(text)
        finally:
            os.dup2(kept, 1)
            os.close(kept)
            file.seek(0)
            text.append(file.read(10_000).decode(errors="replace").strip())
