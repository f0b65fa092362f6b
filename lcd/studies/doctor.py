"""A check of a game before it is diagnosed: what works, what is missing, and what would go wrong hours later."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from lcd.envs import GameOptions
from lcd.envs.family import chosen_options
from lcd.io.child_processes import hidden_script
from lcd.io.limits import LONGEST_STEP_LIMIT, real_number
from lcd.io.watching import CHECKS, WATCH
from lcd.studies.game_checks import Finding, examined_here

SILENCE = 60.0
"""Seconds without a finding or a step after which the game is taken to hang."""

CLOSING = 5.0
"""Seconds that its process has to end by itself, with processes that the game has started."""

STARTING = 300.0
"""Seconds that its process may take until it begins, on a busy machine or from a slow disk."""

BEAT, BEAT_SECONDS = "a step", 0.5
"""Sent so often while the game is stepped, so that a slow one is not taken for one that hangs."""

LONGEST_NOTE = 400
"""Bytes of what a game does at present, which are still there when its process has died."""

HANGS = "hangs"
"""Name of the finding that ends the checks."""


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
    context = multiprocessing.get_context("spawn")
    doing = context.RawArray("c", LONGEST_NOTE)
    process = context.Process(target=_child, args=(there, options, encoder, limit, doing))  # which may start others
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
                process.join(CLOSING)
                where = doing.value.decode(errors="replace") or "the check"
                died = f"{where} ended its process (exit code {process.exitcode}), without an error of Python's."
                add(Finding("crashes", "problem", died))
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


def _child(out: Connection, options: GameOptions, encoder: str, limit: float = SILENCE, doing: Any = None) -> None:
    """Send a beat at first and while the game is stepped, each finding, a step that hangs, and None at the end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the calling process decides when work ends
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

    def note(describe: Callable[[], str]) -> None:
        doing.value = describe().encode(errors="replace")[: LONGEST_NOTE - 1]

    WATCH.begun = None if doing is None else note
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
