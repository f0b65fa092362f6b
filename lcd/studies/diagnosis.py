"""The diagnosis of one game: demands, verdict, figure and JSON from its evaluated episodes."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from lcd.io.files import replacing
from lcd.io.limits import short
from lcd.io.settings import Number, Text, Whole, settings
from lcd.measurement.demands import CONTRASTS, DIFFERENCE
from lcd.measurement.generalisation import GeneralisationEstimate, generalisation_estimate
from lcd.measurement.intervals import Interval, cell_samples, contrast_interval, demand_table
from lcd.measurement.scores import (
    LEVELS,
    PRIMARY,
    SAMPLED,
    SCORES,
    Normalisation,
    cell_scores,
    check_episodes,
    late_gains,
    learning_curves,
)
from lcd.measurement.verdict import Verdict, better_than_teacher, decide
from lcd.studies.figures import registered

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALIKE = (
    "All levels that were tried are alike, or known from training, so that returns on unseen ones say nothing of "
    "generalisation."
)
"""A caution."""

OWN_BEST = "Score 1 is a return of "
ITS_OWN_BEST = (
    OWN_BEST + "{best:.4g}, the highest that these learners or their teacher reached: what all miss is "
    "in no demand. Where a higher return is known, give it as --best, and another --out."
)
"""A caution, where nothing was found to limit the learners."""
OWN_BEST_MATTERS = ("not limited", "inconclusive")
"""Verdicts that it is for."""

OWN_VIEW = "its own"
"""The privileged view of a game that has one."""

FORMAT = "lcd.diagnosis/1"
"""Name and version of the JSON form."""


@settings(called="A teacher's {}")
class TeacherCard:
    """Source and returns of the teacher.

    Attributes
    ----------
    source : str
        "trained", "reference", or the path of the teacher that was given.
    steps : int or None
        Environment steps it was trained for, None if unknown.
    training_return, unseen_return : float
        Its own mean returns on training and on unseen levels, in game points; others than finite ones are refused.
    """

    source: Text
    steps: Whole | None
    training_return: Number
    unseen_return: Number


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis:
    """How much of a game's difficulty is perceptual and how much policy learning; built by :meth:`from_episodes`.

    Attributes
    ----------
    game : str
        The game.
    budget : int
        Environment steps each cell was trained for.
    normalisation : Normalisation
        The returns that count as 0 and 1.
    teacher : TeacherCard or None
        The teacher of the imitation cells.
    settings : dict
        Whatever produced the episodes, as JSON-able values.
    episodes, curves, scores, demands : pandas.DataFrame
        The tables of :func:`lcd.measurement.scores.check_episodes`, :func:`lcd.measurement.scores.learning_curves`,
        :func:`lcd.measurement.scores.cell_scores` and :func:`lcd.measurement.intervals.demand_table`.
    difference : Interval
        Perceptual minus policy demand, of the primary score.
    generalisation : GeneralisationEstimate
        The second, cheap estimate of both demands; None where all levels of the game are alike.
    verdict : Verdict
        What limits the learner.
    sampled : pandas.DataFrame or None
        The demands of the unchanged policies, at a temperature of 1; None where the episodes were played by one rule
        of acting only.
    encoders : pandas.DataFrame or None
        The comparison with other encoders, see :func:`lcd.studies.encoder_ablation.read_ablation`, where one was made.
    ladder : pandas.DataFrame or None
        The steps of finer helps, see :func:`lcd.studies.ladder.ladder_table`, where they were measured.
    baselines : pandas.DataFrame or None
        What needs no perception, and what of the teacher each view can hold, see
        :func:`lcd.studies.baselines.read_baselines`, where it was measured.
    controls : pandas.DataFrame or None
        What an expert's encoder brings beyond others, where it is the privileged view, see
        :func:`lcd.studies.controls.with_controls`.
    """

    game: str
    budget: int
    normalisation: Normalisation
    teacher: TeacherCard | None
    settings: dict[str, Any]
    episodes: pd.DataFrame
    curves: pd.DataFrame
    scores: pd.DataFrame
    demands: pd.DataFrame
    difference: Interval
    generalisation: GeneralisationEstimate | None
    verdict: Verdict
    sampled: pd.DataFrame | None = None
    encoders: pd.DataFrame | None = None
    ladder: pd.DataFrame | None = None
    baselines: pd.DataFrame | None = None
    controls: pd.DataFrame | None = None

    @classmethod
    def from_episodes(
        cls,
        episodes: pd.DataFrame,
        *,
        game: str,
        budget: int,
        normalisation: Normalisation,
        teacher: TeacherCard | None = None,
        settings: Mapping[str, Any] | None = None,
        levels_differ: bool = True,
    ) -> Diagnosis:
        """Diagnose a game from its evaluated episodes.

        Parameters
        ----------
        episodes : pandas.DataFrame
            One row an evaluated episode, with the columns of :data:`lcd.measurement.scores.COLUMNS`; other games are
            ignored.
        game : str
            The game to diagnose.
        budget : int
            Environment steps at which every curve ends.
        normalisation : Normalisation
            The returns that count as 0 and 1.
        teacher : TeacherCard or None
            What is known of the teacher.
        settings : mapping, optional
            JSON-able values to keep with the result.
        levels_differ : bool
            Whether the game's levels differ; else nothing is said of generalisation.

        Returns
        -------
        Diagnosis
            The same for the same episodes: nothing in it is drawn at random.

        Raises
        ------
        ValueError
            If the table cannot carry a diagnosis (:func:`lcd.measurement.scores.check_episodes`) or `settings` is no
            JSON.
        """
        kept = dict(settings or {})
        try:
            json.dumps(kept, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"settings must hold plain JSON values: {error}") from error
        if not isinstance(normalisation, Normalisation):
            raise ValueError(f"normalisation must be a Normalisation, not {short(normalisation)}.")
        table = check_episodes(episodes, game=game, budget=budget)
        all_episodes, sampled = table, None
        if len(table) < (episodes["game"] == game).sum():
            as_sampled = check_episodes(episodes, game=game, budget=budget, rule=SAMPLED)
            sampled = demand_table(cell_scores(as_sampled, normalisation, budget))
            all_episodes = pd.concat([table, as_sampled], ignore_index=True)
        curves = learning_curves(table, normalisation)
        scores = cell_scores(table, normalisation, budget)
        demands = demand_table(scores)
        samples, errors = cell_samples(scores, *PRIMARY)
        difference = contrast_interval(samples, errors, DIFFERENCE)
        training, unseen = (
            (None, None)
            if teacher is None
            else (normalisation.score(each) for each in (teacher.training_return, teacher.unseen_return))
        )
        teachable = curves[curves["view"] == "pixels"] if "privileged_view" in kept else curves
        verdict = decide(
            samples,
            errors,
            gains=late_gains(curves),
            training_gains=late_gains(curves, "training"),
            teacher_score=unseen,
            better=better_than_teacher(teachable, training),
        )
        further = []
        if normalisation.source == "measured" and verdict.name in OWN_BEST_MATTERS:
            further.append(ITS_OWN_BEST.format(best=normalisation.best))
        if not levels_differ:
            further.append(ALIKE)
        verdict = replace(verdict, cautions=(*verdict.cautions, *further))
        return cls(
            game=game,
            budget=budget,
            normalisation=normalisation,
            teacher=teacher,
            settings=kept,
            episodes=all_episodes,
            curves=curves,
            scores=scores,
            demands=demands,
            difference=difference,
            generalisation=generalisation_estimate(scores) if levels_differ else None,
            verdict=verdict,
            sampled=sampled,
        )

    @classmethod
    def read(cls, folder: Path | str) -> Diagnosis:
        """Read a diagnosis from the folder that `lcd.diagnose` wrote, see `lcd.studies.reading`.

        Raises
        ------
        ValueError
            If there is no diagnosis, or it is damaged.
        """
        from lcd.studies.reading import read_diagnosis_folder

        return read_diagnosis_folder(folder)

    @property
    def privileged_view(self) -> str:
        """The view that demands are measured by: `OWN_VIEW`, or ``"expert"``, an expert's encoder in its place."""
        return str(self.settings.get("privileged_view", OWN_VIEW))

    @property
    def perceptual(self) -> Interval:
        """Perceptual demand of the primary score."""
        return _interval(self.demands, "perceptual")

    @property
    def policy(self) -> Interval:
        """Policy-learning demand of the primary score."""
        return _interval(self.demands, "policy")

    @property
    def joint(self) -> Interval:
        """Joint demand: the cost of learning both at once; negative where the two demands overlap."""
        return _interval(self.demands, "joint")

    @property
    def gap(self) -> Interval:
        """Learning gap ``d − a``: the sum of the three demands."""
        return _interval(self.demands, "gap")

    @property
    def perceptual_gain(self) -> Interval:
        """Gain of better perception alone, ``b − a``."""
        return _interval(self.demands, "perceptual_gain")

    @property
    def policy_gain(self) -> Interval:
        """Gain of better policy learning alone, ``c − a``."""
        return _interval(self.demands, "policy_gain")

    @property
    def headroom(self) -> Interval:
        """Headroom ``1 − d``: the distance of cell d to the best score."""
        return _interval(self.demands, "headroom")

    @property
    def temperature_sentence(self) -> str | None:
        """Sentence with the demands of the unchanged policies, without tuned temperatures."""
        if self.sampled is None:
            return None
        perceptual, policy = (_interval(self.sampled, name) for name in ("perceptual", "policy"))
        change = policy.estimate - self.policy.estimate
        return (
            f"Every policy acts at the inverse temperature with the highest return on training levels. At temperature "
            f"1 the perceptual demand would be {perceptual} and the policy-learning demand {policy}: "
            f"{change:+.2f} of the latter is due to temperature."
        )

    def summary(self) -> pd.DataFrame:
        """Return the demands for printing: a row a quantity, a column a score family, the primary one first."""
        return pd.DataFrame(
            {
                f"{levels} {score}": {
                    quantity: str(_interval(self.demands, quantity, levels, score)) for quantity in CONTRASTS
                }
                for levels in LEVELS
                for score in SCORES
            }
        )

    def to_json(self, path: str | Path | None = None) -> dict[str, Any]:
        """Return the diagnosis as JSON-able values, and write them if a path is given.

        Episodes, and the tables of other encoders, the ladder and the baselines, are files of their own.

        Keys: format, game, budget (environment steps), seeds, normalisation, teacher, settings, verdict (name, reason,
        would_decide, cautions), demands (a list of rows), difference, generalisation, scores and curves (lists of
        rows), sampled_demands (rows, where there are episodes of two rules of acting) and controls (rows, where a
        frozen encoder is the privileged view). What is not a finite number is null.

        Parameters
        ----------
        path : str or pathlib.Path, optional
            File to write; it appears whole or not at all.

        Returns
        -------
        dict
            What was written.
        """
        result: dict[str, Any] = _plain(
            {
                "format": FORMAT,
                "game": self.game,
                "budget": self.budget,
                "seeds": sorted(self.scores["seed"].unique().tolist()),
                "normalisation": asdict(self.normalisation),
                "teacher": None if self.teacher is None else asdict(self.teacher),
                "settings": self.settings,
                "verdict": asdict(self.verdict),
                "demands": self.demands.to_dict("records"),
                "difference": asdict(self.difference),
                "generalisation": None if self.generalisation is None else asdict(self.generalisation),
                "scores": self.scores.to_dict("records"),
                "curves": self.curves.to_dict("records"),
            }
            | ({} if self.sampled is None else {"sampled_demands": self.sampled.to_dict("records")})
            | ({} if self.controls is None else {"controls": self.controls.to_dict("records")})
        )
        if path is not None:
            with replacing(Path(path)) as partial:
                partial.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        return result

    def plot(self) -> Figure:
        """Draw curves and demands with the figure registered as "diagnosis" in the entry points "lcd.figures".

        Returns
        -------
        matplotlib.figure.Figure
            Not shown and not saved.

        Raises
        ------
        lcd.studies.figures.FigureMissingError
            If no such figure is registered, because the package is not installed.
        """
        figure: Figure = registered("diagnosis")(self)
        return figure

    def __repr__(self) -> str:
        """Return the verdict and the primary demands, a line each."""
        lines = [f"Diagnosis of {self.game} after {self.budget:,} steps: {self.verdict.name}"]
        lines += [f"  {quantity:<16}{_interval(self.demands, quantity)}" for quantity in CONTRASTS]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Return the form for a notebook."""
        title = html.escape(f"{self.game}: {self.verdict.name}")
        return f"<b>{title}</b><p>{html.escape(self.verdict.reason)}</p>{self.summary().to_html()}"


def _interval(demands: pd.DataFrame, quantity: str, levels: str = PRIMARY[0], score: str = PRIMARY[1]) -> Interval:
    """Return one row of the demand table as an interval."""
    chosen = (demands["quantity"] == quantity) & (demands["levels"] == levels) & (demands["score"] == score)
    row = demands[chosen].iloc[0]
    return Interval(float(row["estimate"]), float(row["low"]), float(row["high"]), row["over"])


def _plain(value: Any) -> Any:
    """Return a value in plain JSON types, with null for what is not finite."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
