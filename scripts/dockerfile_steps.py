"""Carry out a Dockerfile's steps in a root folder of your own, on a machine without a container engine.

    debootstrap --variant=minbase bookworm ROOT
    python scripts/dockerfile_steps.py scripts/docker/cpu.Dockerfile --root ROOT --run "doctor starpilot"
    python scripts/dockerfile_steps.py scripts/docker/cpu.Dockerfile --list

ROOT stands for the image that FROM names, and is changed. Each RUN and each --run has namespaces of its own for mounts
and processes, so that nothing stays mounted; that needs Linux and root. What only this machine needs, such as the
certificates of a proxy or a folder of wheels, comes with --bind and --env, and is not part of what the Dockerfile says.
A .dockerignore is not read: COPY copies what it names, without bytecode. An unknown instruction is refused.
"""

from __future__ import annotations

import argparse
import io
import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from dockerfile_parse import DockerfileParser
from dockerfile_parse.util import WordSplitter, get_key_val_dictionary

ROOT = Path(__file__).parents[1]
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
KNOWN = ("FROM", "RUN", "COPY", "ENV", "WORKDIR", "ARG", "ENTRYPOINT", "CMD")


@dataclass(frozen=True)
class Step:
    """One instruction of a Dockerfile.

    Attributes
    ----------
    instruction
        Its name, such as ``"RUN"``.
    value
        What stands after it, on one line.
    """

    instruction: str
    value: str


@dataclass
class Image:
    """State that a Dockerfile's steps build up beside the files.

    Attributes
    ----------
    arguments
        Values given to ARG, and those declared so far.
    environment
        Of RUN and of the container.
    workdir
        Folder of RUN, COPY and the container.
    entrypoint
        Words in front of those of ``docker run``.
    """

    arguments: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": PATH})
    workdir: PurePosixPath = field(default_factory=lambda: PurePosixPath("/"))
    entrypoint: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Machine:
    """Where the steps are carried out.

    Attributes
    ----------
    root
        The root folder.
    context
        The folder that COPY copies from.
    binds
        Folders and files of this machine by their names in the root.
    environment
        Variables that only this machine needs; they are not part of the image.
    """

    root: Path
    context: Path = ROOT
    binds: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


def read(text: str) -> list[Step]:
    """The steps of a Dockerfile.

    Raises
    ------
    ValueError
        If it has an instruction that is not known here, an option of one, or several stages.
    """
    parsed = DockerfileParser(fileobj=io.BytesIO(text.encode())).structure
    steps = [Step(each["instruction"], each["value"]) for each in parsed if each["instruction"] != "COMMENT"]
    if [step.instruction for step in steps].count("FROM") != 1:
        raise ValueError("A Dockerfile with one FROM is carried out here, and no other.")
    for step in steps:
        if step.instruction not in KNOWN:
            raise ValueError(f"{step.instruction} is not carried out here: {', '.join(KNOWN)} are.")
        if step.instruction in ("FROM", "RUN", "COPY") and step.value.startswith("--"):
            raise ValueError(f"{step.instruction} with the option {step.value.split()[0]} is not carried out here.")
    return steps


def substituted(text: str, image: Image) -> list[str]:
    """Words of a value, with variables replaced as Docker does: the environment comes before the arguments."""
    return list(WordSplitter(text, args=image.arguments, envs=image.environment).split())


def words(value: str) -> list[str]:
    """Words of ENTRYPOINT or CMD, which are a JSON list or a line for the shell."""
    return [str(each) for each in json.loads(value)] if value.startswith("[") else ["/bin/sh", "-c", value]


def copy(step: Step, image: Image, machine: Machine) -> None:
    """Carry out COPY: files go into the last folder, a folder's content takes that folder's place."""
    *sources, last = substituted(step.value, image)
    target = machine.root / str(image.workdir / last).lstrip("/")
    for source in sources:
        found = machine.context / source
        if found.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(found, target, symlinks=True, dirs_exist_ok=True, ignore=ignored)
        else:
            target.mkdir(parents=True, exist_ok=True) if last.endswith("/") or len(sources) > 1 else None
            shutil.copy2(found, target)


def inside(command: Sequence[str], image: Image, machine: Machine, *, network: bool = True) -> list[str]:
    """The command line that carries out another one within the root, in namespaces of its own."""
    root = str(machine.root.resolve())
    commands = ['export PATH="$PATH:/usr/sbin:/sbin"']  # where chroot is, though not for every user
    commands += [f"mount --rbind /dev {shlex.quote(root)}/dev", f"mount -t proc proc {shlex.quote(root)}/proc"]
    for inner, outer in machine.binds.items():
        commands.append(f"mount --bind {shlex.quote(outer)} {shlex.quote(root + inner)}")
    variables = [f"{name}={value}" for name, value in (image.environment | machine.environment).items()]
    run = shlex.join(
        ["chroot", root, "/usr/bin/env", "-i", f"--chdir={image.workdir}", "HOME=/root", *variables, *command]
    )
    isolated = ["unshare", "--mount", "--pid", "--fork", "--kill-child", *([] if network else ["--net"])]
    return [*isolated, "/bin/sh", "-ec", "\n".join([*commands, f"exec {run}"])]


def make_mount_points(machine: Machine) -> None:
    """Make what is mounted over, where the root lacks it: folders, and empty files."""
    for inner, outer in {"/dev": "/dev", "/proc": "/proc", **machine.binds}.items():
        point = machine.root / inner.lstrip("/")
        if Path(outer).is_dir():
            point.mkdir(parents=True, exist_ok=True)
        elif not point.exists():
            point.parent.mkdir(parents=True, exist_ok=True)
            point.touch()


def carry_out(step: Step, image: Image, machine: Machine) -> None:
    """Carry out one step.

    Raises
    ------
    subprocess.CalledProcessError
        If a command of RUN fails.
    """
    if step.instruction == "ENV":
        image.environment |= get_key_val_dictionary(step.value, True, image.arguments, image.environment)
    elif step.instruction == "ARG":
        name, has_default, default = substituted(step.value, image)[0].partition("=")
        if has_default:
            image.arguments.setdefault(name, default)
    elif step.instruction == "WORKDIR":
        image.workdir /= substituted(step.value, image)[0]
        (machine.root / str(image.workdir).lstrip("/")).mkdir(parents=True, exist_ok=True)
    elif step.instruction == "COPY":
        copy(step, image, machine)
    elif step.instruction == "ENTRYPOINT":
        image.entrypoint = words(step.value)
    elif step.instruction == "RUN":
        during = Image(environment=image.arguments | image.environment, workdir=image.workdir)
        subprocess.run(inside(words(step.value), during, machine), check=True)


def pairs(texts: Sequence[str], between: str) -> dict[str, str]:
    """Options such as NAME=VALUE as a dictionary; without a value, the name is both."""
    split = (text.partition(between) for text in texts)
    return {name: value or name for name, _, value in split}


def main() -> None:
    """Carry out, or list, the steps of a Dockerfile."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dockerfile", type=Path)
    parser.add_argument("--root", type=Path, help="folder in the place of the image that FROM names; it is changed")
    parser.add_argument("--context", type=Path, default=ROOT, help="folder that COPY copies from")
    parser.add_argument("--bind", action="append", default=[], metavar="HERE[:THERE]", help="file or folder to mount")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="variable of this machine")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--run", action="append", default=[], metavar="WORDS", help="then, as docker run IMAGE WORDS")
    parser.add_argument("--run-offline", action="store_true", help="give --run no network")
    parser.add_argument("--list", action="store_true", help="print the steps, and leave")
    options = parser.parse_args()
    try:
        steps = read(options.dockerfile.read_text("utf-8"))
    except (OSError, ValueError) as error:
        parser.error(str(error))
    if options.list:
        print("\n".join(f"{step.instruction} {step.value}" for step in steps))
        return
    if options.root is None or not options.root.is_dir():
        parser.error("Name the folder of a root with --root, such as one that debootstrap made.")
    binds = {there: here for here, there in pairs(options.bind, ":").items()}
    machine = Machine(options.root, options.context, binds, pairs(options.env, "="))
    image = Image(arguments=pairs(options.build_arg, "="))
    make_mount_points(machine)
    try:
        for step in steps:
            began = time.perf_counter()
            print(f"--- {step.instruction} {step.value}", flush=True)
            carry_out(step, image, machine)
            print(f"    {time.perf_counter() - began:.1f} s", flush=True)
        for line in options.run:
            began = time.perf_counter()
            print(f"--- docker run IMAGE {line}", flush=True)
            command = [*image.entrypoint, *shlex.split(line)]
            subprocess.run(inside(command, image, machine, network=not options.run_offline), check=True)
            print(f"    {time.perf_counter() - began:.1f} s", flush=True)
    except subprocess.CalledProcessError as error:
        sys.exit(f"Error: exit status {error.returncode} of the step above.")


if __name__ == "__main__":
    main()
