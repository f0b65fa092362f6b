"""Tidy tables of a survey: verdicts, scores, curves and demands of all games, one row an observation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from lcd.experiments.plan import GamePlan, Plan
from lcd.experiments.settings import PRECISIONS
from lcd.io.checksums import SUMS, finish, is_listed, write_together
from lcd.io.files import check_output_folder, is_partial, locked
from lcd.io.limits import short
from lcd.io.packaged import folder_or_packaged, packaged_folder, packaged_folders
from lcd.studies.diagnosis import Diagnosis
from lcd.studies.survey.checking import check_alike, read_table
from lcd.studies.survey.columns import ADDED, ALIKE, COLUMNS, DECIMALS, FILES, KEYS, TABLES
from lcd.studies.survey.pooling import Measured, joined
from lcd.studies.survey.rows import Rows, contents_of, read_rows, rows_of, stacked

PACKAGE = "lcd.studies.survey"
"""Beside which the tables lie that come with it."""


@dataclass(frozen=True, eq=False)
class SurveyTables:
    """Diagnoses of several games, as tables; `lcd.studies.survey.columns` says what the columns mean.

    Attributes
    ----------
    games
        One row a game.
    scores
        One row a (game, view, learning, seed, levels).
    curves
        One row an evaluation.
    demands
        One row a (game, quantity, levels, score).
    runs
        One row a run, with its commit, machine and time; none where they are not known, as of the first surveys.
    """

    games: pd.DataFrame
    scores: pd.DataFrame
    curves: pd.DataFrame
    demands: pd.DataFrame
    runs: pd.DataFrame

    def __post_init__(self) -> None:
        check_alike(self.games, self.versions)

    @property
    def versions(self) -> dict[str, int]:
        """Version of the training code, by game, where it is known."""
        return dict(zip(self.runs["game"], self.runs["training_version"], strict=True))

    @classmethod
    def of(cls, diagnoses: Iterable[Diagnosis]) -> SurveyTables:
        """Build the tables from diagnoses of different games."""
        return cls._together([rows_of(diagnosis.to_json()) for diagnosis in diagnoses])

    @classmethod
    def read(cls, folder: Path | str) -> SurveyTables:
        """Read a folder: the four tables, or diagnoses in folders of their own.

        Parameters
        ----------
        folder
            The folder, or the name of a survey that comes with the package, such as ``"procgen-easy"``.

        Raises
        ------
        ValueError
            If there are no diagnoses, one is damaged, or a game is there twice.
        """
        with folder_or_packaged(PACKAGE, folder, "The folder of a survey") as found:
            return cls._from(found)

    @classmethod
    def _from(cls, folder: Path) -> SurveyTables:
        """Read a folder that is there."""
        finish(folder)
        if all((folder / file).is_file() for file in FILES if file != ADDED):
            present = (folder / ADDED).is_file() or is_listed(folder, ADDED)
            contents = contents_of(folder, [file for file in FILES if file != ADDED or present])
            found = {
                FILES[file]: read_table(folder / file, content, FILES[file]) for file, content in contents.files.items()
            }
            tables = cls(**{"runs": pd.DataFrame(columns=list(COLUMNS["runs"]))} | found)
            tables._check_whole(folder)
            contents.check("restore it")
            return tables
        files = sorted(folder.glob("diagnosis.json")) or sorted(folder.glob("*/diagnosis.json"))
        if not files:
            why = "" if folder.exists() else ", for it does not exist"
            raise ValueError(
                f"{folder} holds no diagnoses{why}: give a folder that lcd survey wrote, or one of folders by lcd "
                "diagnose."
            )
        return cls._together([read_rows(file) for file in files])

    @classmethod
    def _together(cls, diagnoses: list[Rows]) -> SurveyTables:
        names = [rows.game["game"] for rows in diagnoses]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"There are several diagnoses of {twice[0]}: keep one of them in the folder.")
        games = pd.DataFrame([rows.game for rows in diagnoses])[list(COLUMNS["games"])]
        return cls(games, **{name: stacked([getattr(rows, name) for rows in diagnoses]) for name in TABLES[1:]})

    def _rows(self, game: str) -> Rows:
        """What these tables hold of a game."""
        parts = self.of_game(game)
        return Rows(
            {str(name): value for name, value in parts.games.iloc[0].items()},
            parts.scores,
            parts.curves,
            parts.demands,
            parts.runs,
        )

    def _check_whole(self, folder: Path) -> None:
        """Check that every run has a score and a curve up to the budget, and every game all demands.

        Raises
        ------
        ValueError
            If one is cut short.
        """
        budgets = self.games.set_index("game")["budget"]
        ends = self.curves[self.curves["step"] == self.curves["game"].map(budgets)]
        tables = {"scores": self.scores, "curves": ends, "demands": self.demands}
        if alone := sorted(set().union(*(table["game"] for table in tables.values())) - set(budgets.index)):
            raise ValueError(f"{folder / 'games.csv'} lacks {alone[0]}, which other tables have: restore it.")
        scored_seeds = self.scores.groupby("game")["seed"].nunique()
        for row in self.games[["game", "seeds"]].to_dict("records"):
            if (there := scored_seeds.get(row["game"], 0)) != row["seeds"]:
                raise ValueError(
                    f"{folder / 'games.csv'} has {row['seeds']} seeds of {row['game']}, and scores.csv has {there}: "
                    "restore it."
                )
        counts = {name: table.groupby("game").size() for name, table in tables.items()}
        for game in budgets.index:
            found = {name: int(count.get(game, 0)) for name, count in counts.items()}
            runs = max(found["scores"], found["curves"])
            for name, wanted in (("scores", runs), ("curves", runs), ("demands", int(counts["demands"].max()))):
                if found[name] != wanted:
                    raise ValueError(
                        f"{folder / f'{name}.csv'} has {found[name]} rows of {game} instead of {wanted}: restore it."
                    )
        recorded, scored = (set(table[KEYS["runs"]].itertuples(index=False)) for table in (self.runs, self.scores))
        seeds = {(run.game, run.seed) for run in recorded}
        for run in sorted(recorded ^ {run for run in scored if (run.game, run.seed) in seeds}):
            what = "tells of" if run in recorded else "lacks"
            raise ValueError(
                f"{folder / ADDED} {what} the run {run.game}, {run.view}, {run.learning}, seed {run.seed}, unlike "
                "scores.csv: restore it."
            )

    def of_game(self, game: str) -> SurveyTables:
        """The tables of one of the games.

        Raises
        ------
        ValueError
            If it is not among them.
        """
        if game not in set(self.games["game"]):
            raise ValueError(
                f"There is no {short(game)} in these tables: choose one of {', '.join(self.games['game'])}."
            )
        parts = {name: getattr(self, name) for name in TABLES}
        return SurveyTables(
            **{name: table[table["game"] == game].reset_index(drop=True) for name, table in parts.items()}
        )

    def updated(self, newer: SurveyTables) -> SurveyTables:
        """Return these tables with the games of `newer` added.

        Where both have a game, its seeds are pooled; of a seed that both have, the newer run counts.

        Raises
        ------
        ValueError
            If a game was not measured alike, unless the newer tables have all its seeds.
        """
        mine = {game: self._rows(game) for game in self.games["game"]}
        for game in newer.games["game"]:
            rows = newer._rows(game)
            mine[game] = joined(mine[game], rows) if game in mine else rows
        return self._together([mine[game] for game in sorted(mine)])

    @classmethod
    def kept(cls, folder: Path) -> SurveyTables | None:
        """Read the tables of a folder, None if it is empty or missing.

        Raises
        ------
        ValueError
            If it holds something else.
        """
        if not folder.exists():
            return None
        finish(folder)
        found = {file.name for file in folder.iterdir() if not is_partial(file)} if folder.is_dir() else {folder.name}
        if not found:
            return None
        if (found | {ADDED}) - {SUMS} != FILES.keys():
            raise ValueError(f"{folder} is no folder of a survey's tables: choose a new one or an empty one.")
        return cls.read(folder)

    @classmethod
    def with_room(cls, folder: Path, plan: Plan, preset: str) -> SurveyTables | None:
        """Read a folder's tables, and check before training that each game of a plan can be added to them.

        Parameters
        ----------
        folder
            The folder.
        plan
            The plan.
        preset
            Name of its preset.

        Returns
        -------
        SurveyTables or None
            None if the folder is empty or missing.

        Raises
        ------
        ValueError
            If the folder holds something else, or games or seeds that are not measured alike, or nothing can be written
            to it.
        """
        kept = cls.kept(folder)
        check_output_folder(folder, "--tables")
        if kept is None:
            return None
        for game in plan.games:
            kept._check_takes(game, preset)
        games = kept.games[["game", *ALIKE]].astype(object)
        for game in plan.games:
            newer = Measured.planned(game, preset).settings
            planned = pd.DataFrame([{"game": game.game} | {name: newer.get(name) for name in ALIKE}], dtype=object)
            versions = kept.versions | {game.game: newer["training_version"]}
            check_alike(pd.concat([games[games["game"] != game.game], planned]), versions)
        return kept

    def _check_takes(self, plan: GamePlan, preset: str) -> None:
        """Check before training that the seeds of a plan can join those that are there.

        Raises
        ------
        ValueError
            If they cannot.
        """
        if plan.game not in set(self.games["game"]):
            return
        kept, newer = Measured.of(self._rows(plan.game)), Measured.planned(plan, preset)
        kept.check_takes(newer)
        if not newer.seeds >= kept.seeds and plan.normalisation is None and plan.best is None:
            raise ValueError(
                f"The best return of {plan.game} is measured by its runs, so that other seeds would measure another: "
                f"give best = {kept.settings['best']:.12g} for it, and they can be pooled."
            )

    def holds(self, plan: GamePlan, preset: str) -> bool:
        """Whether every run of the cells of a game's plan is in these tables, measured in the same way.

        The precision, which each machine plans as it computes fastest, may be another one.
        """
        known = set(self.runs["run"])
        asked = (plan.in_precision(precision) for precision in PRECISIONS)
        return any(
            {run.name for run in each.cells} <= known
            and Measured.of(self._rows(plan.game)).differing(Measured.planned(each, preset)) is None
            for each in asked
        )

    def enter(self, folder: Path) -> None:
        """Add these games to the tables of a folder, see `updated`.

        Several processes may enter games into the same tables; they wait for one another.

        Raises
        ------
        ValueError
            If the folder holds something else, or games that were not measured alike.
        """
        with locked(folder):
            kept = self.kept(folder)
            (kept.updated(self) if kept else self).write(folder)

    def write(self, folder: Path) -> None:
        """Write the tables as CSV atomically, with their checksums."""
        rounded = {file: getattr(self, name).round(DECIMALS) for file, name in FILES.items()}
        write_together(folder, {file: partial(table.to_csv, index=False) for file, table in rounded.items()})


def reference_surveys() -> list[str]:
    """Names of the surveys whose tables come with the package."""
    return packaged_folders(PACKAGE)


def load_reference(name: str) -> SurveyTables:
    """The tables of a survey that come with the package, such as ``"procgen-easy"``.

    Raises
    ------
    ValueError
        If there is none of this name.
    """
    if name not in reference_surveys():
        known = ", ".join(reference_surveys()) or "none yet"
        raise ValueError(f"No survey {name!r} comes with this package: there is {known}.")
    with packaged_folder(PACKAGE, name) as folder:
        return SurveyTables.read(folder)
