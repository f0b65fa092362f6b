"""Reader of untrusted PNG and JPEG images."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lcd.io.untrusted.opening import MIB, REMEDY, UnreadableFileError, in_short, read_bytes

LARGEST_IMAGE = 2**25
"""Pixels of an image: 33 million, four times those of a screen of 4K."""

_LARGEST_FILE = 256 * MIB


def read_image(path: Path, mode: Literal["RGB", "L"], *, remedy: str = REMEDY) -> NDArray[np.uint8]:
    """Read an image, shape (height, width, 3) in the mode RGB and (height, width) in the mode L.

    Raises
    ------
    UnreadableFileError
        If the file cannot be read, or as `decode_image` says.
    """
    return decode_image(read_bytes(path, _LARGEST_FILE, remedy=remedy), mode, str(path), remedy=remedy)


def decode_image(content: bytes, mode: Literal["RGB", "L"], name: str, *, remedy: str = REMEDY) -> NDArray[np.uint8]:
    """Decode an image.

    Parameters
    ----------
    content
        A PNG or JPEG file. Pillow reads some forty other formats; one hands its files to another program.
    mode
        ``"RGB"`` for colours, ``"L"`` for brightness; 16 bits are brought to 8.
    name
        Its name in messages.
    remedy
        Remedy in the message, as the end of a sentence.

    Raises
    ------
    UnreadableFileError
        If it is none, is damaged, or has more pixels than `LARGEST_IMAGE`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow, on what is refused below or has no bearing
            with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as image:
                if image.width * image.height > LARGEST_IMAGE:
                    raise ValueError(f"{image.width} x {image.height} pixels are more than {LARGEST_IMAGE:,}")
                if image.mode.startswith("I"):  # of 16 bits, which Pillow would cut to the lowest 8
                    return np.asarray(image.convert("F").point(lambda value: value / 257).convert(mode))
                return np.asarray(image.convert(mode))
    except Exception as error:  # Pillow's are many, SyntaxError among them
        raise UnreadableFileError(f"{name} cannot be read as an image ({in_short(error)}): {remedy}.") from None
