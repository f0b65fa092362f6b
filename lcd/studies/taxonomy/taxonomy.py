"""A taxonomy: positions and classes of the games of a survey, and placement of new games."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import stats

from lcd.measurement.rule import floor_limited_demands, has_learned
from lcd.measurement.scores import late_gains
from lcd.studies.diagnosis import Diagnosis
from lcd.studies.figures import registered
from lcd.studies.survey.checking import check_alike
from lcd.studies.survey.tables import SurveyTables
from lcd.studies.taxonomy.agreement import cheap_agreement, cheap_estimates, family_agreement
from lcd.studies.taxonomy.cheaper import cheaper_designs
from lcd.studies.taxonomy.classes import DRAWS, FARTHEST, Classes, find_classes
from lcd.studies.taxonomy.confirmation import Confirmation, class_parts, confirm
from lcd.studies.taxonomy.positions import PLANE, Cells, position_table
from lcd.studies.taxonomy.reliability import rank_table, reliability_table, seeds_table, steps_table
from lcd.studies.taxonomy.students import student_table

Floats = NDArray[np.float64]

FEWEST_GAMES = 3
FIGURES = ("taxonomy", "curves", "ranks", "needs", "agreement")
"""Figures: the map, all learning curves, ranks, seeds and steps needed for verdicts, agreement of other scores."""


@dataclass(frozen=True)
class Placement:
    """Placement of a new game among the games of a taxonomy.

    Attributes
    ----------
    game : str
        The game.
    nearest : pandas.DataFrame
        One row a game of the taxonomy but itself, nearest first: game, distance (in units of the normalised score) and
        deviations (the same in standard errors of both positions).
    classes : pandas.DataFrame
        One row a class, likeliest first: class and probability.
    position : pandas.DataFrame
        One row with its demands and their limits, as in `Taxonomy.positions`.
    """

    game: str
    nearest: pd.DataFrame
    classes: pd.DataFrame
    position: pd.DataFrame


@dataclass(frozen=True, eq=False)
class Taxonomy:
    """Taxonomy of games by their demands, computed lazily from the tables of a survey.

    Attributes
    ----------
    tables : SurveyTables
        The survey, of at least three games.

    Raises
    ------
    ValueError
        If there are fewer games.

    Examples
    --------
    >>> import lcd
    >>> taxonomy = lcd.Taxonomy.read("procgen-easy")
    >>> len(taxonomy.tables.games)
    16
    >>> taxonomy.positions, taxonomy.classes.names, taxonomy.reliability  # doctest: +SKIP
    """

    tables: SurveyTables

    def __post_init__(self) -> None:
        if len(self.tables.games) < FEWEST_GAMES:
            raise ValueError(
                f"A taxonomy needs at least {FEWEST_GAMES} games, not {len(self.tables.games)}: diagnose more of them."
            )

    @classmethod
    def read(cls, source: Path | str) -> Taxonomy:
        """Read a folder of diagnoses or of a survey's tables, or a survey that comes with the package, by its name.

        Raises
        ------
        ValueError
            If there are no diagnoses in it, or of fewer than three games.
        """
        return cls(SurveyTables.read(source))

    @cached_property
    def cells(self) -> Cells:
        """The scores of the primary family behind the positions."""
        return Cells.of(self.tables.scores)

    @cached_property
    def classes(self) -> Classes:
        """The classes of the games."""
        return find_classes(self.cells)

    @cached_property
    def positions(self) -> pd.DataFrame:
        """One row a game: quantities with limits, verdict, class and its probability, floor_limited and learned.

        floor_limited names the floor-limited demands, "perceptual", "policy" or both
        (`lcd.measurement.rule.floor_limited_demands`); it is empty for most games. learned is false where no cell ends
        above the floor.
        """
        table = position_table(self.tables.scores)
        found = self.classes
        table["class"] = [found.names[number] for number in found.of_games]
        table["probability"] = found.membership.max(axis=1)
        known = self.tables.games.set_index("game").loc[table["game"]]
        return table.assign(
            floor_limited=[" ".join(floor_limited_demands(self._gains[game])) for game in table["game"]],
            learned=self.learned,
            verdict=known["verdict"].to_numpy(),
            teacher_score=((known["teacher_unseen"] - known["random"]) / (known["best"] - known["random"])).to_numpy(),
        )

    @cached_property
    def _gains(self) -> dict[str, pd.DataFrame]:
        return {str(game): late_gains(curves) for game, curves in self.tables.curves.groupby("game")}

    @cached_property
    def learned(self) -> list[bool]:
        """Whether any cell of each game ends above the floor."""
        return [has_learned(self._gains[game]) for game in self.cells.games]

    @cached_property
    def class_parts(self) -> pd.DataFrame:
        """Classes of some seeds tested on the others, see `lcd.studies.taxonomy.confirmation.class_parts`."""
        return class_parts(self.cells, len(self.classes.names))

    @cached_property
    def confirmation(self) -> Confirmation:
        """Whether other seeds and other scores give the same classes."""
        return confirm(self.class_parts, self.families)

    @cached_property
    def cheaper(self) -> pd.DataFrame:
        """What cheaper designs would have found, see `lcd.studies.taxonomy.cheaper.cheaper_designs`."""
        return cheaper_designs(self.tables.scores, self.tables.curves)

    @cached_property
    def reliability(self) -> pd.DataFrame:
        """Reliability of each demand over all games, and over those that were learned.

        The rows of `lcd.studies.taxonomy.reliability.reliability_table`, with the column games (``"all"``, or
        ``"learned"``: without those in which no cell leaves the floor), and their number.
        """
        chosen = {"all": self.cells}
        if FEWEST_GAMES <= sum(self.learned) < len(self.learned):
            chosen["learned"] = self.cells.of_games(self.learned)
        return pd.concat(
            [reliability_table(cells).assign(games=name, number=len(cells.games)) for name, cells in chosen.items()],
            ignore_index=True,
        )

    @cached_property
    def ranks(self) -> pd.DataFrame:
        """Ranks of the games with limits, see `lcd.studies.taxonomy.reliability.rank_table`."""
        return rank_table(self.cells)

    @cached_property
    def seeds(self) -> pd.DataFrame:
        """Verdicts at other numbers of seeds, see `lcd.studies.taxonomy.reliability.seeds_table`."""
        return seeds_table(self.tables.scores)

    @cached_property
    def steps(self) -> pd.DataFrame:
        """Verdicts and ranks at smaller budgets, see `lcd.studies.taxonomy.reliability.steps_table`."""
        return steps_table(self.tables.curves)

    @cached_property
    def families(self) -> pd.DataFrame:
        """Agreement of the families of scores, see `lcd.studies.taxonomy.agreement.family_agreement`."""
        return family_agreement(self.tables.scores, self.classes.of_games)

    @cached_property
    def cheap(self) -> pd.DataFrame:
        """Demands from generalisation alone beside the factorial's, see `agreement.cheap_estimates`."""
        return cheap_estimates(self.tables.scores)

    @cached_property
    def cheap_agreement(self) -> pd.DataFrame:
        """Agreement of the two, see `lcd.studies.taxonomy.agreement.cheap_agreement`."""
        return cheap_agreement(self.cheap)

    @cached_property
    def students(self) -> pd.DataFrame:
        """How much of its teacher each imitator reaches, see `lcd.studies.taxonomy.students.student_table`."""
        return student_table(self.tables.scores, self.tables.games)

    @cached_property
    def aggregates(self) -> pd.DataFrame:
        """Demands of the whole survey, see `aggregate_table`."""
        return aggregate_table(self.cells)

    def as_tables(self) -> dict[str, pd.DataFrame]:
        """All tables that `lcd taxonomy` writes, by name; for the columns see `lcd.studies.taxonomy.columns`."""
        names = self.classes.names
        membership = pd.DataFrame(
            {
                "game": np.repeat(self.cells.games, len(names)),
                "class": names * len(self.cells.games),
                "probability": self.classes.membership.ravel(),
            }
        )
        return {
            "positions": self.positions,
            "membership": membership,
            "class_selection": self.classes.selection,
            "class_parts": self.class_parts,
            "reliability": self.reliability,
            "ranks": self.ranks,
            "seeds": self.seeds,
            "steps": self.steps,
            "cheaper": self.cheaper,
            "families": self.families,
            "cheap": self.cheap,
            "cheap_agreement": self.cheap_agreement,
            "aggregates": self.aggregates,
            "students": self.students,
        }

    def plot(self, name: str = "taxonomy", *, placed: Sequence[Placement] = ()) -> Figure:
        """Plot the map of the games, or another of `FIGURES`.

        Parameters
        ----------
        name : str
            One of `FIGURES`.
        placed : sequence of Placement
            New games to show on the map, as `place` finds them.

        Raises
        ------
        ValueError
            If there is no such figure, or games are to be placed on another than the map.
        """
        if name not in FIGURES:
            raise ValueError(f"There is no figure {name!r} of a taxonomy: there are {', '.join(FIGURES)}.")
        if placed and name != FIGURES[0]:
            raise ValueError(f"Games are placed on the map, {FIGURES[0]!r}, not on {name!r}.")
        figure: Figure = registered(name)(self, placed) if placed else registered(name)(self)
        return figure

    def place(self, diagnosis: Diagnosis | SurveyTables, draws: int = DRAWS) -> Placement:
        """Find the nearest games and the classes of a new game.

        Parameters
        ----------
        diagnosis : Diagnosis or SurveyTables
            Of one game, measured as those of the taxonomy were.
        draws : int
            Draws of its position behind the probabilities.

        Raises
        ------
        ValueError
            If it holds several games or a cell of a single seed, or was not measured as the games of the taxonomy.
        """
        tables = diagnosis if isinstance(diagnosis, SurveyTables) else SurveyTables.of([diagnosis])
        games = pd.concat([self.tables.games, tables.games], ignore_index=True)
        check_alike(games, self.tables.versions | tables.versions)
        new = Cells.of(tables.scores)
        if len(new.games) != 1:
            raise ValueError(f"One game is placed at a time, not {len(new.games)}: give the folder of one diagnosis.")
        place, error = new.positions()[0], new.covariances()[0]
        away = self.cells.positions() - place
        together = self.cells.covariances() + error + 1e-12 * np.eye(2)
        deviations = np.sqrt(np.einsum("ni,nij,nj->n", away, np.linalg.inv(together), away))
        nearest = pd.DataFrame(
            {"game": self.cells.games, "distance": np.hypot(*away.T), "deviations": deviations}
        ).sort_values("distance")
        nearest = nearest[nearest["game"] != new.games[0]].reset_index(drop=True)  # not itself
        probabilities = self.classes.probabilities(new.draws(draws, farthest=FARTHEST))[0]
        classes = pd.DataFrame({"class": self.classes.names, "probability": probabilities})
        classes = classes.sort_values("probability", ascending=False, ignore_index=True)
        return Placement(new.games[0], nearest, classes, position_table(tables.scores))


def aggregate_table(cells: Cells, resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Aggregate each demand over games, with the limits of a bootstrap that resamples seeds within every game.

    The interquartile mean and this stratified bootstrap are the aggregates that Agarwal et al. (2021) recommend, known
    from their package rliable.

    Parameters
    ----------
    cells : Cells
        The scores.
    resamples, seed : int
        Of the bootstrap.

    Returns
    -------
    pandas.DataFrame
        One row a (demand, measure): measure ("interquartile mean" or "mean"), estimate, low, high (95 %).

    References
    ----------
    Agarwal, R. et al. (2021), "Deep reinforcement learning at the edge of the statistical precipice", NeurIPS.
    """
    measures = {"interquartile mean": partial(_trimmed_mean, cut=0.25), "mean": partial(_trimmed_mean, cut=0.0)}
    rows = []
    for axis, demand in enumerate(PLANE):
        games = tuple(cells.by_seed()[:, :, axis].T)
        for name, measure in measures.items():
            found = stats.bootstrap(
                games, measure, n_resamples=resamples, method="percentile", rng=np.random.default_rng(seed)
            ).confidence_interval
            rows.append((demand, name, float(measure(*games)), float(found.low), float(found.high)))
    return pd.DataFrame(rows, columns=["demand", "measure", "estimate", "low", "high"])


def _trimmed_mean(*games: Floats, cut: float, axis: int = -1) -> Floats:
    """Mean over games and seeds without a share of the values at either end; 0.25 gives the interquartile mean."""
    values: Floats = stats.trim_mean(np.concatenate(games, axis), cut, axis)
    return values
