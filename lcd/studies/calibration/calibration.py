"""Validation of the demands on games of known difficulty: from a sweep to the responses of the demands."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from lcd.experiments.execution import Event, execute
from lcd.experiments.store import Store
from lcd.io.files import DEFAULT_STORE
from lcd.measurement.scores import LEVELS, PRIMARY, SCORES
from lcd.studies.calibration.response import SPLITS, dissociation, response_table
from lcd.studies.calibration.sweep import Sweep, sweep_scores
from lcd.studies.figures import registered

PRIMARY_SPLIT = "other solved"
"""The split of `lcd.measurement.demands`."""


@dataclass(frozen=True)
class Calibration:
    """Responses of the demands to the difficulty factors.

    Attributes
    ----------
    sweep
        The sweep.
    scores
        One row a (dial, value, view, learning, seed, levels), see `lcd.studies.calibration.sweep.sweep_scores`.
    """

    sweep: Sweep
    scores: pd.DataFrame

    def responses(self, levels: str = PRIMARY[0], score: str = PRIMARY[1], split: str = PRIMARY_SPLIT) -> pd.DataFrame:
        """The demands at every setting, see `lcd.studies.calibration.response.response_table`."""
        return response_table(self.scores, levels, score, split)

    def dissociation(
        self, levels: str = PRIMARY[0], score: str = PRIMARY[1], split: str = PRIMARY_SPLIT
    ) -> pd.DataFrame:
        """Whether each factor moves its own demand only, see `lcd.studies.calibration.response.dissociation`."""
        return dissociation(self.scores, levels, score, split)

    def every(self, table: str, splits: Iterable[str] = tuple(SPLITS)) -> pd.DataFrame:
        """Table ``"responses"`` or ``"dissociation"`` for every family of scores and some splits."""
        keys = [(levels, score, split) for levels in LEVELS for score in SCORES for split in splits]
        names = ("levels", "score", "split")
        made: list[Any] = [getattr(self, table)(*key).assign(**dict(zip(names, key, strict=True))) for key in keys]
        return pd.concat(made, ignore_index=True)

    def plot(self) -> Figure:
        """Plot the primary demands against every factor."""
        figure: Figure = registered("calibration")(self.responses(), self.dissociation())
        return figure


def calibrate(
    sweep: Sweep | None = None,
    store: Path | str = DEFAULT_STORE,
    *,
    workers: int | None = None,
    listener: Callable[[Event], None] = lambda event: None,
) -> Calibration:
    """Carry out a sweep of the calibration game's difficulty factors; finished runs are taken from the store.

    Parameters
    ----------
    sweep
        Factors and settings; by default all ten.
    store
        Folder of the runs.
    workers
        Worker processes; by default the fastest number for this machine.
    listener
        Called with every event, see `lcd.experiments.execution.Event`.

    Raises
    ------
    lcd.experiments.execution.RunFailed
        If a run failed; the same call resumes from the finished ones.
    """
    sweep, runs = sweep or Sweep(), Store(store)
    execute(sweep.plan(), runs, workers=workers, threads=1, listener=listener)
    return Calibration(sweep, sweep_scores(sweep, runs))
