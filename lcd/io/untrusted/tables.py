"""Reader of untrusted CSV tables."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lcd.io.limits import short
from lcd.io.untrusted.opening import MIB, REMEDY, UnreadableFileError, in_short, read_bytes

LARGEST_TABLE = 256 * MIB
MOST_COLUMNS = 1_000

DAMAGE = (ValueError, TypeError, OverflowError, MemoryError, RecursionError, csv.Error, pd.errors.ParserWarning)
"""What is raised where bytes are no table."""


def read_csv(
    path: Path,
    *,
    dtype: Mapping[str, Any] | type | None = None,
    most: int = LARGEST_TABLE,
    remedy: str = REMEDY,
    as_written: bool = False,
) -> pd.DataFrame:
    """Read a CSV file in UTF-8 with a header line.

    Parameters
    ----------
    path
        The file.
    dtype
        Types of columns, by name, or that of all.
    most
        Limit of its bytes.
    remedy
        Remedy in the message, as the end of a sentence.
    as_written
        As in `parse_csv`.

    Raises
    ------
    UnreadableFileError
        If it cannot be read, has too many columns or two of one name, a line has more values than there are columns, or
        a value is not of its column's type.
    """
    content = read_bytes(path, most, remedy=remedy)
    return parse_csv(content, str(path), dtype=dtype, remedy=remedy, as_written=as_written)


def parse_csv(
    content: bytes,
    name: str,
    *,
    dtype: Mapping[str, Any] | type | None = None,
    remedy: str = REMEDY,
    as_written: bool = False,
) -> pd.DataFrame:
    """Parse the bytes of a CSV file, see `read_csv`; `name` is their name in messages.

    With `as_written` only an empty cell is missing, not such names as ``None`` and ``NA``, and an empty line is a row.

    Raises
    ------
    UnreadableFileError
        As `read_csv` says.
    """
    try:
        if _commas(content) > MOST_COLUMNS:
            raise ValueError(f"a line has more than {MOST_COLUMNS:,} values")
        with warnings.catch_warnings(), np.errstate(invalid="ignore"):  # pandas refuses what it cannot cast
            warnings.simplefilter("error", pd.errors.ParserWarning)  # of lines with more values than there are names
            if (twice := _repeated(content)) is not None:  # which pandas would give another name
                raise ValueError(f"two columns are named {short(twice)}")
            # Without compression by the name's ending: nothing may grow while it is read.
            return pd.read_csv(  # type: ignore[call-overload]
                io.BytesIO(content),
                dtype=dict(dtype) if isinstance(dtype, Mapping) else dtype,
                index_col=False,
                keep_default_na=not as_written,
                na_values=[""],
                skip_blank_lines=not as_written,
                compression=None,
                low_memory=False,
                float_precision="round_trip",  # so that what was written is read
            )
    except DAMAGE as error:
        raise UnreadableFileError(f"{name} cannot be read as a table ({in_short(error)}): {remedy}.") from None


def _repeated(content: bytes) -> str | None:
    """The first name that two columns of a table have, None if no two have one."""
    lines = csv.reader(io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", newline=""))
    names = next((line for line in lines if line), [])
    return next((name for place, name in enumerate(names) if name and name in names[:place]), None)


def _commas(content: bytes) -> int:
    """Largest number of commas in a line."""
    signs = np.frombuffer(content, np.uint8)
    ends = np.flatnonzero(signs == ord("\n"))
    commas = np.flatnonzero(signs == ord(","))
    of_lines = np.diff(np.searchsorted(commas, ends), prepend=0, append=len(commas))
    return int(of_lines.max())
