"""Validation of the demands on games of known difficulty: from a sweep to the responses of the demands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from lcd.agents import import_encoder
from lcd.envs.calibration.options import CourierOptions
from lcd.experiments.execution import Listener, execute
from lcd.experiments.executors import LOCAL
from lcd.experiments.plan import check_encoder
from lcd.experiments.remote_store import open_store
from lcd.experiments.resources import Resources
from lcd.experiments.store import Store
from lcd.io.files import DEFAULT_STORE
from lcd.io.limits import path, short
from lcd.measurement.scores import LEVELS, PRIMARY, SCORES
from lcd.studies.calibration.response import SPLITS, alternatives, dissociation, response_table
from lcd.studies.calibration.sweep import Sweep, sweep_scores
from lcd.studies.figures import check_registered, registered
from lcd.studies.output import OutputFolder
from lcd.studies.showing import Show, showing, silent

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


@dataclass(frozen=True)
class PreparedCalibration:
    """A calibration whose arguments are checked; nothing is trained or written yet.

    Attributes
    ----------
    sweep
        Factors and settings.
    folder
        Where figure and tables are written, or None.
    store
        As in `lcd.diagnose`.
    resources
        With what the runs are carried out.
    """

    sweep: Sweep
    folder: OutputFolder | None
    store: Store
    resources: Resources

    def run(self, show: Show = silent) -> Calibration:
        """Train the missing runs, and write figure and tables.

        Raises
        ------
        lcd.experiments.execution.RunFailed
            If a run failed; the same call resumes from the finished ones.
        """
        check_registered("calibration")
        plan = self.sweep.plan()
        if self.folder is not None:
            self.folder.claim(self.sweep.as_dict())
        with show(plan) as listener:
            execute(plan, self.store, listener=listener, **asdict(self.resources))
        found = Calibration(self.sweep, sweep_scores(self.sweep, self.store))
        if self.folder is not None:
            dissociations = found.every("dissociation")
            tables = {
                "scores": found.scores,
                "responses": found.every("responses", splits=(PRIMARY_SPLIT,)),
                "dissociation": dissociations,
                "alternatives": alternatives(dissociations),
            }
            self.folder.write_results(
                {name: table.round(6) for name, table in tables.items()}, {"calibration.png": found.plot()}
            )
        return found


def prepare_calibration(
    sweep: Sweep | None = None,
    *,
    out: Path | str | None = None,
    store: Path | str = DEFAULT_STORE,
    workers: int | None = None,
    device: str = "auto",
    executor: str = LOCAL,
) -> PreparedCalibration:
    """Check the arguments of `calibrate`, before anything is trained or written.

    Raises
    ------
    ValueError
        If an argument is invalid; the message says what is allowed.
    """
    resources = Resources.checked(device, workers, threads=1, executor=executor)
    sweep = Sweep() if sweep is None else sweep
    if not isinstance(sweep, Sweep):
        raise ValueError(f"sweep must be an lcd.studies.calibration.Sweep, not {short(sweep)}.")
    sweep = replace(sweep, preset=resources.precise(sweep.preset))
    check_encoder(import_encoder(sweep.preset.encoder), CourierOptions())
    folder = None if out is None else OutputFolder(path("out", out))
    if folder is not None:
        folder.check(sweep.as_dict())
    runs = open_store(store)
    runs.check(sweep.plan().runs)
    return PreparedCalibration(sweep, folder, runs, resources)


def calibrate(
    sweep: Sweep | None = None,
    *,
    out: Path | str | None = None,
    store: Path | str = DEFAULT_STORE,
    workers: int | None = None,
    device: str = "auto",
    executor: str = LOCAL,
    progress: bool = True,
    listener: Listener | None = None,
) -> Calibration:
    """Validate the demands on a game of known difficulty; the command ``lcd calibrate`` is this function.

    Parameters
    ----------
    sweep
        Factors and settings; by default all ten.
    out
        Folder for figure and tables; by default nothing is written.
    store, workers, device, executor, progress, listener
        As in `lcd.diagnose`.

    Raises
    ------
    ValueError
        If an argument is invalid; the message says what is allowed.
    lcd.experiments.execution.RunFailed
        If a run failed; the same call resumes from the finished ones.
    """
    prepared = prepare_calibration(sweep, out=out, store=store, workers=workers, device=device, executor=executor)
    return prepared.run(showing(progress, listener))
