"""Measure how many scenes a second are drawn and rendered on one core.

    python scripts/scene_speed.py --output docs/perspective/scene_speed.csv

Numpy is held to one thread, and the time is the processor's. Each number is the median of several rounds, with the
slowest and the fastest.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from lcd.alignment.scenes import draw_fours, draw_scenes, render
from lcd.io.files import check_output, replacing


def rates(work: Callable[[], object], scenes: int, repeats: int) -> list[float]:
    """Scenes a second in each round, after a first one that does not count."""
    work()
    found = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        found.append(scenes / (time.process_time() - start))
    return found


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=4000, help="scenes of each round, a multiple of 4")
    parser.add_argument("--repeats", type=int, default=5, help="rounds")
    parser.add_argument("--output", type=Path, default=Path("docs/perspective/scene_speed.csv"), help="table to write")
    options = parser.parse_args()
    output = check_output(options.output, ".csv")
    scenes = draw_scenes(options.scenes)
    measured: dict[str, Callable[[], object]] = {
        "draw scenes": lambda: draw_scenes(options.scenes),
        "draw fours": lambda: draw_fours(options.scenes),
        "render 64 x 64": lambda: render(scenes, (64, 64)),
        "render 84 x 84": lambda: render(scenes, (84, 84)),
    }
    rows = []
    with threadpool_limits(1):
        for name, work in measured.items():
            found = rates(work, options.scenes, options.repeats)
            rows.append((name, np.median(found), min(found), max(found)))
    table = pd.DataFrame(rows, columns=["what", "scenes_per_second", "least", "most"]).round(0)
    print(table.to_string(index=False))
    with replacing(output) as partial:
        table.to_csv(partial, index=False)


if __name__ == "__main__":
    main()
