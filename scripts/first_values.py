"""How a learner begins whose first values are zero, beside one whose first values are noise.

    python scripts/first_values.py --game coinrun --view semantic --seeds 8 --steps 100000

Stable-Baselines3 draws the weights of the value head as those of any other layer, so that the first values are noise;
`lcd.agents.EncoderPolicy` begins with zeros. Both learn from reward with the learner of the preset `standard`, in one
thread. Each run is written when it has ended, and a later start goes on behind it.

One row a part of a run: game, view, first_values ("zero" or "noise"), seed, step at its end, episodes that ended in it,
and their mean return (empty where none ended).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from stable_baselines3.common.callbacks import BaseCallback
from tables import check_joins, enter

from lcd.agents import EncoderPolicy
from lcd.analyses.palette import COLOURS
from lcd.envs.family import game_options
from lcd.experiments.presets import PRESETS
from lcd.experiments.run import learner
from lcd.experiments.settings import Evaluation, RunSettings

FirstValues = Literal["zero", "noise"]
Key = tuple[str, str, FirstValues, int]
KEY = ("game", "view", "first_values", "seed")
PARTS = 6


class _Ended(BaseCallback):
    """Return of every episode that has ended, with the step at which it did."""

    def __init__(self) -> None:
        super().__init__()
        self.episodes: list[tuple[int, float]] = []

    def _on_step(self) -> bool:
        found = (info["episode"]["r"] for info in self.locals["infos"] if "episode" in info)
        self.episodes += [(self.num_timesteps, float(each)) for each in found]
        return True


def episodes_of(settings: RunSettings, first_values: FirstValues) -> list[tuple[int, float]]:
    """Train a run from reward: the step and the return of every episode that ends."""
    model, env = learner(settings, None, "cpu", 1)
    try:
        assert isinstance(model.policy, EncoderPolicy)
        if first_values == "noise":
            model.policy.value_net.apply(partial(model.policy.init_weights, gain=1))
        ended = _Ended()
        model.learn(settings.steps, callback=ended)
    finally:
        env.close()
    return ended.episodes


def rows_of(settings: RunSettings, first_values: FirstValues) -> pd.DataFrame:
    """Train a run and sum it up in `PARTS` parts of its steps."""
    steps, returns = np.array(episodes_of(settings, first_values)).reshape(-1, 2).T
    ends = [round(settings.steps * part / PARTS) for part in range(PARTS + 1)]
    names = {"game": settings.game, "view": settings.view, "first_values": first_values, "seed": settings.seed}
    rows = []
    for begin, end in pairwise(ends):
        inside = returns[(steps > begin) & (steps <= end)]
        mean = round(float(inside.mean()), 3) if len(inside) else None
        rows.append(names | {"step": end, "episodes": len(inside), "training_return": mean})
    return pd.DataFrame(rows)


def missing(file: Path, keys: Sequence[Key]) -> list[Key]:
    """Runs that a table does not have."""
    known = set(pd.read_csv(file)[list(KEY)].itertuples(index=False, name=None)) if file.exists() else set()
    return [key for key in keys if key not in known]


def draw(table: pd.DataFrame) -> Figure:
    """Episodes that end over steps: a row a view, a column the first values, a line a seed."""
    views = list(dict.fromkeys(table["view"]))
    figure = Figure(figsize=(7.2, 2.3 * len(views) + 0.5), layout="constrained")
    panels = figure.subplots(len(views), 2, sharex=True, sharey=True, squeeze=False)
    for row, view in zip(panels, views, strict=True):
        for panel, name in zip(row, get_args(FirstValues), strict=True):
            runs = table[(table["view"] == view) & (table["first_values"] == name)].groupby("seed")
            for number, (_, run) in enumerate(runs):
                panel.plot(run["step"], run["episodes"], "o-", lw=1.2, ms=3, color=COLOURS[number % len(COLOURS)])
            panel.set_title(f"{view}, first values of {name}", fontsize=10)
            panel.spines[["top", "right"]].set_visible(False)
        row[0].set_ylabel("episodes that end")
    for panel in panels[-1]:
        panel.set_xlabel("environment steps")
    return figure


def main() -> None:
    """Train the missing runs, write the table and draw those of the game."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--game", default="coinrun", help="a Procgen game")
    parser.add_argument("--view", choices=("pixels", "semantic"), default="semantic")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=100_000, help="of each run, rounded up to whole rollouts")
    parser.add_argument("--output", type=Path, default=Path("docs/learner/first_values.csv"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    preset = PRESETS["standard"]
    steps = -(-options.steps // preset.hyperparameters.rollout) * preset.hyperparameters.rollout
    check_joins(options.output, "step", steps)
    keys: list[Key] = [
        (options.game, options.view, first_values, seed)
        for seed in range(options.seeds)
        for first_values in get_args(FirstValues)
    ]
    for game, view, first_values, seed in missing(options.output, keys):
        settings = RunSettings(
            game_options(game, num_levels=preset.num_levels),
            view,
            "rl",
            seed,
            steps,
            Evaluation((0, steps), preset.evaluation_episodes),
            preset.encoder,
            hyperparameters=preset.hyperparameters,
        )
        rows = rows_of(settings, first_values)
        enter(rows, options.output, KEY)
        print(rows.to_string(index=False, header=seed == 0), flush=True)
    table = pd.read_csv(options.output)
    draw(table[table["game"] == options.game]).savefig(options.output.with_suffix(".png"), dpi=110)


if __name__ == "__main__":
    main()
