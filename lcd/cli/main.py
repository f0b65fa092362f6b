"""The command ``lcd``."""

from __future__ import annotations

import os
import sys
from typing import Annotated, NoReturn

import typer
from rich.table import Table

import lcd
from lcd.cli.align import command as align
from lcd.cli.audit import command as audit
from lcd.cli.bundle import command as bundle
from lcd.cli.calibrate import command as calibrate
from lcd.cli.compare import command as compare
from lcd.cli.diagnose import command as diagnose
from lcd.cli.doctor import command as doctor
from lcd.cli.errors import FAILURE
from lcd.cli.harmonize import command as harmonize
from lcd.cli.neural import command as neural
from lcd.cli.perspective import command as perspective
from lcd.cli.pretrain import command as pretrain
from lcd.cli.scaling import command as scaling
from lcd.cli.survey import command as survey
from lcd.cli.taxonomy import report, taxonomy
from lcd.cli.teachers import teachers
from lcd.cli.tracking import command as tracking
from lcd.cli.validate import command as validate
from lcd.cli.visualize import command as visualize
from lcd.cli.watch import command as watch
from lcd.io.console import plain_console

INTERRUPTED, TERMINATED = 130, 143

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Measures how much of a game's difficulty for a deep RL agent is perceptual, and how much is policy learning.",
)

app.command("diagnose")(diagnose)
app.command("compare")(compare)
app.command("doctor")(doctor)
app.add_typer(teachers)
app.command("calibrate")(calibrate)
app.command("survey")(survey)
app.command("taxonomy")(taxonomy)
app.command("report")(report)
app.command("audit")(audit)
app.command("validate")(validate)
app.command("watch")(watch)
app.command("pretrain")(pretrain)
app.command("align")(align)
app.command("neural")(neural)
app.command("harmonize")(harmonize)
app.command("perspective")(perspective)
app.command("visualize")(visualize)
app.command("tracking")(tracking)
app.command("scaling")(scaling)
app.command("bundle")(bundle)


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False) -> None:
    """Print the version if asked."""
    if show:
        print(lcd.__version__)
        raise typer.Exit


@app.command()
def games() -> None:
    """List the games that can be diagnosed, with the returns that count as the scores 0 and 1."""
    from lcd.envs import families

    table = Table()
    for name in ("game", "Gymnasium", "scores 0 and 1 are", "in hard mode"):
        table.add_column(name)
    for family in families().values():
        for game, gymnasium_id in family.games.items():
            known = [family.normalisation(options) for options in family.usual_options(game)]
            table.add_row(
                game, gymnasium_id, *("" if each is None else f"{each.random:.3g}, {each.best:.3g}" for each in known)
            )
    plain_console().print(table)


RESUMED = [[name] for name in ("diagnose", "calibrate", "survey", "validate", "harmonize", "tracking", "teachers")]
"""Commands whose runs are kept one by one."""


def _end(reason: str) -> NoReturn:
    """End the process, in which a step or reset of a game hangs."""
    sys.stdout.flush()
    print(f"Error: {reason}", file=sys.stderr, flush=True)
    os._exit(FAILURE)


def main() -> None:
    """Run the command, with one sentence and a status instead of a traceback.

    The exit status is 0 after success, 2 for bad input, 1 for a failure while running, 130 after Ctrl-C, 143 after
    SIGTERM.
    """
    from lcd.cli.errors import exit_status, sentence
    from lcd.io.watching import WATCH

    WATCH.ended = _end
    try:
        app()
    except (KeyboardInterrupt, SystemExit) as end:
        code = end.code if isinstance(end, SystemExit) else INTERRUPTED  # Typer turns Ctrl-C into an exit
        if code in (INTERRUPTED, TERMINATED):
            resumes = " Finished runs are kept; the same command resumes from them."
            print(f"Interrupted.{resumes * (sys.argv[1:2] in RESUMED)}", file=sys.stderr)
        sys.exit(code)
    except Exception as error:
        status = exit_status(error)
        if status is None:
            raise
        print(f"Error: {sentence(error)}", file=sys.stderr)
        sys.exit(status)


if __name__ == "__main__":
    main()
