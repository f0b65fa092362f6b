"""Soak test: losses when processes are killed, bits flip, files are damaged, or training runs long.

    python scripts/soak.py                                  # everything, some hours; the table is docs/soak.csv
    python scripts/soak.py kills flips --kills 5 --flips 20 # two of the parts, fewer of each
    python scripts/soak.py learn --minutes 3

kills   SIGKILL to a survey of several games at a random moment: to the process that plans, to one that trains, or to
        all at once. The same command then goes on. When it reaches the end, every run, diagnosis and table must equal,
        bit for bit, those of an undisturbed survey, except times. Then another survey begins, until
        as many signals were sent as are asked for.
resume  SIGKILL to a single run, which goes on from its last checkpoint, by `interrupted_run.py`.
flips   One bit of a file of a finished survey is flipped, over all kinds of files. Its reader must refuse it in one
        sentence, or return the same as before.
learn   `PPO.learn` goes on in one process, and its memory must not grow. The first quarter of the time is warming up.
files   Damaged untrusted files, over all commands, by `damaged_files.py`.

A row of the table says what was tried, how often, how often it was detected (refused in one sentence), how often it
changed nothing, and how often something was lost: a run, a bit of a result, or the one sentence. The exit status is 1
if anything was lost or memory grew by more than 10 MB. An interrupted part enters what it has found so far; parts that
are not run keep their rows. For Linux, as it reads /proc.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import lcd  # noqa: F401, first: it keeps the old gym's notice off the terminal

# isort: split
import pandas as pd
from soaking.flips import flips
from soaking.kills import kills
from soaking.memory import learn
from soaking.surveys import Place
from soaking.table import COLUMNS, PARTS, Row, enter, say, show

GAMES = ("coinrun", "maze", "starpilot")


def resume(count: int, seed: int) -> Iterator[list[Row]]:
    """Kill a single run again and again; what it leaves must be what an undisturbed one does."""
    from interrupted_run import rows

    reported = 0
    for found in rows(count, seed):
        say(f"resume: {found['kills']} of {count} kills, {found['runs']} runs finished, {found['lost']} of them differ")
        for example in found["examples"][reported:]:
            say(f"  LOST {example}")
        reported = len(found["examples"])
        signals = Row("resume", "kills of a run", found["kills"], unchanged=found["kills"])
        runs = Row("resume", "runs that ended", found["runs"], lost=found["lost"])
        runs.unchanged = runs.tried - runs.lost
        yield [signals, runs]


def files(count: int, seed: int) -> Iterator[list[Row]]:
    """Damaged files of somebody else's over all commands."""
    from damaged_files import rows

    found: dict[str, Row] = {}
    for first in range(0, count, 200):
        for each in rows(min(200, count - first), seed + first):
            row = found.setdefault(each["kind"], Row("files", each["kind"]))
            row.tried += each["tried"]
            row.detected += each["refused"]
            row.unchanged += each["accepted"]
            row.lost += each["faults"]
            for example in each["examples"]:
                say(f"  LOST {each['kind']}, {each['command']}: {example}")
        say(f"files: {min(first + 200, count)} of {count}")
        yield list(found.values())


def main() -> None:
    """Carry out the parts, and write and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; by default all of them")
    parser.add_argument("--kills", type=int, default=100, metavar="N", help="SIGKILLs to send")
    parser.add_argument("--flips", type=int, default=60, metavar="N", help="bits to flip")
    parser.add_argument("--minutes", type=float, default=60, help="of learning")
    parser.add_argument("--files", type=int, default=1000, metavar="N", help="damaged files")
    parser.add_argument("--seed", type=int, default=0, help="of moments, bits and damages")
    parser.add_argument("--games", default=",".join(GAMES), help="of the survey")
    parser.add_argument("--workers", type=int, default=2, help="training processes of a survey")
    parser.add_argument("--output", type=Path, default=Path("docs/soak.csv"), help="the table")
    parser.add_argument("--work", type=Path, help="folder of the surveys; by default a temporary one")
    options = parser.parse_args()
    if unknown := sorted(set(options.parts) - set(PARTS)):
        parser.error(f"There is no part {unknown[0]!r}: choose among {', '.join(PARTS)}.")
    for ending in (signal.SIGINT, signal.SIGTERM):  # also where a shell has it ignored, as in the background
        signal.signal(ending, signal.default_int_handler)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as temporary:
        work = (options.work or Path(temporary)).resolve()
        undisturbed = Place(work / "undisturbed", tuple(options.games.split(",")))
        draw = random.Random(options.seed)
        parts = {
            "kills": lambda: kills(options.kills, draw, undisturbed, options.workers),
            "resume": lambda: resume(options.kills, options.seed),
            "flips": lambda: flips(options.flips, draw, undisturbed, options.workers),
            "learn": lambda: learn(options.minutes),
            "files": lambda: files(options.files, options.seed),
        }
        table = pd.DataFrame(columns=COLUMNS)
        interrupted = False
        for name in options.parts or PARTS:
            rows: list[Row] = []
            try:
                for rows in parts[name]():
                    table = enter(rows, options.output)
            except KeyboardInterrupt:
                interrupted = True
                break
    show(table)
    if interrupted:
        say(f"Interrupted: what was found so far is in {options.output}.")
    sys.exit(130 if interrupted else int((table["lost"] > 0).any()))


if __name__ == "__main__":
    main()
