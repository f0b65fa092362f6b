"""Table and figure of the reference teachers that come with the package.

    python scripts/teachers.py --output docs/teachers.csv

The figure is written beside the table. PPO's returns after 25 M steps come from ``docs/published_curves.csv``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from lcd.analyses.teachers_figure import draw_teachers, teacher_table
from lcd.teachers.library import shipped_games, shipped_teacher

PUBLISHED = Path(__file__).parents[1] / "docs" / "published_curves.csv"


def main() -> None:
    """Write both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("docs/teachers.csv"))
    options = parser.parse_args()
    curves = pd.read_csv(PUBLISHED).query("mode == 'easy' and num_levels == 'all' and steps == 25_000_000")
    published = dict(zip(curves["game"], curves["mean_return"], strict=True))
    table = teacher_table([shipped_teacher(game)[1] for game in shipped_games()], published)
    table.round(4).to_csv(options.output, index=False)
    draw_teachers(table).savefig(options.output.with_suffix(".png"), dpi=130)


if __name__ == "__main__":
    main()
