"""The command ``lcd align``: where a network looks, how its decisions come about, and how little changes them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from lcd.arguments import names

if TYPE_CHECKING:
    from envs import ProcgenOptions
    from lcd.alignment.importance import Scores
    from lcd.alignment.references import ReferenceMaps

PRIVILEGED = "privileged"


def command(
    model: Annotated[
        str, typer.Argument(help="Folder of a run, file of a policy that sees frames, or efficientnet_lite0.")
    ],
    maps: Annotated[
        str,
        typer.Option(
            metavar="WHAT",
            help="privileged: frames of the policy's game; IMAGES,MAPS: two folders; or a folder of ClickMe's files.",
        ),
    ] = PRIVILEGED,
    count: Annotated[int, typer.Option(min=2, help="Images, at most.")] = 128,
    methods: Annotated[str, typer.Option(metavar="NAMES", help="Ways to make importance maps; by default all.")] = "",
    seed: Annotated[int, typer.Option(help="Of the frames that are drawn.")] = 0,
    out: Annotated[Path, typer.Option(help="The table.")] = Path("alignment.csv"),
) -> None:
    """Measure how a network sees, against maps of what matters.

    Of a policy, on unseen levels of its game: what is on the frame by the game's own state is privileged, never human.
    """
    from lcd.alignment.agreement import CLICKME_CEILING
    from lcd.alignment.importance import METHODS
    from lcd.alignment.measuring import align
    from lcd.files import check_output, replacing

    chosen = names(methods) or tuple(METHODS)
    if unknown := [name for name in chosen if name not in METHODS]:
        raise ValueError(f"Unknown method {unknown[0]!r}: choose among {', '.join(METHODS)}.")
    check_output(out)
    scores, sees, levels = _scores_of(model)
    references, is_clickme = _references(maps, levels, count, seed)
    if sees is not None and references.images.shape[1:3] != sees:
        found, wanted = (" x ".join(map(str, size)) for size in (references.images.shape[1:3], sees))
        raise ValueError(f"The policy sees images of {wanted} pixels, and these have {found}: resize them beforehand.")
    ceilings = {"spearman": CLICKME_CEILING} if is_clickme else None
    table = align(scores, references, methods=chosen, ceilings=ceilings)
    table.insert(0, "source", references.source)
    with replacing(out) as partial:
        table.round(6).to_csv(partial, index=False)
    shown = Table(
        "aspect", "method", "measure", "mean", "95 % interval", "undefined", title=f"{references.source} maps"
    )
    for row in table.to_dict("records"):
        limits = "" if row["low"] != row["low"] else f"{row['low']:.3f} to {row['high']:.3f}"
        counted = f"{row['undefined']} of {row['images']}"
        shown.add_row(row["aspect"], row["method"], row["measure"], f"{row['mean']:.3f}", limits, counted)
    console = Console()
    console.print(shown)
    console.print(f"The table is {out}.", highlight=False, soft_wrap=True)


def _scores_of(model: str) -> tuple[Scores, tuple[int, int] | None, ProcgenOptions | None]:
    """What a model makes of images, their size where it must have one, and the unseen levels of the game it plays."""
    from agents import load_policy
    from agents.eyes import EYES, Classifier
    from lcd.alignment.importance import policy_scores

    if model in EYES:
        return Classifier(model).eval(), None, None
    path = Path(model)
    policy, card = load_policy(path / "policy.safetensors" if path.is_dir() else path)
    scores = policy_scores(policy)
    height, width = policy.observation_space.shape[-2:]  # type: ignore[index]
    return scores, (height, width), _unseen_levels(card)


def _unseen_levels(card: dict[str, Any]) -> ProcgenOptions | None:
    """The levels that a policy has not trained on, drawn as it learned to see them."""
    from envs import ProcgenOptions
    from lcd.training.settings import RunSettings

    if "run" in card:
        run = RunSettings.from_dict(card["run"])
        trained = run.training_options
        return trained.unseen_levels(run.num_levels) if isinstance(trained, ProcgenOptions) else None
    return ProcgenOptions(card["game"]).unseen_levels(200) if "game" in card else None


def _references(maps: str, levels: ProcgenOptions | None, count: int, seed: int) -> tuple[ReferenceMaps, bool]:
    from lcd.alignment.clickme import read_folder
    from lcd.alignment.privileged import collect_references
    from lcd.alignment.references import read_folders

    if maps == PRIVILEGED:
        if levels is None:
            raise ValueError(
                "Privileged maps are of a Procgen game, and this model does not name one: give others with --maps."
            )
        return collect_references(levels, count, seed=seed), False
    if "," in maps:
        images, references = maps.split(",", 1)
        return read_folders(Path(images), Path(references)).first(count), False
    return read_folder(Path(maps), largest=count).first(count), True
