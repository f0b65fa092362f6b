"""The command ``lcd align``: alignment of a network's importance maps with a reference, and its robustness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from lcd.cli.arguments import AskHubs, Device, names, number
from lcd.cli.console import plain_console
from lcd.io.limits import LARGEST_SEED

if TYPE_CHECKING:
    from lcd.alignment.importance import Scores
    from lcd.alignment.invariance import Features
    from lcd.alignment.references import ReferenceMaps
    from lcd.envs import GameOptions

PRIVILEGED = "privileged"
MOST_IMAGES = 100_000
SOURCES = ("human", PRIVILEGED)


def command(
    model: Annotated[
        str,
        typer.Argument(
            help="Folder of a run, file of a policy on frames, efficientnet_lite0, or efficientnet_lite0@FILE."
        ),
    ],
    maps: Annotated[
        str,
        typer.Option(
            metavar="WHAT",
            help="privileged: frames of the policy's game; IMAGES,MAPS: two folders; or a folder of ClickMe's files.",
        ),
    ] = PRIVILEGED,
    source: Annotated[str | None, typer.Option(help="Origin of the maps of two folders: human or privileged.")] = None,
    count: Annotated[int, number(2, MOST_IMAGES, "Largest number of images.")] = 128,
    methods: Annotated[str, typer.Option(metavar="NAMES", help="Attribution methods; by default all.")] = "",
    seed: Annotated[int, number(0, LARGEST_SEED, "Seed of the frames.")] = 0,
    out: Annotated[Path, typer.Option(help="Output file of the table.")] = Path("alignment.csv"),
    device: Device = "cpu",
    ask_hubs: AskHubs = False,
) -> None:
    """Measure a network's alignment with reference importance maps, and its robustness.

    A policy is measured on unseen levels of its game, against privileged maps from the game's own state, never human
    ones. For a policy trained by reinforcement learning the value's maps are measured as well; for every policy the
    invariance of its features to the game's appearance.
    """
    import pandas as pd
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from lcd.alignment.importance import METHODS
    from lcd.alignment.measuring import align, invariance_table
    from lcd.cli.display import limits_text
    from lcd.envs.family import frame_shape
    from lcd.experiments.execution import resolve_device
    from lcd.io.files import check_output, replacing

    chosen = names(methods) or tuple(METHODS)
    if unknown := [name for name in chosen if name not in METHODS]:
        raise ValueError(f"Unknown method {unknown[0]!r}: choose among {', '.join(METHODS)}.")
    check_output(out)
    network = _model(model, resolve_device(device), ask_hubs)
    references = _references(maps, source, network.levels, count, seed)
    if network.size is not None and references.images.shape[1:3] != network.size:
        found, wanted = (" x ".join(map(str, size)) for size in (references.images.shape[1:3], network.size))
        raise ValueError(f"The policy takes images of {wanted} pixels, and these have {found}: resize them beforehand.")
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TimeRemainingColumn())
    drawn = None if network.levels is None else frame_shape(network.levels)
    measured_on = network.levels if network.size in (None, drawn) else None  # a game renders at one size
    with Progress(*columns, console=plain_console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)
        tables = [
            align(
                network.scores,
                references,
                value=network.value,
                methods=chosen,
                report=lambda what, done, of: progress.update(task, description=what, completed=done, total=of),
            )
        ]
        if network.features is not None and measured_on is not None:
            progress.update(task, description="invariance", total=None)
            tables.append(invariance_table(network.features, measured_on, count, seed))
    table = pd.concat(tables, ignore_index=True)
    table.insert(0, "source", references.source)
    table.loc[table["aspect"] == "invariance", "source"] = "redrawn"
    with replacing(out) as partial:
        table.round(6).to_csv(partial, index=False)
    shown = Table("aspect", "method", "measure", "mean", "95 % interval", title=f"{references.source} maps")
    shares = bool(table["share"].notna().any())
    for heading in (*["of ceiling"] * shares, "undefined"):
        shown.add_column(heading)
    for row in table.to_dict("records"):
        mean, share = ("" if row[name] != row[name] else f"{row[name]:.3f}" for name in ("mean", "share"))
        limits = limits_text(row["low"], row["high"], ".3f")
        counted = f"{row['undefined']} of {row['images']}"
        shown.add_row(row["aspect"], row["method"], row["measure"], mean, limits, *[share] * shares, counted)
    console = plain_console()
    console.print(shown)
    if network.features is not None and network.value is None:
        console.print("Imitation trains no value: the value's maps are left out.", highlight=False)
    console.print(f"The table is in {out}.", highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class _Network:
    """A network to measure; a policy also has features, a value, an image size and unseen levels of its game."""

    scores: Scores
    features: Features | None = None
    value: Scores | None = None
    size: tuple[int, int] | None = None
    levels: GameOptions | None = None


def _model(model: str, device: str, ask_hubs: bool) -> _Network:
    from lcd.agents import load_policy
    from lcd.agents.encoders.pretrained import BACKBONES
    from lcd.agents.encoders.weights import load_classifier
    from lcd.alignment.importance import on_device, policy_scores

    if model.partition("@")[0] in BACKBONES:
        return _Network(on_device(load_classifier(model).eval().to(device), device))
    path = Path(model)
    policy, card = load_policy(path / "policy.safetensors" if path.is_dir() else path, ask_hubs=ask_hubs)
    run = card.get("run")
    imitated = isinstance(run, Mapping) and run.get("learning") == "imitation"
    policy.to(device)
    scores, features = (on_device(each, device) for each in (policy_scores(policy), policy.extract_features))
    value = None if imitated else on_device(policy_scores(policy, "value"), device)
    height, width = policy.observation_space.shape[-2:]  # type: ignore[index]
    return _Network(scores, features, value, (height, width), _unseen_levels(card))


def _unseen_levels(card: dict[str, Any]) -> GameOptions | None:
    """Levels that a policy has not trained on, in the appearance of its training; None where no game is known."""
    from lcd.envs.family import game_options
    from lcd.experiments.settings import RunSettings

    run, game = card.get("run"), card.get("game")
    try:
        if isinstance(run, Mapping):
            return RunSettings.from_dict(run).unseen_options
        if not isinstance(game, str):
            return None
        return game_options(game, distribution_mode=card.get("distribution_mode")).unseen_levels(200)
    except ValueError:  # a custom game, or a run of another program
        return None


def _references(maps: str, source: str | None, levels: GameOptions | None, count: int, seed: int) -> ReferenceMaps:
    from lcd.alignment.clickme import read_folder
    from lcd.alignment.privileged import collect_references
    from lcd.alignment.references import read_folders

    if source is not None and ("," not in maps or source not in SOURCES):
        raise ValueError(f"--source {source} does not fit: it goes with two folders and is {' or '.join(SOURCES)}.")
    if maps == PRIVILEGED:
        if levels is None:
            raise ValueError(
                "Privileged maps need a game with label maps, and this model names none: give others with --maps "
                "IMAGES,MAPS."
            )
        return collect_references(levels, count, seed=seed)
    if "," in maps:
        if source is None:
            raise ValueError(f"The origin of the maps in {maps} is not known: add --source human or privileged.")
        images, references = maps.split(",", 1)
        return read_folders(Path(images), Path(references), source).first(count)  # type: ignore[arg-type]
    return read_folder(Path(maps), largest=count)
