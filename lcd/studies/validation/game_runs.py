"""The runs of a validation in one game, and what is known of them before they are trained."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from lcd.experiments.plan import GamePlan, Plan
from lcd.experiments.settings import RunSettings
from lcd.experiments.store import Store
from lcd.measurement.scores import Normalisation
from lcd.studies.finished_runs import normalisation_of, read_diagnosis
from lcd.studies.ladder import Ladder, read_ladder
from lcd.studies.survey.tables import SurveyTables
from lcd.studies.validation.gains import gains_of
from lcd.studies.validation.plan import Validation
from lcd.studies.validation.predictors import predictors_of, predictors_of_scores
from lcd.studies.validation.tables import FILES, read_measured


class Held(NamedTuple):
    """What tables that are kept tell of a game's diagnosis.

    Attributes
    ----------
    scores
        One row a run, of the seeds that the diagnosis has.
    constants
        The returns that count as the scores 0 and 1.
    """

    scores: pd.DataFrame
    constants: Normalisation


@dataclass(frozen=True)
class GameRuns:
    """The runs of a validation in one game.

    Attributes
    ----------
    plan
        Its diagnosis.
    ladder
        The finer cells, where they are asked for.
    plain
        The learner without improvement, with the further seeds.
    improved
        The learner with each improvement.
    held
        Its diagnosis in tables that are kept; None where it is to be made.
    """

    plan: GamePlan
    ladder: Ladder | None
    plain: tuple[RunSettings, ...]
    improved: dict[str, tuple[RunSettings, ...]]
    held: Held | None = None

    @property
    def plans(self) -> tuple[GamePlan, ...]:
        """All runs as plans of the game."""
        further = tuple(run for runs in (self.plain, *self.improved.values()) for run in runs)
        ladder = () if self.ladder is None else self.ladder.as_plan().games[1:]
        diagnosed = (self.plan,) if self.held is None else ()
        return (*diagnosed, *ladder, self.plan.with_runs(further))

    def read(self, store: Store) -> tuple[dict[str, float], pd.DataFrame]:
        """The predictors that the diagnosis gives, with its ladder, and the gains.

        Raises
        ------
        lcd.experiments.store.StoreError
            If a run is missing or damaged.
        lcd.studies.finished_runs.NothingLearned
            If nobody returned more than a random policy, so that there are no scores.
        """
        constants = normalisation_of(self.plan, store) if self.held is None else self.held.constants
        gains = gains_of(self.plan, self.plain, self.improved, constants, store)
        if self.held is not None:
            return predictors_of_scores(self.held.scores), gains
        diagnosis = read_diagnosis(self.plan, store)
        if self.ladder is not None:
            diagnosis = replace(diagnosis, ladder=read_ladder(self.ladder, store))
        return predictors_of(diagnosis), gains


@dataclass(frozen=True, eq=False)
class Finished:
    """Games of a validation that are finished.

    Attributes
    ----------
    predictors, gains
        As in `lcd.studies.validation.result.ValidationResult`, of these games; without the measures of complexity.
    """

    predictors: pd.DataFrame = field(default_factory=lambda: pd.DataFrame({"game": []}))
    gains: pd.DataFrame = field(default_factory=pd.DataFrame)

    def __contains__(self, game: str) -> bool:
        return game in self.games

    @property
    def games(self) -> list[str]:
        """Their names."""
        return self.predictors["game"].tolist()

    def only(self, games: Collection[str]) -> Finished:
        """Some of the games."""
        if not games:
            return Finished()
        return Finished(*(table[table["game"].isin(games)] for table in (self.predictors, self.gains)))


def kept_games(folder: Path) -> Finished:
    """All that the output folder of a validation holds."""
    return Finished(*read_measured(folder)) if all((folder / name).is_file() for name in FILES) else Finished()


def finished_games(
    validation: Validation, games: Iterable[GameRuns], folder: Path, store: Store, precision: str | None
) -> Finished:
    """What the output folder of a validation holds of games of which the store lacks runs.

    Parameters
    ----------
    validation
        Whose folder it is.
    games
        Its games with their runs.
    folder
        The folder.
    store
        The store.
    precision
        The precision that the validation's file asks for; None where each machine chooses.
    """
    kept, finished = kept_games(folder), []
    for game in games:
        if game.plan.game not in kept:
            continue
        mine = kept.gains[kept.gains["game"] == game.plan.game]
        complete = set(mine["improvement"]) == set(validation.improvements)
        as_asked = precision is None or set(mine["precision"]) == {precision}
        if complete and as_asked and not all(map(store.has, Plan(game.plans).runs)):
            finished.append(game.plan.game)
    return kept.only(finished)


def held_games(validation: Validation, tables: Path | str | None, store: Store) -> dict[str, Held]:
    """The diagnoses that tables hold and the store does not; none where finer cells are asked for."""
    if tables is None or validation.ladder:
        return {}
    found, survey, held = SurveyTables.read(tables), validation.survey, {}
    for plan in survey.plan.games:
        if found.holds(plan, survey.preset) and not all(map(store.has, plan.runs)):
            mine = found.of_game(plan.game)
            scores = mine.scores[mine.scores["seed"].isin([run.seed for run in plan.cells])]  # none that takes no part
            (game,) = mine.games.to_dict("records")
            held[plan.game] = Held(scores, Normalisation(game["random"], game["best"], source="given"))
    return held
