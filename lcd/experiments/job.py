"""A run from its settings to the store, as a process of any executor carries it out."""

from __future__ import annotations

import errno
import os
import platform
import re
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from lcd.experiments.executor import Share
from lcd.experiments.own_code import OwnCode
from lcd.experiments.settings import RunSettings
from lcd.experiments.store import Store
from lcd.experiments.versions import processor_of
from lcd.io.limits import STEP_LIMIT
from lcd.io.modules import is_own


class CarriedOutElsewhere(Exception):
    """Another plan carries out the same run at the moment."""


@dataclass(frozen=True)
class Job:
    """A run with all that a new process needs to carry it out.

    Attributes
    ----------
    run
        The run.
    weights
        Files of the policies that it uses, by the identities in `RunSettings.needs`.
    device
        Where torch computes.
    threads
        Threads of torch.
    own
        Code of the user's own to import, so that the run's encoder and improvement are known.
    step_limit
        Seconds after which a step of another package's game is taken to hang.
    """

    run: RunSettings
    weights: Mapping[str, Path]
    device: str
    threads: int
    own: OwnCode
    step_limit: float = STEP_LIMIT

    @classmethod
    def of(cls, run: RunSettings, weights: Mapping[str, Path], share: Share) -> Job:
        """The job of a run whose encoder is known in this process."""
        return cls(run, dict(weights), share.device, share.threads, OwnCode.of([run]), share.step_limit)

    def carry_out(
        self,
        store: Store,
        report: Callable[[Any], None],
        hangs: Callable[[str], None] | None = None,
        *,
        leased: bool = False,
        stop: threading.Event | None = None,
    ) -> None:
        """Train the run, unless the store has it by now, and put it into the store.

        The process that works holds the run's workspace, so that it is free again when it ends.

        Parameters
        ----------
        store
            Where the finished run goes.
        report
            Called with `lcd.experiments.Progress` after every rollout and every evaluation.
        hangs
            Called with a sentence, from another thread, if a step of the game takes longer than the limit; it must end
            the process.
            By default nobody watches for that.
        leased
            Whether the executor holds the run's lease; else this process holds it.
        stop
            When it is set, the run takes a checkpoint and ends.

        Raises
        ------
        CarriedOutElsewhere
            If another plan carries it out.
        lcd.experiments.checkpoint.RunStopped
            If it was stopped; the next process that carries it out goes on from there.
        Exception
            Whatever goes wrong; `sentence_of` tells it to a user.
        """
        import torch

        from lcd.experiments.encoded_view import locate
        from lcd.io.watching import WATCH

        locate(self.weights)
        if hangs is not None:
            WATCH.limit, WATCH.ended = self.step_limit, hangs
        torch.set_num_threads(self.threads)
        self.own.load()
        with nullcontext(True) if leased else store.lease(self.run) as free:
            if not free:
                raise CarriedOutElsewhere(self.run.name)
            store.failure_file(self.run).unlink(missing_ok=True)
            if not store.has(self.run):
                self._train(store, report, stop)

    def _train(self, store: Store, report: Callable[[Any], None], stop: threading.Event | None) -> None:
        from lcd.experiments.run import teacher_of, train

        with store.workspace(self.run) as workspace:
            result = train(
                self.run,
                workspace,
                teacher=teacher_of(self.run, self.weights.get(self.run.teacher or "")),
                candidates=[self.weights[identity] for identity in self.run.candidates],
                report=report,
                device=self.device,
                num_threads=0 if self.threads == 1 else self.threads,
                checkpoint=store.checkpoint_file(self.run),
                stop=stop,
            )
            machine = {
                "platform": platform.platform(),
                "processor": processor_of(self.device),
                "device": self.device,
                "threads": self.threads,
                **({"earlier_threads": earlier} if (earlier := [*result.threads][:-1]) else {}),
                "cores": os.cpu_count(),
                "commit": result.commits[-1],
                **({"earlier_commits": before} if (before := [*result.commits][:-1]) else {}),
            }
            teacher_score = None if result.teacher is None else asdict(result.teacher)
            store.finish(
                self.run, workspace, result.episodes, result.seconds, teacher_score, machine, result.divergences
            )


def sentence_of(error: Exception, folder: Path | None = None) -> str:
    """What went wrong in a run, and the remedy, for its user.

    Parameters
    ----------
    error
        What was raised.
    folder
        The store, which a full disk is told with.
    """
    if os.strerror(errno.ENOSPC) in str(error):  # safetensors wraps the system's error in one of its own
        where = "" if folder is None else f" for {folder}"
        return f"There is no space left on the disk{where}: free some and start the same command again."
    if _GPU_EXHAUSTED.search(str(error)):
        return "The memory of the GPU is exhausted: use fewer --workers."
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return "The memory is exhausted: use fewer --workers."
    text = " ".join(str(error).split()) or type(error).__name__
    frames = list(traceback.walk_tb(error.__traceback__))
    own = [each for each in frames if _is_own(each[0])]
    if not frames or (text.endswith(".") and own[-1:] != frames[-1:]):
        return text if text.endswith(".") else f"{type(error).__name__}: {text}."
    frame, line = (own or frames)[-1]  # of the user's own code the last line, else the last of all
    return f"{type(error).__name__}: {text.rstrip('.')} ({Path(frame.f_code.co_filename).name}, line {line})."


def last_line(error: Exception) -> str:
    """The last line of what an error says, the cause in a traceback of another process; without a full stop."""
    lines = str(error).strip().splitlines()
    return (lines[-1] if lines else type(error).__name__).rstrip(".")


def _is_own(frame: FrameType) -> bool:
    """Whether a line that raised an error is the user's own."""
    return is_own(frame.f_globals.get("__name__") or "__main__")


def failure_of(error: Exception, store: Store, run: RunSettings) -> str:
    """What went wrong in a run, for its user, and the file in which the whole traceback is kept.

    Parameters
    ----------
    error
        What was raised.
    store
        Keeps the traceback until the run is begun again.
    run
        The run.
    """
    said = sentence_of(error, store.root)
    file = store.failure_file(run)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(traceback.format_exception(error)), "utf-8")
    except OSError:  # a full disk, say, of which the sentence tells
        return said
    return f"{said} The traceback is in {file}."


_GPU_EXHAUSTED = re.compile(r"(CUDA|HIP|GPU).*out of memory|CU[A-Z]+_STATUS_ALLOC_FAILED", re.IGNORECASE | re.DOTALL)
"""What torch, the driver and the libraries say when the memory of a GPU runs out."""
