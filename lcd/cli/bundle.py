"""The command ``lcd bundle``: the LCD in one archive, for a machine without internet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lcd.cli.arguments import names, parts
from lcd.io.console import plain_console

PLATFORM = "x86_64-manylinux_2_28"


def command(
    python: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Version of its Python, such as 3.12; by default this one's.")
    ] = None,
    have: Annotated[
        str,
        typer.Option(
            metavar="NAME[==VERSION],...", help="Packages that it has; they are not packed, and constrain it."
        ),
    ] = "",
    extras: Annotated[
        str, typer.Option(metavar="NAMES", help="Extras of the LCD, such as minigrid; Procgen is packed anyway.")
    ] = "",
    platform: Annotated[
        str, typer.Option(metavar="NAME", help="Its processor, x86_64 or aarch64, and the least glibc of its wheels.")
    ] = PLATFORM,
    source: Annotated[
        Path | None, typer.Option(help="Tree or wheel of the LCD; by default the tree that this one is from.")
    ] = None,
    constraints: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Versions to keep to; by default the tree's constraints.txt.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Output folder.")] = Path("lcd-bundle"),
) -> None:
    """Pack the LCD, its teachers and all that it needs for a Linux machine without internet.

    It makes an archive, and a script that names what is missing on that machine, or unpacks the archive there.
    """
    from lcd.studies.bundle.bundle import bundle

    console = plain_console(stderr=True)
    made = bundle(
        python,
        have=parts(have),
        extras=names(extras),
        platform=platform,
        source=source,
        constraints=constraints,
        out=out,
        report=lambda what: console.print(what, highlight=False, soft_wrap=True),
    )
    largest = sorted(made.packages, key=lambda each: -each.bytes)[:5]
    shown = ", ".join(f"{each.name} {each.version} ({each.bytes / 1e6:.0f} MB)" for each in largest)
    libraries = made.libraries
    lines = [
        f"{len(made.packages)} packages, the largest: {shown}.",
        f"{len(libraries.packed)} system libraries of this machine: {', '.join(libraries.packed) or 'none'}.",
    ]
    if libraries.absent:
        lines.append(f"Not packed, as this machine lacks them or has another processor: {', '.join(libraries.absent)}.")
    lines += [
        f"{made.archive}: {made.bytes / 1e6:.0f} MB, unpacked {made.unpacked_bytes / 1e6:.0f} MB.",
        f"Copy it and {made.script} to the machine, and run there: python{made.python} {made.script.name} FOLDER",
    ]
    plain_console().print("\n".join(lines), highlight=False, soft_wrap=True)
