"""Parsing of command-line arguments, and options shared by several commands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from lcd.io.limits import LONGEST_STEP_LIMIT, MOST_ACTION_VALUES, MOST_FACTOR, MOST_SEEDS, MOST_STEPS, MOST_WORKERS
from lcd.io.object_storage import is_url

UNITS = {"k": 1_000, "m": 1_000_000}


def count(text: str) -> int:
    """Parse a number of steps such as ``500000``, ``500k`` or ``1.5M``.

    Raises
    ------
    typer.BadParameter
        If the text is no such number, or below 1.
    """
    digits, unit = (text[:-1], UNITS[text[-1].lower()]) if text[-1:].lower() in UNITS else (text, 1)
    try:
        number = float(digits) * unit
        whole = round(number)
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"{text!r} is no number of steps: write one such as 500000, 500k or 1.5M.") from None
    if whole > MOST_STEPS:
        raise typer.BadParameter(f"{text!r} is too many: at most {MOST_STEPS:,} are allowed.")
    if whole < 1 or abs(whole - number) > 1e-6:
        raise typer.BadParameter(f"{text!r} must be a whole number of at least 1.")
    return whole


def number(least: int, most: int, meaning: str) -> Any:
    """Option for a whole number within limits, both allowed."""

    def read(given: str | int) -> int:
        digits = str(given).strip()
        if not (digits.isascii() and digits.removeprefix("-").isdigit() and len(digits) < 20):
            raise typer.BadParameter(f"{digits[:100]!r} is no whole number: write one from {least:,} to {most:,}.")
        if not least <= int(digits) <= most:
            raise typer.BadParameter(f"{int(digits):,} is out of range: write a number from {least:,} to {most:,}.")
        return int(digits)

    return typer.Option(parser=read, metavar="N", help=meaning)


def names(text: str) -> tuple[str, ...]:
    """Split names at commas, such as ``noise,delay``; none for an empty text."""
    return tuple(name for name in text.replace(" ", "").split(",") if name)


def parts(text: str) -> tuple[str, ...]:
    """Split paths and other texts at commas, keeping the spaces within them; none for an empty text."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def store_place(text: str | Path) -> Path | str:
    """A store's URL as it is, for a path would lose one of its slashes; anything else as a path."""
    return text if is_url(text) else Path(text)


def encoder_names(text: str) -> tuple[str, ...]:
    """Split encoder names at commas, such as ``random,impala:16,32``; a number continues a name."""
    return tuple(name.strip() for name in re.split(r",(?!\s*\d+\s*(?:[,@+]|$))", text) if name.strip())


Steps = Annotated[
    int | None, typer.Option(parser=count, metavar="N", help="Environment steps of each cell, such as 500k.")
]
Seeds = Annotated[int | None, number(1, MOST_SEEDS, "Seeds of each cell.")]
EncoderOption = Annotated[
    str | None, typer.Option(help="Visual encoder: nature, impala, impoola, or impala:32,64,64 for other depths.")
]
Precision = Annotated[
    str | None, typer.Option(help="Of the encoder's numbers: float32 or bfloat16; by default the fastest.")
]
Algorithm = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="What learns from reward instead of PPO: phasic, decoupled, replayed-levels, curriculum, or your own, "
        "module:NAME.",
    ),
]
LearnerSettings = Annotated[
    str | None,
    typer.Option(
        "--hyperparameters",
        metavar="JSON",
        help='Some of the learner\'s, such as \'{"learning_rate": 2.5e-4, "gamma": 0.999}\'.',
    ),
]
Teacher = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Teacher to imitate, instead of the reference: a policy file, a model of Stable-Baselines3, or what "
        "module:function makes.",
    ),
]
TeacherFactor = Annotated[
    int | None,
    number(1, MOST_FACTOR, "Steps of a trained teacher, as a multiple of --steps; its first are a cell's."),
]
Mode = Annotated[str | None, typer.Option(help="Procgen's distribution mode, easy or hard; by default easy.")]
EnvKwargs = Annotated[str | None, typer.Option(metavar="JSON", help="Another package's game: its keyword arguments.")]
ImageKey = Annotated[str | None, typer.Option(help="The entry of its observations that is the image.")]
Semantic = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Its privileged view: a method of the game, module:Wrapper, or expert, the frozen encoder of an expert on "
        "frames, which is taken where a game has none.",
    ),
]
LabelMaps = Annotated[
    str | None,
    typer.Option("--semantic", metavar="NAME", help="Its label maps: a method of the game, or module:Wrapper."),
]
MaxEpisodeSteps = Annotated[int | None, number(1, MOST_STEPS, "Limit of its episodes' length; by default its own.")]
Wrappers = Annotated[
    str | None, typer.Option(help="Its wrappers: atari, the default for ids that begin with ALE/, or plain.")
]
StickyActions = Annotated[
    float | None,
    typer.Option(
        metavar="P", help="Probability that a step of it repeats the last action, such as 0.25; by default its own."
    ),
]
FrameSkip = Annotated[int | None, number(1, 1_000, "Steps of it for each action; by default its own.")]
ActionValues = Annotated[
    int | None, number(2, MOST_ACTION_VALUES, "Values of each part of its continuous actions; by default 3.")
]
STORE = {"parser": store_place, "metavar": "FOLDER"}
"""How the option ``--store`` is read, in every command that has it."""

StoreFolder = Annotated[
    Path, typer.Option(**STORE, help="Folder of the runs, which diagnoses share; or a URL such as s3://bucket/prefix.")
]
Workers = Annotated[
    int | None,
    number(1, MOST_WORKERS, "Runs at once; by default as many as fill the cores, or the GPU."),
]
Threads = Annotated[int | None, number(1, MOST_WORKERS, "Threads of each worker.")]
StepLimit = Annotated[
    int,
    number(1, LONGEST_STEP_LIMIT, "Seconds after which a step of another package's game is taken to hang."),
]
Executor = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="What carries out the runs: local (this machine), ray[:ADDRESS][,cpus=N][,gpus=SHARE], or "
        "slurm[:time=8h][,partition=NAME][,cpus=N][,gpus=N].",
    ),
]
Device = Annotated[str, typer.Option(help="Where torch computes: cpu, cuda or auto.")]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="You trust the policy: import the modules of its encoder and game, or fetch the architecture of an hf: "
        "encoder over the network. Its weights are in the file.",
    ),
]
TrustPlan = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Let the file name games, wrappers, teachers, encoders, algorithms and improvements as module:name, whose "
        "code is run, and encoders of timm: and hf:, whose weights are fetched.",
    ),
]
Ladder = Annotated[
    bool,
    typer.Option(
        "--ladder",
        help="Finer cells: what of learning from reward is credit assignment, and what telling where things are would "
        "bring beyond label maps.",
    ),
]
Baselines = Annotated[
    bool,
    typer.Option(
        "--baselines",
        help="Learners on a constant frame, and how much of the teacher a supervised fit predicts from each view.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and its time here, and leave.")]
