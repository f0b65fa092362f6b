"""Test that frames and label maps of every game stay in one state, under the reference teachers.

    python scripts/lockstep.py --episodes 300 --output docs/lockstep.csv

Both views of each game are played by its reference teacher (on hard levels by the teacher of hard levels where there is
one, else by that of easy ones), each episode to its end. Whole states are compared with their twins', not rewards only.
One row a (game, mode): the teacher, episodes that ended, steps, states compared, divergences, and the mean return of
the episodes, which shows how far the player gets. Finished rows are kept, and the same command resumes.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from lcd.agents import EncoderPolicy, load_policy
from lcd.envs import GAMES, ProcgenBatch, ProcgenOptions
from lcd.envs.procgen.twin import SemanticEngine
from lcd.io.files import replacing
from lcd.teachers.library import shipped_games, shipped_teacher

NUM_ENVS, STRIDE = 64, 4
"""Games at once, and steps from one comparison of all states to the next; between them one game a step is compared."""


def teacher_of(game: str, mode: str) -> tuple[EncoderPolicy, str]:
    """The strongest teacher of a game, and the mode that it learned in."""
    learned = "hard" if mode == "hard" and game in shipped_games(distribution_mode="hard") else "easy"
    return load_policy(shipped_teacher(game, distribution_mode=learned)[0])[0], learned


@torch.no_grad()
def play(game: str, mode: str, episodes: int) -> dict[str, object]:
    """Play until so many episodes ended, and compare the states of the two drawings."""
    teacher, learned = teacher_of(game, mode)
    batch = ProcgenBatch(ProcgenOptions(game, mode, num_levels=200), NUM_ENVS, "both", seed=3)
    twin = batch._engines[1]
    assert isinstance(twin, SemanticEngine)
    generator = torch.Generator().manual_seed(0)
    running, steps, compared, apart = np.zeros(NUM_ENVS), 0, 0, 0
    returns: list[float] = []
    observations = batch.observe()
    while len(returns) < episodes:
        assert isinstance(observations, dict)
        probabilities = teacher.log_probabilities(torch.as_tensor(observations["semantic"])).exp()
        step = batch.step(probabilities.multinomial(1, generator=generator).squeeze(1).numpy())
        observations, steps = step.observations, steps + 1
        running += step.rewards
        ended = step.terminated | step.truncated
        returns += running[ended].tolist()
        running[ended] = 0
        if steps % STRIDE == 0:
            apart += sum(not twin.shows(index, batch._engines[0]) for index in range(NUM_ENVS))
            compared += NUM_ENVS
    batch.close()
    return {
        "game": game,
        "mode": mode,
        "teacher": learned,
        "episodes": len(returns),
        "steps": steps * NUM_ENVS,
        "states_compared": compared + steps,
        "divergences": apart + batch.divergences,
        "mean_return": round(float(np.mean(returns)), 2),
    }


def main() -> None:
    """Play what the table lacks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", nargs="+", default=list(GAMES), choices=GAMES)
    parser.add_argument("--modes", nargs="+", default=["easy", "hard"], choices=["easy", "hard"])
    parser.add_argument("--episodes", type=int, default=300, help="whole episodes of each game and mode")
    parser.add_argument("--output", type=Path, default=Path("docs/lockstep.csv"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[Any] = pd.read_csv(options.output).to_dict("records") if options.output.is_file() else []
    done = {(row["game"], row["mode"]) for row in rows if row["episodes"] >= options.episodes}
    rows = [row for row in rows if (row["game"], row["mode"]) in done]
    for mode in options.modes:
        for game in options.games:
            if (game, mode) in done:
                continue
            started = time.monotonic()
            rows.append(play(game, mode, options.episodes))
            options.output.parent.mkdir(parents=True, exist_ok=True)
            with replacing(options.output) as partial:
                pd.DataFrame(rows).to_csv(partial, index=False)
            print(f"{rows[-1]}, {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
