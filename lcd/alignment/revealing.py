"""Insertion and deletion curves: decisions as pixels are revealed or hidden in the order of a map."""

from __future__ import annotations

import pandas as pd
import torch
from scipy import integrate

from lcd.alignment.importance import AT_ONCE, Scores

SHARES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
"""Shares of the pixels that are revealed or hidden."""


def revealed(
    images: torch.Tensor, maps: torch.Tensor, share: float, *, hide: bool = False, seed: int = 0
) -> torch.Tensor:
    """Images with only the most important pixels left, or all others.

    Parameters
    ----------
    images : torch.Tensor, shape (batch, channels, height, width)
    maps : torch.Tensor, shape (batch, height, width)
        Importance; equal pixels are in a random order, the same for every image.
    share : float
        Share of the pixels that are revealed or, with `hide`, hidden.
    hide : bool
        Whether the important pixels are hidden (deletion) instead of revealed (insertion).
    seed : int
        Seed of the random order.

    Returns
    -------
    torch.Tensor, shape (batch, channels, height, width)
        Hidden pixels have their image's mean colour.

    Raises
    ------
    ValueError
        If the maps are not as many and as large as the images.
    """
    if maps.shape != (len(images), *images.shape[2:]):
        raise ValueError(f"Images of shape {tuple(images.shape)} do not fit maps of shape {tuple(maps.shape)}.")
    count = round(share * maps[0].numel())
    shuffled = torch.randperm(maps[0].numel(), generator=torch.Generator().manual_seed(seed)).to(maps.device)
    order = shuffled[maps.flatten(1)[:, shuffled].argsort(dim=1, descending=True, stable=True)[:, :count]]
    important = torch.zeros_like(maps.flatten(1), dtype=torch.bool).scatter_(1, order, True).view_as(maps)
    shown = important ^ hide
    return torch.where(shown[:, None], images, images.mean(dim=(2, 3), keepdim=True))


@torch.no_grad()
def revealing_curve(
    scores: Scores,
    images: torch.Tensor,
    maps: torch.Tensor,
    *,
    hide: bool = False,
    shares: tuple[float, ...] = SHARES,
) -> pd.DataFrame:
    """Insertion or deletion curve: agreement with the whole image's decision over the share of pixels.

    Parameters
    ----------
    scores : callable
        See `lcd.alignment.importance.Scores`.
    images, maps, hide
        See `revealed`.
    shares : tuple of float
        Shares of the pixels, from 0 to 1.

    Returns
    -------
    pandas.DataFrame
        One row a share: share, same (share of the images with the whole image's decision) and probability (mean softmax
        probability of that decision).

    References
    ----------
    Petsiuk, V. et al. (2018), "RISE: Randomized input sampling for explanation of black-box models", arXiv:1806.07421.
    """

    def scored(pictures: torch.Tensor) -> torch.Tensor:
        return torch.cat([scores(part) for part in pictures.split(AT_ONCE)])

    decision = scored(images).argmax(dim=1)
    rows = []
    for share in shares:
        found = scored(revealed(images, maps, share, hide=hide))
        probability = found.softmax(dim=1).gather(1, decision[:, None]).mean()
        rows.append((share, float((found.argmax(dim=1) == decision).float().mean()), float(probability)))
    return pd.DataFrame(rows, columns=["share", "same", "probability"])


def area(curve: pd.DataFrame, column: str = "probability") -> float:
    """Area under a curve of `revealing_curve`, between 0 and 1: a good map is high for insertion and low for deletion.

    The area under the probability also rises with the network's confidence; that under `same` does not.
    """
    places = curve["share"].to_numpy(dtype=float)
    return float(integrate.trapezoid(curve[column], places) / (places[-1] - places[0]))
