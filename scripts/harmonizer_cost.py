"""Measure time and peak memory of a harmonized training step against a plain one.

    python scripts/harmonizer_cost.py --output docs/harmonizer_cost.csv

A plain step is the cross-entropy of a batch and its gradient by the weights. A harmonized step adds the gradient by the
images, the harmonization loss of these maps, and its gradient by the weights. Each is measured in a fresh process, so
that peak memory is its own; the two alternate over the rounds. Steps are in float32, as in harmonized training.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import torch
from gymnasium import spaces
from torch import nn

from lcd.agents.encoders.convolutional import Nature
from lcd.agents.encoders.pretrained import Classifier
from lcd.alignment.harmonizer import harmonized_loss, smoothed_cross_entropy

CLASSES = 15
NETWORKS = {"nature": ((64, 256),), "efficientnet_lite0": ((64, 64), (224, 32))}
"""Networks, with the side of the images and the batch size of each measurement."""

STEPS = ("plain", "harmonized")


def network(name: str, size: int) -> nn.Module:
    """A classifier of square images."""
    if name == "efficientnet_lite0":
        return Classifier(name)
    space = spaces.Box(0, 255, (3, size, size), np.uint8)
    encoder = Nature(space)
    return nn.Sequential(encoder, nn.Linear(encoder.features_dim, CLASSES))


def measure(name: str, size: int, batch: int, harmonized: bool, steps: int, threads: int) -> dict[str, float]:
    """Median seconds of a step and peak memory of this process."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = network(name, size)
    images, maps = torch.rand(batch, 3, size, size), torch.rand(batch, size, size)
    targets = torch.randint(CLASSES, (batch,))
    seconds = []
    for _ in range(steps):
        started = time.perf_counter()
        model.zero_grad()
        if harmonized:
            loss, _ = harmonized_loss(model, images, targets, maps)
        else:
            loss = smoothed_cross_entropy(model(images), targets)
        loss.backward()
        seconds.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds_a_step": median(seconds[1:]), "peak_mb": peak}


def main() -> None:
    """Measure all networks in turn and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8, help="steps a measurement; the first is not counted")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--output", type=Path, help="CSV file to write")
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        name, size, batch, step = options.measure
        found = measure(name, int(size), int(batch), step == "harmonized", options.steps, options.threads)
        print(json.dumps(found))
        return
    rows = []
    for turn in range(options.rounds):
        for name in options.networks:
            for size, batch in NETWORKS[name]:
                for step in STEPS:
                    what = [name, str(size), str(batch), step]
                    command = [sys.executable, __file__, "--measure", *what, "--steps", str(options.steps)]
                    command += ["--threads", str(options.threads)]
                    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                    rows.append(
                        {"round": turn, "network": name, "size": size, "batch": batch, "step": step}
                        | {key: round(value, 4) for key, value in json.loads(answer).items()}
                    )
    table = pd.DataFrame(rows)
    keys = ["network", "size", "batch"]
    medians = table.pivot_table(index=keys, columns="step", values=["seconds_a_step", "peak_mb"], aggfunc="median")
    shown = pd.DataFrame(
        {
            "plain_ms": 1e3 * medians["seconds_a_step", "plain"],
            "harmonized_ms": 1e3 * medians["seconds_a_step", "harmonized"],
            "times": medians["seconds_a_step", "harmonized"] / medians["seconds_a_step", "plain"],
            "plain_mb": medians["peak_mb", "plain"],
            "harmonized_mb": medians["peak_mb", "harmonized"],
        }
    )
    print(shown.reset_index().round(2).to_string(index=False))
    if options.output:
        table.to_csv(options.output, index=False)


if __name__ == "__main__":
    main()
