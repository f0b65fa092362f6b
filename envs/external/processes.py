"""Games of another package that step in several processes, each with a share of them.

The calling process draws the levels, so that the games go on as they would in one process. What a game does wrong is
raised there as well, and a step that hangs is told to its watch. The processes end when it does.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np

from lcd.envs.external.game import GameFault, UnknownGame
from lcd.envs.external.games import GamesHere, Outcome, Views
from lcd.envs.external.options import ExternalOptions
from lcd.envs.external.randomness import stirred
from lcd.io.child_processes import end_with_parent, hidden_script, preload, start_method
from lcd.io.watching import CHECKS, WATCH

FAULTS: Mapping[str, type[Exception]] = {each.__name__: each for each in (GameFault, UnknownGame, ValueError)}
"""Errors of a game that are raised as what they are; others as a `GameFault`."""

PATIENCE = 10.0
"""Seconds that a process has to free its games before it is killed."""


class _Share:
    """A process with some of the games."""

    def __init__(
        self, options: ExternalOptions, view: str, numbers: Sequence[int], context: Any, stir: bool = False
    ) -> None:
        self.numbers, self._game, self._levels = numbers, options.game, dict.fromkeys(numbers, 0)
        self._connection, there = context.Pipe()
        arguments = (there, options, view, len(numbers), WATCH.limit, stir)
        self._process: BaseProcess = context.Process(target=_play, args=arguments, daemon=True)
        with hidden_script():
            self._process.start()
        there.close()

    def ask(self, what: str, given: Mapping[int, int]) -> None:
        """Send a request about some of its games, by their numbers among all games."""
        if what == "begin":
            self._levels |= given
        try:
            self._connection.send((what, {number - self.numbers[0]: value for number, value in given.items()}))
        except OSError as error:
            raise self._died() from error

    def answer(self) -> Any:
        """What came back.

        Raises
        ------
        GameFault
            If a game failed, or its process ended.
        """
        patience: float | None = len(self.numbers) * WATCH.limit * (1 + 2 / CHECKS)  # that the step is named first
        while True:
            try:
                if not self._connection.poll(patience):  # it keeps Python's lock, so that its own watch cannot look
                    WATCH.ended(f"{self._game} has not come back for {patience:.0f} seconds: it hangs.")
                    patience = None
                    continue
                kind, content = self._connection.recv()
            except (EOFError, OSError) as error:
                raise self._died() from error
            if kind == "failed":
                name, sentence = content
                raise FAULTS.get(name, GameFault)(sentence)
            if kind != "hangs":
                return content
            patience = None  # it is told once
            WATCH.ended(content)

    def _died(self) -> GameFault:
        self._process.join(PATIENCE)
        levels = ", ".join(str(level) for level in sorted(set(self._levels.values())))
        return GameFault(
            f"{self._game} ended its process (exit code {self._process.exitcode}) in one of the levels {levels}: "
            "check it with lcd doctor."
        )

    def close(self) -> None:
        """End the process once it has freed its games."""
        self._connection.close()
        self._process.join(PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


class GamesInProcesses:
    """Games in several processes; see `lcd.envs.external.games.Games`.

    Parameters
    ----------
    options, view
        As in `lcd.envs.external.game.ExternalGame`.
    number
        Number of games.
    processes
        Number of processes, not more than games.
    stir
        Whether their common generators are in states of chance, see `lcd.envs.external.randomness.stirred`.
    """

    def __init__(self, options: ExternalOptions, view: str, number: int, processes: int, stir: bool = False) -> None:
        context: Any = multiprocessing.get_context(start_method())
        preload(__name__)
        shares = np.array_split(np.arange(number), processes)
        self._shares = [_Share(options, view, share.tolist(), context, stir) for share in shares]
        try:
            (self.num_actions, *_) = [share.answer() for share in self._shares]
        except BaseException:
            self.close()
            raise

    def _ask(self, what: str, given: Mapping[int, int]) -> list[Any]:
        """Send requests to the processes of some games, and collect what comes back in the order of the games."""
        asked = []
        for share in self._shares:
            if part := {number: given[number] for number in share.numbers if number in given}:
                share.ask(what, part)
                asked.append(share)
        found: list[Any] = []
        faults: list[Exception] = []
        for share in asked:  # every answer is read, also after a fault: the next request has its own
            try:
                found += share.answer()
            except Exception as error:  # the first in the order of the games is raised, as in one process
                faults.append(error)
        if faults:
            raise faults[0]
        return found

    def begin(self, levels: Mapping[int, int]) -> list[Views]:
        """Begin an episode of some games, see `lcd.envs.external.games.Games`."""
        return self._ask("begin", levels)

    def begin_noise(self, seeds: Mapping[int, int]) -> None:
        """Seed what some games draw beside their levels, see `lcd.envs.external.games.Games`."""
        self._ask("begin_noise", seeds)

    def step(self, actions: Mapping[int, int], next_level: Callable[[int], int]) -> list[Outcome]:
        """Make a step of some games, see `lcd.envs.external.games.Games`."""
        outcomes: list[Outcome] = self._ask("step", actions)
        ended = [place for place, each in enumerate(outcomes) if each.terminated or each.truncated]
        numbers = list(actions)
        begun = self.begin({numbers[place]: next_level(numbers[place]) for place in ended})
        for place, views in zip(ended, begun, strict=True):
            outcomes[place] = outcomes[place]._replace(views=views, last=outcomes[place].views)
        return outcomes

    def close(self) -> None:
        """End the processes."""
        for share in self._shares:
            share.close()


def _play(connection: Connection, options: ExternalOptions, view: str, number: int, limit: float, stir: bool) -> None:
    """Body of a process: a share of the games, until the connection is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the calling process decides when work ends
    end_with_parent()
    sending = threading.Lock()

    def send(kind: str, content: Any) -> None:
        with sending:
            connection.send((kind, content))

    WATCH.limit, WATCH.ended = limit, lambda sentence: send("hangs", sentence)
    with stirred() if stir else nullcontext():
        _serve(connection, options, view, number, send)


def _serve(
    connection: Connection, options: ExternalOptions, view: str, number: int, send: Callable[[str, Any], None]
) -> None:
    """Answer requests about some games, until the connection is closed."""
    try:
        games = GamesHere(options, view, number)
        send("done", games.num_actions)
        while True:
            what, given = connection.recv()
            try:
                if what == "begin":
                    send("done", games.begin(given))
                elif what == "begin_noise":
                    games.begin_noise(given)
                    send("done", [])
                else:
                    send("done", games.advance(given))
            except Exception as error:  # whatever it is, the calling process must learn of it
                send("failed", (type(error).__name__, str(error)))
    except (EOFError, OSError):
        return  # the calling process has closed the games, or is gone
    except Exception as error:  # of many types: a game's constructor is somebody else's code
        send("failed", (type(error).__name__, str(error)))
