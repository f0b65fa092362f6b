"""Reading of a diagnosis from the folder that holds it."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from lcd.io.checksums import Contents, finish
from lcd.io.limits import path, short
from lcd.io.untrusted import parse_csv, parse_json
from lcd.io.untrusted.tables import LARGEST_TABLE
from lcd.measurement.scores import Normalisation
from lcd.measurement.verdict import Verdict
from lcd.studies.diagnosis import FORMAT, Diagnosis, TeacherCard

RESULT, EPISODES = "diagnosis.json", "episodes.csv.gz"
"""Files of a diagnosis: all that was found, and what it was found from."""

FURTHER = {name: f"{name}.csv" for name in ("encoders", "ladder", "baselines")}
"""Files of tables that a diagnosis has where they were asked for."""

REMEDY = "make the diagnosis again"

DAMAGE = (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, AssertionError)
"""What is raised where a record is not what `lcd.studies.diagnosis.Diagnosis.to_json` makes."""


def read_diagnosis_folder(folder: Path | str) -> Diagnosis:
    """Read a diagnosis that `lcd.diagnose` wrote.

    Its tables are made anew from its episodes; the verdict is the one that was given.

    Parameters
    ----------
    folder
        The folder that was its `out`.

    Raises
    ------
    ValueError
        If there is no diagnosis, or it is damaged.
    """
    home = path("The folder of a diagnosis", folder)
    try:
        finish(home)
        further = {name: file for name, file in FURTHER.items() if os.path.exists(home / file)}  # noqa: PTH110 (no error)
        contents = Contents.read(home, [RESULT, EPISODES, *further.values()])
    except OSError as error:
        raise ValueError(f"{home} holds no diagnosis ({error}): give a folder that lcd diagnose wrote.") from None
    record = record_of(contents.files[RESULT], home / RESULT)
    episodes = parse_csv(_unpacked(contents.files[EPISODES], home / EPISODES), str(home / EPISODES), remedy=REMEDY)
    try:
        found = Diagnosis.from_episodes(
            episodes,
            game=record["game"],
            budget=record["budget"],
            normalisation=Normalisation(**record["normalisation"]),
            teacher=None if record["teacher"] is None else TeacherCard(**record["teacher"]),
            settings=record["settings"],
            levels_differ=record["generalisation"] is not None,
        )
        said = record["verdict"]
        verdict = Verdict(said["name"], said["reason"], tuple(said["would_decide"]), tuple(said["cautions"]))
        controls = pd.DataFrame(record["controls"]) if "controls" in record else None
    except DAMAGE as error:
        raise ValueError(f"{home / RESULT} is damaged ({short(error)}): {REMEDY}.") from None
    contents.check(REMEDY)
    tables: dict[str, Any] = {
        name: parse_csv(contents.files[file], str(home / file), remedy=REMEDY) for name, file in further.items()
    }
    return replace(found, verdict=verdict, controls=controls, **tables)


def record_of(content: bytes, file: Path) -> dict[str, Any]:
    """A diagnosis as data of JSON, from the content of its file.

    Raises
    ------
    ValueError
        If it is no JSON, or no diagnosis of this version.
    """
    record: Any = parse_json(content.decode("utf-8", errors="replace"), str(file), remedy=REMEDY)
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ValueError(f"{file} is no diagnosis of this version ({FORMAT}): {REMEDY}.")
    return record


def _unpacked(content: bytes, file: Path) -> bytes:
    """The bytes in a gzip file, as many as a table may have."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
            found = packed.read(LARGEST_TABLE + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{file} is damaged ({short(error)}): {REMEDY}.") from None
    if len(found) > LARGEST_TABLE:
        raise ValueError(f"{file} unpacks to more than {LARGEST_TABLE:,} bytes: {REMEDY}.")
    return found
