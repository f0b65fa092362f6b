"""Execution of a survey: each game's diagnosis is written as soon as its runs are finished."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

import pandas as pd

from lcd.envs.naming import file_name
from lcd.experiments.execution import Listener, WhenComplete, execute, in_turn
from lcd.experiments.executors import LOCAL
from lcd.experiments.plan import GamePlan, Plan
from lcd.experiments.remote_store import open_store
from lcd.experiments.resources import FASTEST, Resources
from lcd.experiments.settings import RunSettings
from lcd.experiments.store import Store
from lcd.io.files import DEFAULT_STORE, locked, replacing
from lcd.io.limits import STEP_LIMIT, path, texts
from lcd.io.untrusted import read_csv
from lcd.io.watching import WATCH
from lcd.studies.baselines import baselines_of
from lcd.studies.diagnosing import PreparedDiagnosis
from lcd.studies.diagnosis import Diagnosis
from lcd.studies.figures import check_registered
from lcd.studies.finished_runs import read_diagnosis
from lcd.studies.ladder import ladder_of
from lcd.studies.output import OutputFolder
from lcd.studies.showing import Show, showing, silent
from lcd.studies.survey.columns import DECIMALS
from lcd.studies.survey.plan import Survey
from lcd.studies.survey.rows import differences, measured_settings, read_measured_settings
from lcd.studies.survey.tables import SurveyTables

FURTHER = ("ladder", "baselines")
"""Tables of all games beyond their diagnoses."""

ELSEWHERE = "choose another --out"


def folders(survey: Survey, out: Path) -> dict[str, OutputFolder]:
    """Output folder of each game's diagnosis, after checking that none belongs to another plan.

    Raises
    ------
    ValueError
        If one does.
    """
    found = {plan.game: OutputFolder(out / file_name(plan.game)) for plan in survey.plan.games}
    for plan in survey.plan.games:
        found[plan.game].check(Plan((plan,)).as_dict(measure=False))
    return found


def carry_out(
    survey: Survey,
    out: Path,
    store: Store | Path | str = DEFAULT_STORE,
    *,
    resources: Resources = FASTEST,
    listener: Listener = lambda event: None,
    done: Callable[[Diagnosis], None] = lambda diagnosis: None,
    failed: Callable[[str, str], None] = lambda game, sentence: None,
) -> None:
    """Diagnose the games of a survey; finished runs are taken from the store.

    Parameters
    ----------
    survey
        What to diagnose.
    out
        Folder for the diagnoses, a folder a game; each is written as soon as its runs are finished.
    store
        Folder of the runs, or the URL of a folder on object storage, such as ``s3://bucket/prefix``.
    resources
        With what they are carried out.
    listener
        Called with every event, see `lcd.experiments.execution.Event`.
    done
        Called with each diagnosis when it is written.
    failed
        Called with each game whose runs make no diagnosis, and a sentence that says why; the others go on.

    Raises
    ------
    ValueError
        If a game's folder belongs to another plan.
    lcd.experiments.execution.RunFailed
        If a run failed; the same call resumes from the finished ones.
    """
    runs = open_store(store)
    written = folders(survey, out)

    def read(plan: GamePlan) -> None:
        folder = written[plan.game]
        plan = folder.as_begun(plan)
        diagnosis = read_diagnosis(plan, runs, {"preset": survey.preset})
        folder.claim(Plan((plan,)).as_dict())
        folder.write(diagnosis)
        done(diagnosis)

    groups = [(plan, plan.runs) for plan in survey.plan.games]
    reading = WhenComplete(groups, read, lambda plan, sentence: failed(plan.game, sentence))
    execute(survey.plan, runs, listener=in_turn(listener, reading), **asdict(resources))


@dataclass(frozen=True)
class SurveyResult:
    """What a survey found.

    Attributes
    ----------
    diagnoses
        By game.
    left_out
        Games that could not be added to the tables, each with a sentence that says why.
    undiagnosed
        Games whose runs make no diagnosis, likewise.
    held
        Games whose runs the tables hold and the store does not: nothing was trained for them.
    ladder, baselines
        The ladders and the baselines of all games in the folder, with a column game; None where none were asked for, or
        all games are held.
    """

    diagnoses: dict[str, Diagnosis]
    left_out: dict[str, str]
    undiagnosed: dict[str, str] = field(default_factory=dict)
    held: tuple[str, ...] = ()
    ladder: pd.DataFrame | None = None
    baselines: pd.DataFrame | None = None


@dataclass(frozen=True)
class PreparedSurvey:
    """A survey whose arguments are checked; nothing is trained or written yet.

    Attributes
    ----------
    survey
        Its games and their budget.
    out
        Folder of the diagnoses.
    tables
        Folder of tables to which each game is added, or None.
    store
        As in `lcd.diagnose`.
    resources
        With what the runs are carried out.
    held
        Games whose runs the tables hold and the store does not: they are not trained again.
    """

    survey: Survey
    out: Path
    tables: Path | None
    store: Store
    resources: Resources
    held: tuple[str, ...] = ()

    @property
    def plan(self) -> Plan:
        """The runs of all games but those that the tables hold."""
        return Plan(tuple(game for game in self.survey.plan.games if game.game not in self.held))

    @cached_property
    def finer(self) -> tuple[PreparedDiagnosis, ...]:
        """What is measured in each game beyond its diagnosis; empty for a survey without a ladder and baselines.

        Raises
        ------
        ValueError
            If a game can have no ladder or no baselines.
        """
        survey = self.survey
        if not survey.ladder and not survey.baselines:
            return ()
        return tuple(
            PreparedDiagnosis(
                plan,
                survey.preset,
                (),
                ladder_of(plan) if survey.ladder else None,
                baselines_of(plan) if survey.baselines else None,
                None,
                self.store,
                self.resources,
            )
            for plan in self.plan.games
        )

    def further_runs(self) -> list[tuple[str, RunSettings]]:
        """The runs of ladders and baselines that are still needed, each with the name of its encoder."""
        return [named for game in self.finer for named in game.further_runs()]

    def run(
        self,
        show: Show = silent,
        done: Callable[[Diagnosis, str | None], None] = lambda diagnosis, error: None,
        failed: Callable[[str, str], None] = lambda game, reason: None,
    ) -> SurveyResult:
        """Train the missing runs, and write each game's diagnosis as soon as its runs are finished.

        Parameters
        ----------
        show
            Shows the progress of the plan.
        done
            Called with each diagnosis when it is written, and with a sentence where it could not be added to the
            tables.
        failed
            Called with a game that has no diagnosis though its runs are finished, and why.

        Raises
        ------
        lcd.experiments.execution.RunFailed
            If a run failed; the same call resumes from the finished ones.
        """
        check_registered("diagnosis")
        found = SurveyResult({}, {}, held=self.held)

        def enter(diagnosis: Diagnosis) -> None:
            found.diagnoses[diagnosis.game] = diagnosis
            if self.tables is not None:
                try:
                    SurveyTables.of([diagnosis]).enter(self.tables)
                except (OSError, ValueError) as error:
                    found.left_out[diagnosis.game] = str(error)
            done(diagnosis, found.left_out.get(diagnosis.game))

        def leave_out(game: str, reason: str) -> None:
            found.undiagnosed[game] = reason
            failed(game, reason)

        plan = self.plan
        if not plan.games:
            return found
        with show(plan) as listener:
            carry_out(
                self.survey.only([game.game for game in plan.games]),
                self.out,
                self.store,
                resources=self.resources,
                listener=listener,
                done=enter,
                failed=leave_out,
            )
        further = self._measure_further(show, found.diagnoses)
        return replace(found, ladder=further.get("ladder"), baselines=further.get("baselines"))

    def _measure_further(self, show: Show, diagnosed: Collection[str]) -> dict[str, pd.DataFrame]:
        """Train and write the ladders and baselines, a game after the other, and together with those before."""
        whole: dict[str, pd.DataFrame] = {}
        for planned in self.finer:
            name = planned.game_plan.game
            if name not in diagnosed:
                continue
            game = planned.writing_to(self.out / file_name(name))
            for kind, table in (("ladder", game.climb(show)), ("baselines", game.measure_baselines(show))):
                if table is not None:
                    whole[kind] = with_game(self.out / f"{kind}.csv", name, table.round(DECIMALS))
        return whole


def _check_teachers(survey: Survey) -> None:
    """Check that what a survey says of the training of teachers is of use in one of its games.

    Raises
    ------
    ValueError
        If it trains none.
    """
    named = [name for name in ("teacher_factor", "teacher_candidates") if name in survey.changes]
    if named and all(game.teacher_run is None for game in survey.plan.games):
        raise ValueError(
            f"{named[0]} is about the training of teachers, and this survey trains none: leave it out, or set "
            "train_teachers = true."
        )


def _check_others(survey: Survey, out: Path) -> None:
    """Check that the games of earlier calls, in the tables of all games that are asked for, were measured alike.

    Raises
    ------
    ValueError
        If one was not.
    """
    (here, *_) = survey.plan.as_dict(measure=False)["games"]
    measured = measured_settings(here)
    for kind in [name for name in FURTHER if getattr(survey, name)]:
        file = out / f"{kind}.csv"
        others = set(_games_in(file)["game"]) - set(survey.games) if file.is_file() else set()
        for game in sorted(others):
            plan = out / file_name(game) / "plan.json"
            there = read_measured_settings(plan, remedy=ELSEWHERE) if plan.is_file() else measured
            for name, values in differences(there, measured).items():
                raise ValueError(
                    f"{file} has {game} with {name.replace('_', ' ')} {values[0]}, and here it is {values[1]}: choose "
                    "another --out."
                )


def with_game(file: Path, game: str, table: pd.DataFrame) -> pd.DataFrame:
    """Put the rows of a game into a table of several games, in the place of those that it had, and return it whole."""
    table = table.assign(game=game)[["game", *table.columns]]
    with locked(file.parent):
        if file.exists():
            others = _games_in(file)
            table = pd.concat([others[others["game"] != game], table], ignore_index=True)
        with replacing(file) as partial:
            table.to_csv(partial, index=False)
    return table


def _games_in(file: Path) -> pd.DataFrame:
    """A table of several games.

    Raises
    ------
    ValueError
        If it is something else.
    """
    table = read_csv(file, dtype={"game": str}, remedy=ELSEWHERE)
    if "game" not in table or table["game"].isna().any():
        raise ValueError(f"{file} is no table that names a game in each row: {ELSEWHERE}.")
    return table


def prepare_survey(
    plan: Survey | Path | str,
    *,
    games: Sequence[str] = (),
    steps: int | None = None,
    seeds: int | None = None,
    first_seed: int | None = None,
    ladder: bool = False,
    baselines: bool = False,
    trust: bool = False,
    out: Path | str | None = None,
    tables: Path | str | None = None,
    store: Path | str = DEFAULT_STORE,
    workers: int | None = None,
    threads: int | None = None,
    device: str = "auto",
    executor: str = LOCAL,
    step_limit: float = STEP_LIMIT,
) -> PreparedSurvey:
    """Check the arguments of `survey` and plan its runs, before anything is trained or written.

    Raises
    ------
    ValueError
        If an argument is invalid; the message says what is allowed.
    """
    resources = Resources.checked(device, workers, threads, executor, step_limit)
    WATCH.limit = resources.step_limit
    chosen = plan if isinstance(plan, Survey) else Survey.read(plan, trust=trust)
    _check_teachers(chosen)
    if only := texts("games", games):
        chosen = chosen.only(only)
    given = {"steps": steps, "seeds": seeds, "first_seed": first_seed}
    chosen = chosen.on(resources)
    chosen = replace(
        chosen,
        changes=chosen.changes | {key: value for key, value in given.items() if value is not None},
        ladder=chosen.ladder or ladder,
        baselines=chosen.baselines or baselines,
    )
    named = "survey" if isinstance(plan, Survey) else Path(plan).stem
    if begins := chosen.changes.get("first_seed"):
        named += f"-from-seed-{begins}"  # a folder holds the diagnoses of one plan
    folder = Path("surveys") / named if out is None else path("out", out)
    kept = None if tables is None else path("tables", tables)
    folders(chosen, folder)
    if kept is not None and kept.resolve() == folder.resolve():
        raise ValueError(f"Tables and diagnoses cannot both be in {folder}: give --tables or --out another folder.")
    runs = open_store(store)
    runs.check(chosen.plan.runs)
    held: tuple[str, ...] = ()
    if kept is not None and (found := SurveyTables.with_room(kept, chosen.plan, chosen.preset)) is not None:
        held = tuple(
            game.game
            for game in chosen.plan.games
            if found.holds(game, chosen.preset) and not all(map(runs.has, game.runs))
        )
    prepared = PreparedSurvey(chosen, folder, kept, runs, resources, held)
    _check_others(chosen, folder)
    runs.check([run for _, run in prepared.further_runs()])
    return prepared


def survey(
    plan: Survey | Path | str,
    *,
    games: Sequence[str] = (),
    steps: int | None = None,
    seeds: int | None = None,
    first_seed: int | None = None,
    ladder: bool = False,
    baselines: bool = False,
    trust: bool = False,
    out: Path | str | None = None,
    tables: Path | str | None = None,
    store: Path | str = DEFAULT_STORE,
    workers: int | None = None,
    threads: int | None = None,
    device: str = "auto",
    executor: str = LOCAL,
    step_limit: float = STEP_LIMIT,
    progress: bool = True,
    listener: Listener | None = None,
) -> SurveyResult:
    """Diagnose many games by one plan; the command ``lcd survey`` is this function.

    Parameters
    ----------
    plan
        The survey, its TOML file, or the name of one that comes with the package.
    games
        Only these of its games.
    steps, seeds, first_seed
        Of each cell, instead of its own.
    ladder, baselines
        Whether finer cells and baselines are trained in each game after the diagnoses, as `lcd.diagnose` does; not in
        games whose runs only the tables hold.
    trust
        Whether the file may name games, wrappers, teachers, encoders and improvements as ``module:name``, whose code is
        run.
    out
        Folder of the diagnoses; by default ``surveys/NAME``.
    tables
        Folder of tables to which each game is added, see `lcd.SurveyTables`. Games whose runs they hold and the store
        does not are not trained again. Other seeds of a game that is there are pooled with its own.
    store, workers, threads, device, executor, step_limit, progress,
    listener
        As in `lcd.diagnose`.

    Raises
    ------
    ValueError
        If an argument is invalid; the message says what is allowed.
    lcd.experiments.execution.RunFailed
        If a run failed; the same call resumes from the finished ones.
    """
    prepared = prepare_survey(
        plan,
        games=games,
        steps=steps,
        seeds=seeds,
        first_seed=first_seed,
        ladder=ladder,
        baselines=baselines,
        trust=trust,
        out=out,
        tables=tables,
        store=store,
        workers=workers,
        threads=threads,
        device=device,
        executor=executor,
        step_limit=step_limit,
    )
    return prepared.run(showing(progress, listener))
