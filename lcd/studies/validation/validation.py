"""Execution of a validation: diagnoses, improved learners, and what of the former predicts the gains of the latter."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from lcd.agents import EncoderName
from lcd.envs.external.game import GameFault
from lcd.experiments.execution import Listener, WhenComplete, execute, in_turn
from lcd.experiments.executors import LOCAL
from lcd.experiments.improvements import Improvement, get_improvement, version_of_improvement
from lcd.experiments.own_code import OwnCode
from lcd.experiments.plan import GamePlan, Plan
from lcd.experiments.remote_store import open_store
from lcd.experiments.resources import Resources
from lcd.experiments.settings import RunSettings
from lcd.experiments.store import Store
from lcd.io.child_processes import in_processes
from lcd.io.files import DEFAULT_STORE
from lcd.io.limits import STEP_LIMIT, path
from lcd.io.watching import WATCH
from lcd.studies.game_encoders import GameEncoder, encoder_folder, pretrain_all
from lcd.studies.ladder import ladder_of
from lcd.studies.output import OutputFolder
from lcd.studies.showing import Show, reporting, showing, silent
from lcd.studies.validation.complexity import complexity_of
from lcd.studies.validation.game_runs import Finished, GameRuns, Held, finished_games, held_games, kept_games
from lcd.studies.validation.improving import encoder_with, improved_run, objective_of, plain_runs
from lcd.studies.validation.plan import Validation
from lcd.studies.validation.predictors import (
    COMPLEXITY,
    PREDICTORS,
)
from lcd.studies.validation.result import ValidationResult, analyse
from lcd.studies.validation.tables import read_complexity

FORMAT = "lcd.validation/3"


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
        What the output folder holds of games of which the store lacks runs: nothing of them is trained again.
    """

    validation: Validation
    out: OutputFolder
    store: Store
    resources: Resources
    held: Mapping[str, Held] = field(default_factory=dict)
    finished: Finished = field(default_factory=lambda: Finished())

    def games(self, *, stand_ins: bool = True) -> Iterator[GameRuns]:
        """The runs in each game that is not finished.

        Parameters
        ----------
        stand_ins
            Whether random weights stand for encoders that are not pretrained yet, at the same cost.
        """
        for plan in self.validation.survey.plan.games:
            if plan.game in self.finished:
                continue
            plain = plain_runs(plan, self.validation.further)
            improved = {}
            for name in self.validation.improvements:
                improvement = get_improvement(name)
                brought = None if improvement.encoder is None else self._encoder_name(plan, improvement, stand_ins)
                improved[name] = tuple(improved_run(run, improvement, brought) for run in plain)
            ladder = ladder_of(plan) if self.validation.ladder else None
            yield GameRuns(plan, ladder, plain, improved, self.held.get(plan.game))

    @property
    def plan(self) -> Plan:
        """All runs of these games."""
        return Plan(tuple(each for game in self.games() for each in game.plans))

    def _encoder_name(self, plan: GamePlan, improvement: Improvement, stand_ins: bool) -> str:
        """Full name of the encoder that an improvement brings."""
        file = self._game_encoder(plan, improvement).file
        full = encoder_with(plan.cells[0], improvement, str(file))
        return EncoderName.read(full).untrained if stand_ins and not file.exists() else full

    def _game_encoder(self, plan: GamePlan, improvement: Improvement) -> GameEncoder:
        return GameEncoder.of(plan, objective_of(improvement), encoder_folder(self.store.root))

    def game_encoders(self) -> list[GameEncoder]:
        """Encoders that are pretrained before the runs."""
        improvements = [get_improvement(name) for name in self.validation.improvements]
        found = [
            self._game_encoder(plan, improvement)
            for plan in self.validation.survey.plan.games
            for improvement in improvements
            if improvement.encoder is not None and plan.game not in self.finished
        ]
        return list({each.file: each for each in found}.values())  # several improvements may bring the same

    def unplayed(self) -> list[GamePlan]:
        """Games whose complexity is to be measured, by random play after the runs."""
        known = set(read_complexity(self.out.path)["game"])
        return [plan for plan in self.validation.survey.plan.games if plan.game not in known]

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
        pretrain_all(self.game_encoders(), self.resources, report)
        games = list(self.games(stand_ins=False))
        plan = Plan(tuple(each for game in games for each in game.plans))
        measured = _Measured(self.store, self.out)
        left_out: list[str] = []

        def failed(game: GameRuns, sentence: str) -> None:
            measured.leave_out(game)
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
        known: dict[str, Any] = {row["game"]: row for row in read_complexity(self.out.path).to_dict("records")}
        unplayed = [_Unplayed.of(plan, plain_runs(plan, self.validation.further)[0]) for plan in self.unplayed()]
        if unplayed:
            of = f"{len(unplayed)} game{'s' if len(unplayed) > 1 else ''}"
            report(f"Random play in {of}, for the policy information capacity and the effective horizon.")
        measured = in_processes(_Unplayed.measure, unplayed, self.resources.processes(), fault=GameFault)
        for done, (played, measures) in enumerate(measured, 1):
            game = played.plan.game
            known[game] = {"game": game, **measures}
            self.out.add_table("complexity", pd.DataFrame([known[game] for game in sorted(known)]))
            report(f"{game}: played at random, {done} of {len(unplayed)}")
        table = pd.DataFrame(known.values()).set_index("game")
        return predictors.assign(**{name: predictors["game"].map(table[name]) for name in COMPLEXITY})

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


@dataclass(frozen=True)
class _Unplayed:
    """A game whose complexity is to be measured, a run of the learner from frames, and its user's own code."""

    plan: GamePlan
    run: RunSettings
    own: OwnCode

    @classmethod
    def of(cls, plan: GamePlan, run: RunSettings) -> _Unplayed:
        return cls(plan, run, OwnCode.of([run]))

    def measure(self) -> dict[str, float]:
        """Measure it with one thread."""
        from lcd.agents.parallel import one_thread

        self.own.load()
        with one_thread():
            return complexity_of(self.plan, self.run)


class _Measured:
    """The numbers of the games so far, those in the folder among them, written as each is added."""

    def __init__(self, store: Store, out: OutputFolder) -> None:
        self._store, self._out = store, out
        kept = kept_games(out.path)
        self._predictors: dict[str, Any] = {row["game"]: row for row in kept.predictors.to_dict("records")}
        self._gains = {game: kept.gains[kept.gains["game"] == game] for game in kept.games}

    def leave_out(self, game: GameRuns) -> None:
        """Forget what was known of a game."""
        for known in (self._predictors, self._gains):
            known.pop(game.plan.game, None)

    def add(self, game: GameRuns) -> None:
        """Read a game whose runs are finished."""
        predictors, gains = game.read(self._store)
        self._predictors[game.plan.game] = {"game": game.plan.game} | predictors
        self._gains[game.plan.game] = gains
        self._out.write_results({"predictors": self.predictors.round(6), "gains": self.gains.round(6)}, {})

    @property
    def predictors(self) -> pd.DataFrame:
        """Of the games so far."""
        return pd.DataFrame(list(self._predictors.values()), columns=["game", *PREDICTORS])

    @property
    def gains(self) -> pd.DataFrame:
        """Of the games so far."""
        return pd.concat(list(self._gains.values()), ignore_index=True)


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
    prepared = PreparedValidation(chosen, folder, runs, resources, held_games(chosen, tables, runs))
    folder.check(prepared.as_dict())
    read_complexity(folder.path)  # which is needed at the end
    games = prepared.games()
    prepared = replace(prepared, finished=finished_games(chosen, games, folder.path, runs, precision))
    prepared.store.check(prepared.plan.runs)
    return prepared


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
    progress: bool = True,
    listener: Listener | None = None,
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
    return prepared.run(showing(progress, listener), reporting(progress))
