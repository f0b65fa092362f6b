"""Print a survey as a table in Markdown, as docs/taxonomy.md shows it: one row a game.

    python scripts/survey_page.py docs/procgen-standard/tables

The demands are those of the score that decides, the area on unseen levels, with 95 % intervals over seeds; P is shown
on training levels too. A demand is floor-limited, and a game unlearned, as `lcd.measurement.rule` has it. The last
column has the final scores of the students, from frames and from label maps, as shares of their teacher's.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from lcd.measurement.intervals import Interval
from lcd.measurement.rule import floor_limited_demands, has_learned
from lcd.measurement.scores import late_gains
from lcd.studies.survey.tables import SurveyTables
from lcd.studies.taxonomy.students import student_table

MINUS = "\N{MINUS SIGN}"
HEADS = (
    "game",
    "verdict",
    "P",
    "P, training levels",
    "L",
    "floor-limited",
    "c and d as shares of their teacher, training levels",
)
LETTERS = {"perceptual": "P", "policy": "L"}


def demand(tables: SurveyTables, game: str, quantity: str, levels: str = "unseen") -> str:
    """A demand with its interval."""
    rows = tables.demands.set_index(["game", "quantity", "levels", "score"])
    found = rows.loc[(game, quantity, levels, "area"), ["estimate", "low", "high"]].to_numpy(float)
    return str(Interval(*found)).replace("-", MINUS)


def floor_of(curves: pd.DataFrame) -> str:
    """Which demands of a game the floor limits."""
    gains = late_gains(curves)
    return " and ".join(LETTERS[name] for name in floor_limited_demands(gains)) if has_learned(gains) else "unlearned"


def page(tables: SurveyTables) -> str:
    """The table."""
    students = student_table(tables.scores, tables.games).set_index(["game", "levels", "view"])["share"]
    curves = dict(list(tables.curves.groupby("game")))
    rows = [HEADS, ("---",) * len(HEADS)]
    for game, verdict in sorted(zip(tables.games["game"], tables.games["verdict"], strict=True)):
        demands = [demand(tables, game, "perceptual"), demand(tables, game, "perceptual", "training")]
        shares = [f"{students[game, 'training', view]:.2f}".replace("-", MINUS) for view in ("pixels", "semantic")]
        rows.append(
            (game, verdict, *demands, demand(tables, game, "policy"), floor_of(curves[game]), " and ".join(shares))
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    """Print the table of a survey."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path, help="folder of the survey's tables")
    print(page(SurveyTables.read(parser.parse_args().tables)))


if __name__ == "__main__":
    main()
