"""Output folders of results."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from lcd.experiments.plan import UNMEASURED, GamePlan
from lcd.io.checksums import write_together
from lcd.io.files import check_output, check_output_folder, is_partial, locked, replacing
from lcd.io.limits import real_number, short
from lcd.io.untrusted import read_json
from lcd.studies.diagnosis import Diagnosis

_VERSION = re.compile(r"\.(game|encoder|improvement)_version was ")
"""In what tells a difference of two plans: the code of a game, an encoder or an improvement is another."""


def _differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old.keys() | new.keys():
            yield from _differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (a, b) in enumerate(zip(old, new, strict=True)):
            yield from _differences(a, b, f"{path}[{index}]")
    elif old != new and new != UNMEASURED:
        show = [str(len(value)) + " entries" if isinstance(value, list) else short(value) for value in (old, new)]
        yield f"{path or 'it'} was {show[0]} and is {show[1]}"


def _comparable(plan: Any) -> Any:
    """A plan as older versions can be compared with it: with present names, and without what they do not tell."""
    for game in _entries(plan, "games"):
        game.pop("measures_random", None)  # older versions do not tell, and what was measured is compared itself
        for run in _entries(game, "runs"):
            if "eye" in run:
                run["encoder_checksum"] = run.pop("eye")
    return plan


def _entries(data: Any, name: str) -> list[dict[str, Any]]:
    """Those in a list of objects; none where there is no such list."""
    found = data.get(name) if isinstance(data, dict) else None
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


class OutputFolder:
    """Output folder of one plan.

    Parameters
    ----------
    path
        The folder; made if need be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def check(self, plan: Mapping[str, Any]) -> None:
        """Refuse a folder that belongs to another plan or holds other files.

        Parameters
        ----------
        plan
            The plan as plain data; `lcd.experiments.plan.UNMEASURED` in it agrees with whatever was measured.

        Raises
        ------
        ValueError
            If it does; the message names a difference.
        """
        check_output_folder(self.path, "--out")
        check_output(self.path / "plan.json")
        if not self.path.exists() or all(is_partial(file) for file in self.path.iterdir()):
            return
        try:
            old = _comparable(read_json(self.path / "plan.json"))
        except (OSError, ValueError) as error:
            raise ValueError(
                f"The folder {self.path} holds files that the LCD did not write: choose another with --out."
            ) from error
        differences = sorted(_differences(old, _comparable(json.loads(json.dumps(plan)))))
        if (edited := next((each for each in differences if _VERSION.search(each)), None)) is not None:
            raise ValueError(
                f"The folder {self.path} belongs to the code as it was before a change ({edited}): take the change "
                "back to go on, or choose another with --out to begin anew."
            )
        if differences:
            raise ValueError(
                f"The folder {self.path} belongs to another plan ({differences[0]}): "
                "choose another with --out, or remove it."
            )

    def measured_random(self) -> float | None:
        """What a random policy returned when the plan of the folder was begun; None where that was not measured."""
        if not (self.path / "plan.json").exists():
            return None
        plan = read_json(self.path / "plan.json")
        try:
            (game,) = plan["games"]
            measured = game["measures_random"] is True
            return real_number("The random return", game["normalisation"]["random"]) if measured else None
        except (LookupError, TypeError, ValueError):
            return None

    def as_begun(self, plan: GamePlan) -> GamePlan:
        """The plan, with what a random policy returned when the folder's was begun: it is not measured again."""
        known = self.measured_random() if plan.measures_random else None
        return plan if known is None else replace(plan, measured_random=known)

    def claim(self, plan: Mapping[str, Any]) -> None:
        """Check the folder and write the plan into it."""
        self.check(plan)
        self.path.mkdir(parents=True, exist_ok=True)
        with replacing(self.path / "plan.json") as path:
            path.write_text(json.dumps(plan, indent=1) + "\n")

    def write(self, diagnosis: Diagnosis) -> None:
        """Write JSON, figure and tables of a diagnosis atomically, with their checksums."""
        figure = diagnosis.plot()
        tables = {"curves": diagnosis.curves, "scores": diagnosis.scores, "demands": diagnosis.demands}
        if diagnosis.controls is not None:
            tables["controls"] = diagnosis.controls
        files: dict[str, Callable[[Path], object]] = {
            "diagnosis.json": diagnosis.to_json,
            **{f"{name}.csv": partial(table.to_csv, index=False) for name, table in tables.items()},
            "episodes.csv.gz": partial(write_packed, diagnosis.episodes),
            "diagnosis.png": partial(save_figure, figure),
        }
        with locked(self.path):
            write_together(self.path, files)

    def write_results(
        self,
        tables: Mapping[str, pd.DataFrame],
        figures: Mapping[str, Figure],
        pages: Mapping[str, Callable[[Path], object]] = MappingProxyType({}),
    ) -> None:
        """Write tables, figures and pages with their checksums: after a failure, all of them are the old ones.

        Parameters
        ----------
        tables
            Tables, by their names without ``.csv``.
        figures
            Figures, by their file names.
        pages
            What writes a page to a path, by the names of the pages.
        """
        files: dict[str, Callable[[Path], object]] = {
            **{f"{name}.csv": partial(table.to_csv, index=False) for name, table in tables.items()},
            **{name: partial(save_figure, figure) for name, figure in figures.items()},
            **pages,
        }
        with locked(self.path):
            write_together(self.path, files)

    def add_table(self, name: str, table: pd.DataFrame, figure: Figure | None = None) -> None:
        """Write a table and its figure, NAME.csv and NAME.png, and add their checksums to those of the folder."""
        files: dict[str, Callable[[Path], object]] = {f"{name}.csv": partial(table.to_csv, index=False)}
        if figure is not None:
            files[f"{name}.png"] = partial(save_figure, figure)
        with locked(self.path):
            write_together(self.path, files)


def write_packed(table: pd.DataFrame, path: Path) -> None:
    """Write a table as reproducible gzipped CSV: the bytes depend on its content alone."""
    with path.open("wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
        packed.write(table.to_csv(index=False).encode())


_UNDATED: dict[str, dict[str, Any]] = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}
"""Metadata with dates to leave out, by file suffix, so that figures are reproducible."""


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure reproducibly, with embedded fonts as PDF."""
    with (
        replacing(path) as unfinished,
        mpl.rc_context({"pdf.fonttype": 42, "svg.hashsalt": "lcd"}),  # without a salt SVG names its parts at random
    ):
        figure.savefig(unfinished, metadata=_UNDATED.get(path.suffix, {}))
