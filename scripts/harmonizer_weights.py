"""Effect of the harmonizer on imitation, by the weight of its loss.

    python scripts/harmonizer_weights.py --output docs/encoders/harmonizer_weights.csv

Imitation on pixels, as in `encoder_study.py`, which shares the runs without the harmonizer and with a weight of 1.
Beside agreement and returns the table has the harmonization loss on frames of unseen levels, and the mean peak of the
importance maps in standard deviations. The loss compares a map with the reference scaled to the map's own peak: it
falls where maps agree, and also where they become flat. The two columns tell these apart. The table is written after
each game, and finished runs are kept.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
import torch
from encoder_study import SEEDS, STEPS, planned
from rich.console import Console

from lcd.agents import load_policy
from lcd.alignment.harmonizer import harmonization_loss, standardise_and_cut, training_maps, twice_differentiable
from lcd.alignment.importance import policy_scores
from lcd.alignment.references import ReferenceMaps
from lcd.experiments.display import PlanDisplay
from lcd.experiments.execution import execute
from lcd.experiments.settings import RunSettings
from lcd.experiments.store import Store
from lcd.io.files import replacing
from lcd.studies.harmonization import (
    FRAMES,
    MEASURES,
    effect_table,
    harmonized_plan,
    measure_harmonization,
    unseen_references,
)

GAMES = ("coinrun", "ninja", "jumper", "starpilot")
WEIGHTS = (0.01, 0.1, 1.0)


def loss_and_peak(run: RunSettings, store: Store, references: ReferenceMaps) -> dict[str, float]:
    """Harmonization loss of a run's final policy, and the mean peak of its importance maps."""
    policy, _ = load_policy(store.load(run).policy_file, trust=True)
    images = references.inputs.requires_grad_()
    with twice_differentiable():
        scores = policy_scores(policy)(images)
    maps = training_maps(scores.amax(dim=1), images).detach()
    loss = harmonization_loss(maps, torch.from_numpy(references.maps))
    return {"loss": float(loss), "peak": float(standardise_and_cut(maps).amax(dim=(1, 2)).mean())}


def main() -> None:
    """Execute the runs and write the table after each game."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="CSV file to write")
    parser.add_argument("--store", type=Path, default=Path("lcd-runs"), help="folder of the runs")
    parser.add_argument("--games", default=",".join(GAMES), help="only these games")
    parser.add_argument("--steps", type=int, default=STEPS, help="environment steps of each learner")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="of each learner")
    parser.add_argument("--weights", type=float, nargs="+", default=WEIGHTS, help="of the harmonizer's loss")
    options = parser.parse_args()
    torch.set_num_threads(1)
    store, found = Store(options.store), []
    for game in options.games.split(","):
        plan = harmonized_plan(planned(game, options.steps, options.seeds), *options.weights)
        with PlanDisplay(plan) as display:
            execute(plan, store, listener=display)
        runs = measure_harmonization(plan, store)
        cells = plan.games[0].cells
        references = unseen_references(cells[0], FRAMES)
        runs = runs.join(pd.DataFrame([loss_and_peak(run, store, references) for run in cells]))
        plain = runs[runs["harmonizer"] == 0]
        for weight in options.weights:
            both = pd.concat([plain, runs[runs["harmonizer"] == weight]])
            found.append(effect_table(both, (*MEASURES, "loss", "peak")).assign(weight=weight))
        table = pd.concat(found, ignore_index=True).drop(columns="learning")
        with replacing(options.output) as partial:
            table.round(6).to_csv(partial, index=False)
        Console().print(table.round(3).to_string(index=False), highlight=False)


if __name__ == "__main__":
    main()
