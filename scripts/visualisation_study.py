"""What units of encoders look for, and feature visualisation by phase, by spectrum and by pixels compared.

    python scripts/visualisation_study.py units GAME/ENCODER=MODEL ... --out docs/visualisation
    python scripts/visualisation_study.py methods GROUP=MODEL,MODEL,... ... --out docs/visualisation

MODEL is what `lcd visualize` takes. `units` draws the units in the middle of a layer whose activations vary most over
the game's frames, each beside the frame that excites it most; it takes any games and encoders. `methods` makes images
of the same targets in every space of `lcd.alignment.visualisation.SPACES`, and of random phases as the control; the
models of a group differ in their seed, and each image is evaluated in the others, too.

units.png, units.csv
    The figure, and a row a unit.
images.csv
    Of `methods`, one row an image and a network.
methods.csv
    Its means, and differences from phases on the same targets, with limits over models.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from numpy.typing import NDArray
from rich.console import Console

from lcd.alignment.agreement import Agreement
from lcd.alignment.plausibility import evaluated
from lcd.alignment.targets import Target
from lcd.alignment.visualisation import SPACES, Optimisation, phase_space, visualise
from lcd.analyses.visualisation_figure import draw_visualisations
from lcd.io.files import replacing
from lcd.studies.output import save_figure
from lcd.studies.visible_networks import VisibleNetwork, load_visible
from lcd.studies.visualising import as_bytes, measured, plausibility_to, spectrum_for, transparent

RANDOM = "random phase"
KINDS = {"logit": "output", "value": "output"}
"""What a target is called in tables by its layer; units and channels otherwise."""

MEASURES = ("deviations", "exceeds", "distance", "outside", "transfer_deviations", "transfer_exceeds")
"""Of an image in its own network, and on the mean of the other networks of its group."""

FEWEST = 3
"""Models of a group that has limits."""

console = Console()


def most_varying(network: VisibleNetwork, target: Target, real: torch.Tensor, count: int) -> list[Target]:
    """Targets in a target's layer and at its position whose activations vary most over real images."""
    deviations = evaluated(network.visible.channel_activations(target), real).std(dim=0)
    names = {f"{target.layer}:{channel}" for channel in range(len(deviations))} & set(network.outputs)
    among = sorted(int(name.partition(":")[2]) for name in names) or range(len(deviations))  # of each action class one
    chosen = sorted(among, key=lambda channel: -float(deviations[channel]))[:count]
    return [Target(target.layer, channel, target.position) for channel in chosen]


def middle(network: VisibleNetwork, layer: str, image: torch.Tensor) -> tuple[int, int]:
    """Position in the middle of a layer's map."""
    _, rows, columns = network.visible.channels(layer, image)
    return rows // 2, columns // 2


def chosen_targets(network: VisibleNetwork, layer: str, real: torch.Tensor, count: int) -> list[Target]:
    """Outputs, units and channels for the comparison."""
    image = real[0]
    targets = [Target("value", label="value")] if "value" in network.visible.outputs else []
    if "logit" in network.visible.outputs:
        targets += most_varying(network, Target("logit"), real, count)
    targets += most_varying(network, Target(layer, position=middle(network, layer, image)), real, count)
    return targets + most_varying(network, Target(layer), real, count)


def units(options: argparse.Namespace) -> None:
    """Draw the units of encoders and write their table."""
    rows: dict[str, dict[str, NDArray[Any]]] = {}
    tables, settings = [], Optimisation(steps=options.steps, crops=options.crops)
    for label, model in (given.split("=", 1) for given in options.models):
        network = load_visible(model, "cpu", trust=options.trust)
        assert network.shape is not None, "the figure compares encoders of policies"
        spectrum, real = spectrum_for(network, "", network.shape, options.count, seed=0)
        assert real is not None, "the card names no game"
        plausibility, _ = plausibility_to(real)
        place = middle(network, options.layer, real[0])
        row = rows.setdefault(label.replace("/", "\n"), {})
        for target in most_varying(network, Target(options.layer, position=place), real, options.targets):
            objective = network.visible.objective(target, real[0])
            made = visualise(objective, phase_space(spectrum), settings)
            row[f"unit {target.channel}"] = transparent(made)
            row[f"frame for {target.channel}"] = as_bytes(real[int(evaluated(objective, real).argmax())])
            tables += measured(target, made, {label: network}, real, plausibility)
        console.print(f"{label}: {len(row) // 2} units", highlight=False)
    write(pd.DataFrame(tables).drop(columns=["matched", "correlation"]), options.out / "units.csv")
    save_figure(draw_visualisations(rows), options.out / "units.png")


def methods(options: argparse.Namespace) -> None:
    """Compare spaces of images and write the tables."""
    settings, rows = Optimisation(steps=options.steps, crops=options.crops), []
    still = Optimisation(steps=1, crops=1, learning_rate=1e-9)
    for group, models in (given.split("=", 1) for given in options.models):
        networks = {
            f"{group} {number}": load_visible(model, "cpu", trust=options.trust)
            for number, model in enumerate(models.split(","))
        }
        for name in list(networks)[: options.sources]:
            own = {name: networks[name]} | {other: each for other, each in networks.items() if other != name}
            rows += compared(group, own, settings, still, options)
            console.print(f"{name}: {len(rows)} rows", highlight=False)
            table = pd.DataFrame(rows)
            write(table, options.out / "images.csv")
            write(summary(table), options.out / "methods.csv")


def compared(
    group: str,
    networks: Mapping[str, VisibleNetwork],
    settings: Optimisation,
    still: Optimisation,
    options: argparse.Namespace,
) -> list[dict[str, Any]]:
    """Rows of all targets of the first network in every space."""
    name, network = next(iter(networks.items()))
    assert network.shape is not None, "the comparison is of policies"
    spectrum, real = spectrum_for(network, "", network.shape, options.count, seed=0)
    assert real is not None, "the card names no game"
    plausibility, _ = plausibility_to(real)
    spaces = {RANDOM: (phase_space(spectrum), still)}
    spaces |= {space: (make(spectrum), settings) for space, make in SPACES.items()}
    rows = []
    for target in chosen_targets(network, options.layer, real, options.targets):
        kind = KINDS.get(target.layer, "channel" if target.position is None else "unit")
        for space, (made_in, how) in spaces.items():
            made = visualise(network.visible.objective(target, real[0]), made_in, how)
            known = {"group": group, "source": name, "kind": kind, "space": space}
            rows += [known | row for row in measured(target, made, networks, real, plausibility)]
    return rows


def summary(images: pd.DataFrame) -> pd.DataFrame:
    """Means of the measures by group, kind of target and space, and how they differ from those of phases.

    Limits are 95 % t limits over the models for which images were made, and missing where there are fewer than
    `FEWEST`; the group ``all`` holds all of them. Differences are between images of the same target.
    """
    keys = ["group", "source", "kind", "target", "space"]
    own = images[images["network"] == images["source"]].set_index(keys)
    others = images[images["network"] != images["source"]].groupby(keys)[["deviations", "exceeds"]].mean()
    each = own[["deviations", "exceeds", "distance", "outside"]].join(others.add_prefix("transfer_"))
    each = pd.concat([each, pd.concat([each], keys=["all"]).droplevel("group").rename_axis(keys)])
    rows = []
    for (group, kind, space), found in each.groupby(["group", "kind", "space"], sort=False):
        phases = each.xs((group, kind, "phase"), level=["group", "kind", "space"])
        models = found.index.get_level_values("source")
        for measure in MEASURES:
            mean = _agreed(found[measure], models)
            paired = found[measure].droplevel(["group", "kind", "space"]) - phases[measure]
            change = _agreed(paired, paired.index.get_level_values("source"))
            median = found[measure].median()
            row = (group, kind, space, measure, median, mean.mean, mean.low, mean.high)
            rows.append((*row, change.mean, change.low, change.high, len(found), models.nunique()))
    columns = ["group", "kind", "space", "measure", "median", "mean", "low", "high"]
    columns += ["difference", "difference_low", "difference_high", "images", "models"]
    return pd.DataFrame(rows, columns=columns)


def _agreed(values: pd.Series, models: pd.Index) -> Agreement:
    found = Agreement.of(values, models)
    return found if models.nunique() >= FEWEST else replace(found, low=float("nan"), high=float("nan"))


def write(table: pd.DataFrame, file: Path) -> None:
    """Write a table in place of an earlier one."""
    with replacing(file) as partial:
        table.round(4).to_csv(partial, index=False)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make tables and figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["units", "methods"])
    parser.add_argument("models", nargs="+", metavar="NAME=MODEL", help="GAME/ENCODER=MODEL, or GROUP=MODEL,MODEL")
    parser.add_argument("--out", type=Path, default=Path("docs/visualisation"), help="folder of tables and figure")
    parser.add_argument("--layer", default="backbone.4", help="layer of units and channels")
    parser.add_argument("--targets", type=int, default=6, help="targets of each kind")
    parser.add_argument("--sources", type=int, default=3, help="models of a group for which images are made")
    parser.add_argument("--count", type=int, default=512, help="frames")
    parser.add_argument("--steps", type=int, default=Optimisation.steps)
    parser.add_argument("--crops", type=int, default=Optimisation.crops)
    parser.add_argument("--trust", action="store_true", help="as in lcd visualize, for policies that you trust")
    options = parser.parse_args(arguments)
    if wrong := [given for given in options.models if "=" not in given]:
        parser.error(f"{wrong[0]!r} names no model: write NAME=MODEL")
    torch.set_num_threads(1)
    {"units": units, "methods": methods}[options.part](options)


if __name__ == "__main__":
    main()
