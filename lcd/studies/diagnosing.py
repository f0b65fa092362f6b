"""Diagnosis of a game from start to end: what ``lcd.diagnose`` and ``lcd diagnose`` both call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from lcd.agents import import_encoder
from lcd.envs.levels import LEVEL_SEEDS
from lcd.envs.naming import file_name
from lcd.envs.views import PIXELS
from lcd.experiments.execution import Listener, execute
from lcd.experiments.executors import LOCAL
from lcd.experiments.plan import GamePlan, Plan, evaluated_steps
from lcd.experiments.remote_store import open_store
from lcd.experiments.resources import Resources
from lcd.experiments.settings import RunSettings
from lcd.experiments.store import Store
from lcd.io.files import DEFAULT_STORE
from lcd.io.limits import STEP_LIMIT, path, real_number, short, texts, whole_number
from lcd.io.watching import WATCH
from lcd.studies.baselines import Baselines, baselines_of, read_baselines
from lcd.studies.diagnosis import Diagnosis
from lcd.studies.encoder_ablation import (
    EncoderAblation,
    check_encoders,
    encoders_of,
    missing_runs,
    pretrained_in,
    read_ablation,
)
from lcd.studies.figures import check_registered, registered
from lcd.studies.finished_runs import read_diagnosis
from lcd.studies.game_encoders import GameEncoder, encoder_folder, pretrain_all
from lcd.studies.ladder import Ladder, ladder_of, read_ladder
from lcd.studies.output import OutputFolder
from lcd.studies.planning import adjusted_preset, plan_diagnosis
from lcd.studies.showing import Show, reporting, showing, silent


@dataclass(frozen=True)
class PreparedDiagnosis:
    """A diagnosis whose arguments are checked and whose runs are planned; nothing is trained or written yet.

    Attributes
    ----------
    game_plan
        The runs.
    preset
        Name of the preset.
    encoders
        Short names of the encoders of an ablation, see `lcd.studies.encoder_ablation.resolve_encoders`.
    ladder, baselines
        The runs of the ladder and of the baselines, or None.
    folder
        Where the diagnosis is written, or None.
    store
        Where runs are kept.
    resources
        With what the runs are carried out.
    name
        Name of the folder in which the diagnosis is written if no other is given.
    """

    game_plan: GamePlan
    preset: str
    encoders: tuple[str, ...]
    ladder: Ladder | None
    baselines: Baselines | None
    folder: OutputFolder | None
    store: Store
    resources: Resources
    name: str = ""

    @property
    def plan(self) -> Plan:
        """The runs of the diagnosis itself."""
        return Plan((self.game_plan,))

    @property
    def out(self) -> Path | None:
        """Where the diagnosis is written."""
        return None if self.folder is None else self.folder.path

    def writing_to(self, out: Path | str) -> PreparedDiagnosis:
        """The same, written to a folder; what a random policy returned when it was begun is not measured again.

        Raises
        ------
        ValueError
            If the folder belongs to another plan.
        """
        folder = OutputFolder(path("out", out))
        folder.check(self.plan.as_dict(measure=False))
        plan = folder.as_begun(self.game_plan)
        if plan is self.game_plan:
            return replace(self, folder=folder)
        return replace(
            self,
            folder=folder,
            game_plan=plan,
            ladder=None if self.ladder is None else ladder_of(plan),
            baselines=None if self.baselines is None else baselines_of(plan),
        )

    def further_runs(self) -> list[tuple[str, RunSettings]]:
        """The runs that an ablation, a ladder or baselines still need, each with the short name of its encoder."""
        needed = missing_runs(self.game_plan, self.encoders, self.store, encoder_folder(self.store.root))
        finer = [] if self.ladder is None else [self.ladder.value_run, *self.ladder.further]
        finer += [] if self.baselines is None else [*self.baselines.blind, *self.baselines.cloned]
        return needed + [(run.encoder, run) for run in finer if not self.store.has(run)]

    def game_encoders(self) -> list[GameEncoder]:
        """Encoders of an ablation that are pretrained before its runs."""
        return pretrained_in(self.game_plan, self.encoders, encoder_folder(self.store.root))

    def diagnose(self, show: Show = silent) -> Diagnosis:
        """Train the missing runs of the diagnosis, and write it.

        Raises
        ------
        lcd.experiments.execution.RunFailed
            If a run failed; the same call resumes from the finished ones.
        """
        plan = self.plan.as_dict()  # refuses a best return that a random policy exceeds
        if self.folder is not None:
            check_registered("diagnosis")
            self.folder.claim(plan)
        self._carry_out(self.plan, show)
        diagnosis = read_diagnosis(self.game_plan, self.store, {"preset": self.preset})
        if self.folder is not None:
            self.folder.write(diagnosis)
        return diagnosis

    def compare_encoders(
        self, show: Show = silent, report: Callable[[str], None] = lambda line: None
    ) -> pd.DataFrame | None:
        """Pretrain the encoders of the ablation, train its runs, and write its table; None without encoders.

        Returns
        -------
        pandas.DataFrame
            See `lcd.studies.encoder_ablation.read_ablation`.
        """
        if not self.encoders:
            return None
        pretrain_all(self.game_encoders(), self.resources, report)
        encoders = encoders_of(self.game_plan, self.encoders, encoder_folder(self.store.root))
        ablation = EncoderAblation(self.game_plan, encoders)
        self._carry_out(ablation.as_plan(), show)
        table = read_ablation(ablation, self.store)
        if self.folder is not None:
            self.folder.add_table("encoders", table.round(6))
        return table

    def climb(self, show: Show = silent) -> pd.DataFrame | None:
        """Train the finer cells of the ladder, and write its table and figure; None without a ladder.

        Returns
        -------
        pandas.DataFrame
            See `lcd.studies.ladder.ladder_table`.
        """
        if self.ladder is None:
            return None
        check_registered("ladder")
        self._carry_out(self.ladder.as_plan(), show)
        table = read_ladder(self.ladder, self.store)
        if self.folder is not None:
            figure = registered("ladder")(table, self.game_plan.game)
            self.folder.add_table("ladder", table.round(6), figure)
        return table

    def measure_baselines(self, show: Show = silent) -> pd.DataFrame | None:
        """Train the baselines, and write their table; None where none are asked for.

        Returns
        -------
        pandas.DataFrame
            See `lcd.studies.baselines.read_baselines`.
        """
        if self.baselines is None:
            return None
        self._carry_out(self.baselines.as_plan(), show)
        table = read_baselines(self.baselines, self.store)
        if self.folder is not None:
            self.folder.add_table("baselines", table.round(6))
        return table

    def _carry_out(self, plan: Plan, show: Show) -> None:
        """Train the missing runs of a plan."""
        with show(plan) as listener:
            execute(plan, self.store, listener=listener, **asdict(self.resources))


def prepare_diagnosis(
    game: Any,
    preset: str = "standard",
    *,
    steps: int | None = None,
    seeds: int | None = None,
    encoder: str | type[nn.Module] | None = None,
    algorithm: str | None = None,
    hyperparameters: Mapping[str, Any] | str | None = None,
    levels: int | None = None,
    teacher: Path | str | None = None,
    train_teacher: bool = False,
    teacher_factor: int | None = None,
    distribution_mode: str | None = None,
    appearance: Sequence[str] = (),
    env_kwargs: Mapping[str, Any] | str | None = None,
    image_key: str | None = None,
    semantic: str | None = None,
    max_episode_steps: int | None = None,
    wrappers: str | None = None,
    sticky_actions: float | None = None,
    frame_skip: int | None = None,
    action_values: int | None = None,
    random: float | None = None,
    best: float | None = None,
    encoders: Sequence[str] = (),
    ladder: bool = False,
    baselines: bool = False,
    out: Path | str | None = None,
    store: Path | str = DEFAULT_STORE,
    workers: int | None = None,
    threads: int | None = None,
    device: str = "auto",
    executor: str = LOCAL,
    precision: str | None = None,
    step_limit: float = STEP_LIMIT,
) -> PreparedDiagnosis:
    """Check the arguments of `diagnose` and plan its runs, before anything is trained or written.

    Raises
    ------
    ValueError
        If an argument is invalid; the message says what is allowed.
    """
    resources = Resources.checked(device, workers, threads, executor, step_limit)
    WATCH.limit = resources.step_limit
    runs = open_store(store)
    if encoder is not None:
        encoder = import_encoder(encoder)
    if levels is not None:
        levels = whole_number("levels", levels, 1, LEVEL_SEEDS - 1)
    compared = texts("encoders", encoders)
    adjusted = adjusted_preset(
        preset,
        steps=steps,
        seeds=seeds,
        encoder=encoder,
        hyperparameters=hyperparameters,
        teacher_factor=teacher_factor,
        precision=precision,
    )
    game_plan = plan_diagnosis(
        game,
        resources.precise(adjusted),
        algorithm=algorithm,
        num_levels=levels,
        teacher=teacher,
        train_teacher=train_teacher,
        random=None if random is None else real_number("random", random),
        best=None if best is None else real_number("best", best),
        distribution_mode=distribution_mode,
        appearance=texts("appearance", appearance) or None,
        env_kwargs=env_kwargs,
        image_key=image_key,
        semantic=semantic,
        max_episode_steps=max_episode_steps,
        wrappers=wrappers,
        sticky_actions=sticky_actions,
        frame_skip=frame_skip,
        action_values=action_values,
    )
    if teacher_factor is not None and game_plan.teacher_run is None:
        raise ValueError(
            f"teacher_factor (--teacher-factor) sets how long a teacher of {game_plan.game} is trained: use it with "
            "train_teacher (--train-teacher)."
        )
    others = tuple(import_encoder(name) for name in compared)
    check_encoders(game_plan, others)
    for name, wanted in (("ladder", ladder), ("baselines", baselines)):
        if not isinstance(wanted, bool):
            raise ValueError(f"{name} is true or false, not {short(wanted)}.")
    finer, lowest = (ladder_of(game_plan) if ladder else None), (baselines_of(game_plan) if baselines else None)
    prepared = PreparedDiagnosis(
        game_plan, preset, others, finer, lowest, None, runs, resources, _name_of(game_plan, preset, algorithm)
    )
    if out is not None:
        prepared = prepared.writing_to(out)
    ablated = [run for _, run in missing_runs(game_plan, others, runs, encoder_folder(runs.root))]
    further = (*(() if finer is None else finer.as_plan().runs), *(() if lowest is None else lowest.as_plan().runs))
    runs.check((*prepared.plan.runs, *further, *ablated))
    return prepared


def _name_of(plan: GamePlan, preset: str, algorithm: str | None) -> str:
    """Name of a diagnosis for its folder: game, appearance, preset, and what else is usually chosen."""
    usual = adjusted_preset(preset)
    run = next(run for run in plan.cells if run.view == PIXELS.name)
    mode, seeds = run.options.as_record().get("distribution_mode", "easy"), len({each.seed for each in plan.cells})
    parts = {
        mode: mode != "easy",
        f"{run.steps}steps": run.steps != evaluated_steps(usual)[-1],
        f"{seeds}seed{'s' * (seeds > 1)}": seeds != usual.seeds,
        f"{run.options.num_levels}levels": run.options.num_levels not in (0, usual.num_levels),
        run.encoder: run.encoder != usual.encoder,
        algorithm or "": algorithm is not None,
    }
    return "-".join([run.options.label, preset, *(file_name(part) for part, is_chosen in parts.items() if is_chosen)])


def diagnose(
    game: Any,
    preset: str = "standard",
    *,
    steps: int | None = None,
    seeds: int | None = None,
    encoder: str | type[nn.Module] | None = None,
    algorithm: str | None = None,
    hyperparameters: Mapping[str, Any] | str | None = None,
    levels: int | None = None,
    teacher: Path | str | None = None,
    train_teacher: bool = False,
    teacher_factor: int | None = None,
    distribution_mode: str | None = None,
    appearance: Sequence[str] = (),
    env_kwargs: Mapping[str, Any] | str | None = None,
    image_key: str | None = None,
    semantic: str | None = None,
    max_episode_steps: int | None = None,
    wrappers: str | None = None,
    sticky_actions: float | None = None,
    frame_skip: int | None = None,
    action_values: int | None = None,
    random: float | None = None,
    best: float | None = None,
    encoders: Sequence[str] = (),
    ladder: bool = False,
    baselines: bool = False,
    out: Path | str | None = None,
    store: Path | str = DEFAULT_STORE,
    workers: int | None = None,
    threads: int | None = None,
    device: str = "auto",
    executor: str = LOCAL,
    precision: str | None = None,
    step_limit: float = STEP_LIMIT,
    progress: bool = True,
    listener: Listener | None = None,
) -> Diagnosis:
    """Diagnose a game: train the four cells and the teacher, and decompose their scores.

    Finished runs are taken from the store, so that an interrupted call resumes. The command ``lcd diagnose`` is this
    function.

    Parameters
    ----------
    game
        Name of the game, or its id in Gymnasium: ``"starpilot"``, ``"MiniGrid-Empty-5x5-v0"``,
        ``"my_package.games:MyGame-v0"``; a class or function in a module that makes it; or the options of a game of any
        family, such as ``ProcgenOptions("maze", "hard")``, which then hold all its settings, and its number of training
        levels unless that is 0.
    preset
        ``"smoke"``, ``"quick"``, ``"standard"`` or ``"paper"``, see `lcd.experiments.presets`.
    steps, seeds, levels, teacher_factor
        Replace the preset's numbers: steps of each cell, its seeds and training levels, and how many times its steps a
        trained teacher has.
    encoder
        Name of a visual encoder, or an encoder of your own: a class, or its name as ``"my_nets:MyNet"``.
    algorithm
        What learns from reward instead of plain PPO: an improvement with a learner of its own, ``"phasic"``, or one of
        yours, ``"my_ideas:SHARPER"``, see `lcd.experiments.improvements`. Imitation, and a teacher that is trained,
        stay as they are.
    hyperparameters
        Some of the learner's, in the place of the preset's, ``{"learning_rate": 2.5e-4}``, say: fields of
        `lcd.experiments.settings.Hyperparameters`. All cells and a trained teacher learn with them.
    teacher
        A teacher to imitate: a policy file, a model of Stable-Baselines3, or ``"module:name"`` of what has
        `log_probabilities` or `predict`, or makes it. By default the game's reference teacher, see `lcd.teachers`, or
        its optimal policy, and where there is none, a teacher that is trained.
    train_teacher
        Whether to train a teacher in any case.
    distribution_mode
        Procgen's: ``"easy"``, the default, or ``"hard"``.
    appearance
        Appearance of a Procgen game: names in `lcd.envs.procgen.options.APPEARANCES`, ``["monochrome"]``, say.
    env_kwargs, image_key, semantic, max_episode_steps, wrappers, sticky_actions, frame_skip,
    action_values
        For games of other packages, see `lcd.envs.external.options.ExternalOptions`. ``semantic="expert"`` takes the
        features of an expert's frozen encoder for the privileged view, in any game.
    random, best
        Returns that count as scores 0 and 1; by default the published or computed ones, and where there are none, what
        a random policy returns, and what the best of the teacher and the cells returns in the end.
    encoders
        Further encoders to compare, see `lcd.studies.encoder_ablation.resolve_encoders`; their table is in the
        attribute `encoders` of the diagnosis.
    ladder
        Whether to train finer cells, which split L and go on beyond P, see `lcd.studies.ladder`; their table is in the
        attribute `ladder` of the diagnosis.
    baselines
        Whether to train learners on a constant frame, and supervised fits of the teacher, see `lcd.studies.baselines`;
        their table is in the attribute `baselines` of the diagnosis.
    out
        Folder for figure, tables and JSON; by default nothing is written.
    store
        Folder of the runs, or the URL of a folder on object storage, such as ``s3://bucket/prefix``.
    workers, threads
        Runs at once, and torch threads of each; by default the fastest numbers.
    device
        Where torch computes: ``"cpu"``, ``"cuda"``, or ``"auto"`` for a GPU where there is one.
    executor
        What carries out the runs: ``"local"`` for processes of this machine, ``"ray"`` or ``"slurm"`` for a cluster,
        see `lcd.experiments.executors.make_executor`.
    precision
        Of the encoder's numbers, ``"float32"`` or ``"bfloat16"``; by default what is fastest on the device, and for a
        cluster what is fastest on this machine.
    step_limit
        Seconds after which a step or reset of another package's game is taken to hang, which ends its run.
    progress
        Whether the runs and the remaining time are shown on the standard error stream: as bars on a terminal, elsewhere
        as a line every half minute.
    listener
        Called with every event, see `lcd.experiments.execution.Event`.

    Returns
    -------
    Diagnosis

    Raises
    ------
    ValueError
        If an argument is invalid; the message says what is allowed.
    lcd.experiments.execution.RunFailed
        If a run failed; the same call resumes from the finished ones.

    Examples
    --------
    >>> import lcd
    >>> diagnosis = lcd.diagnose("starpilot", "quick")  # doctest: +SKIP
    >>> diagnosis.perceptual, diagnosis.policy, diagnosis.verdict  # doctest: +SKIP
    """
    show = showing(progress, listener)
    prepared = prepare_diagnosis(
        game,
        preset,
        steps=steps,
        seeds=seeds,
        encoder=encoder,
        algorithm=algorithm,
        hyperparameters=hyperparameters,
        levels=levels,
        teacher=teacher,
        train_teacher=train_teacher,
        teacher_factor=teacher_factor,
        distribution_mode=distribution_mode,
        appearance=appearance,
        env_kwargs=env_kwargs,
        image_key=image_key,
        semantic=semantic,
        max_episode_steps=max_episode_steps,
        wrappers=wrappers,
        sticky_actions=sticky_actions,
        frame_skip=frame_skip,
        action_values=action_values,
        random=random,
        best=best,
        encoders=encoders,
        ladder=ladder,
        baselines=baselines,
        out=out,
        store=store,
        workers=workers,
        threads=threads,
        device=device,
        executor=executor,
        precision=precision,
        step_limit=step_limit,
    )
    diagnosis = prepared.diagnose(show)
    return replace(
        diagnosis,
        encoders=prepared.compare_encoders(show, reporting(progress)),
        ladder=prepared.climb(show),
        baselines=prepared.measure_baselines(show),
    )
