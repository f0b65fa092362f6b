"""The effect of the neural harmonizer on a game's learners."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lcd.agents import import_encoder, load_policy
from lcd.agents.encoders.weights import load_classifier, save_classifier
from lcd.alignment.agreement import Agreement, agreement
from lcd.alignment.classifiers import Harmonization, harmonize_classifier
from lcd.alignment.clickme import read_folder
from lcd.alignment.importance import importance_maps, policy_scores
from lcd.alignment.privileged import collect_references
from lcd.alignment.references import ReferenceMaps
from lcd.envs.family import has_label_maps, policy_spaces
from lcd.envs.views import PIXELS
from lcd.experiments.execution import Listener, execute
from lcd.experiments.executors import LOCAL
from lcd.experiments.plan import GamePlan, Plan
from lcd.experiments.remote_store import open_store
from lcd.experiments.resources import Resources, resolve_device
from lcd.experiments.settings import RunSettings
from lcd.experiments.store import Store
from lcd.io.files import DEFAULT_STORE, check_output, replacing
from lcd.io.limits import STEP_LIMIT, path, real_number, text
from lcd.io.watching import WATCH
from lcd.measurement.intervals import mean_limits
from lcd.measurement.scores import played_by
from lcd.studies.planning import adjusted_preset, plan_diagnosis
from lcd.studies.policies import files_of
from lcd.studies.showing import Show, showing, silent

FRAMES = 128
MEASURES = ("alignment", "training", "unseen")


def harmonized_plan(plan: GamePlan, *weights: float) -> Plan:
    """The runs of a game on pixels, each with and without the harmonizer, and a teacher where one must be trained.

    Raises
    ------
    ValueError
        If a weight is not above 0, or the game has no colour frames, or no label maps, of which the reference maps are
        made.
    """
    for weight in weights:
        if real_number("The harmonizer's weight", weight) <= 0:
            raise ValueError(f"The harmonizer's weight must be a number above 0, not {weight}: the paper's is 1.")
    if not has_label_maps(plan.cells[0].options):
        raise ValueError(
            f"The harmonizer compares with maps made of label maps, and {plan.game} has none: name one that has them "
            "with semantic (--semantic), or choose another game."
        )
    channels, *_ = policy_spaces(plan.cells[0].options, PIXELS.name)[0].shape or (0,)
    if channels != 3:
        raise ValueError(
            f"Importance maps are of colour frames, and those of {plan.game} have {channels} channels: choose another "
            "game, or other wrappers."
        )
    plain = tuple(run for run in plan.cells if run.view == PIXELS.name)
    harmonized = tuple(replace(run, harmonizer=weight) for weight in weights for run in plain)
    return Plan((replace(plan, cells=(*plain, *harmonized)),))


def measure_harmonization(plan: Plan, store: Store) -> pd.DataFrame:
    """Measure the final policy of every run of a plan of `harmonized_plan`.

    Returns
    -------
    pandas.DataFrame
        One row a run: game, learning, harmonizer (its weight), seed, maps (privileged, never human), alignment (mean
        Spearman correlation of the gradient map of the preferred action with the privileged map, on frames of unseen
        levels), undefined (number of constant maps, left out of the mean), and mean returns on training and on unseen
        levels.

    Raises
    ------
    lcd.experiments.store.StoreError
        If a run is missing or damaged.
    """
    (game,) = plan.games
    return pd.DataFrame([_measured(run, store) for run in game.cells])


def unseen_references(run: RunSettings, count: int) -> ReferenceMaps:
    """Frames of levels that a run has not trained on, with privileged reference maps."""
    return collect_references(run.unseen_options, count)


def _measured(run: RunSettings, store: Store) -> dict[str, object]:
    stored = store.load(run)
    policy, _ = load_policy(stored.policy_file, trust=True)
    references = unseen_references(run, FRAMES)
    images = references.inputs
    maps = importance_maps(policy_scores(policy), images)
    found = Agreement.of(agreement(maps.numpy(), references.maps))
    episodes = played_by(stored.episodes)
    last = episodes[episodes["step"] == run.steps].groupby("levels")["return"].mean()
    return {
        "game": run.game,
        "learning": run.learning,
        "harmonizer": run.harmonizer,
        "seed": run.seed,
        "maps": references.source,
        "alignment": found.mean,
        "undefined": found.undefined,
        "training": float(last["training"]),
        "unseen": float(last["unseen"]),
    }


def effect_table(runs: pd.DataFrame, measures: Sequence[str] = MEASURES) -> pd.DataFrame:
    """Estimate the effect of the harmonizer, paired by seed.

    Parameters
    ----------
    runs : pandas.DataFrame
        Result of `measure_harmonization`.
    measures : sequence of str
        Its columns to compare.

    Returns
    -------
    pandas.DataFrame
        One row a (game, learning, measure): without, with, and change with its 95 % t limits low and high over seeds,
        of the seeds for which both are known.

    Raises
    ------
    ValueError
        If the learners with the harmonizer have several weights of it.
    """
    weights = sorted(set(runs.loc[runs["harmonizer"] > 0, "harmonizer"]))
    if len(weights) > 1:
        raise ValueError(
            f"The harmonizer has the weights {', '.join(f'{each:g}' for each in weights)}: compare one at a time with "
            "the learner without it."
        )
    rows = []
    for (game, learning), group in runs.groupby(["game", "learning"], sort=False):
        plain, harmonized = (
            group[(group["harmonizer"] > 0) == used].sort_values("seed").set_index("seed") for used in (False, True)
        )
        for measure in measures:
            pairs = pd.concat([plain[measure], harmonized[measure]], axis=1).dropna().to_numpy(dtype=np.float64)
            change = mean_limits(pairs[:, 1] - pairs[:, 0]) if len(pairs) else (np.nan,) * 3
            means = pairs.mean(axis=0) if len(pairs) else (np.nan,) * 2
            rows.append((game, learning, measure, *means, *change))
    columns = ["game", "learning", "measure", "without", "with", "change", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


@dataclass(frozen=True)
class PreparedHarmonization:
    """A comparison of a game's learners with and without the harmonizer, checked; nothing is trained or written yet.

    Attributes
    ----------
    plan
        The runs.
    out
        File of the table, or None.
    store
        As in `lcd.diagnose`.
    resources
        With what the runs are carried out.
    """

    plan: Plan
    out: Path | None
    store: Store
    resources: Resources

    def run(self, show: Show = silent) -> pd.DataFrame:
        """Train the missing runs, and write the table of `measure_harmonization`.

        Raises
        ------
        lcd.experiments.execution.RunFailed
            If a run failed; the same call resumes from the finished ones.
        """
        with show(self.plan) as listener:
            execute(self.plan, self.store, listener=listener, **asdict(self.resources))
        runs = measure_harmonization(self.plan, self.store)
        if self.out is not None:
            with replacing(self.out) as partial:
                runs.round(6).to_csv(partial, index=False)
        return runs


def prepare_harmonization(
    game: Any,
    weight: float = 1.0,
    *,
    preset: str = "standard",
    steps: int | None = None,
    seeds: int | None = None,
    encoder: str | None = None,
    teacher: Path | str | None = None,
    distribution_mode: str | None = None,
    env_kwargs: Mapping[str, Any] | str | None = None,
    image_key: str | None = None,
    semantic: str | None = None,
    max_episode_steps: int | None = None,
    wrappers: str | None = None,
    sticky_actions: float | None = None,
    frame_skip: int | None = None,
    action_values: int | None = None,
    out: Path | str | None = None,
    store: Path | str = DEFAULT_STORE,
    workers: int | None = None,
    device: str = "auto",
    executor: str = LOCAL,
    step_limit: float = STEP_LIMIT,
) -> PreparedHarmonization:
    """Check the arguments of `harmonize` and plan its runs, before anything is trained or written.

    Raises
    ------
    ValueError
        If an argument is invalid; the message says what is allowed.
    """
    given = [name for name in (teacher, encoder) if isinstance(name, str | Path)]
    read = [file for name in given for file in files_of(str(name))]
    file = None if out is None else check_output(path("out", out), inputs=read)
    resources = Resources.checked(device, workers, executor=executor, step_limit=step_limit)
    WATCH.limit = resources.step_limit
    if encoder is not None:
        encoder = import_encoder(encoder)
    chosen = resources.precise(adjusted_preset(preset, steps=steps, seeds=seeds, encoder=encoder))
    game_plan = plan_diagnosis(
        game,
        chosen,
        teacher=teacher,
        distribution_mode=distribution_mode,
        env_kwargs=env_kwargs,
        image_key=image_key,
        semantic=semantic,
        max_episode_steps=max_episode_steps,
        wrappers=wrappers,
        sticky_actions=sticky_actions,
        frame_skip=frame_skip,
        action_values=action_values,
    )
    plan = harmonized_plan(game_plan, weight)
    runs = open_store(store)
    runs.check(plan.runs)
    return PreparedHarmonization(plan, file, runs, resources)


def harmonize(
    game: Any,
    weight: float = 1.0,
    *,
    preset: str = "standard",
    steps: int | None = None,
    seeds: int | None = None,
    encoder: str | None = None,
    teacher: Path | str | None = None,
    distribution_mode: str | None = None,
    env_kwargs: Mapping[str, Any] | str | None = None,
    image_key: str | None = None,
    semantic: str | None = None,
    max_episode_steps: int | None = None,
    wrappers: str | None = None,
    sticky_actions: float | None = None,
    frame_skip: int | None = None,
    action_values: int | None = None,
    out: Path | str | None = None,
    store: Path | str = DEFAULT_STORE,
    workers: int | None = None,
    device: str = "auto",
    executor: str = LOCAL,
    step_limit: float = STEP_LIMIT,
    progress: bool = True,
    listener: Listener | None = None,
) -> pd.DataFrame:
    """Train a game's learners with and without the neural harmonizer; ``lcd harmonize GAME`` is this function.

    Parameters
    ----------
    game, preset, steps, seeds, encoder, teacher, distribution_mode, store, workers, device, executor, step_limit,
    progress, listener
        As in `lcd.diagnose`.
    env_kwargs, image_key, semantic, max_episode_steps, wrappers, sticky_actions, frame_skip,
    action_values
        As in `lcd.diagnose`; `semantic` must name label maps, of which the reference maps are made.
    weight
        Weight of the harmonization loss.
    out
        File of the table; by default nothing is written.

    Returns
    -------
    pandas.DataFrame
        See `measure_harmonization`; `effect_table` summarises it.

    Raises
    ------
    ValueError
        If an argument is invalid; the message says what is allowed.
    lcd.experiments.execution.RunFailed
        If a run failed; the same call resumes from the finished ones.
    """
    prepared = prepare_harmonization(
        game,
        weight,
        preset=preset,
        steps=steps,
        seeds=seeds,
        encoder=encoder,
        teacher=teacher,
        distribution_mode=distribution_mode,
        env_kwargs=env_kwargs,
        image_key=image_key,
        semantic=semantic,
        max_episode_steps=max_episode_steps,
        wrappers=wrappers,
        sticky_actions=sticky_actions,
        frame_skip=frame_skip,
        action_values=action_values,
        out=out,
        store=store,
        workers=workers,
        device=device,
        executor=executor,
        step_limit=step_limit,
    )
    return prepared.run(showing(progress, listener))


def harmonize_images(
    folder: Path | str,
    weight: float = 1.0,
    *,
    epochs: int | None = None,
    encoder: str = "efficientnet_lite0",
    weights: Path | str = "harmonized.safetensors",
    out: Path | str | None = None,
    device: str = "auto",
    report: Callable[[str], None] = lambda line: None,
) -> pd.DataFrame:
    """Harmonize a classifier on a folder of ClickMe's files; ``lcd harmonize FOLDER`` is this function.

    Weights and table are written after every epoch, so that an interruption loses one at most.

    Parameters
    ----------
    folder
        Images with human importance maps.
    weight, epochs
        See `lcd.alignment.classifiers.Harmonization`.
    encoder
        The classifier.
    weights
        Output file of its weights, for use as ``efficientnet_lite0@FILE``.
    out
        File of the table; by default none is written.
    device
        Where torch computes.
    report
        Called with a line after every epoch.

    Raises
    ------
    ValueError
        If an argument is invalid; the message says what is allowed.
    """
    device = resolve_device(device)
    read = files_of(text("encoder", encoder))
    table_file = None if out is None else check_output(path("out", out), inputs=read)
    file = check_output(path("weights", weights), ".safetensors", inputs=read)
    if table_file is not None and file.absolute().resolve() == table_file.absolute().resolve():
        raise ValueError(f"{file} cannot hold both the table and the weights: name another file with --out.")
    settings = Harmonization(weight, Harmonization.epochs if epochs is None else epochs)
    classifier, references = load_classifier(encoder), read_folder(path("folder", folder))
    card = {"images": len(references), "source": references.source} | asdict(settings)

    def keep(table: pd.DataFrame) -> None:
        with replacing(file) as partial:
            save_classifier(classifier, partial, card | {"epochs": len(table) - 1})
        if table_file is not None:
            with replacing(table_file) as partial:
                table.round(6).to_csv(partial, index=False)

    return harmonize_classifier(classifier, references, settings, device=device, report=report, keep=keep)
