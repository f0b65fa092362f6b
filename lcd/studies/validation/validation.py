"""Execution of a validation: diagnoses, improved learners, and what of the former predicts the gains of the latter."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lcd.experiments.execution import Listener, WhenComplete, execute, in_turn
from lcd.experiments.executors import LOCAL
from lcd.experiments.improvements import get_improvement, version_of_improvement
from lcd.experiments.plan import GamePlan, Plan
from lcd.experiments.remote_store import open_store
from lcd.experiments.resources import Resources
from lcd.experiments.settings import RunSettings
from lcd.experiments.store import Store
from lcd.io.files import DEFAULT_STORE
from lcd.io.limits import STEP_LIMIT, path
from lcd.io.watching import WATCH
from lcd.measurement.scores import Normalisation
from lcd.measurement.validity import (
    KINDS,
    Rule,
    correlation_table,
    decision_table,
    mean_gain,
    rank_correlation,
)
from lcd.studies.encoder_ablation import encoder_folder, pretrained_encoder
from lcd.studies.ladder import Ladder, ladder_of, read_ladder
from lcd.studies.output import OutputFolder
from lcd.studies.pipeline import normalisation_of, read_diagnosis
from lcd.studies.showing import Show, silent, telling
from lcd.studies.survey.tables import SurveyTables
from lcd.studies.validation.complexity import complexity_of
from lcd.studies.validation.gains import gains_of
from lcd.studies.validation.improving import encoder_with, improved_run, plain_runs
from lcd.studies.validation.plan import Hypothesis, Validation
from lcd.studies.validation.predictors import (
    COMPLEXITY,
    PREDICTORS,
    SCORE,
    predictors_of,
    predictors_of_scores,
)
from lcd.studies.validation.tables import FILES, read_complexity, read_measured

FORMAT = "lcd.validation/3"

DEMAND_RULE, CHEAP_RULE = "larger demand", "generalisation estimate"
"""Rules that compare two estimates of a diagnosis: P with L, and the two that need the first cell alone."""

LEARNED = ("perceptual", "policy", SCORE, "generalisation", *COMPLEXITY)
"""Predictors of which a threshold is learned, for the decision what to try first."""


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
        return (*diagnosed, *ladder, replace(self.plan, cells=further))

    def read(self, store: Store) -> tuple[dict[str, float], pd.DataFrame]:
        """The predictors that the diagnosis gives, with its ladder, and the gains.

        Raises
        ------
        lcd.experiments.store.StoreError
            If a run is missing or damaged.
        lcd.studies.pipeline.NothingLearned
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
class ValidationResult:
    """What a validation found.

    Attributes
    ----------
    predictors
        One row a game: the predictors of `lcd.studies.validation.predictors`; NaN for those that were not measured.
    gains
        One row a (game, improvement), see `lcd.studies.validation.gains.gains_of`.
    correlations
        One row a (predictor, kind, improvement), see `lcd.measurement.validity.correlation_table`.
    decisions
        One row a rule, see `lcd.measurement.validity.decision_table`.
    hypotheses
        One row a hypothesis: predictor, gain, sign, given_score, text, estimate with its limits, games, and outcome:
        supported, contradicted or undecided; and joint_low, joint_high and joint_outcome, by limits that hold for all
        hypotheses together (Bonferroni's).
    measured
        How its learners were measured, as `lcd.studies.survey.columns.ALIKE` names it; empty where that is not known.
    source
        The name of the folder that it was read from; empty where it was not read.
    """

    predictors: pd.DataFrame
    gains: pd.DataFrame
    correlations: pd.DataFrame
    decisions: pd.DataFrame
    hypotheses: pd.DataFrame
    measured: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""

    def as_tables(self) -> dict[str, pd.DataFrame]:
        """All tables, by name."""
        return {name: table for name, table in vars(self).items() if isinstance(table, pd.DataFrame)}


def fixed_rules(predictors: pd.DataFrame) -> dict[str, Rule]:
    """The rules that compare two estimates of a diagnosis, by name.

    Parameters
    ----------
    predictors : pandas.DataFrame
        One row a game; a column a predictor.
    """
    numbers = {
        DEMAND_RULE: predictors["difference"],
        CHEAP_RULE: predictors["generalisation"] - (1 - predictors["training_score"]),
    }
    return {name: Rule(name, each.to_numpy(dtype=np.float64), 0.0) for name, each in numbers.items()}


def analyse(predictors: pd.DataFrame, gains: pd.DataFrame, hypotheses: tuple[Hypothesis, ...]) -> ValidationResult:
    """Tell what predicts the gains.

    Parameters
    ----------
    predictors, gains
        As in `ValidationResult`.
    hypotheses
        What was expected before; all of them are reported.
    """
    indexed = predictors.set_index("game").sort_index().dropna(axis=1, how="all")
    correlations = correlation_table(indexed, gains, given=SCORE)
    means = {kind: mean_gain(gains, kind).reindex(indexed.index).to_numpy(dtype=np.float64) for kind in KINDS}
    column = {name: indexed[name].to_numpy(dtype=np.float64) for name in indexed}
    rules = [
        *fixed_rules(indexed).values(),
        *(Rule(f"threshold of {name}", column[name]) for name in LEARNED if name in column),
    ]
    outcomes = pd.DataFrame([_told(each, indexed, gains, len(hypotheses)) for each in hypotheses])
    return ValidationResult(predictors, gains, correlations, decision_table(rules, means), outcomes)


def _told(hypothesis: Hypothesis, predictors: pd.DataFrame, gains: pd.DataFrame, number: int) -> dict[str, Any]:
    """What was found of one of a number of hypotheses."""
    values = mean_gain(gains, hypothesis.gain).reindex(predictors.index)
    unknown = pd.Series(np.nan, predictors.index)
    asked = predictors.get(hypothesis.predictor, unknown), values, predictors[SCORE] if hypothesis.given_score else None
    found = rank_correlation(*asked)
    alone, among = found.limits(), found.limits(1 - 0.05 / number)
    return asdict(hypothesis) | {
        "text": hypothesis.text,
        "estimate": found.estimate,
        "low": alone[0],
        "high": alone[1],
        "games": found.games,
        "outcome": _outcome(alone, hypothesis.sign),
        "joint_low": among[0],
        "joint_high": among[1],
        "joint_outcome": _outcome(among, hypothesis.sign),
    }


def _outcome(limits: tuple[float, float], sign: str) -> str:
    """Whether the limits of a correlation exclude 0, and on which side."""
    low, high = limits
    if not low * high > 0:
        return "undecided"
    return "supported" if (low > 0) == (sign == "positive") else "contradicted"


@dataclass(frozen=True, eq=False)
class Finished:
    """Games of a validation that are finished.

    Attributes
    ----------
    predictors, gains
        As in `ValidationResult`, of these games; without the measures of complexity.
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


@dataclass(frozen=True)
class PreparedValidation:
    """A validation whose arguments are checked; nothing is trained or written yet.

    Attributes
    ----------
    validation
        Games, improvements and hypotheses.
    out
        Folder of the results.
    store
        As in `lcd.diagnose`.
    resources
        With what the runs are carried out.
    held
        The diagnoses that the tables hold and the store does not, by game: they are not trained again.
    finished
        What the output folder holds of games whose runs the store does not have: nothing of them is trained again.
    """

    validation: Validation
    out: OutputFolder
    store: Store
    resources: Resources
    held: Mapping[str, Held] = field(default_factory=dict)
    finished: Finished = field(default_factory=lambda: Finished())

    def games(self, encoder: Callable[[GamePlan, str], str]) -> Iterator[GameRuns]:
        """The runs in each game that is not finished.

        Parameters
        ----------
        encoder
            From a game's plan and the name of an improvement to the full name of the encoder that it brings.
        """
        for plan in self.validation.survey.plan.games:
            if plan.game in self.finished:
                continue
            plain = plain_runs(plan, self.validation.further)
            improved = {}
            for name in self.validation.improvements:
                improvement = get_improvement(name)
                brought = None if improvement.encoder is None else encoder(plan, name)
                improved[name] = tuple(improved_run(run, improvement, brought) for run in plain)
            ladder = ladder_of(plan) if self.validation.ladder else None
            yield GameRuns(plan, ladder, plain, improved, self.held.get(plan.game))

    def untrained(self) -> Plan:
        """All runs, with random weights in the place of encoders that may not be pretrained yet: of the same cost."""

        def stand_in(plan: GamePlan, name: str) -> str:
            return encoder_with(plan.cells[0], get_improvement(name))

        return Plan(tuple(each for game in self.games(stand_in) for each in game.plans))

    def run(self, show: Show = silent, report: Callable[[str], None] = lambda line: None) -> ValidationResult:
        """Train what is missing and write the tables; those of games that are finished are written as they come.

        Parameters
        ----------
        show
            Shows the progress of the plan.
        report
            Called with a line about what takes long beside it.

        Raises
        ------
        lcd.experiments.execution.RunFailed
            If a run failed; the same call resumes from the finished ones.
        ValueError
            If no game has scores, because nobody returned more than a random policy in any.
        """
        self.out.claim(self.as_dict())
        folder = encoder_folder(self.store.root)

        def pretrained(plan: GamePlan, name: str) -> str:
            objective = (get_improvement(name).encoder or "").partition("+")[0]
            file = pretrained_encoder(plan, objective, folder, lambda line: report(f"{plan.game}, {name}: {line}"))
            return encoder_with(plan.cells[0], get_improvement(name), str(file))

        games = list(self.games(pretrained))
        plan = Plan(tuple(each for game in games for each in game.plans))
        measured = _Measured(self.store, self.out, self.finished)
        left_out: list[str] = []

        def failed(game: GameRuns, sentence: str) -> None:
            left_out.append(sentence)
            report(f"{game.plan.game} is left out. {sentence}")

        reading = WhenComplete([(game, Plan(game.plans).runs) for game in games], measured.add, failed)
        if games:
            with show(plan) as listener:
                execute(plan, self.store, listener=in_turn(listener, reading), **asdict(self.resources))
        if measured.predictors.empty:
            raise ValueError(f"No game of the validation has scores. {left_out[0]}")
        predictors = self._with_complexity(measured.predictors, report)
        result = analyse(predictors, measured.gains, self.validation.hypotheses)
        self.out.write_results({name: table.round(6) for name, table in result.as_tables().items()}, {})
        return result

    def _with_complexity(self, predictors: pd.DataFrame, report: Callable[[str], None]) -> pd.DataFrame:
        """Add the measures of complexity, which random play tells; those in the folder are kept."""
        rows: list[Any] = read_complexity(self.out.path).to_dict("records")
        for plan in self.validation.survey.plan.games:
            if plan.game not in {row["game"] for row in rows}:
                report(f"{plan.game}: random play, for the policy information capacity and the effective horizon")
                (run, *_) = plain_runs(plan, self.validation.further)
                rows.append({"game": plan.game, **complexity_of(plan, run)})
                self.out.write_tables(complexity=pd.DataFrame(rows))
        measured = pd.DataFrame(rows).set_index("game")
        return predictors.assign(**{name: predictors["game"].map(measured[name]) for name in COMPLEXITY})

    def as_dict(self) -> dict[str, Any]:
        """What identifies the validation, as plain data.

        The precision is not part of it: each machine plans that with which it computes fastest, and the gains tell it.
        """
        chosen = self.validation
        plan = Plan(tuple(game.in_precision(None) for game in chosen.survey.plan.games))
        return {
            "format": FORMAT,
            "plan": plan.as_dict(measure=False),
            "improvements": [[name, version_of_improvement(name)] for name in sorted(chosen.improvements)],
            "further_seeds": list(chosen.further),
            "ladder": chosen.ladder,
            "hypotheses": [asdict(each) for each in chosen.hypotheses],
        }


class _Measured:
    """The numbers of the games so far, written as each is added."""

    def __init__(self, store: Store, out: OutputFolder, finished: Finished) -> None:
        self._store, self._out = store, out
        self._predictors: list[Any] = finished.predictors.to_dict("records")
        self._gains = [finished.gains] if finished.games else []

    def add(self, game: GameRuns) -> None:
        """Read a game whose runs are finished."""
        predictors, gains = game.read(self._store)
        self._predictors.append({"game": game.plan.game} | predictors)
        self._gains.append(gains)
        self._out.write_results({"predictors": self.predictors.round(6), "gains": self.gains.round(6)}, {})

    @property
    def predictors(self) -> pd.DataFrame:
        """Of the games so far."""
        return pd.DataFrame(self._predictors, columns=["game", *PREDICTORS])

    @property
    def gains(self) -> pd.DataFrame:
        """Of the games so far."""
        return pd.concat(self._gains, ignore_index=True)


def prepare_validation(
    plan: Validation | Path | str,
    *,
    trust: bool = False,
    tables: Path | str | None = None,
    out: Path | str | None = None,
    store: Path | str = DEFAULT_STORE,
    workers: int | None = None,
    threads: int | None = None,
    device: str = "auto",
    executor: str = LOCAL,
    step_limit: float = STEP_LIMIT,
) -> PreparedValidation:
    """Check the arguments of `validate` and plan its runs, before anything is trained or written.

    Raises
    ------
    ValueError
        If an argument is invalid; the message says what is allowed.
    """
    resources = Resources.checked(device, workers, threads, executor, step_limit)
    WATCH.limit = resources.step_limit
    chosen = plan if isinstance(plan, Validation) else Validation.read(plan, trust=trust)
    precision = chosen.survey.changes.get("precision")
    chosen = replace(chosen, survey=chosen.survey.on(resources))
    named = "validation" if isinstance(plan, Validation) else Path(plan).stem
    folder = OutputFolder(Path("validations") / named if out is None else path("out", out))
    runs = open_store(store)
    prepared = PreparedValidation(chosen, folder, runs, resources, _held(chosen, tables, runs))
    folder.check(prepared.as_dict())
    read_complexity(folder.path)  # which is needed at the end
    prepared = replace(prepared, finished=_finished(prepared, precision))
    prepared.store.check(prepared.untrained().runs)
    return prepared


def _finished(prepared: PreparedValidation, precision: str | None) -> Finished:
    """What the output folder holds of games whose runs the store does not have.

    Parameters
    ----------
    prepared
        The validation, whose output folder is its own.
    precision
        The precision that its file asks for; None where each machine chooses.
    """
    if not all((prepared.out.path / name).is_file() for name in FILES):
        return Finished()
    predictors, gains = read_measured(prepared.out.path)
    wanted, games = prepared.validation, []
    for plan in wanted.survey.plan.games:
        mine = gains[gains["game"] == plan.game]
        complete = plan.game in set(predictors["game"]) and set(mine["improvement"]) == set(wanted.improvements)
        as_asked = precision is None or set(mine["precision"]) == {precision}
        if complete and as_asked and not all(map(prepared.store.has, plain_runs(plan, wanted.further))):
            games.append(plan.game)
    return Finished(predictors, gains).only(games)


def _held(validation: Validation, tables: Path | str | None, store: Store) -> dict[str, Held]:
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


def validate(
    plan: Validation | Path | str,
    *,
    trust: bool = False,
    tables: Path | str | None = None,
    out: Path | str | None = None,
    store: Path | str = DEFAULT_STORE,
    workers: int | None = None,
    threads: int | None = None,
    device: str = "auto",
    executor: str = LOCAL,
    step_limit: float = STEP_LIMIT,
    listener: Listener = lambda event: None,
    report: Callable[[str], None] = lambda line: None,
) -> ValidationResult:
    """Measure what improvements gain, and how well diagnoses predict it; ``lcd validate`` is this function.

    Parameters
    ----------
    plan
        The validation, or its TOML file.
    trust
        Whether the file may name games, wrappers, teachers, encoders and improvements as ``module:name``, whose code is
        run.
    tables
        Folder of a survey's tables, or the name of one that comes with the package: diagnoses that it holds are not
        trained again, unless the validation has a ladder.
    out
        Folder of the tables; by default ``validations/NAME``. Games that are finished there and whose runs the store
        does not have, on another machine, are not trained again.
    store, workers, threads, device, executor, step_limit, listener
        As in `lcd.diagnose`.
    report
        Called with a line about what takes long beside training.

    Raises
    ------
    ValueError
        If an argument is invalid; the message says what is allowed.
    lcd.experiments.execution.RunFailed
        If a run failed; the same call resumes from the finished ones.
    """
    prepared = prepare_validation(
        plan,
        trust=trust,
        tables=tables,
        out=out,
        store=store,
        workers=workers,
        threads=threads,
        device=device,
        executor=executor,
        step_limit=step_limit,
    )
    return prepared.run(telling(listener), report)
