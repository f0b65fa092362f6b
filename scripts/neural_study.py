"""Which encoders explain which: units of one encoder predicted from the layers of another.

    lcd diagnose starpilot --preset quick
    python scripts/neural_study.py --out docs/neural

Encoders of one game, each in three seeds: trained by reward and by imitation, on frames and on label maps (the runs of
the diagnosis; those that are missing are trained), and with random weights; the reference teacher on label maps; and
EfficientNet-Lite0, pretrained on ImageNet. Frames and label maps are predictors as well, without a network. States are
those that the teacher visits in unseen levels; cross-validation holds out whole games.

mutual_prediction.csv
    One row a (target, predictor, layer), see `lcd.studies.mutual_prediction.mutual_prediction`.
activity.csv
    One row a (encoder, seed, layer), see `lcd.studies.mutual_prediction.activity_table`.
mutual_prediction.png
    Figure of the first.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from gymnasium import spaces
from rich.console import Console
from torch import nn

from lcd.agents import Encoder, EncoderName, load_policy
from lcd.agents.encoders.convolutional import label_channels
from lcd.alignment.layers import LayeredNetwork
from lcd.alignment.regression import Regression
from lcd.analyses.neural_figure import draw_mutual_prediction
from lcd.experiments.display import PlanDisplay
from lcd.experiments.execution import execute
from lcd.experiments.plan import Plan
from lcd.experiments.presets import PRESETS
from lcd.experiments.store import Store
from lcd.io.files import replacing
from lcd.studies.layered_networks import load_layers
from lcd.studies.mutual_prediction import UNITS, EncoderKind, activity_table, collect_states, mutual_prediction
from lcd.studies.output import save_figure
from lcd.studies.planning import plan_diagnosis
from lcd.teachers.library import shipped_teacher

GAMES, STATES_OF_EACH, FOLDS = 48, 10, 6
LEARNING = {"rl": "reward", "imitation": "imitation"}
VIEWS = {"pixels": "frames", "semantic": "label maps"}


def random_encoders(architecture: str, view: str, size: tuple[int, int], seeds: int) -> tuple[LayeredNetwork, ...]:
    """Encoders with random weights, with their linear layers."""
    made, arguments = EncoderName.read(architecture).encoder
    shape = (3, *size) if view == "pixels" else size
    space = spaces.Box(0, 255 if view == "pixels" else 64, shape, np.uint8)
    found = []
    for seed in range(seeds):
        torch.manual_seed(seed)
        encoder = made(space, **arguments).eval()
        for module in encoder.modules():  # as Stable-Baselines3 initialises them
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.orthogonal_(module.weight, gain=np.sqrt(2))
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        found.append(_whole(encoder, VIEWS[view], size))
    return tuple(found)


def _whole(encoder: Encoder, takes: str, size: tuple[int, int]) -> LayeredNetwork:
    return LayeredNetwork(encoder.network, encoder, "images" if takes == "frames" else takes, size)


def plain(view: str, size: tuple[int, int]) -> LayeredNetwork:
    """What the encoders take, without a network."""
    flat = nn.Flatten()
    if view == "pixels":
        return LayeredNetwork(flat, lambda images: flat(images.float()), "images", size)
    return LayeredNetwork(flat, lambda labels: flat(label_channels(labels, torch.float32)), "label maps", size)


def main() -> None:
    """Run the study, and write its table and figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/neural"), help="folder of table and figure")
    parser.add_argument("--store", type=Path, default=Path("lcd-runs"), help="folder of the runs")
    parser.add_argument("--game", default="starpilot", help="a game of Procgen")
    parser.add_argument("--preset", default="quick", help="of the diagnosis")
    parser.add_argument("--games", type=int, default=GAMES, help="games that are played for states")
    parser.add_argument("--states", type=int, default=STATES_OF_EACH, help="states of each game")
    parser.add_argument("--folds", type=int, default=FOLDS, help="of the cross-validation")
    parser.add_argument("--units", type=int, default=UNITS, help="of each predicted encoder")
    parser.add_argument("--method", default="ridge", help="regression")
    options = parser.parse_args()
    torch.set_num_threads(1)
    console, store, preset = Console(), Store(options.store), PRESETS[options.preset]
    plan = plan_diagnosis(options.game, preset, distribution_mode="easy", teacher=None)
    with PlanDisplay(Plan((plan,))) as display:
        execute(Plan((plan,)), store, listener=display)
    file, _ = shipped_teacher(options.game)
    unseen = plan.cells[0].unseen_options
    states = collect_states(unseen, options.games, options.states, policy=load_policy(file)[0])
    assert states.images is not None
    size = (states.images.shape[1], states.images.shape[2])
    kinds = []
    for view, takes in VIEWS.items():
        for learning, name in LEARNING.items():
            runs = [run for run in plan.cells if (run.view, run.learning) == (view, learning)]
            networks = tuple(load_layers(str(store.load(run).folder), size) for run in runs)
            kinds.append(EncoderKind(f"{name}, {takes}", networks))
        made = random_encoders(preset.encoder, view, size, preset.seeds)
        kinds.append(EncoderKind(f"random weights, {takes}", made))
    kinds.append(EncoderKind("teacher, label maps", (load_layers(str(file), size),)))
    kinds.append(EncoderKind("ImageNet, frames", (load_layers("efficientnet_lite0", size),)))
    kinds += [EncoderKind(f"no network, {takes}", (plain(view, size),), None) for view, takes in VIEWS.items()]
    regression = Regression(options.method, folds=options.folds)
    table = mutual_prediction(
        kinds, states, regression, units=options.units, report=lambda line: console.print(line, highlight=False)
    )
    options.out.mkdir(parents=True, exist_ok=True)
    activity = activity_table([kind for kind in kinds if kind.target is not None], states)
    for name, each in {"mutual_prediction": table, "activity": activity}.items():
        with replacing(options.out / f"{name}.csv") as partial:
            each.round(4).to_csv(partial, index=False)
    save_figure(draw_mutual_prediction(table), options.out / "mutual_prediction.png")


if __name__ == "__main__":
    main()
