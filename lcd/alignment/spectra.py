"""Fourier spectra of images: their mean magnitude, and images of a given magnitude and phase."""

from __future__ import annotations

from dataclasses import dataclass

import torch

NATURAL_MEAN = (0.485, 0.456, 0.406)
"""Mean colour of ImageNet's images, by which its networks are normalised."""

NATURAL_COLOURS = ((0.26, 0.09, 0.02), (0.27, 0.0, -0.05), (0.27, -0.09, 0.03))
"""A square root of the covariance of natural images' colours, as lucid has it: a row for each of red, green, blue.

Its columns are their principal components (brightness, red against blue, green against both), which Ruderman, D. L. et
al. (1998), "Statistics of cone responses to natural images", J. Opt. Soc. Am. A 15, found in photographs."""

NATURAL_DECAY = 1.0
"""Exponent of the 1/f law of natural images' amplitudes (Field, D. J., 1987, J. Opt. Soc. Am. A 4)."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    """What an optimisation of the phase leaves fixed: the magnitude of each frequency, mean colour and colour axes.

    The magnitude is that of uncorrelated colour components, as the phases of red, green and blue are not independent
    in any image.

    Attributes
    ----------
    magnitude : torch.Tensor, shape (channels, height, width // 2 + 1)
        Magnitude of each colour component at each frequency, in the order and the scale of ``torch.fft.rfft2``; 0 at
        frequency 0, where the mean colour counts.
    mean : torch.Tensor, shape (channels,)
        Mean colour.
    axes : torch.Tensor, shape (channels, channels)
        Colour components in the rows, orthonormal.
    width : int
        Width of the images, in pixels; the magnitude has half of the frequencies.
    source : str
        Images that it describes, in words.
    """

    magnitude: torch.Tensor
    mean: torch.Tensor
    axes: torch.Tensor
    width: int
    source: str

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images, in pixels."""
        return self.magnitude.shape[-2], self.width

    def image(self, units: torch.Tensor) -> torch.Tensor:
        """The image of a phase spectrum.

        Parameters
        ----------
        units : torch.Tensor, shape (channels, height, width // 2 + 1), complex
            Numbers of modulus 1, of a real image, see `unit_phases`.

        Returns
        -------
        torch.Tensor, shape (channels, height, width)
            Not limited to [0, 1]: then its magnitude would not be the given one.
        """
        components = torch.fft.irfft2(self.magnitude * units, s=self.size)
        return torch.einsum("kc,khw->chw", self.axes, components) + self.mean[:, None, None]

    def components(self, images: torch.Tensor) -> torch.Tensor:
        """Fourier transform of the colour components of images around the mean colour, shape (..., half spectrum)."""
        centred = images - self.mean[:, None, None]
        return torch.fft.rfft2(torch.einsum("kc,...chw->...khw", self.axes, centred))

    @property
    def deviations(self) -> torch.Tensor:
        """Standard deviation over the pixels of each colour component, shape (channels,), by Parseval's theorem."""
        height, width = self.size
        twice = torch.full((self.magnitude.shape[-1],), 2.0)
        twice[torch.tensor(_own_columns(width))] = 1.0
        return ((self.magnitude**2 * twice).sum(dim=(1, 2)) / (height * width) ** 2).sqrt()


def _own_columns(width: int) -> list[int]:
    """Columns of a half spectrum whose frequencies' opposites are in the same column."""
    return [0, width // 2] if width % 2 == 0 and width > 1 else [0]


def unit_phases(angles: torch.Tensor, width: int) -> torch.Tensor:
    """Phase spectrum of a real image, from numbers that are free.

    Of opposite frequencies that are both in the half spectrum, one phase is the negative of the other; a coefficient
    that is its own opposite is real, so only its sign is free. The sign is that of the given number and has the
    derivative 1 (a straight-through estimator), so that it can be optimised as well.

    Parameters
    ----------
    angles : torch.Tensor, shape (channels, height, width // 2 + 1)
        Phases in radians.
    width : int
        Width of the image.

    Returns
    -------
    torch.Tensor, of the same shape, complex
        Numbers of modulus 1. ``torch.fft.irfft2`` of a magnitude times them is an image that has this magnitude, which
        is not so for free phases in all columns: the function then drops what no real image can have.
    """
    height = angles.shape[-2]
    opposite = -torch.arange(height) % height
    columns = torch.zeros(angles.shape[-1], dtype=torch.bool)
    columns[_own_columns(width)] = True
    phases = torch.where(columns, (angles - angles[:, opposite]) / 2, angles)
    units = torch.complex(phases.cos(), phases.sin())
    alone = columns & (opposite == torch.arange(height))[:, None]
    signs = torch.where(angles >= 0, 1.0, -1.0)
    signs = (angles + (signs - angles).detach()).to(units.dtype)
    return torch.where(alone, signs, units)


def spectrum_of(images: torch.Tensor, source: str) -> Spectrum:
    """Mean magnitude spectrum of images.

    Parameters
    ----------
    images : torch.Tensor, shape (n, channels, height, width), in [0, 1]
    source : str
        What they are, in words.

    Raises
    ------
    ValueError
        If there are none, or all of them are of one single colour.
    """
    if images.ndim != 4 or not len(images):
        raise ValueError(f"A spectrum needs images of shape (n, channels, height, width), not {tuple(images.shape)}.")
    mean = images.mean(dim=(0, 2, 3))
    centred = (images - mean[:, None, None]).movedim(1, 0).flatten(1).double()
    variances, vectors = torch.linalg.eigh(centred @ centred.T / centred.shape[1])
    if not variances[-1] > 0:
        raise ValueError(f"The {len(images)} images ({source}) are all of one colour, which has no phase: give others.")
    axes = vectors.flip(1).T.to(images.dtype)
    axes = axes * torch.where(axes.sum(dim=1, keepdim=True) < 0, -1.0, 1.0)  # the first is brightness, not darkness
    empty = Spectrum(images.new_zeros(len(mean), images.shape[2], images.shape[3] // 2 + 1), mean, axes,
                     images.shape[3], source)  # fmt: skip
    magnitude = torch.stack([empty.components(part).abs().sum(dim=0) for part in images.split(64)]).sum(dim=0)
    magnitude /= len(images)
    magnitude[:, 0, 0] = 0
    return Spectrum(magnitude, mean, axes, images.shape[3], source)


def natural_spectrum(height: int, width: int) -> Spectrum:
    """The 1/f law of natural images, in colour.

    Parameters
    ----------
    height, width : int
        Size of the images, in pixels.

    References
    ----------
    See `NATURAL_DECAY`, `NATURAL_COLOURS` and `NATURAL_MEAN`.
    """
    colours = torch.tensor(NATURAL_COLOURS)
    deviations = colours.norm(dim=0)
    axes = torch.linalg.qr(colours)[0].T
    axes = axes * torch.sign((axes * colours.T).sum(dim=1, keepdim=True))
    frequency = (torch.fft.fftfreq(height)[:, None] ** 2 + torch.fft.rfftfreq(width)[None] ** 2).sqrt()
    law = torch.where(frequency > 0, frequency.clamp_min(1 / max(height, width)) ** -NATURAL_DECAY, 0.0)
    plain = Spectrum(law.expand(3, -1, -1), torch.tensor(NATURAL_MEAN), axes, width, "the 1/f law of natural images")
    scaled = law * (deviations / plain.deviations)[:, None, None]
    return Spectrum(scaled, plain.mean, axes, width, plain.source)
