"""MACO as its authors' PyTorch package makes it, beside this project's, on the same targets.

    pip install horama torchvision einops tqdm
    python scripts/visualisation_peer.py MODEL --target logit:7,logit:1 --out docs/visualisation/peer.csv

On a linear network both are compared with the optimum, which is known: horama's loop without its standardisation,
colours, sigmoid and crops, so that the images are those of the same magnitude. Then each makes images of a policy's
targets as it is, with the magnitude of the 1/f law, 256 steps and 8 crops of nine tenths of the image's side (horama's
are all of one size).

peer.csv
    One row a (network, target, program): the objective, as a share of the optimum on the linear network and in
    deviations of real frames on the policy, and the median relative error of the brightness's magnitude.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import torch

from lcd.alignment.plausibility import Excitation
from lcd.alignment.spectra import Spectrum, natural_spectrum
from lcd.alignment.visualisation import Optimisation, as_shown, phase_space, visualise
from lcd.io.files import replacing
from lcd.studies.visible_networks import load_visible
from lcd.studies.visualising import spectrum_for, targets_of

SIDE, STEPS, CROPS, CROP, NOISE = 32, 256, 8, 0.9, 0.08
LINEAR_STEPS = 1_000
LINEAR_RATES = (1.0, 0.1)
"""Learning rates on the linear network; the first is the default of both programs."""


@contextmanager
def magnitude_file(spectrum: Spectrum) -> Iterator[None]:
    """A working directory with the magnitude where horama looks for it, before it would fetch it from a server."""
    before = Path.cwd()
    with TemporaryDirectory() as folder:
        np.save(Path(folder) / "spectrum_decorrelated.npy", spectrum.magnitude.numpy())
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


def bare_horama(horama: Any, objective: Callable[[torch.Tensor], torch.Tensor], rate: float) -> torch.Tensor:
    """Horama's loop on components, without standardisation, colours, sigmoid, crops and noise."""

    def whole(objective: Any, image: torch.Tensor, *others: Any) -> tuple[torch.Tensor, torch.Tensor]:
        image.retain_grad()
        return -objective(image), image

    module = "horama.maco_fv"
    with (
        mock.patch(f"{module}.standardize", lambda tensor: tensor),
        mock.patch(f"{module}.recorrelate_colors", lambda image, device: image),
        mock.patch(f"{module}.optimization_step", whole),
        mock.patch("torch.sigmoid", lambda tensor: tensor),
    ):
        made, _ = horama.maco(
            objective, total_steps=LINEAR_STEPS, learning_rate=rate, image_size=SIDE, values_range=(0.0, 1.0),
            device="cpu",
        )  # fmt: skip
    return made.detach()


def linear_rows(horama: Any) -> list[dict[str, Any]]:
    """Objective of both on a linear network, as a share of the optimum."""
    natural = natural_spectrum(SIDE, SIDE)
    spectrum = Spectrum(natural.magnitude * 0.2, natural.mean, natural.axes, SIDE, natural.source)
    weight = torch.randn(3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    along = torch.einsum("kc,chw->khw", spectrum.axes, weight)
    optimum = float((spectrum.magnitude * torch.fft.rfft2(along).abs() * _twice(SIDE)).sum()) / SIDE**2
    rows = []
    for rate in LINEAR_RATES:
        torch.manual_seed(0)
        with magnitude_file(spectrum):
            theirs = bare_horama(horama, lambda image: (image * along).sum(), rate)
        settings = Optimisation(LINEAR_STEPS, 1, 1.0, 0.0, rate)
        ours = visualise(lambda images: (images * weight).sum(dim=(1, 2, 3)), phase_space(spectrum), settings)
        scores = {
            "horama": float((theirs * along).sum()),
            "lcd": float(((ours.image - spectrum.mean[:, None, None]) * weight).sum()),
        }
        rows += [
            {"network": "linear", "target": f"learning rate {rate:g}", "program": name, "objective": score / optimum}
            for name, score in scores.items()
        ]
    return rows


def _twice(width: int) -> torch.Tensor:
    """Times that each column of a half spectrum counts in a sum over the whole one, for an even width."""
    return torch.tensor([1.0] + [2.0] * (width // 2 - 1) + [1.0])


def magnitude_error(image: torch.Tensor, axes: torch.Tensor, spectrum: Spectrum) -> float:
    """Median relative error of the magnitude of an image's first colour component, up to a factor."""
    wanted = spectrum.magnitude[0]
    found = torch.fft.rfft2(torch.einsum("c,chw->hw", axes, image - image.mean(dim=(1, 2), keepdim=True))).abs()
    known = wanted > 0
    scale = (found * wanted)[known].sum() / wanted[known].square().sum()
    return float((found[known] / (scale * wanted[known]) - 1).abs().median())


def policy_rows(horama: Any, model: str, names: Sequence[str]) -> list[dict[str, Any]]:
    """Excitation of a policy's targets by images of both, beyond real frames."""
    network = load_visible(model, "cpu")
    assert network.shape is not None, "the comparison is on a policy"
    side = network.shape[1]
    spectrum = natural_spectrum(side, side)
    _, real = spectrum_for(network, "", network.shape, 512, seed=0)
    assert real is not None, "the card names no game"
    colours = torch.linalg.inv(_colours(horama))[:, 0]
    rows = []
    for target in targets_of(network, names, real[0]):
        objective = network.visible.objective(target, real[0])
        torch.manual_seed(0)
        with magnitude_file(spectrum):
            theirs, _ = horama.maco(
                lambda images, of=objective: of(images).mean(), total_steps=STEPS, image_size=side,
                model_input_size=side, noise=NOISE, values_range=(0.0, 1.0), crops_per_iteration=CROPS,
                box_size=(CROP, CROP), device="cpu",
            )  # fmt: skip
        ours = visualise(objective, phase_space(spectrum), Optimisation(STEPS, CROPS, CROP, NOISE))
        for name, image, axes in (("horama", theirs.detach(), colours), ("lcd", ours.image, spectrum.axes[0])):
            far = Excitation.of(objective, as_shown(image), real).deviations
            row = {"network": Path(model).name, "target": target.name, "program": name, "objective": far}
            rows.append(row | {"magnitude_error": magnitude_error(image, axes, spectrum)})
    return rows


def _colours(horama: Any) -> torch.Tensor:
    return horama.common.get_color_correlation_svd_sqrt("cpu")


def main() -> None:
    """Compare and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a policy on frames, as in lcd visualize")
    parser.add_argument("--target", default="logit:7,logit:1,logit:4", help="names of targets")
    parser.add_argument("--out", type=Path, default=Path("docs/visualisation/peer.csv"))
    options = parser.parse_args()
    try:
        import horama
    except ImportError as error:
        parser.error(f"the peer is not installed ({error}): pip install horama torchvision einops tqdm")
    torch.set_num_threads(1)
    model, out = str(Path(options.model).resolve()), options.out.resolve()
    table = pd.DataFrame(linear_rows(horama) + policy_rows(horama, model, options.target.split(",")))
    with replacing(out) as partial:
        table.round(8).to_csv(partial, index=False)
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
